"""Search among a partner's own current resources of one type, by the tables of search_index.py.

The conditions of case/searching.py as SQL. Paging is by keys: a page begins after the sort values of the last one, so
that what comes in meanwhile moves nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, false, func, or_, select
from sqlalchemy.orm import Session

from gateway.case.access import Partner
from gateway.case.searching import EARLIEST, LATEST, Found, HasDate, HasText, Key, Term, microseconds
from gateway.store.resource_conditions import Conditions, instant_of
from gateway.store.search_index import Places
from gateway.store.tables import ResourceRow, SearchDateRow, SearchKeyRow, SearchTextRow

SortValue = int | str
FEW, _VERY_FEW = 2000, 100


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
class Hit:
    """``position`` are its values by the order."""

    pk: int
    position: tuple[SortValue, ...]


class Search:
    """What is asked of a partner's resources of a type: every term holds."""

    def __init__(
        self, session: Session, partner: Partner, type_name: str, terms: Sequence[Term] = ()
    ) -> None:
        self._session = session
        self._places = Places(partner, type_name)
        few = self._few(terms)
        self._is_narrow = few is not None
        sql = Conditions(self._places, few is not None)
        self._conditions = [
            *(_own(partner, type_name) if few is None else _own_among(few, partner, type_name)),
            ResourceRow.current,
            *(or_(false(), *map(sql.of, term)) for term in terms),
        ]

    def total(self) -> int:
        query = select(func.count()).select_from(ResourceRow).where(*self._conditions)
        return self._session.scalar(query) or 0

    def page(self, order: Sequence[Sort], after: tuple[SortValue, ...] | None, limit: int) -> list[Hit]:
        """The first ``limit`` resources after that position."""
        rows = self._session.execute(self._query(order, after).limit(limit))
        return [Hit(pk, tuple(map(_position, values))) for pk, *values in rows]

    def counted_page(
        self, order: Sequence[Sort], after: tuple[SortValue, ...] | None, limit: int
    ) -> tuple[list[Hit], int]:
        """A page and the total. Where few resources can match, each is looked at once for both."""
        if not self._is_narrow or after is not None:
            return self.page(order, after, limit), self.total()
        query = self._query(order, None).add_columns(func.count().over())
        rows = self._session.execute(query.limit(limit)).all()
        hits = [Hit(pk, tuple(map(_position, values))) for pk, *values, _ in rows]
        return hits, rows[0][-1] if rows else 0

    def _query(self, order: Sequence[Sort], after: tuple[SortValue, ...] | None) -> Select[Any]:
        columns = [_sorted_by(sort, self._places) for sort in order]
        query: Select[Any] = select(ResourceRow.pk, *columns).where(*self._conditions)
        if after is not None:
            query = query.where(is_after(columns, order, after))
        ordered = [
            c.desc() if sort.is_descending else c.asc() for c, sort in zip(columns, order, strict=True)
        ]
        return query.order_by(*ordered)

    def _few(self, terms: Sequence[Term]) -> list[int] | None:
        """Resources among which all matches are, where a term tells not too many of them.

        SQLite keeps no statistics, and would go through all of a partner's resources of the type instead.
        """
        sql = Conditions(self._places, few=False)
        fewest: list[int] | None = None
        for term in sorted(terms, key=_is_of_a_range):
            if fewest is not None and (len(fewest) <= _VERY_FEW or _is_of_a_range(term)):
                break
            query = sql.resources_of(term)
            if query is None:
                continue
            enough = FEW + 1 if fewest is None else len(fewest)
            found = list(self._session.scalars(query.limit(enough)))
            if len(found) < enough:
                fewest = found
        return fewest


def _is_of_a_range(term: Term) -> bool:
    """What is compared as a whole mostly tells fewer resources than a time or the beginning of a text."""
    return any(isinstance(condition, HasDate | HasText) for condition in term)


def referring(
    session: Session,
    partner: Partner,
    keys: Mapping[str, Iterable[Key]],
    since: datetime | None,
    after: int,
    limit: int,
) -> list[int]:
    """The partner's current resources that have one of the keys of their type, in the order in which they came."""
    hashes = [Places(partner, name).of_key(key) for name, own in keys.items() for key in own]
    told = select(SearchKeyRow.resource_pk).where(
        SearchKeyRow.key.in_(hashes), SearchKeyRow.resource_pk > after
    )
    query = select(ResourceRow.pk).where(
        ResourceRow.pk.in_(told), ResourceRow.partner_id.concat("") == partner.id, ResourceRow.current
    )
    if since is not None:
        query = query.where(ResourceRow.updated_at >= since)
    return list(session.scalars(query.order_by(ResourceRow.pk).limit(limit)))


def _own(partner: Partner, type_name: str) -> list[ColumnElement[bool]]:
    return [ResourceRow.partner_id == partner.id, ResourceRow.type == type_name]


def _own_among(pks: list[int], partner: Partner, type_name: str) -> list[ColumnElement[bool]]:
    """With partner and type as no index has them, so that the database begins with the keys."""
    return [
        ResourceRow.pk.in_(pks),
        ResourceRow.partner_id.concat("") == partner.id,
        ResourceRow.type.concat("") == type_name,
    ]


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


def is_after(
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
    return instant_of(int(value)) if sort.by == "updated" else value
