"""Reads dicom_attributes.yaml: which DICOM attributes the index keeps and a search may ask for."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml
from pydicom.datadict import keyword_for_tag, tag_for_keyword

LEVELS = ("study", "series", "instance")
STORED, COMPUTED, IN_FILE = SOURCES = ("stored", "computed", "in_file")
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One row of the table. ``match`` is '' where a search cannot match on it.

    ``level`` is where it stands in the table: a patient's attributes are a study's. ``source`` is one of SOURCES.
    """

    keyword: str
    tag: int
    level: str
    match: str
    source: str


@cache
def attributes() -> dict[str, dict[str, Attribute]]:
    """The table: level -> keyword -> attribute."""
    table = _table()
    return {
        level: {
            keyword: Attribute(keyword, _tag(keyword), level, match or "", source)
            for source in SOURCES
            for keyword, match in table[level].get(source, {}).items()
        }
        for level in LEVELS
    }


@cache
def attributes_down_to(level: str) -> dict[str, Attribute]:
    """By keyword those of the level and of the levels above it; level patient is of what a study tells of it."""
    if level == "patient":
        return {keyword: attributes()["study"][keyword] for keyword in _table()["patient"]}
    above = LEVELS[: LEVELS.index(level) + 1]
    return {keyword: one for name in above for keyword, one in attributes()[name].items()}


@cache
def patient_tags() -> frozenset[str]:
    """8 hexadecimal digits each, as in DICOM JSON."""
    return frozenset(f"{_tag(keyword):08X}" for keyword in _table()["patient"])


@cache
def tags_of_patient() -> frozenset[str]:
    """Of the study's attributes all that are another child's where the study is of two: ``patient_tags`` and more."""
    return patient_tags() | {f"{_tag(keyword):08X}" for keyword in _table()["patient_of_study"]}


@cache
def stored_keywords(level: str) -> tuple[str, ...]:
    return tuple(keyword for keyword, attribute in attributes()[level].items() if attribute.source == STORED)


@cache
def header_tags() -> frozenset[int]:
    """Every tag that is read from an instance when it arrives."""
    keywords = [*stored_keywords("study"), *stored_keywords("series"), *_table()["header"]]
    return frozenset(_tag(keyword) for keyword in keywords)


def tag_of(name: str) -> int | None:
    """The tag of ``PatientID`` or ``00100020`` (PS3.18 8.3.4.1: attribute-id), also of a private or unknown one."""
    return int(name, 16) if len(name) == 8 and _HEXADECIMAL.issuperset(name) else tag_for_keyword(name)


def keyword_of(name: str) -> str:
    """The keyword of either, '' when there is none."""
    tag = tag_of(name)
    return keyword_for_tag(tag) if tag is not None else ""


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
