"""C-STORE as SCP (PS3.4 Annex B, PS3.7 9.1.1).

Success is answered only when the instance is on disk, and indexed or sure to be at once (workflow/receive_stream.py).
It is success too when another data set is here
under the same UID: both are kept and a person at the receiving hospital decides, while a failure would make the sender
repeat for ever, and none of the warnings of PS3.4 Table B.2-1 says it. A damaged file whose header is whole is stored
with the warning B007: what was kept does not keep the rules of its SOP class (ADR 18).

So is an instance of another SOP class than that of the presentation context in which it came (ADR 30). In the context
of another service, or where the sender has negotiated not to store, it is refused with 0122. Who may not store (no
scope ``c`` of ImagingStudy, as STOW-RS needs it) is refused with 0124; of that only a row on the trail is kept.
"""

import secrets
from typing import TYPE_CHECKING

import structlog

from gateway.auth.ae import require_imaging_scope
from gateway.dimse.admission import partner_now
from gateway.dimse.arriving import ArrivingDataSet, StoringDimse
from gateway.dimse.command_set import StoreRequest
from gateway.dimse.status import (
    DATA_SET_DOES_NOT_MATCH,
    SUCCESS,
    Outcome,
    outcome,
    outcome_of,
    outcome_of_unexpected,
)
from gateway.errors import Forbidden, GatewayError
from gateway.workflow.receive import Arrival, record_refusal

if TYPE_CHECKING:
    from gateway.services import Services

log = structlog.get_logger(__name__)


def serve_c_store(
    services: "Services", dimse: StoringDimse, request: StoreRequest, arriving: ArrivingDataSet
) -> Outcome:
    """Each instance fails alone: nothing is raised, whatever happens."""
    try:
        return _store(services, dimse, request, arriving)
    except GatewayError as error:
        log.warning("c-store-refused", cause=type(error).__name__, reason=str(error), **_whence(dimse))
        return outcome_of(error)
    except Exception as error:  # outermost edge of the association's thread
        reference = secrets.token_hex(4)
        log.error("c-store-failed", reference=reference, exc_info=error, **_whence(dimse))
        return outcome_of_unexpected(reference)


def _store(
    services: "Services", dimse: StoringDimse, request: StoreRequest, arriving: ArrivingDataSet
) -> Outcome:
    if dimse.peer is None:
        raise Forbidden("This association may not store.")
    peer, partner = dimse.peer, partner_now(services, dimse.peer)
    try:
        require_imaging_scope(partner, "c")
    except Forbidden as error:
        record_refusal(services, partner, peer.origin, error)
        raise
    arrival = Arrival(arriving.received(), sop_instance_uid=request.sop_instance_uid)
    header = dimse.stream.take(partner, arrival, peer.origin)
    if header.sop_class_uid != request.sop_class_uid:
        return outcome(DATA_SET_DOES_NOT_MATCH, "Stored; its SOP class is not the one announced.")
    if dimse.abstract_syntax != request.sop_class_uid:
        return outcome(DATA_SET_DOES_NOT_MATCH, "Stored; its presentation context is of another SOP class.")
    if header.fault:
        return outcome(DATA_SET_DOES_NOT_MATCH, f"Stored, damaged. {header.fault}")
    if header.remark:
        return outcome(DATA_SET_DOES_NOT_MATCH, f"Stored. {header.remark}")
    return Outcome(SUCCESS)


def _whence(dimse: StoringDimse) -> dict[str, str]:
    return {"partner": dimse.peer.partner.id, "peer": dimse.peer.origin.address} if dimse.peer else {}
