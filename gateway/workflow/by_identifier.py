"""The sender's resources of a type by any of their identifiers: what a conditional reference or create names."""

from collections.abc import Iterable

from gateway.case.access import Partner
from gateway.case.searching import Form, HasKey, Key
from gateway.store import resources
from gateway.store.database import Session
from gateway.store.resource_search import ARRIVAL, Search
from gateway.store.resources import StoredResource
from gateway.workflow.searchable import index_some

Criteria = tuple[str, str]
"""Resource type and ``system|value``."""
_PATHS = ("identifier", "masterIdentifier")
_FEW = 10


def by_identifier(
    session: Session, partner: Partner, wanted: Iterable[Criteria]
) -> dict[Criteria, list[StoredResource]]:
    """At most a few for each; under partners.lock, for what waits to be made searchable is made so first."""
    asked = sorted(set(wanted))
    while asked and index_some(session, partner):
        pass
    return {criteria: _found(session, partner, criteria) for criteria in asked}


def _found(session: Session, partner: Partner, criteria: Criteria) -> list[StoredResource]:
    kind, value = criteria
    keys = frozenset(Key(path, Form.SYSTEM_AND_CODE, value) for path in _PATHS)
    hits = Search(session, partner, kind, [(HasKey(keys),)]).page(ARRIVAL, None, _FEW)
    return resources.by_pk(session, partner, [hit.pk for hit in hits])
