"""What a partner reads or searches of its own data: on the audit trail before it is answered."""

from typing import TYPE_CHECKING, Any

from gateway import audit
from gateway.case.access import Origin, Partner

if TYPE_CHECKING:
    from gateway.services import Services

READ, SEARCH = "read", "search"


def record(
    services: "Services", partner: Partner, action: str, subject: str, origin: Origin, **detail: Any
) -> None:
    """One row for one request. ``detail`` holds counts and codes, never what was searched for (decision 10)."""
    with services.database.transaction() as session:
        audit.record(session, partner, action, subject, origin=origin, **detail)
