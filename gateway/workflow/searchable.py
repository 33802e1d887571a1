"""What partners sent, made searchable: after it was received, and at the latest when somebody searches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.case.access import SYSTEM_ACTOR, Partner
from gateway.errors import StoreUnavailable
from gateway.store import cases, partners, search_index
from gateway.store.database import Session
from mappings.fhir_search_values import search_values

if TYPE_CHECKING:
    from gateway.services import Services

_AT_ONCE = 500
_TRIES = 5


@contextmanager
def searching(services: Services, partner: Partner) -> Iterator[Session]:
    """A snapshot in which everything that the partner has sent can be found.

    Raises StoreUnavailable when so much comes in meanwhile that there is none.
    """
    for _ in range(_TRIES):
        with services.database.reading() as session:
            if search_index.is_complete(session, partner):
                yield session
                return
        make_searchable(services, partner)
    raise StoreUnavailable("More is being received than can be made searchable; please ask again.")


def make_case_searchable(services: Services, case_id: str) -> None:
    """What the case's partner has sent."""
    with services.database.reading() as session:
        partner_id = cases.row(session, SYSTEM_ACTOR, case_id).partner_id
        partner = partners.get(session, partner_id).partner
    make_searchable(services, partner)


def make_searchable(services: Services, partner: Partner) -> None:
    """Other processes may be at it too."""
    while _next(services, partner):
        pass


def _next(services: Services, partner: Partner) -> bool:
    """Some of what waits; whether there may be more."""
    with services.database.transaction(is_repeatable=True) as session:
        partners.lock(session, partner)
        return index_some(session, partner)


def index_some(session: Session, partner: Partner) -> bool:
    """Some of what waits, under partners.lock; whether there may be more."""
    waiting = search_index.unindexed(session, partner, _AT_ONCE)
    if waiting:
        values = [(version, search_values(version.type, version.content)) for version in waiting]
        search_index.write(session, partner, values)
    return len(waiting) == _AT_ONCE
