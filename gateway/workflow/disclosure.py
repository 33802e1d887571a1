"""What a partner reads, searches or has checked of its own data: on the audit trail before it is answered."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway import audit
from gateway.case.access import Origin, Partner
from gateway.store.trail import Act

if TYPE_CHECKING:
    from gateway.services import Services

READ, SEARCH = "read", "search"
CHECK, VALIDATE = "check", "validate"


def record(
    services: "Services", partner: Partner, action: str, subject: str, origin: Origin, **detail: Any
) -> None:
    """One row for one request. ``detail`` holds counts and codes, never what was searched for (decision 10)."""
    with services.database.transaction() as session:
        audit.record(session, partner, action, subject, origin=origin, **detail)


def record_each(
    services: "Services",
    partner: Partner,
    action: str,
    subjects: Mapping[str, dict[str, Any]],
    origin: Origin,
) -> None:
    """One row for each subject of one request, with its detail; all of them or none."""
    with services.database.transaction() as session:
        acts = [Act(action, subject, detail=detail) for subject, detail in subjects.items()]
        audit.record_all(session, partner, acts, origin)
