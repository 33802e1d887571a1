"""Who may open an association, and how many at a time (PS3.8 9.3.4)."""

import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import structlog
from pynetdicom._globals import APPLICATION_CONTEXT_NAME
from pynetdicom.acse import ACSE
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from gateway.auth.ae import Caller, Certificate, Recognised, authenticate_again, known_ae
from gateway.case.access import Origin, Partner
from gateway.dimse.arriving import Peer, StoringDimse
from gateway.dimse.command_set import SMALLEST_PDU_BYTES
from gateway.dimse.room import RoomOfProcess
from gateway.errors import StoreUnavailable, UnknownSender

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event
    from pynetdicom.pdu_primitives import A_ASSOCIATE
    from pynetdicom.transport import AssociationSocket

    from gateway.services import Services

log = structlog.get_logger(__name__)

CHANNEL = "c-store"
RECOGNISED_SECONDS = 0.1
USER_REJECTION = 0x01  # of a presentation context (PS3.8 Table 9-18)
_CONVERTIBLE = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")  # Explicit, Implicit VR Little Endian


class Refusal(Enum):
    """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    APPLICATION_CONTEXT_UNKNOWN = (1, 1, 2)
    CALLED_AE_UNKNOWN = (1, 1, 7)
    CALLING_AE_UNKNOWN = (1, 1, 3)
    PDU_TOO_SHORT = (1, 2, 1)
    NO_REASON = (2, 1, 1)
    CONGESTION = (2, 3, 1)
    LIMIT_EXCEEDED = (2, 3, 2)


@dataclass
class Admission:
    """Decides on each A-ASSOCIATE-RQ; what it does not admit is never served."""

    services: "Services"
    room: RoomOfProcess
    _places: dict["Association", int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on_requested(self, event: "Event") -> None:
        """Handler of EVT_REQUESTED. pynetdicom would accept after an exception here, so every one refuses."""
        why = ""
        try:
            refusal = self._decide(event.assoc)
        except UnknownSender as error:
            refusal, why = Refusal.CALLING_AE_UNKNOWN, str(error)
        except StoreUnavailable:
            refusal = Refusal.CONGESTION
        except Exception as error:  # outermost edge of the association's thread
            log.error("association-failed", exc_info=error)
            refusal = Refusal.NO_REASON
        if refusal is None:
            prefer_convertible(event.assoc)
        else:
            _refuse(event.assoc, refusal, why)

    def _decide(self, assoc: "Association") -> Refusal | None:
        caller = _caller(assoc)
        if _request(assoc).application_context_name != APPLICATION_CONTEXT_NAME:
            return Refusal.APPLICATION_CONTEXT_UNKNOWN
        if not caller.ae_title:
            return Refusal.CALLING_AE_UNKNOWN
        known = known_ae(self.services, caller)
        if not known.may_call(caller.called_ae_title, self.services.config.ae_title):
            return Refusal.CALLED_AE_UNKNOWN
        if 0 < (_request(assoc).maximum_length_received or 0) < SMALLEST_PDU_BYTES:
            return Refusal.PDU_TOO_SHORT  # no answer would fit into what the peer takes
        if not self._takes_place(assoc, known.partner):
            return Refusal.LIMIT_EXCEEDED
        origin = Origin(CHANNEL, f"{caller.ae_title}@{caller.address}")
        recognised = Recognised(known.partner, None), time.monotonic()
        cast(StoringDimse, assoc.dimse).peer = Peer(caller, known.partner, origin, *recognised)
        return None

    def _takes_place(self, assoc: "Association", partner: Partner) -> bool:
        with self._lock:
            for ended in [other for other in self._places if not other.is_alive()]:
                self.room.room.give_back(self._places.pop(ended))
            place = self.room.take(partner.id)
            if place is None:
                return False
            self._places[assoc] = place
            return True

    def on_ended(self, event: "Event") -> None:
        """Handler of EVT_RELEASED, EVT_ABORTED and EVT_CONN_CLOSE."""
        with self._lock:
            place = self._places.pop(event.assoc, None)
        if place is not None:
            self.room.room.give_back(place)


class AssociationControl(ACSE):
    """pynetdicom's negotiation, but for a context in which the peer will be neither SCU nor SCP: it refuses none of
    storage, and then fails to answer (PS3.7 D.3.3.4)."""

    def send_accept(self) -> None:
        roles = self.requestor.role_selection
        without = {uid for uid, role in roles.items() if not (role.scu_role or role.scp_role)}
        for context in self.assoc.accepted_contexts:
            if context.abstract_syntax in without:
                context.result = USER_REJECTION
                self.assoc._rejected_cx.append(self.assoc._accepted_cx.pop(cast(int, context.context_id)))
        answered: list[Any] = self.acceptor._ext_neg[SCP_SCU_RoleSelectionNegotiation]
        answered[:] = [item for item in answered if item.sop_class_uid not in without]
        super().send_accept()


def prefer_convertible(assoc: "Association") -> None:
    """Where a peer will store (C-GET) and proposes several transfer syntaxes, the one into which most can be made.

    pynetdicom accepts the first that is proposed of a storage class, which may be one into which nothing is encoded.
    """
    roles = assoc.requestor.role_selection
    for context in _request(assoc).presentation_context_definition_list:
        if context.abstract_syntax in roles and roles[context.abstract_syntax].scp_role:
            context.transfer_syntax = sorted(context.transfer_syntax, key=_preference)


def _preference(transfer_syntax: str | bytes) -> int:
    """The order of the others stays."""
    return _CONVERTIBLE.index(transfer_syntax) if transfer_syntax in _CONVERTIBLE else len(_CONVERTIBLE)


def partner_now(services: "Services", peer: Peer) -> Partner:
    """An association may stay open for hours: what the operator changes holds ``RECOGNISED_SECONDS`` later.

    Raises UnknownSender.
    """
    if time.monotonic() - peer.recognised_at > RECOGNISED_SECONDS:
        peer.recognised = authenticate_again(services, peer.caller, peer.recognised)
        peer.recognised_at = time.monotonic()
    if peer.recognised.partner.id != peer.partner.id:
        raise UnknownSender("The calling AE title belongs to another partner now; open a new association.")
    return peer.recognised.partner


def _request(assoc: "Association") -> "A_ASSOCIATE":
    return cast("A_ASSOCIATE", assoc.requestor.primitive)


def _caller(assoc: "Association") -> Caller:
    """A title that is none is ''."""
    request = _request(assoc)
    pdus = cast("AssociationSocket", assoc.dul.socket)
    return Caller(
        ae_title=request.calling_ae_title.strip(),
        called_ae_title=request.called_ae_title.strip(),
        address=assoc.requestor.address,
        certificate=Certificate.of(pdus.socket) if pdus.socket else None,
    )


def _refuse(assoc: "Association", refusal: Refusal, why: str) -> None:
    caller = _caller(assoc)
    log.warning(
        "association-refused",
        reason=refusal.name,
        why=why,
        calling_ae=caller.ae_title,
        called_ae=caller.called_ae_title,
        address=caller.address,
        certificate=caller.certificate and f"{caller.certificate.subject} {caller.certificate.fingerprint}",
    )
    assoc.acse.send_reject(*refusal.value)
    assoc.kill()
