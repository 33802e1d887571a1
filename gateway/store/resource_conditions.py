"""The conditions of case/searching.py as SQL over the tables of search_index.py."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, not_, or_, select, union_all

from gateway.case.searching import (
    EPOCH,
    MILLISECOND,
    Condition,
    HasDate,
    HasId,
    HasKey,
    HasText,
    IdBegins,
    IsPresent,
    Prefix,
    Term,
    Updated,
)
from gateway.store.search_index import PRESENT, Places
from gateway.store.tables import ResourceRow, SearchDateRow, SearchKeyRow, SearchTextRow

_Values = type[SearchKeyRow] | type[SearchDateRow] | type[SearchTextRow]
_Held = tuple[_Values, list[ColumnElement[bool]]]
"""A table of values, and what a value of it must be."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """``few``: values are looked up resource by resource; else the resources of all values that there are."""

    places: Places
    few: bool

    def of(self, condition: Condition) -> ColumnElement[bool]:
        if isinstance(condition, HasId | IdBegins | Updated):
            return of_columns(condition, ResourceRow.fhir_id, ResourceRow.updated_at)
        table, held = self.places_of(condition)
        is_not = _is_negative(condition)
        if self.few or is_not:
            there = exists().where(table.resource_pk == ResourceRow.pk, *held)
            return not_(there) if is_not else there
        return ResourceRow.pk.in_(select(table.resource_pk).where(*held))

    def places_of(self, condition: HasKey | IsPresent | HasDate | HasText) -> _Held:
        match condition:
            case HasKey(keys):
                return SearchKeyRow, [SearchKeyRow.key.in_([self.places.of_key(key) for key in keys])]
            case IsPresent(name):
                return SearchKeyRow, [SearchKeyRow.key == self.places.of(PRESENT, name)]
            case HasDate(paths, prefix, low, high):
                place = SearchDateRow.place.in_(self.places.of_each(paths))
                return SearchDateRow, [
                    place,
                    _relation(prefix, SearchDateRow.low, SearchDateRow.high, low, high),
                ]
            case HasText(paths, text, inside):
                place = SearchTextRow.place.in_(self.places.of_each(paths))
                return SearchTextRow, [place, _has_text(text, inside)]

    def resources_of(self, term: Term) -> Select[int] | None:
        """Those of which the term holds, some twice and some no longer current; None where no table tells them."""
        found = []
        for condition in term:
            if isinstance(condition, HasId | IdBegins | Updated) or _is_negative(condition):
                return None
            table, held = self.places_of(condition)
            found.append(select(table.resource_pk.label("pk")).where(*held))
        return select(union_all(*found).subquery().c.pk) if found else None


def of_columns(condition: HasId | IdBegins | Updated, fhir_id: Any, updated_at: Any) -> ColumnElement[bool]:
    """A condition of what the gateway itself says of a resource, by the columns that hold it."""
    if isinstance(condition, Updated):
        later = _Moment(updated_at, MILLISECOND)
        return _relation(condition.prefix, _Moment(updated_at), later, condition.low, condition.high)
    found: ColumnElement[bool]
    if isinstance(condition, HasId):
        found = fhir_id.in_(condition.ids)
    else:
        found = fhir_id.startswith(condition.beginning, autoescape=True)
    return not_(found) if condition.is_not else found


def _is_negative(condition: HasKey | IsPresent | HasDate | HasText) -> bool:
    return (isinstance(condition, HasKey) and condition.is_not) or (
        isinstance(condition, IsPresent) and not condition.present
    )


def instant_of(moment: int) -> datetime:
    """Moments that no calendar has are those at its ends."""
    try:
        return EPOCH + timedelta(microseconds=moment)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if moment > 0 else datetime.min.replace(tzinfo=UTC)


def _has_text(text: str, inside: bool) -> ColumnElement[bool]:
    """A start is a range of the index, for which the column compares by code points."""
    if inside:
        return SearchTextRow.text.contains(text, autoescape=True)
    return and_(SearchTextRow.text >= text, SearchTextRow.text < text + "\U0010ffff")


class _Moment:
    """An instant's column, or ``later`` microseconds after it, beside microseconds since 1970."""

    def __init__(self, column: Any, later: int = 0) -> None:
        self._column, self._later = column, later

    def __le__(self, moment: int) -> Any:
        return self._column <= instant_of(moment - self._later)

    def __lt__(self, moment: int) -> Any:
        return self._column < instant_of(moment - self._later)

    def __ge__(self, moment: int) -> Any:
        return self._column >= instant_of(moment - self._later)

    def __gt__(self, moment: int) -> Any:
        return self._column > instant_of(moment - self._later)


def _relation(prefix: Prefix, low: Any, high: Any, wanted_low: int, wanted_high: int) -> ColumnElement[bool]:
    """``in_relation`` of case/searching.py."""
    within = and_(low >= wanted_low, high <= wanted_high)
    options: dict[Prefix, ColumnElement[bool]] = {
        Prefix.EQ: and_(within, low < wanted_high),  # both ends of a range of the index
        Prefix.NE: not_(within),
        Prefix.GT: high > wanted_high,
        Prefix.LT: low < wanted_low,
        Prefix.GE: or_(high > wanted_high, within),
        Prefix.LE: or_(low < wanted_low, within),
        Prefix.SA: low >= wanted_high,
        Prefix.EB: high <= wanted_low,
        Prefix.AP: and_(low < wanted_high, high > wanted_low),
    }
    return options[prefix]
