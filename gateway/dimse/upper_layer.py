"""The DICOM upper layer of one association (PS3.8), on pynetdicom's state machine.

pynetdicom looks for work every millisecond and takes a data set's PDUs through four queues and copies. Here a thread
waits until there is something to do, and the fragments of messages go straight to the DIMSE provider.
"""

import os
import queue
import select
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import structlog
from pynetdicom.dul import _PDU_TYPES, DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ

from gateway.dimse.associate_request import AssociateRequest
from gateway.dimse.incoming import HEAD_BYTES, Incoming

if TYPE_CHECKING:
    from pynetdicom.association import Association

    from gateway.dimse.arriving import StoringDimse
    from gateway.workflow.receive_stream import InstanceStream

P_DATA_TF = 0x04
MAX_PDU_BYTES = 1024 * 1024  # an A-ASSOCIATE-RQ of 128 contexts with every transfer syntax is a third of it
AWAITING_REQUEST = "Sta2"  # PS3.8 Tables 9-2, 9-3, 9-5
DATA_TRANSFER = "Sta6"
CLOSING = "Sta13"
ASSOCIATE_RQ_RECEIVED = "Evt6"  # PS3.8 Table 9-10
CONNECTION_CLOSED, PDU_RECEIVED_INVALID = "Evt17", "Evt19"
SERVICE_PROVIDER = 2  # source of an A-ABORT (PS3.8 9.3.8), and its reasons:
NO_REASON, UNRECOGNIZED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER_VALUE = 0, 1, 2, 6
_HEAD = struct.Struct(">BxI")
_PRESENTATION_DATA_VALUE = struct.Struct(">IBB")  # length, presentation context, message control header
_WAIT_SECONDS = 0.25  # how late a timer that has run out, or a kill, is noticed at most
LINGER_SECONDS = 1.0
_DISCARDED_BYTES = 64 * 1024

log = structlog.get_logger(__name__)


class Noticed(queue.Queue[Any]):
    """A queue that sets ``notice`` when something is put into it."""

    def __init__(self, notice: threading.Event) -> None:
        super().__init__()
        self._notice = notice

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._notice.set()


