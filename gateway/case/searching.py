"""What a resource can be found by, and what a search asks of it (FHIR R4 3.1.1.4). The store's SQL says the same."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
MILLISECOND = 1000
EARLIEST, LATEST = -(1 << 62), 1 << 62
"""The ends of a period that has none, in microseconds since 1970."""


def microseconds(moment: datetime) -> int:
    """Since 1970, as dates are compared here."""
    return (moment - EPOCH) // _MICROSECOND


class Form(StrEnum):
    """What a key says of a value."""

    CODE = "c"
    SYSTEM_AND_CODE = "p"
    SYSTEM = "s"
    OF_TYPE = "t"
    REFERENCE = "r"
    IDENTIFIER = "i"
    EXACT = "x"
    URI = "u"


class Key(NamedTuple):
    """A value that is compared as a whole. ``path`` names the element (fhir_search_parameters.csv)."""

    path: str
    form: Form
    value: str


class Dated(NamedTuple):
    """The time that a value means, [low, high) in microseconds since 1970."""

    path: str
    low: int
    high: int


class Worded(NamedTuple):
    """A text to be compared by its parts: of a string in ``plain`` form, of a URI as it is."""

    path: str
    text: str


class SearchValues(NamedTuple):
    """``present`` are the names of the parameters that have a value."""

    present: frozenset[str]
    keys: frozenset[Key]
    dates: frozenset[Dated]
    texts: frozenset[Worded]


@dataclass(frozen=True, slots=True)
class Found:
    """What searches read of one resource."""

    fhir_id: str
    updated_at: datetime
    values: SearchValues


@dataclass(frozen=True, slots=True)
class HasId:
    ids: frozenset[str]
    is_not: bool = False

    def holds(self, found: Found) -> bool:
        return (found.fhir_id in self.ids) is not self.is_not


@dataclass(frozen=True, slots=True)
class IdBegins:
    """By the beginning of its id: a type of another release that is one of several in R4 (fhir_type_names.py)."""

    beginning: str
    is_not: bool = False

    def holds(self, found: Found) -> bool:
        return found.fhir_id.startswith(self.beginning) is not self.is_not


@dataclass(frozen=True, slots=True)
class HasKey:
    """Any of the keys; with ``is_not`` none of them."""

    keys: frozenset[Key]
    is_not: bool = False

    def holds(self, found: Found) -> bool:
        return self.keys.isdisjoint(found.values.keys) is self.is_not


class Prefix(StrEnum):
    """How a resource's time stands to the one that is asked for (3.1.1.4.5)."""

    EQ, NE, GT, LT, GE, LE, SA, EB, AP = "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"


@dataclass(frozen=True, slots=True)
class HasDate:
    """``low`` and ``high`` are what is asked for; of AP what counts as about that time."""

    paths: frozenset[str]
    prefix: Prefix
    low: int
    high: int

    def holds(self, found: Found) -> bool:
        return any(self._is(d.low, d.high) for d in found.values.dates if d.path in self.paths)

    def _is(self, low: int, high: int) -> bool:
        return in_relation(self.prefix, low, high, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Updated:
    """_lastUpdated, an instant of a millisecond."""

    prefix: Prefix
    low: int
    high: int

    def holds(self, found: Found) -> bool:
        low = microseconds(found.updated_at) // MILLISECOND * MILLISECOND
        return in_relation(self.prefix, low, low + MILLISECOND, self.low, self.high)


def in_relation(prefix: Prefix, low: int, high: int, wanted_low: int, wanted_high: int) -> bool:
    """Of [low, high) to [wanted_low, wanted_high); ge and le hold where eq does."""
    within = wanted_low <= low and high <= wanted_high
    return {
        Prefix.EQ: within,
        Prefix.NE: not within,
        Prefix.GT: high > wanted_high,
        Prefix.LT: low < wanted_low,
        Prefix.GE: high > wanted_high or within,
        Prefix.LE: low < wanted_low or within,
        Prefix.SA: low >= wanted_high,
        Prefix.EB: high <= wanted_low,
        Prefix.AP: low < wanted_high and high > wanted_low,
    }[prefix]


@dataclass(frozen=True, slots=True)
class HasText:
    """A text that begins so, or with ``inside`` has it anywhere."""

    paths: frozenset[str]
    text: str
    inside: bool = False

    def holds(self, found: Found) -> bool:
        return any(self._is(worded.text) for worded in found.values.texts if worded.path in self.paths)

    def _is(self, text: str) -> bool:
        return self.text in text if self.inside else text.startswith(self.text)


@dataclass(frozen=True, slots=True)
class IsPresent:
    """Whether the parameter of that name has any value."""

    name: str
    present: bool

    def holds(self, found: Found) -> bool:
        return (self.name in found.values.present) is self.present


Condition = HasId | IdBegins | HasKey | HasDate | Updated | HasText | IsPresent
Term = tuple[Condition, ...]
"""Any of them must hold; none: nothing is found."""


def all_hold(terms: Iterable[Term], found: Found) -> bool:
    return all(any(condition.holds(found) for condition in term) for term in terms)
