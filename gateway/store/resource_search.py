"""Search among a partner's own current resources of one type, by the tables of search_index.py.

The conditions of case/searching.py as SQL. Paging is by keys: a page begins after the sort values of the last one, so
that what comes in meanwhile moves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, exists, false, func, not_, or_, select
from sqlalchemy.orm import Session

from gateway.case.access import Partner
from gateway.case.searching import (
    EARLIEST,
    EPOCH,
    LATEST,
    MILLISECOND,
    Condition,
    Found,
    HasDate,
    HasId,
    HasKey,
    HasText,
    IsPresent,
    Prefix,
    Term,
    Updated,
    microseconds,
)
from gateway.store.search_index import PRESENT, Places
from gateway.store.tables import ResourceRow, SearchDateRow, SearchKeyRow, SearchTextRow

SortValue = int | str


@dataclass(frozen=True, slots=True)
class Sort:
    """``by``: updated, id, date or text; of the last two ``paths`` say which values, the least of which counts.

    A resource without the value comes last by date, and first among texts.
    """

    by: str
    paths: frozenset[str] = frozenset()
    is_descending: bool = False

    def of(self, found: Found) -> SortValue:
        """As the database sorts it."""
        if self.by == "updated":
            return microseconds(found.updated_at)
        if self.by == "id":
            return found.fhir_id
        if self.by == "date":
            lows = (dated.low for dated in found.values.dates if dated.path in self.paths)
            return min(lows, default=self.absent_date)
        return min((w.text for w in found.values.texts if w.path in self.paths), default="")

    @property
    def absent_date(self) -> int:
        return EARLIEST - 1 if self.is_descending else LATEST + 1


ARRIVAL = (Sort("updated"), Sort("id"))
"""The order where no other is asked for, and after one that is: no two resources of a type are the same in it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a partner's resources of a type: every term holds."""

    partner: Partner
    type: str
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """``position`` are its values by the order."""

    pk: int
    position: tuple[SortValue, ...]


def total(session: Session, wanted: Wanted) -> int:
    return session.scalar(_restricted(select(func.count()).select_from(ResourceRow), wanted)) or 0


def page(
    session: Session,
    wanted: Wanted,
    order: Sequence[Sort],
    after: tuple[SortValue, ...] | None,
    limit: int,
) -> list[Hit]:
    """The first ``limit`` resources after that position."""
    places = Places(wanted.partner, wanted.type)
    columns = [_sorted_by(sort, places) for sort in order]
    query = _restricted(select(ResourceRow.pk, *columns), wanted)
    if after is not None:
        query = query.where(_is_after(columns, order, after))
    ordered = [c.desc() if sort.is_descending else c.asc() for c, sort in zip(columns, order, strict=True)]
    rows = session.execute(query.order_by(*ordered).limit(limit))
    return [Hit(pk, tuple(map(_position, values))) for pk, *values in rows]


def _position(value: Any) -> SortValue:
    return microseconds(value) if isinstance(value, datetime) else value


def _sorted_by(sort: Sort, places: Places) -> Any:
    if sort.by == "updated":
        return ResourceRow.updated_at
    if sort.by == "id":
        return ResourceRow.fhir_id
    if sort.by == "date":
        lows = _least(select(func.min(SearchDateRow.low)), SearchDateRow, sort, places)
        return func.coalesce(lows, sort.absent_date)
    return func.coalesce(_least(select(func.min(SearchTextRow.text)), SearchTextRow, sort, places), "")


def _least(
    query: Select[Any], table: type[SearchDateRow] | type[SearchTextRow], sort: Sort, places: Places
) -> ScalarSelect[Any]:
    own = query.where(table.place.in_(places.of_each(sort.paths)), table.resource_pk == ResourceRow.pk)
    return own.correlate(ResourceRow).scalar_subquery()


