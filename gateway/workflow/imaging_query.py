"""DICOM matching keys -> what the index is searched for; the same for QIDO-RS and C-FIND (PS3.4 C.2.2.2)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR, tag_for_keyword

from gateway.errors import InvalidContent
from gateway.store import search_keys
from gateway.store.imaging_criteria import (
    PATIENT,
    Between,
    Criterion,
    Empty,
    FuzzyName,
    InItem,
    InList,
    Key,
    Like,
    Moments,
    NameLike,
    OneOf,
)
from mappings.dicom_attributes import Attribute, attributes_down_to, keyword_of, tags_of_patient

_UID = re.compile(r"[0-9.]{1,64}")
_NUMBER = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_WILD = re.compile(r"[*?]")
_EMPTY = '""'
MOST_KEYS, MOST_WORDS, MOST_GROUPS = 50, 100, 3
MOST_UIDS, MOST_VALUES, MOST_CHARACTERS = 10_000, 500, 4096
"""More than anybody means, and less than a database can be asked at once. A name has 3 groups (PS3.5 6.2.1)."""
_ITEM_VRS = frozenset({"AE", "CS", "LO", "SH", "UC", "UI"})
_FORMS = {"date": "YYYYMMDD", "time": "HHMMSS"}
_STUDY_MOMENT = frozenset({"StudyDate", "StudyTime"})
_LAST_OF_DAY = "235959.999999"


@dataclass(frozen=True, slots=True)
class Matching:
    """What goes beyond the matching that needs no agreement with the peer (PS3.18 8.3.4, PS3.4 C.5.1.1)."""

    fuzzy: bool = False
    combined: bool = False
    empty: bool = False
    every: bool = False


@dataclass(frozen=True, slots=True)
class MatchingKey:
    """An attribute that can be matched. ``item`` is the tag of an attribute of its items, or ''."""

    attribute: Attribute
    item: str = ""


def matching_key(level: str, name: str) -> MatchingKey | None:
    """By keyword or tag; with a dot, of a sequence's items. None where a search of the level cannot match on it."""
    outer, _, inner = name.partition(".")
    attribute = attributes_down_to(level).get(keyword_of(outer))
    if attribute is None or not attribute.match or (attribute.match == "items") != bool(inner):
        return None
    if not inner:
        return MatchingKey(attribute)
    tag = tag_for_keyword(keyword_of(inner))
    if tag is None or dictionary_VR(tag) not in _ITEM_VRS:
        return None
    return MatchingKey(attribute, f"{tag:08X}")


def read_criteria(
    keys: Iterable[tuple[MatchingKey, str]], matching: Matching = Matching()
) -> list[Criterion]:
    """All hold. An empty value matches everything (C.2.2.2.3). Raises InvalidContent, without the value."""
    keys = list(keys)
    _require_moderate(keys)
    criteria: list[Criterion] = []
    items: dict[Key, list[tuple[str, str]]] = {}
    ranges: set[str] = set()
    for asked, value in keys:
        value, key = value.strip(), _key(asked.attribute)
        if matching.empty and value == _EMPTY and not asked.item:
            criteria.append(Empty(key))
        elif value.strip("*"):
            if asked.item:
                items.setdefault(key, []).append((asked.item, value))
            else:
                criteria.append(_criterion(key, asked.attribute.match, value, matching))
                ranges |= {key.keyword} if "-" in value else set()
    criteria += [InItem(key, tuple(wanted)) for key, wanted in items.items()]
    return _combined(criteria) if matching.combined and ranges >= _STUDY_MOMENT else criteria


def _require_moderate(keys: Sequence[tuple[MatchingKey, str]]) -> None:
    if len(keys) > MOST_KEYS:
        raise InvalidContent(f"At most {MOST_KEYS} keys are matched at once.")
    words = 0
    for asked, value in keys:
        keyword, match = asked.attribute.keyword, asked.attribute.match
        if match == "name":
            words += len(search_keys.words(value))
            if value.count("=") >= MOST_GROUPS:
                raise InvalidContent(f"{keyword} has {MOST_GROUPS} component groups at most (PS3.5 6.2.1).")
        _require_few(keyword, value, MOST_UIDS if match == "uid" else MOST_VALUES)
        if match != "uid" and len(value) > MOST_CHARACTERS:
            raise InvalidContent(f"{keyword} is matched by {MOST_CHARACTERS} characters at most.")
    if words > MOST_WORDS:
        raise InvalidContent(f"Names are matched by {MOST_WORDS} words at most.")


