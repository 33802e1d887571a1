"""C-MOVE as SCP (PS3.4 C.4.2): a partner's own instances to one of its own registered application entities.

A data set is sent as its bytes stand where the destination takes the stored transfer syntax, and otherwise in Explicit
or Implicit VR Little Endian, without loss.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made at import
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelMove,
)

from gateway.dimse import admission, retrieve
from gateway.dimse.data_set import opened, syntax_for
from gateway.dimse.retrieve import Delivery, SubOperation
from gateway.dimse.serving import Request
from gateway.dimse.status import MOVE_DESTINATION_UNKNOWN, outcome
from gateway.errors import DeliveryFailed, Forbidden, GatewayError
from gateway.store import partners
from mappings.dicom_structure import EXPLICIT_LITTLE, IMPLICIT_LITTLE

if TYPE_CHECKING:
    from gateway.senders.dicom_scu import Answer, Scu
    from gateway.store.partners import ApplicationEntity
    from gateway.store.tables import InstanceRow

CHANNEL = "c-move"
SOP_CLASSES = (
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelMove,
)
MAX_CONTEXTS = 128  # of one association (PS3.8 9.3.2.2)

log = structlog.get_logger(__name__)


def serve_c_move(request: Request) -> None:
    """Raises GatewayError before the first sub-operation; what goes wrong with one is counted."""
    with_patients = request.message.AffectedSOPClassUID == PatientRootQueryRetrieveInformationModelMove
    keys = retrieve.wanted(request, with_patients)
    entity = _registered(request)
    if entity is None:
        request.respond(outcome(MOVE_DESTINATION_UNKNOWN, "The destination is not registered for you."))
        return
    destination = _Destination(request, entity)
    partner, rows = retrieve.find(request, keys)
    retrieve.disclose(request, partner, CHANNEL, rows, destination=entity.ae_title)
    retrieve.run(request, rows, _deliver(destination, rows))


def _registered(request: Request) -> "ApplicationEntity | None":
    """As registered now, and only where the gateway knows how to call it. Raises UnknownSender, Forbidden."""
    partner = request.permitted("r")
    title = str(request.message.MoveDestination or "").strip()
    with request.services.database.reading() as session:
        entities = partners.get(session, partner.id).application_entities
    return next((ae for ae in entities if ae.ae_title == title and ae.host), None)


@dataclass
class _Destination:
    """Of one C-MOVE, as it was registered when that began."""

    request: Request
    entity: "ApplicationEntity"
    looked_at: float = field(default_factory=time.monotonic)

    def require(self) -> None:
        """Raises UnknownSender, Forbidden when who asked may have nothing more, or nothing more sent to there."""
        self.request.permitted("r")
        if time.monotonic() - self.looked_at <= admission.RECOGNISED_SECONDS:
            return
        if _registered(self.request) != self.entity:
            raise Forbidden("The destination is registered for you no more, or otherwise.")
        self.looked_at = time.monotonic()


def _deliver(destination: _Destination, rows: Sequence["InstanceRow"]) -> Delivery:
    for batch in _batches(rows):
        yield from _deliver_batch(destination, deque(batch))


def _deliver_batch(destination: _Destination, waiting: "deque[InstanceRow]") -> Delivery:
    """On one association, and on another one when it breaks after something has arrived."""
    contexts = list(_contexts(waiting))
    while waiting:
        has_progressed = False
        try:
            destination.require()
            with destination.request.services.call(destination.entity, contexts) as scu:
                while waiting:
                    how = _send(destination, scu, waiting[0])
                    has_progressed |= how is not SubOperation.FAILED
                    yield waiting.popleft(), how
        except DeliveryFailed as error:
            log.warning(
                "c-move-broke", destination=destination.entity.ae_title, reason=str(error), left=len(waiting)
            )
            while waiting:
                yield waiting.popleft(), SubOperation.FAILED
                if has_progressed:
                    break


def _send(destination: _Destination, scu: "Scu", row: "InstanceRow") -> SubOperation:
    """Raises PeerUnreachable when the association is of no use any more; see ``_Destination.require``."""
    destination.require()
    request = destination.request
    syntax = syntax_for(row, scu.accepted_syntaxes(row.sop_class_uid))
    context_id = scu.context_of(row.sop_class_uid, syntax) if syntax else None
    if syntax is None or context_id is None:
        return SubOperation.FAILED
    originator = (request.peer.caller.ae_title, request.message.MessageID)
    try:
        with opened(request.services, row, syntax) as data:
            answer = scu.store(context_id, row.sop_class_uid, row.sop_instance_uid, data, originator)
    except DeliveryFailed:
        raise
    except GatewayError as error:
        log.warning("c-move-instance-failed", instance=row.id, reason=str(error))
        return SubOperation.FAILED
    return _how(row, answer)


def _how(row: "InstanceRow", answer: "Answer") -> SubOperation:
    if answer.is_success:
        return SubOperation.COMPLETED
    if answer.is_warning:
        return SubOperation.WARNING
    log.warning("c-move-instance-refused", instance=row.id, status=f"{answer.status:04X}")
    return SubOperation.FAILED


def _batches(rows: Sequence["InstanceRow"]) -> Iterator[list["InstanceRow"]]:
    """As many as the contexts of one association suffice for."""
    batch: list[InstanceRow] = []
    for row in rows:
        if batch and len(list(_contexts([*batch, row]))) > MAX_CONTEXTS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _contexts(rows: Sequence["InstanceRow"]) -> Iterator[tuple[str, list[str]]]:
    """The stored transfer syntaxes one by one, since a peer accepts one of each context; then what all can be made."""
    stored: dict[str, dict[str, None]] = {}
    for row in rows:
        stored.setdefault(row.sop_class_uid, {})[row.transfer_syntax_uid] = None
    for sop_class_uid, syntaxes in stored.items():
        for syntax in syntaxes:
            yield sop_class_uid, [syntax]
        if others := [syntax for syntax in (EXPLICIT_LITTLE, IMPLICIT_LITTLE) if syntax not in syntaxes]:
            yield sop_class_uid, others
