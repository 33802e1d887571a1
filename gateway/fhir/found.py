"""What a search finds: of the store what partners sent, and beside it what the gateway makes of their cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.case.access import Partner
from gateway.case.searching import Found, all_hold
from gateway.fhir import served
from gateway.fhir.search import Query
from gateway.fhir.served import Served
from gateway.store import resources
from gateway.store.database import Session
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
    made = _made(services, session, partner, query)
    wants_total = query.total != "none" or query.only_total
    if query.only_total:
        return Page([], asked.total() + len(made))
    hits, count = (
        asked.counted_page(query.order, after, query.count + 1)
        if wants_total
        else (asked.page(query.order, after, query.count + 1), 0)
    )
    total = count + len(made) if wants_total else None
    later = [one for one in made if after is None or _is_after(one.position, query.order, after)]
    placed = _in_order([*(_Placed(hit.position, None, hit.pk) for hit in hits), *later], query.order)
    on_page = placed[: query.count]
    next_after = on_page[-1].position if len(placed) > query.count else None
    return Page(_served(session, partner, on_page), total, next_after)


def _made(services: Services, session: Session, partner: Partner, query: Query) -> list[_Placed]:
    if not served.is_made(query.type):
        return []
    found = []
    for one in served.made(services, session, partner, query.type, query.terms):
        read = Found(one.id, one.updated_at, search_values(query.type, one.resource))
        if all_hold(query.terms, read):
            found.append(_Placed(tuple(sort.of(read) for sort in query.order), one))
    return found


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
