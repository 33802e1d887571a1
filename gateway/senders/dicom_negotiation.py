"""Opening a DICOM association as its requestor: connection, TLS, A-ASSOCIATE (PS3.8 7.1, 9.3; PS3.7 D.3)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext

from gateway.errors import PeerRefused, PeerUnreachable
from gateway.senders.dicom_association import (
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    HEAD,
    MAX_PDU_BYTES,
    PATIENCE,
    Association,
    Patience,
)
from mappings.dicom_file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

if TYPE_CHECKING:
    import ssl

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1
MAX_NEGOTIATION_BYTES = 1024 * 1024
_FIXED_ACCEPTANCE_BYTES = 68  # before the items of an A-ASSOCIATE-AC (PS3.8 Table 9-17)
_REASONS = {  # PS3.8 Table 9-21, by source and reason
    (1, 2): "it does not know the application context",
    (1, 3): "it does not recognise the gateway's AE title",
    (1, 7): "it does not recognise the AE title that is registered for it",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


@dataclass(frozen=True, slots=True)
class Called:
    """Whom to call. ``tls`` verifies the peer's certificate, ``certificate_fits`` whether it is the registered one."""

    ae_title: str
    host: str
    port: int
    own_ae_title: str
    tls: ssl.SSLContext | None = None
    certificate_fits: Callable[[socket.socket], bool] | None = None

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


@contextmanager
def associate(
    called: Called,
    contexts: Sequence[tuple[str, Sequence[str]]],
    *,
    provided: Collection[str] = (),
    patience: Patience | None = None,
) -> Iterator[Association]:
    """An association that proposes each (abstract syntax, transfer syntaxes); released at the end, aborted on an error.

    Of the abstract syntaxes in ``provided`` the gateway is the SCP (role selection, PS3.7 D.3.3.4). Raises
    PeerUnreachable, PeerRefused when the peer refuses for good.
    """
    patience = patience or PATIENCE
    peer = _connect(called, patience)
    try:
        association = _negotiate(peer, called, contexts, provided, patience)
        try:
            yield association
        except Exception:
            association.abort()
            raise
        finally:
            association.release()
    finally:
        peer.close()


def _connect(called: Called, patience: Patience) -> socket.socket:
    try:
        peer = socket.create_connection((called.host, called.port), timeout=patience.connect)
    except OSError as error:
        raise PeerUnreachable(f"The DICOM peer {called} cannot be reached.") from error
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if called.tls is None:
        return peer
    try:
        peer.settimeout(patience.negotiation)
        secure = called.tls.wrap_socket(peer, server_hostname=called.host)
    except OSError as error:
        peer.close()
        raise PeerUnreachable(f"There is no TLS with the DICOM peer {called}.") from error
    if called.certificate_fits is not None and not called.certificate_fits(secure):
        secure.close()
        raise PeerUnreachable(f"The DICOM peer {called} has another certificate than is registered.")
    return secure


def _negotiate(
    peer: socket.socket,
    called: Called,
    contexts: Sequence[tuple[str, Sequence[str]]],
    provided: Collection[str],
    patience: Patience,
) -> Association:
    proposed = [_context(2 * index + 1, *context) for index, context in enumerate(contexts)]
    association = Association(peer, patience, {}, 0)
    with association.sending():
        peer.sendall(_request(called, proposed, provided))
    kind, body = association.read_pdu(patience.negotiation, MAX_NEGOTIATION_BYTES)
    if kind == ASSOCIATE_RJ and len(body) == 4:
        raise _rejection(called, *body[1:])
    if kind != ASSOCIATE_AC:
        raise association.broken("no answer to the request for an association")
    try:
        accepted, max_pdu_bytes = _acceptance(body, proposed)
    except Exception as error:  # whatever pynetdicom cannot read of what the peer wrote
        raise association.broken("an unreadable answer to the request for an association") from error
    return Association(peer, patience, accepted, max_pdu_bytes)


def _context(context_id: int, abstract_syntax: str, transfer_syntaxes: Sequence[str]) -> PresentationContext:
    made = PresentationContext()
    made.context_id = context_id
    made.abstract_syntax = UID(abstract_syntax)
    made.transfer_syntax = [UID(syntax) for syntax in transfer_syntaxes]
    return made


def _request(called: Called, proposed: Sequence[PresentationContext], provided: Collection[str]) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(APPLICATION_CONTEXT)
    primitive.calling_ae_title = called.own_ae_title
    primitive.called_ae_title = called.ae_title
    primitive.presentation_context_definition_list = list(proposed)
    primitive.user_information = [
        *_notifications(),
        *map(_provider_role, sorted(provided)),
    ]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def _notifications() -> list[Any]:
    length, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = MAX_PDU_BYTES
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return [length, implementation, version]


def _provider_role(abstract_syntax: str) -> SCP_SCU_RoleSelectionNegotiation:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = UID(abstract_syntax)
    role.scu_role, role.scp_role = False, True
    return role


def _acceptance(
    body: bytearray, proposed: Sequence[PresentationContext]
) -> tuple[dict[int, tuple[str, str]], int]:
    """Accepted contexts as (abstract syntax, transfer syntax) by their ids, and the longest PDU that the peer takes.

    Raises ValueError, and what pynetdicom raises for what it cannot read.
    """
    if len(body) < _FIXED_ACCEPTANCE_BYTES:
        raise ValueError("the A-ASSOCIATE-AC ends early")
    pdu = A_ASSOCIATE_AC()
    pdu.decode(HEAD.pack(ASSOCIATE_AC, len(body)) + bytes(body))
    primitive = pdu.to_primitive()
    abstract = {context.context_id: str(context.abstract_syntax) for context in proposed}
    accepted = {
        context.context_id or 0: (abstract[context.context_id], str(context.transfer_syntax[0]))
        for context in primitive.presentation_context_definition_results_list
        if context.result == 0 and context.context_id in abstract
    }
    return accepted, primitive.maximum_length_received or 0


def _rejection(called: Called, result: int, source: int, reason: int) -> PeerRefused | PeerUnreachable:
    words = _REASONS.get((source, reason), "no reason given")
    kind = PeerUnreachable if result == 2 else PeerRefused  # transient, permanent (PS3.8 Table 9-21)
    return kind(f"The DICOM peer {called} rejected the association: {words}.")
