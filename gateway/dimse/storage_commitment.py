"""Storage Commitment Push Model as SCP (PS3.4 Annex J): the request, and its report on the same association."""

import time

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID

from gateway.dimse import exchange
from gateway.dimse.serving import Request
from gateway.dimse.status import (
    INVALID_ARGUMENT,
    NO_SUCH_ACTION,
    NO_SUCH_INSTANCE,
    SUCCESS,
    Outcome,
    outcome,
)
from gateway.errors import GatewayError, InvalidContent
from gateway.workflow import commit_storage
from gateway.workflow.commit_storage import Event
from mappings.storage_commitment import REQUEST_ACTION_TYPE, SOP_CLASS_UID, SOP_INSTANCE_UID, read_request

CHANNEL = "n-action"
_INTERACTIONS = ("s", "c")
N_EVENT_REPORT_RQ = 0x0100  # Command Field (0000,0100), PS3.7 Table E.1-1
ANSWER_SECONDS = 30.0
LINGER_SECONDS = 0.3  # a peer that is about to release the association does so now

log = structlog.get_logger(__name__)


def serve_n_action(request: Request) -> None:
    """Success is answered when the request is kept. Raises GatewayError.

    Asked of is what is kept, as by a search; and who may only store must hear of it too, before it deletes its own.
    """
    message = request.message
    if message.RequestedSOPInstanceUID != SOP_INSTANCE_UID:
        request.respond(outcome(NO_SUCH_INSTANCE, "Only the well-known instance takes requests."))
        return
    if message.ActionTypeID != REQUEST_ACTION_TYPE:
        request.respond(outcome(NO_SUCH_ACTION, "Only action type 1 is offered."))
        return
    partner = request.permitted(*_INTERACTIONS)
    asked = read_request(request.data_set(message.ActionInformation))
    ae_title, origin = request.peer.caller.ae_title, request.origin(CHANNEL)
    commitment_id = commit_storage.request(request.services, partner, ae_title, asked, origin)
    request.respond(Outcome(SUCCESS), ActionTypeID=REQUEST_ACTION_TYPE)
    _report_here(request, commitment_id)


def refusal(error: Exception) -> Outcome | None:
    return outcome(INVALID_ARGUMENT, str(error)) if isinstance(error, InvalidContent) else None


def _report_here(request: Request, commitment_id: str) -> None:
    """Whatever keeps it from being reported here, the worker reports it."""
    try:
        if _stays(request):
            event = commit_storage.examine(request.services, commitment_id, lambda: request.is_open)
            request.permitted(*_INTERACTIONS)
            if event is not None and _is_taken(request, event):
                commit_storage.record_reported(request.services, commitment_id)
                return
        commit_storage.leave_to_worker(request.services, commitment_id)
    except GatewayError as error:
        log.warning("commitment-left-to-worker", commitment=commitment_id, reason=str(error))


def _stays(request: Request) -> bool:
    """Looked at only after the whole while: by then what came on other associations is indexed (ADR 27)."""
    time.sleep(LINGER_SECONDS)
    return request.is_open


def _is_taken(request: Request, event: Event) -> bool:
    command = Dataset()
    command.AffectedSOPClassUID = UID(SOP_CLASS_UID)
    command.CommandField = N_EVENT_REPORT_RQ
    command.MessageID = request.message.MessageID
    command.AffectedSOPInstanceUID = UID(SOP_INSTANCE_UID)
    command.EventTypeID = event.type
    if not exchange.send(request.assoc, request.context_id, command, request.encoded(event.information)):
        return False
    answer = exchange.receive_answer(request.assoc, command.MessageID, ANSWER_SECONDS)
    return answer is not None and answer.Status == SUCCESS
