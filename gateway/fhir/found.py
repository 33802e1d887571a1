"""What a search finds: of the store what partners sent, and beside it what the gateway makes of their cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.case.access import Partner
from gateway.case.searching import Found, SearchValues, all_hold
from gateway.fhir import served
from gateway.fhir.search import Query
from gateway.fhir.served import Served
from gateway.store import resources
from gateway.store.database import Session
from gateway.store.report_search import ReportSearch
from gateway.store.resource_search import Search, Sort, SortValue
from mappings.fhir_search_values import search_values

if TYPE_CHECKING:
    from gateway.services import Services

Position = tuple[SortValue, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """``after`` is where the next page begins; None on the last one."""

    matches: list[Served]
    total: int | None
    after: Position | None = None


@dataclass(frozen=True, slots=True)
class _Placed:
    position: Position
    served: Served | None
    pk: int = 0


def find(
    services: Services, session: Session, partner: Partner, query: Query, after: Position | None
) -> Page:
    """A page of the query's matches in its order."""
    asked = Search(session, partner, query.type, query.terms)
    made, made_total = _made(services, session, partner, query, after)
    wants_total = query.total != "none" or query.only_total
    if query.only_total:
        return Page([], asked.total() + made_total)
    hits, count = (
        asked.counted_page(query.order, after, query.count + 1)
        if wants_total
        else (asked.page(query.order, after, query.count + 1), 0)
    )
    total = count + made_total if wants_total else None
    later = [one for one in made if after is None or _is_after(one.position, query.order, after)]
    placed = _in_order([*(_Placed(hit.position, None, hit.pk) for hit in hits), *later], query.order)
    on_page = placed[: query.count]
    next_after = on_page[-1].position if len(placed) > query.count else None
    return Page(_served(session, partner, on_page), total, next_after)


def _made(
    services: Services, session: Session, partner: Partner, query: Query, after: Position | None
) -> tuple[list[_Placed], int]:
    """What the gateway makes, and how many match: all of them, or of reports those of the page where it can be."""
    if query.type == "DiagnosticReport":
        reports = ReportSearch(session, partner, query.terms)
        if reports.is_paged_by(query.order):
            signed = [] if query.only_total else reports.page(query.order, after, query.count + 1)
            return [
                _placed(query, one, _NOTHING) for one in served.reports(services, signed)
            ], reports.total()
    made = _all_made(services, session, partner, query)
    return made, len(made)


def _all_made(services: Services, session: Session, partner: Partner, query: Query) -> list[_Placed]:
    if not served.is_made(query.type):
        return []
    found = []
    for one in served.made(services, session, partner, query.type, query.terms):
        values = search_values(query.type, one.resource)
        if all_hold(query.terms, Found(one.id, one.updated_at, values)):
            found.append(_placed(query, one, values))
    return found


_NOTHING = SearchValues(frozenset(), frozenset(), frozenset(), frozenset())


def _placed(query: Query, one: Served, values: SearchValues) -> _Placed:
    read = Found(one.id, one.updated_at, values)
    return _Placed(tuple(sort.of(read) for sort in query.order), one)


def _served(session: Session, partner: Partner, placed: list[_Placed]) -> list[Served]:
    stored = resources.by_pk(session, partner, [one.pk for one in placed if one.served is None])
    by_pk = {resource.pk: served.sent(resource) for resource in stored}
    return [one.served or by_pk[one.pk] for one in placed]


def _in_order(placed: list[_Placed], order: Sequence[Sort]) -> list[_Placed]:
    """By the last sort first: sorting keeps what is the same in its order."""
    for place in reversed(range(len(order))):
        placed.sort(key=lambda one: one.position[place], reverse=order[place].is_descending)
    return placed


def _is_after(position: Position, order: Sequence[Sort], after: Position) -> bool:
    for value, sort, mark in zip(position, order, after, strict=True):
        if value != mark:
            return (value < mark) is sort.is_descending  # type: ignore[operator]  # both are of the same sort
    return False