def _is_after(
    columns: Sequence[Any], order: Sequence[Sort], after: Sequence[SortValue]
) -> ColumnElement[bool]:
    """Further on in the first column in which it is not the same."""
    options = []
    for place, (column, sort, value) in enumerate(zip(columns, order, after, strict=True)):
        same = [c == _bound(s, v) for c, s, v in zip(columns[:place], order, after, strict=False)]
        further = column < _bound(sort, value) if sort.is_descending else column > _bound(sort, value)
        options.append(and_(*same, further))
    first, value = columns[0], _bound(order[0], after[0])
    bound = (
        first <= value if order[0].is_descending else first >= value
    )  # a range that an index can begin with
    return and_(bound, or_(*options))


def _bound(sort: Sort, value: SortValue) -> Any:
    return _instant(int(value)) if sort.by == "updated" else value


def _instant(moment: int) -> datetime:
    """Moments that no calendar has are those at its ends."""
    try:
        return EPOCH + timedelta(microseconds=moment)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if moment > 0 else datetime.min.replace(tzinfo=UTC)


def _restricted(query: Select[Any], wanted: Wanted) -> Select[Any]:
    """To the partner's own current resources of the type, of which every term holds."""
    places = Places(wanted.partner, wanted.type)
    is_narrow = any(isinstance(c, HasKey | HasId) and not c.is_not for term in wanted.terms for c in term)
    sql = _Conditions(places, is_narrow)
    return query.where(
        ResourceRow.partner_id == wanted.partner.id,
        ResourceRow.type == wanted.type,
        ResourceRow.current,
        *(or_(false(), *map(sql.of, term)) for term in wanted.terms),
    )


@dataclass(frozen=True, slots=True)
class _Conditions:
    """``is_narrow``: the times of few resources are looked up, and not those of all that were made in that time."""

    places: Places
    is_narrow: bool

    def of(self, condition: Condition) -> ColumnElement[bool]:
        match condition:
            case HasId(ids, is_not):
                return ResourceRow.fhir_id.not_in(ids) if is_not else ResourceRow.fhir_id.in_(ids)
            case HasKey(keys, is_not):
                return self._has_key([self.places.of_key(key) for key in keys], is_not)
            case IsPresent(name, present):
                return self._has_key([self.places.of(PRESENT, name)], not present)
            case HasDate(paths, prefix, low, high):
                own = SearchDateRow.place.in_(self.places.of_each(paths))
                stands = _relation(prefix, SearchDateRow.low, SearchDateRow.high, low, high)
                return self._any(SearchDateRow, own, stands)
            case Updated(prefix, low, high):
                updated = ResourceRow.updated_at
                return _relation(prefix, _Moment(updated), _Moment(updated, MILLISECOND), low, high)
            case HasText(paths, text, inside):
                own = SearchTextRow.place.in_(self.places.of_each(paths))
                return self._any(SearchTextRow, own, _has_text(text, inside))

    def _has_key(self, keys: list[int], is_not: bool) -> ColumnElement[bool]:
        if is_not:
            return not_(
                exists().where(SearchKeyRow.key.in_(keys), SearchKeyRow.resource_pk == ResourceRow.pk)
            )
        return ResourceRow.pk.in_(select(SearchKeyRow.resource_pk).where(SearchKeyRow.key.in_(keys)))

    def _any(
        self, table: type[SearchDateRow] | type[SearchTextRow], *conditions: ColumnElement[bool]
    ) -> ColumnElement[bool]:
        if self.is_narrow:
            return exists().where(table.resource_pk == ResourceRow.pk, *conditions)
        return ResourceRow.pk.in_(select(table.resource_pk).where(*conditions))


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
        return self._column <= _instant(moment - self._later)

    def __lt__(self, moment: int) -> Any:
        return self._column < _instant(moment - self._later)

    def __ge__(self, moment: int) -> Any:
        return self._column >= _instant(moment - self._later)

    def __gt__(self, moment: int) -> Any:
        return self._column > _instant(moment - self._later)


def _relation(prefix: Prefix, low: Any, high: Any, wanted_low: int, wanted_high: int) -> ColumnElement[bool]:
    """``in_relation`` of case/searching.py."""
    within = and_(low >= wanted_low, high <= wanted_high)
    options: dict[Prefix, ColumnElement[bool]] = {
        Prefix.EQ: within,
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