def _require_few(keyword: str, value: str, most: int) -> None:
    if value.count("\\") + value.count(",") >= most:
        raise InvalidContent(f"{keyword} is matched by {most} values at most.")


def _key(attribute: Attribute) -> Key:
    tag = f"{attribute.tag:08X}"
    return Key(attribute.keyword, PATIENT if tag in tags_of_patient() else attribute.level, tag)


def of_uid(keyword: str, value: str) -> tuple[MatchingKey, str]:
    """One UID, where a list is not allowed. Raises InvalidContent."""
    return MatchingKey(attributes_down_to("instance")[keyword]), _uid(keyword, value)


def _criterion(key: Key, match: str, value: str, matching: Matching) -> Criterion:
    match match:
        case "uid":
            return OneOf(key, tuple(_uid(key.keyword, uid) for uid in re.split(r"[,\\]", value) if uid))
        case "date" | "time":
            return _range(key, match, value)
        case "number":
            return OneOf(key, (_number(key.keyword, value),))
        case "list":
            return InList(key, tuple(_values(value, r"[,\\]")), matching.every)
        case "name":
            return FuzzyName(key, value) if matching.fuzzy else NameLike(key, value)
        case "code":
            return _code(key, _values(value, r"\\"))
        case _:
            return Like(key, value, ignore_case=True)


def _values(value: str, separator: str) -> list[str]:
    return [one for found in re.split(separator, value) if (one := found.strip())]


def _code(key: Key, values: Sequence[str]) -> Criterion:
    if not any(_WILD.search(value) for value in values):
        return OneOf(key, tuple(values))
    if len(values) > 1:
        raise InvalidContent(
            f"{key.keyword}: wild cards cannot stand in one of several values (PS3.4 C.2.2.2.8)."
        )
    return Like(key, values[0])


def _uid(keyword: str, value: str) -> str:
    if not _UID.fullmatch(value.strip()):
        raise InvalidContent(f"{keyword} is not a UID: digits and dots, 64 characters at most (PS3.5 9.1).")
    return value.strip()


def _number(keyword: str, value: str) -> int:
    if not _NUMBER.fullmatch(value):
        raise InvalidContent(f"{keyword} must be a whole number.")
    return int(value)


def _range(key: Key, match: str, value: str) -> Between:
    """A single value, which for a time is all that it does not tell more exactly, or a range with one end open."""
    first, dash, last = (part.strip() for part in value.partition("-"))
    spelt = search_keys.date_key if match == "date" else search_keys.time_key
    ends = spelt(first), spelt(last)
    wrong = any(told and not end for told, end in zip((first, last), ends, strict=True))
    if wrong or not any(ends):
        form = _FORMS[match]
        raise InvalidContent(
            f"{key.keyword} must be {form}, or a range {form}-{form} of which one end may be open."
        )
    if not dash:
        return Between(key, ends[0], _until(first) if match == "time" else ends[0])
    return Between(key, ends[0], _until(last) if match == "time" else ends[1])


def _until(time: str) -> str:
    """The last moment of a time that is given less exactly: 1015 is until 10:15:59.999999."""
    told = time.replace(":", "")
    return told + _LAST_OF_DAY[len(told) :] if told else ""


def _combined(criteria: list[Criterion]) -> list[Criterion]:
    """Ranges of Study Date and Study Time as one, where no time has an end that the date has not."""
    ranges = {one.key.keyword: one for one in criteria if isinstance(one, Between)}
    date, time = ranges["StudyDate"], ranges["StudyTime"]
    if (time.first and not date.first) or (time.last and not date.last):
        return criteria
    first = (date.first, time.first or "000000") if date.first else ("", "")
    last = (date.last, time.last or _LAST_OF_DAY) if date.last else ("", "")
    rest = [one for one in criteria if one not in (date, time)]
    return [*rest, Moments(date.key, time.key, first, last)]
