"""What received imaging is searched for: the kinds of attribute matching of PS3.4 C.2.2.2, in nobody's protocol."""

from dataclasses import dataclass

LEVELS = ("study", "series", "instance")
PATIENT = "patient"
"""The level of a key of the study's patient: a study has several where a hospital has mixed children up."""


@dataclass(frozen=True, slots=True)
class Key:
    """An attribute of the index. ``tag`` is 8 hexadecimal digits, ``level`` one of LEVELS or PATIENT."""

    keyword: str
    level: str
    tag: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """Single value or list of UID matching (C.2.2.2.1, C.2.2.2.2)."""

    key: Key
    values: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Like:
    """Wild card matching with ``*`` and ``?`` (C.2.2.2.4)."""

    key: Key
    pattern: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class NameLike:
    """A person name, with or without wild cards, without regard to capitals.

    Each component group that is given must be one of the name's, whole.
    """

    key: Key
    pattern: str


@dataclass(frozen=True, slots=True)
class FuzzyName:
    """Fuzzy semantic matching: each word is a word of the name, in any order, whatever its capitals and accents."""

    key: Key
    pattern: str


@dataclass(frozen=True, slots=True)
class Between:
    """Range matching, both ends in it (C.2.2.2.5). As search_keys.py spells dates and times; an open end is ''."""

    key: Key
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Moments:
    """Combined range of a date and a time (C.2.2.2.5): from one moment to another, an open end is ('', '').

    ``date`` and ``time`` are a pair of one level, such as Study Date and Study Time.
    """

    date: Key
    time: Key
    first: tuple[str, str]
    last: tuple[str, str]


@dataclass(frozen=True, slots=True)
class InList:
    """A list that the gateway has made of a study, such as Modalities in Study (0008,0061).

    ``patterns`` may have wild cards. One of them must be in the list; with ``every`` each must (C.2.2.2.8).
    """

    key: Key
    patterns: tuple[str, ...]
    every: bool = False


@dataclass(frozen=True, slots=True)
class InItem:
    """Sequence matching (C.2.2.2.6): one item has it all. ``wanted`` is tag -> pattern."""

    key: Key
    wanted: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Empty:
    """Empty value matching (C.2.2.2.7): absent, or without a value."""

    key: Key


Criterion = OneOf | Like | NameLike | FuzzyName | Between | Moments | InList | InItem | Empty


@dataclass(frozen=True, slots=True)
class Page:
    limit: int
    offset: int = 0
