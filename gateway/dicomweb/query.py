"""The query of a search: matching, paging and wanted fields (PS3.18 8.3.4, 10.6.1)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.errors import InvalidContent
from gateway.store.imaging_search import AnyModality, Between, Criterion, Like, OneOf, Page, StartsWith
from mappings.dicom_attributes import LEVELS, Attribute, attributes, keyword_of

MAX_RESULTS = 1000
_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")
_UID = re.compile(r"[0-9.]{1,64}")
_IGNORED = frozenset({"accept", "charset"})


@dataclass
class Query:
    """``criteria`` all hold. ``warnings`` are for the peer: what was asked and is not offered."""

    criteria: list[Criterion] = field(default_factory=list)
    limit: int = MAX_RESULTS
    offset: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def page(self) -> Page:
        """One more than is answered: it tells whether there are more."""
        return Page(self.limit + 1, self.offset)


def read_query(level: str, addressed: dict[str, str], pairs: Iterable[tuple[str, str]]) -> Query:
    """``addressed`` are the UIDs of the path. Raises InvalidContent.

    A match on an attribute that cannot be matched is refused rather than left out: the answer would have studies that
    were not asked for.
    """
    query = Query([OneOf(keyword, (_uid(keyword, uid),)) for keyword, uid in addressed.items()])
    known = _attributes(level)
    for name, value in pairs:
        if name in _IGNORED:
            continue
        if name in ("limit", "offset"):
            _set_page(query, name, value)
        elif name == "includefield":
            query.warnings += _unknown_fields(known, value)
        elif name == "fuzzymatching":
            if value.lower() == "true":
                query.warnings.append(
                    "The fuzzymatching parameter is not supported. Only literal matching has been performed."
                )
        elif value.strip():
            query.criteria.append(_criterion(_matchable(known, name, level), value.strip()))
    return query


def _attributes(level: str) -> dict[str, Attribute]:
    """Those of the level and of the levels above it."""
    above = LEVELS[: LEVELS.index(level) + 1]
    return {keyword: one for name in above for keyword, one in attributes()[name].items()}


def _set_page(query: Query, name: str, value: str) -> None:
    if not value.isascii() or not value.isdecimal() or len(value) > 9:
        raise InvalidContent(f"{name} must be a whole number, not negative.")
    if name == "offset":
        query.offset = int(value)
    else:
        query.limit = min(int(value), MAX_RESULTS)


def _unknown_fields(known: dict[str, Attribute], value: str) -> Iterable[str]:
    for name in value.split(","):
        if name.strip().lower() not in ("", "all") and keyword_of(name.strip()) not in known:
            yield "An includefield is not in the index and is left out; retrieve the metadata for it."


def _matchable(known: dict[str, Attribute], name: str, level: str) -> Attribute:
    attribute = known.get(keyword_of(name))
    if attribute is None or not attribute.match:
        offered = ", ".join(keyword for keyword, one in known.items() if one.match)
        shown = name if re.fullmatch(r"[A-Za-z0-9.]{1,64}", name) else "That parameter"
        raise InvalidContent(f"{shown} cannot be matched at {level} level; these can: {offered}.")
    return attribute


def _criterion(attribute: Attribute, value: str) -> Criterion:
    keyword = attribute.keyword
    match attribute.match:
        case "uid":
            return OneOf(keyword, tuple(_uid(keyword, uid) for uid in re.split(r"[,\\]", value) if uid))
        case "date":
            return _range(keyword, value, _DATE, "YYYYMMDD")
        case "time":
            return _range(keyword, value, _TIME, "HHMMSS")
        case "number":
            return OneOf(keyword, (_number(keyword, value),))
        case "modality-set":
            return AnyModality(tuple(one.strip() for one in re.split(r"[,\\]", value)))
        case "code" if not re.search(r"[*?]", value):
            return OneOf(keyword, (value,))
        case _:
            return Like(keyword, value, is_name=keyword == "PatientName")


def _uid(keyword: str, value: str) -> str:
    if not _UID.fullmatch(value.strip()):
        raise InvalidContent(f"{keyword} is not a UID: digits and dots, 64 characters at most (PS3.5 9.1).")
    return value.strip()


def _number(keyword: str, value: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,9}", value, re.ASCII):
        raise InvalidContent(f"{keyword} must be a whole number.")
    return int(value)


def _range(keyword: str, value: str, pattern: re.Pattern[str], form: str) -> Criterion:
    """A single value, or a range of which one end may be open (PS3.4 C.2.2.2.5)."""
    first, dash, last = (part.strip() for part in value.partition("-"))
    ends = [end for end in (first, last) if end]
    if not ends or not all(pattern.fullmatch(end) for end in ends):
        raise InvalidContent(
            f"{keyword} must be {form}, or a range {form}-{form} of which one end may be open."
        )
    if not dash:
        return StartsWith(keyword, first)
    return Between(keyword, first, _until(last) if pattern is _TIME else last)


def _until(time: str) -> str:
    """The last moment of a time that is given less exactly: 1015 is until 10:15:59.999999."""
    return time + "235959.999999"[len(time) :] if time else ""
