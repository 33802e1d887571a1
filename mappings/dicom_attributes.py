"""Reads dicom_attributes.yaml: which DICOM attributes the index keeps and a search may ask for."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml
from pydicom.datadict import keyword_for_tag, tag_for_keyword

LEVELS = ("study", "series", "instance")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One row of the table. ``match`` is '' where a search cannot match on it."""

    keyword: str
    tag: int
    level: str
    match: str
    is_stored: bool


@cache
def attributes() -> dict[str, dict[str, Attribute]]:
    """The table: level -> keyword -> attribute."""
    table = _table()
    return {
        level: {
            keyword: Attribute(keyword, _tag(keyword), level, match or "", kind == "stored")
            for kind in ("stored", "computed")
            for keyword, match in table[level].get(kind, {}).items()
        }
        for level in LEVELS
    }


@cache
def stored_keywords(level: str) -> tuple[str, ...]:
    return tuple(keyword for keyword, attribute in attributes()[level].items() if attribute.is_stored)


@cache
def header_tags() -> frozenset[int]:
    """Every tag that is read from an instance when it arrives."""
    keywords = [*stored_keywords("study"), *stored_keywords("series"), *_table()["header"]]
    return frozenset(_tag(keyword) for keyword in keywords)


def keyword_of(name: str) -> str:
    """The keyword of ``PatientID`` or ``00100020`` (PS3.18 8.3.4.1: attributeID), '' when there is none."""
    if len(name) == 8 and all(letter in "0123456789abcdefABCDEF" for letter in name):
        return keyword_for_tag(int(name, 16))
    return name if tag_for_keyword(name) is not None else ""


@cache
def _table() -> dict[str, dict[str, dict[str, str | None]]]:
    loaded: dict[str, dict[str, dict[str, str | None]]] = yaml.safe_load(
        (files("mappings") / "dicom_attributes.yaml").read_text("utf-8")
    )
    return loaded


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword of PS3.6")
    return tag
