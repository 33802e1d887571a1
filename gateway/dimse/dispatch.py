"""Which requests are served here, and how every one of them is answered whatever happens."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE, N_ACTION
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined] # made at import

from gateway.dimse import c_find, c_get, c_move, retrieve, storage_commitment
from gateway.dimse.serving import Request
from gateway.dimse.status import Outcome, outcome_of, outcome_of_unexpected
from gateway.errors import GatewayError, NotSupported

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event

    from gateway.services import Services

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """``refusal`` has the statuses that only this service has."""

    sop_classes: tuple[str, ...]
    serve: Callable[[Request], None]
    refusal: Callable[[Exception], Outcome | None] = lambda _: None


_SERVICES: dict[type, Service] = {
    C_FIND: Service(c_find.SOP_CLASSES, c_find.serve_c_find, c_find.refusal),
    C_MOVE: Service(c_move.SOP_CLASSES, c_move.serve_c_move, retrieve.refusal),
    C_GET: Service(c_get.SOP_CLASSES, c_get.serve_c_get, retrieve.refusal),
    N_ACTION: Service(
        (StorageCommitmentPushModel,), storage_commitment.serve_n_action, storage_commitment.refusal
    ),
}


def on_sop_extended(event: "Event") -> dict[str, bytes]:
    """Handler of EVT_SOP_EXTENDED."""
    asked = event.assoc.requestor.sop_class_extended
    retrieving = {
        uid: retrieve.extended(asked[uid])
        for uid in (*c_move.SOP_CLASSES, *c_get.SOP_CLASSES)
        if uid in asked
    }
    return c_find.on_sop_extended(event) | retrieving


def serve(
    services: "Services",
    assoc: "Association",
    others: Callable[[Any, int], None],
    message: Any,
    context_id: int,
) -> None:
    """In place of Association._serve_request, which goes on to serve ``others``.

    pynetdicom's own C-MOVE and C-GET decode every data set and encode it anew.
    """
    context = {cx.context_id: cx for cx in assoc.accepted_contexts}.get(context_id)
    if type(message) not in _SERVICES or context is None or not message.is_valid_request:
        others(message, context_id)
        return
    service = _SERVICES[type(message)]
    request = Request(services, assoc, message, context)
    assoc.dimse.cancel_req = {}
    assoc._is_paused = True  # nothing else reads the association's messages meanwhile
    try:
        _require_its_context(service, request)
        service.serve(request)
    except GatewayError as error:
        name = type(message).__name__
        log.warning("request-refused", service=name, cause=type(error).__name__, reason=str(error))
        _answer(request, service.refusal(error) or outcome_of(error))
    except Exception as error:  # outermost edge of the association's thread
        reference = secrets.token_hex(4)
        log.error("request-failed", service=type(message).__name__, reference=reference, exc_info=error)
        _answer(request, outcome_of_unexpected(reference))
    finally:
        assoc._is_paused = False
        assoc.dimse.cancel_req = {}


def _require_its_context(service: Service, request: Request) -> None:
    """The SOP class of a request is the abstract syntax of its presentation context. Raises NotSupported, answered with
    0122 (PS3.7 C.4.2, 9.1.2.1.9)."""
    message = request.message
    asked = getattr(message, "AffectedSOPClassUID", None) or getattr(message, "RequestedSOPClassUID", None)
    if asked not in service.sop_classes or asked != request.context.abstract_syntax:
        raise NotSupported("The presentation context is of another SOP class.")


def _answer(request: Request, found: Outcome) -> None:
    if request.is_open:
        request.respond(found)
