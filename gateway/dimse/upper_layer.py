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
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import structlog
from pynetdicom.dul import _PDU_TYPES, DULServiceProvider

if TYPE_CHECKING:
    from pynetdicom.association import Association

    from gateway.dimse.arriving import StoringDimse
    from gateway.workflow.receive_stream import InstanceStream

P_DATA_TF = 0x04
DATA_TRANSFER = "Sta6"  # PS3.8 Table 9-4
CLOSING = "Sta13"
CONNECTION_CLOSED, PDU_RECEIVED_INVALID = "Evt17", "Evt19"  # PS3.8 Table 9-10
_HEAD = struct.Struct(">BxI")
_PRESENTATION_DATA_VALUE = struct.Struct(">IBB")  # length, presentation context, message control header
_WAIT_SECONDS = 0.25  # how late a timer that has run out, or a kill, is noticed at most

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
    """``receive`` returns so many bytes from the peer, fewer only at the end of the connection, or raises OSError.
    They stand until it is called again.

    ``notice`` is set when there is something for the association's own thread.
    """

    def __init__(self, assoc: "Association", receive: Callable[[int], memoryview]) -> None:
        super().__init__(assoc)
        self.daemon = True  # as the association's own thread is: it may have to wait for the database
        self.notice = threading.Event()
        self.to_user_queue = Noticed(self.notice)
        self._receive = receive
        self._waker: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waker_lock = threading.Lock()

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        finally:
            self._stream.finish()
            with self._waker_lock:
                if self._waker is not None:
                    os.close(self._waker)
                self._waker = None
            self.notice.set()

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
            return super()._is_transport_event()
        while self.event_queue.empty() and self._is_readable(self.socket.socket if self.socket else None):
            self._read_pdu_data()
            self._idle_timer.restart()
            if not self.event_queue.empty() or not self.to_provider_queue.empty() or self._kill_thread:
                return True
        return self.event_queue.empty() and self._process_recv_primitive()

    def _is_readable(self, peer: socket.socket | None) -> bool:
        """Wait for the peer, or for someone in this process who has something to send."""
        if pending := getattr(peer, "pending", None):  # TLS: what is decrypted already
            with suppress(OSError, ValueError):
                if pending():
                    return True
        waiting = select.poll()
        waker = self._waker or -1  # open as long as this thread runs
        waiting.register(waker, select.POLLIN)
        place = peer.fileno() if peer is not None else -1
        if place >= 0:
            waiting.register(place, select.POLLIN)
        ready = {found for found, _ in waiting.poll(min(_WAIT_SECONDS, self._stream.rest_seconds) * 1000)}
        if not ready:
            self._stream.catch_up()
        if waker in ready:
            os.eventfd_read(waker)
        return place in ready

    def _read_pdu_data(self) -> None:
        try:
            head = bytes(self._receive(_HEAD.size))
            kind, length = _HEAD.unpack(head)
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
            self.event_queue.put(PDU_RECEIVED_INVALID)
            return
        try:
            decoded, event = self._decode_pdu(pdu)
        except Exception as error:  # whatever its bytes are, they are the peer's
            log.warning("pdu-unreadable", exc_info=error)
            self.event_queue.put(PDU_RECEIVED_INVALID)
            return
        self.event_queue.put(event)
        self._recv_pdu.put(decoded)

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
        except Exception as error:  # outermost edge of the thread that reads the socket
            log.warning("message-unreadable", exc_info=error)
            self.event_queue.put(PDU_RECEIVED_INVALID)
