"""The DICOM listener: Verification and Storage as SCP for the hospitals' PACS and modalities (PS3.4 Annexes A, B).

Every storage SOP class, also private and unknown ones, is accepted in the transfer syntax that the peer proposes first:
nothing is decoded here, so none has to be understood.
"""

import socket
import sys
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import structlog
from pynetdicom import AE, evt
from pynetdicom.dul import DULServiceProvider
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made at import
    StorageCommitmentPushModel,
    Verification,
)
from pynetdicom.transport import AssociationServer, RequestHandler

from gateway.dimse import c_find, c_get, c_move, dispatch
from gateway.dimse.admission import Admission, AssociationControl
from gateway.dimse.arriving import StoringDimse
from gateway.dimse.c_store import serve_c_store
from gateway.dimse.incoming import Incoming, hang_up, to_give_way
from gateway.dimse.library import configure_pynetdicom
from gateway.dimse.listening import Listeners, listen
from gateway.dimse.room import RoomOfProcess
from gateway.dimse.tls import ServerTls, shake_hands
from gateway.dimse.upper_layer import UpperLayer
from mappings.dicom_file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

if TYPE_CHECKING:
    from pynetdicom.association import Association

    from gateway.config import Config
    from gateway.services import Services

log = structlog.get_logger(__name__)

ACSE_TIMEOUT_SECONDS = 30  # from the connection to the A-ASSOCIATE-RQ, and from the A-ABORT to the close
IDLE_TIMEOUT_SECONDS = 180  # between two messages: modalities keep an association open during an examination
STALL_TIMEOUT_SECONDS = 60  # without a byte within one PDU, and in all for a small one
GRACE_SECONDS = 5  # for running associations when the listener stops
ABORT_SECONDS = 2
MAX_PDU_BYTES = 128 * 1024  # what DCMTK sends at most; larger ones save nothing
CONNECTIONS_PER_ASSOCIATION = 4  # others wait to be admitted or refused; past them the silent give way
WAIT_FOR_OTHERS_SECONDS, LONGEST_WAIT_FOR_OTHERS_SECONDS = 0.005, 0.05
ABOUT_TO_ASSOCIATE_SECONDS = 0.1
LISTENER_THREAD = "dimse-listener"
SOP_CLASSES = (
    Verification,
    *c_find.SOP_CLASSES,
    *c_move.SOP_CLASSES,
    *c_get.SOP_CLASSES,
    StorageCommitmentPushModel,
)


def serve(
    services: "Services",
    stop: threading.Event,
    listening: threading.Event | None = None,
    listeners: Listeners | None = None,
    room: RoomOfProcess | None = None,
) -> None:
    """Serve until ``stop`` is set; ``listening`` is set once peers can connect. Raises GatewayError.

    ``listeners`` and ``room`` are given where several processes share them. At the end nobody new is admitted, running
    associations get ``GRACE_SECONDS`` to finish and are then aborted.
    """
    configure_pynetdicom()
    servers = _servers(
        services, listeners or listen(services.config), room or RoomOfProcess.alone(services.config)
    )
    for server in servers:
        threading.Thread(target=server.serve_forever, name=LISTENER_THREAD, daemon=True).start()
        log.info(
            "listening", port=server.server_address[1], tls=server.tls is not None, ae_title=server.ae_title
        )
    if listening is not None:
        listening.set()
    try:
        stop.wait()
    finally:
        for server in servers:
            server.shutdown()
        end_associations(servers)


def _servers(services: "Services", listeners: Listeners, room: RoomOfProcess) -> list["GatewayServer"]:
    ae = _application_entity(services.config)
    admission = Admission(services, room)
    servers = []
    if listeners.plain is not None:
        servers.append(GatewayServer(services, ae, listeners.plain, admission))
    if listeners.tls is not None:
        servers.append(GatewayServer(services, ae, listeners.tls, admission, ServerTls(services.config)))
    return servers


