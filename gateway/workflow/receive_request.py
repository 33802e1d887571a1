"""A request of which the stored files were only derived: it is kept beside them, byte for byte (decision 1)."""

from typing import TYPE_CHECKING

from gateway import audit
from gateway.case.access import Origin, Partner
from gateway.errors import GatewayError
from gateway.store import receipts
from gateway.store.objects import Spool
from gateway.workflow.receive import keep_refused

if TYPE_CHECKING:
    from gateway.services import Services


def keep_request(
    services: "Services",
    partner: Partner,
    spool: Spool,
    origin: Origin,
    content_type: str,
    error: GatewayError | None,
) -> str:
    """Returns the receipt's id; it is a refused one where there is an error, so that a person can look at it.

    Raises StoreUnavailable.
    """
    if error is not None:
        return keep_refused(services, partner, spool, origin, content_type, error)
    stored = services.objects.keep(spool)
    with services.database.transaction() as session:
        receipt = receipts.add(session, partner, stored, origin, content_type)
        audit.record(session, partner, "request-kept", f"receipt:{receipt.id}", origin=origin)
        return receipt.id