class UpperLayer(DULServiceProvider):
    """``notice`` is set when there is something for the association's own thread."""

    def __init__(self, assoc: "Association", incoming: Incoming) -> None:
        super().__init__(assoc)
        self.daemon = True  # as the association's own thread is: it may have to wait for the database
        self.notice = threading.Event()
        self.to_user_queue = Noticed(self.notice)
        self._incoming = incoming
        self._abort_reason = INVALID_PARAMETER_VALUE
        self._waker: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waker_lock = threading.Lock()
        self._ready = select.poll()
        self._ready.register(self._waker, select.POLLIN)
        self._place = -1  # of the peer, in what is waited for

    def run_reactor(self) -> None:
        """Whatever ends it, the connection and the association's own thread end too."""
        try:
            super().run_reactor()
        except Exception as error:  # outermost edge of the upper layer's thread
            log.error("upper-layer-failed", exc_info=error)
            self._send(_abort(NO_REASON))
            self._wait_until_closed()
        finally:
            if self.socket is not None:
                self.socket._shutdown_socket()
            self._stream.finish()
            with self._waker_lock:
                if self._waker is not None:
                    os.close(self._waker)
                self._waker = None
            self.notice.set()
            waiting: Any = self.to_user_queue
            waiting.put(None)  # for who still waits for the A-ASSOCIATE-RQ

    @property
    def _stream(self) -> "InstanceStream":
        return cast("StoringDimse", self.assoc.dimse).stream

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self._wake()

    def kill_dul(self) -> None:
        super().kill_dul()
        self._wake()

    def send_now(self, pdu: bytes) -> None:
        """Only in the upper layer's own thread, which sends everything else too."""
        if self.socket is not None:
            self.socket.send(pdu)

    def _wake(self) -> None:
        with self._waker_lock:
            if self._waker is not None:
                os.eventfd_write(self._waker, 1)

    def _is_transport_event(self) -> bool:
        """Fragments of messages need no state machine: goes on reading as long as nothing else comes."""
        if self.state_machine.current_state == CLOSING:
            self._wait_until_closed()
            return True
        while self.event_queue.empty() and self._is_readable(self.socket.socket if self.socket else None):
            self._read_pdu_data()
            self._idle_timer.restart()
            if not self.event_queue.empty() or not self.to_provider_queue.empty() or self._kill_thread:
                return True
        return self.event_queue.empty() and self._process_recv_primitive()

    def _process_recv_primitive(self) -> bool:
        """What was to be sent when the association ended is let go."""
        if self.state_machine.current_state == CLOSING:
            self.to_provider_queue.queue.clear()
        return super()._process_recv_primitive()

    def _send(self, pdu: Any) -> None:
        """An A-ABORT of the service provider tells its reason (AA-8), which pynetdicom leaves open."""
        if isinstance(pdu, A_ABORT_RQ) and pdu.source == SERVICE_PROVIDER and not pdu.reason_diagnostic:
            pdu.reason_diagnostic = self._abort_reason
        super()._send(pdu)

    def _wait_until_closed(self) -> None:
        """By the peer (PS3.8 Table 9-5), for a moment. What still comes is let go (AA-6): if it were left unread, the
        peer's connection would be reset before it reads how the association ended."""
        if self.socket is None:
            return
        peer, until = self.socket.socket, time.monotonic() + LINGER_SECONDS
        with suppress(OSError):
            if peer is not None:
                peer.shutdown(socket.SHUT_WR)
            while peer is not None and (left := until - time.monotonic()) > 0:
                peer.settimeout(left)
                if not peer.recv(_DISCARDED_BYTES):
                    break
        self.socket.close()

    def _is_readable(self, peer: socket.socket | None) -> bool:
        """Wait for the peer, or for someone in this process who has something to send."""
        if peer is not None and self._incoming.is_ahead:
            return True
        if pending := getattr(peer, "pending", None):  # TLS: what is decrypted already
            with suppress(OSError, ValueError):
                if pending():
                    return True
        waker = self._waker or -1  # open as long as this thread runs
        place = self._wait_for(peer.fileno() if peer is not None else -1)
        ready = {found for found, _ in self._ready.poll(min(_WAIT_SECONDS, self._stream.rest_seconds) * 1000)}
        if not ready:
            self._stream.catch_up()
        if waker in ready:
            os.eventfd_read(waker)
        return place in ready

    def _wait_for(self, place: int) -> int:
        if place != self._place:
            if self._place >= 0:
                self._ready.unregister(self._place)
            if place >= 0:
                self._ready.register(place, select.POLLIN)
            self._place = place
        return place

    def _receive(self, size: int) -> memoryview:
        return self._incoming.receive(size, self._stream.keep_up)

    def _read_pdu_data(self) -> None:
        try:
            head = bytes(self._receive(HEAD_BYTES))
            kind, length = _HEAD.unpack(head)
            if length > MAX_PDU_BYTES:
                self._refuse(INVALID_PARAMETER_VALUE, "a PDU of more than is taken")
                return
            body = self._receive(length)
        except (OSError, struct.error):
            self.event_queue.put(CONNECTION_CLOSED)
            return
        if len(body) < length:
            self.event_queue.put(CONNECTION_CLOSED)
        elif kind == P_DATA_TF and self.state_machine.current_state == DATA_TRANSFER:
            self._take_fragments(body)
        else:
            self._take_other(bytearray(head + body))

    def _take_other(self, pdu: bytearray) -> None:
        """For the state machine, as pynetdicom does it."""
        self._stream.catch_up()
        if bytes(pdu[:1]) not in _PDU_TYPES:
            self._refuse(UNRECOGNIZED_PDU, "a PDU of an unknown type")
            return
        try:
            decoded, event = self._decode_pdu(pdu)
        except (ValueError, LookupError, TypeError, AssertionError, struct.error) as error:
            self._refuse(INVALID_PARAMETER_VALUE, str(error))
            return
        if event != ASSOCIATE_RQ_RECEIVED or self.state_machine.current_state != AWAITING_REQUEST:
            self._abort_reason = UNEXPECTED_PDU  # if it is none that may come now
        self.event_queue.put(event)
        self._recv_pdu.put(decoded)

    def _decode_pdu(self, pdu: bytearray) -> tuple[Any, str]:
        if _PDU_TYPES[bytes(pdu[:1])][1] == ASSOCIATE_RQ_RECEIVED:
            return AssociateRequest(bytes(pdu)), ASSOCIATE_RQ_RECEIVED
        return super()._decode_pdu(pdu)

    def _refuse(self, abort_reason: int, words: str) -> None:
        """Ends in an A-ABORT (PS3.8 9.2)."""
        log.warning("pdu-refused", reason=words, address=self.assoc.requestor.address)
        self._abort_reason = abort_reason
        self.event_queue.put(PDU_RECEIVED_INVALID)

    def _take_fragments(self, body: memoryview) -> None:
        """The presentation data values of a P-DATA-TF (PS3.8 9.3.5.1); what they make is for the DIMSE provider."""
        dimse = cast("StoringDimse", self.assoc.dimse)
        at, end = 0, len(body)
        try:
            while at < end:
                length, context_id, control = _PRESENTATION_DATA_VALUE.unpack_from(body, at)
                if length < 2 or at + 4 + length > end:
                    raise ValueError("a presentation data value is longer than its PDU")
                dimse.receive_fragment(context_id, control, body[at + 6 : at + 4 + length])
                at += 4 + length
        except (ValueError, struct.error) as error:
            self._refuse(INVALID_PARAMETER_VALUE, str(error))
        except Exception as error:  # outermost edge of the thread that reads the socket
            log.warning("message-unreadable", exc_info=error)
            self._refuse(INVALID_PARAMETER_VALUE, "a message that cannot be read")


def _abort(reason: int) -> A_ABORT_RQ:
    pdu = A_ABORT_RQ()
    pdu.source, pdu.reason_diagnostic = SERVICE_PROVIDER, reason
    return pdu