def _application_entity(config: "Config") -> AE:
    ae = AE(config.ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.maximum_pdu_size = MAX_PDU_BYTES
    # Admission has the real limit
    ae.maximum_associations = 3 * config.max_associations * CONNECTIONS_PER_ASSOCIATION
    ae.acse_timeout = ACSE_TIMEOUT_SECONDS
    ae.network_timeout = IDLE_TIMEOUT_SECONDS
    for sop_class_uid in SOP_CLASSES:
        ae.add_supported_context(sop_class_uid)
    return ae


def _one_operation_at_a_time(_: evt.Event) -> tuple[int, int]:
    """Whatever window is proposed (PS3.7 D.3.3.3); without a handler pynetdicom would leave it unanswered."""
    return 1, 1


def _in_place_of(made: DULServiceProvider, upper_layer: UpperLayer) -> UpperLayer:
    """With what pynetdicom has set on the one that it made."""
    upper_layer.socket = made.socket
    upper_layer.event_queue = made.event_queue
    upper_layer.artim_timer, upper_layer._idle_timer = made.artim_timer, made._idle_timer
    return upper_layer


def _run(assoc: "Association") -> None:
    """In place of Association.run, whose thread may end by an exception and leave its connection open for ever."""
    try:
        assoc.run_reactor()
    except Exception as error:  # outermost edge of the association's thread
        log.error("association-failed", exc_info=error)
        assoc.abort()


class GatewayRequestHandler(RequestHandler):
    """Makes the association of one connection."""

    server: "GatewayServer"

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.request.settimeout(STALL_TIMEOUT_SECONDS)
        if self.server.tls is not None:
            self.request = self.server.tls.context().wrap_socket(
                self.request, server_side=True, do_handshake_on_connect=False
            )

    def _create_association(self) -> "Association":
        assoc = super()._create_association()
        services = self.server.services
        assoc.dul = _in_place_of(assoc.dul, UpperLayer(assoc, self._incoming(assoc)))
        assoc.dimse = StoringDimse(assoc, services, partial(serve_c_store, services))
        assoc.acse = AssociationControl(assoc)
        serving: Any = assoc
        serving.run = partial(_run, assoc)
        serving._serve_request = partial(dispatch.serve, services, assoc, assoc._serve_request)
        self.server.connected.append(assoc)
        return assoc

    def _incoming(self, assoc: "Association") -> Incoming:
        times = ACSE_TIMEOUT_SECONDS, STALL_TIMEOUT_SECONDS
        if self.server.tls is None:
            return Incoming(assoc, self.request, *times)
        return Incoming(
            assoc, self.request, *times, begin=partial(shake_hands, self.request, ACSE_TIMEOUT_SECONDS)
        )


class GatewayServer(AssociationServer):
    """Accepts connections of one listener; each association then runs in threads of its own."""

    def __init__(
        self,
        services: "Services",
        ae: AE,
        listener: socket.socket,
        admission: Admission,
        tls: ServerTls | None = None,
    ) -> None:
        self.services = services
        self.tls = tls
        self.connected: list[Association] = []
        self._listener = listener
        self._is_shared = admission.room.room.is_shared
        self._ending: set[Association] = set()
        self._accepted_at: deque[float] = deque()
        self._room = services.config.max_associations * CONNECTIONS_PER_ASSOCIATION
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, admission.on_requested),
            (evt.EVT_SOP_EXTENDED, dispatch.on_sop_extended),
            (evt.EVT_ASYNC_OPS, _one_operation_at_a_time),
            (evt.EVT_RELEASED, admission.on_ended),
            (evt.EVT_ABORTED, admission.on_ended),
            (evt.EVT_CONN_CLOSE, admission.on_ended),
        ]
        super().__init__(
            ae,
            listener.getsockname(),
            services.config.ae_title,
            ae.supported_contexts,
            evt_handlers=handlers,
            request_handler=GatewayRequestHandler,
        )

    def server_bind(self) -> None:
        cast(socket.socket, self.socket).close()
        self.socket = self._listener
        self.server_address = self._listener.getsockname()

    def server_activate(self) -> None:
        """It listens already."""

    def get_request(self) -> tuple[socket.socket, Any]:
        """The busier this process is, the longer it leaves a connection to others. Raises OSError: one was quicker."""
        if self._is_shared:
            time.sleep(min(self._busyness() * WAIT_FOR_OTHERS_SECONDS, LONGEST_WAIT_FOR_OTHERS_SECONDS))
        accepted = self._listener.accept()
        self._accepted_at.append(time.monotonic())
        return accepted

    def _busyness(self) -> int:
        """Associations, and connections that are about to become some."""
        while self._accepted_at and time.monotonic() - self._accepted_at[0] > ABOUT_TO_ASSOCIATE_SECONDS:
            self._accepted_at.popleft()
        return len(self.established()) + len(self._accepted_at)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Who has asked for nothing yet gives way; those that do so now are counted until their threads have ended."""
        self.clear_ended()
        if len(self.connected) - len(self._ending) >= self._room:
            staying = [assoc for assoc in self.connected if assoc not in self._ending]
            if (assoc := to_give_way(staying)) is not None:
                self._ending.add(assoc)
                hang_up(assoc)
        return len(self.connected) < 2 * self._room

    def service_actions(self) -> None:
        """Called twice a second by ``serve_forever``."""
        super().service_actions()
        self.clear_ended()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.error("connection-failed", exc_info=sys.exception())

    def shutdown(self) -> None:
        """Listen no more; other processes go on with the same socket."""
        super(AssociationServer, self).shutdown()
        self._listener.close()

    def established(self) -> list["Association"]:
        return [assoc for assoc in self.connected if assoc.is_alive() and assoc.is_established]

    def clear_ended(self) -> None:
        """Only in the listener's thread or after it: an association is in the list before its thread runs."""
        ended = [assoc for assoc in self.connected if not (assoc.is_alive() or assoc.dul.is_alive())]
        for assoc in ended:
            cast(StoringDimse, assoc.dimse).close()
            self.connected.remove(assoc)
            self._ending.discard(assoc)


def end_associations(servers: list[GatewayServer]) -> None:
    """To be called after ``shutdown``."""

    def established() -> list["Association"]:
        return [assoc for server in servers for assoc in server.established()]

    deadline = time.monotonic() + GRACE_SECONDS
    while established() and time.monotonic() < deadline:
        time.sleep(0.02)
    aborting = [threading.Thread(target=assoc.abort, daemon=True) for assoc in established()]
    for thread in aborting:
        thread.start()
    deadline = time.monotonic() + ABORT_SECONDS
    for thread in aborting:
        thread.join(max(0, deadline - time.monotonic()))
    for server in servers:
        server.clear_ended()
