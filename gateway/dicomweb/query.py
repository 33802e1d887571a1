"""The query of a search: matching, paging and wanted fields (PS3.18 8.3.4, 10.6.1)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from pydicom.datadict import keyword_dict, keyword_for_tag

from gateway.dicomweb.warning import passed_over, shown
from gateway.errors import InvalidContent
from gateway.store.imaging_criteria import Criterion, Page
from gateway.workflow.imaging_query import Matching, MatchingKey, matching_key, of_uid, read_criteria
from mappings.dicom_attributes import IN_FILE, attributes_down_to, tag_of

MAX_RESULTS = 1000
_IGNORED = frozenset({"accept", "charset"})
_ATTRIBUTE = re.compile(r"[A-Z][A-Za-z0-9]*|[0-9A-Fa-f]{8}")
_TAG = re.compile(r"\(?[0-9A-Fa-f]{4}\s*,\s*[0-9A-Fa-f]{4}\)?")
_OPTIONS = {
    "fuzzymatching": "fuzzy",
    "emptyvaluematching": "empty",
    "multiplevaluematching": "every",
}


@dataclass
class Query:
    """``criteria`` all hold. ``extra_tags`` are wanted and not in the index: they stand in the stored files.

    ``warnings`` are for the peer: what was asked and is not done.
    """

    criteria: list[Criterion] = field(default_factory=list)
    extra_tags: set[int] = field(default_factory=set)
    limit: int = MAX_RESULTS
    offset: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def page(self) -> Page:
        return Page(self.limit, self.offset)


def read_query(level: str, addressed: dict[str, str], pairs: Iterable[tuple[str, str]]) -> Query:
    """``addressed`` are the UIDs of the path. Raises InvalidContent.

    A match on an attribute that cannot be matched is refused rather than left out: the answer would have studies that
    were not asked for. So is what is meant as an attribute and not written as one. What is no attribute's name is
    another server's parameter, and passed over with a warning (8.3).
    """
    query = Query()
    options = {"combined": True}
    keys: list[tuple[MatchingKey, str]] = [of_uid(keyword, uid) for keyword, uid in addressed.items()]
    for name, value in pairs:
        if name in ("limit", "offset"):
            _set_page(query, name, value)
        elif name == "includefield":
            _include(query, level, value)
        elif name in _OPTIONS:
            options[_OPTIONS[name]] = _boolean(name, value)
        elif _is_attribute(name):
            keys.append((_key(level, name), value))
        elif _is_meant_as_attribute(name):
            raise InvalidContent(
                "A parameter is not written as an attribute is: by its keyword, such as PatientID, or its tag, "
                "such as 00100020 (PS3.18 8.3.4.1)."
            )
        elif name not in _IGNORED:
            query.warnings.append(passed_over(name, "search"))
    query.criteria = read_criteria(keys, Matching(**options))
    return query


def _set_page(query: Query, name: str, value: str) -> None:
    if not value.isascii() or not value.isdecimal() or len(value) > 9:
        raise InvalidContent(f"{name} must be a whole number, not negative.")
    if name == "offset":
        query.offset = int(value)
        return
    query.limit = min(int(value), MAX_RESULTS)
    if int(value) > MAX_RESULTS:
        query.warnings.append(f"{MAX_RESULTS} matches are answered at most; page with offset.")


def _include(query: Query, level: str, value: str) -> None:
    """Everything of the index is answered anyway. ``all`` is the whole table, and of an instance no more than that."""
    for name in filter(None, map(str.strip, value.split(","))):
        if name.lower() == "all":
            query.extra_tags |= _in_files(level)
            if level == "instance":
                query.warnings.append(
                    "includefield=all gives the attributes that the conformance statement lists; any other is given "
                    "by its keyword or tag, and the metadata have all."
                )
            continue
        tag = tag_of(name.partition(".")[0])
        known = attributes_down_to(level).get(keyword_for_tag(tag)) if tag is not None else None
        if known is not None and known.source != IN_FILE:
            continue
        if tag is None:
            query.warnings.append("An includefield is not a keyword or tag of DICOM and is passed over.")
        elif known is None and level != "instance":
            query.warnings.append(
                f"An includefield is not known to be the same in a whole {level} and is left out; "
                "search the instances or retrieve the metadata for it."
            )
        else:
            query.extra_tags.add(tag)


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InvalidContent(f"{name} must be true or false.")
    return value.lower() == "true"


def _is_attribute(name: str) -> bool:
    """A keyword begins with a capital, unlike every parameter of PS3.18."""
    return all(_ATTRIBUTE.fullmatch(part) for part in name.split("."))


def _is_meant_as_attribute(name: str) -> bool:
    return all(_TAG.fullmatch(part) or _is_attribute(part) or part in _keywords() for part in _parts(name))


def _parts(name: str) -> list[str]:
    return [part.strip().lower() for part in name.split(".")]


@cache
def _keywords() -> frozenset[str]:
    """Of all attributes, in small letters."""
    return frozenset(keyword.lower() for keyword in keyword_dict if keyword)


@cache
def _in_files(level: str) -> frozenset[int]:
    return frozenset(one.tag for one in attributes_down_to(level).values() if one.source == IN_FILE)


def _key(level: str, name: str) -> MatchingKey:
    if found := matching_key(level, name):
        return found
    offered = ", ".join(keyword for keyword, one in attributes_down_to(level).items() if one.match)
    raise InvalidContent(f"{shown(name)} cannot be matched at {level} level; these can: {offered}.")
