"""One DICOM association that the gateway has opened (PS3.8), in the caller's own thread, which never polls.

pynetdicom's own association keeps two threads that look for work every millisecond, and takes a whole data set into
memory before it is sent.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import decode, encode

from gateway.errors import PeerUnreachable

MAX_PDU_BYTES = 128 * 1024  # sent and received
MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # of what is held in memory: everything but the data sets of C-STORE
ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 2, 3, 4, 5, 6, 7  # PS3.8 9.3
HEAD = struct.Struct(">BxI")
_VALUE = struct.Struct(">IBB")  # length, presentation context, message control header (PS3.8 9.3.5.1, E.2)
_COMMAND, _LAST = 0x01, 0x02
_NO_DATA_SET = 0x0101
_SMALLEST_PDU_BYTES = 128
_READ_BYTES = 64 * 1024
SLOWEST_BYTES_PER_SECOND = 1024


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for the connection, the negotiation, each piece of what is sent, and each answer."""

    connect: float = 10.0
    negotiation: float = 30.0
    send: float = 60.0
    answer: float = 120.0


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Message:
    """``command`` is group 0000; ``data`` is None where the message has no data set, or it went into a sink."""

    context_id: int
    command: Dataset
    data: bytes | None


Sink = Callable[[int, Dataset], BinaryIO | None]
"""Where the data set of a message goes, by context and command; None for memory."""


class Association:
    """``accepted`` is the transfer syntax of each presentation context that the peer has accepted."""

    def __init__(
        self,
        peer: socket.socket,
        patience: Patience,
        accepted: Mapping[int, tuple[str, str]],
        max_pdu_bytes: int,
    ) -> None:
        self._peer, self._patience = peer, patience
        self.accepted = accepted
        pdu_bytes = max(min(max_pdu_bytes or MAX_PDU_BYTES, MAX_PDU_BYTES), _SMALLEST_PDU_BYTES)
        self._fragment_bytes = (pdu_bytes - _VALUE.size) & ~1  # of even length (PS3.8 E.2)
        self._is_open = True
        self._message_id = 0
        self._arrived: Iterator[tuple[int, int, memoryview]] = iter(())

    def next_message_id(self) -> int:
        """1 to 65,535 (PS3.7 E.1), anew from 1 after that."""
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def context_of(self, abstract_syntax: str, transfer_syntax: str = "") -> int | None:
        """An accepted context of this abstract syntax, and of this transfer syntax where one is given."""
        wanted = (
            context_id
            for context_id, (abstract, transfer) in self.accepted.items()
            if abstract == abstract_syntax and transfer_syntax in ("", transfer)
        )
        return next(wanted, None)

    def send(self, context_id: int, command: Dataset, data: BinaryIO | None = None) -> None:
        """One message (PS3.7 6.3); a data set is read piece by piece. Raises PeerUnreachable."""
        command.CommandDataSetType = _NO_DATA_SET if data is None else 0x0001
        encoded = encode(command, True, True) or b""
        group_length = struct.pack("<HHII", 0, 0, 4, len(encoded))
        with self.sending():
            self._send_fragments(context_id, _COMMAND, BytesIO(group_length + encoded))
            if data is not None:
                self._send_fragments(context_id, 0, data)

    def _send_fragments(self, context_id: int, control: int, content: BinaryIO) -> None:
        fragment = content.read(self._fragment_bytes)
        while following := content.read(self._fragment_bytes):
            self._send_fragment(context_id, control, fragment)
            fragment = following
        self._send_fragment(context_id, control | _LAST, fragment)

    def _send_fragment(self, context_id: int, control: int, fragment: bytes) -> None:
        value = _VALUE.pack(len(fragment) + 2, context_id, control)
        self._peer.sendall(HEAD.pack(P_DATA, len(value) + len(fragment)) + value + fragment)

    @contextmanager
    def sending(self) -> Iterator[None]:
        self._peer.settimeout(self._patience.send)
        try:
            yield
        except OSError as error:
            self._is_open = False
            raise PeerUnreachable("The DICOM peer took no more of what was sent.") from error

    def receive(self, sink: Sink | None = None) -> Message:
        """The next message. Raises PeerUnreachable when none comes in time, or the association ends."""
        command, data = BytesIO(), BytesIO()
        target: BinaryIO = data
        found: Dataset | None = None
        while True:
            context_id, control, fragment = self._next_fragment()
            if control & _COMMAND:
                command.write(fragment)
                if not control & _LAST:
                    continue
                found = _read_command(command)
                if found.get("CommandDataSetType", _NO_DATA_SET) == _NO_DATA_SET:
                    return Message(context_id, found, None)
                target = (sink and sink(context_id, found)) or data
            elif found is None:
                raise self.broken("a data set without a command")
            else:
                target.write(fragment)
                if control & _LAST:
                    return Message(context_id, found, data.getvalue() if target is data else None)
            if command.tell() + data.tell() > MAX_MESSAGE_BYTES:
                raise self.broken("a message of more than is taken")

    def _next_fragment(self) -> tuple[int, int, memoryview]:
        """A P-DATA-TF has one presentation data value or more, also of several messages (PS3.8 9.3.5, Annex E)."""
        while (fragment := next(self._arrived, None)) is None:
            self._arrived = self._fragments()
        return fragment

    def _fragments(self) -> Iterator[tuple[int, int, memoryview]]:
        """Of the next P-DATA-TF."""
        kind, body = self.read_pdu(self._patience.answer, 2 * MAX_PDU_BYTES)
        if kind == RELEASE_RQ:
            self._is_open = False
            self._send_quietly(HEAD.pack(RELEASE_RP, 4) + bytes(4))
            raise PeerUnreachable("The DICOM peer released the association.")
        if kind != P_DATA:
            raise self.broken("an unexpected PDU")
        view, at = memoryview(body), 0
        while at < len(view):
            if len(view) - at < _VALUE.size:
                raise self.broken("a PDU that ends early")
            length, context_id, control = _VALUE.unpack_from(view, at)
            if length < 2 or at + 4 + length > len(view) or context_id not in self.accepted:
                raise self.broken("a presentation data value that cannot be")
            yield context_id, control, view[at + _VALUE.size : at + 4 + length]
            at += 4 + length

    def read_pdu(self, seconds: float, limit: int) -> tuple[int, bytearray]:
        """Raises PeerUnreachable also for an A-ABORT."""
        try:
            kind, length = HEAD.unpack(_read(self._peer, HEAD.size, seconds))
            if length > limit:
                raise self.broken("a PDU of more than is taken")
            body = _read(self._peer, length, seconds)
        except OSError as error:
            self._is_open = False
            raise PeerUnreachable("The DICOM peer did not answer, or closed the connection.") from error
        if kind == ABORT:
            self._is_open = False
            raise PeerUnreachable("The DICOM peer aborted the association.")
        return kind, body

    def broken(self, what: str) -> PeerUnreachable:
        self.abort()
        return PeerUnreachable(f"The DICOM peer sent {what}.")

    def release(self) -> None:
        """Whatever else comes until the peer has agreed is of no use any more (PS3.8 7.2.2)."""
        if not self._is_open:
            return
        self._is_open = False
        self._send_quietly(HEAD.pack(RELEASE_RQ, 4) + bytes(4))
        with suppress(PeerUnreachable):
            while (kind := self.read_pdu(self._patience.negotiation, 2 * MAX_PDU_BYTES)[0]) != RELEASE_RP:
                if kind == RELEASE_RQ:  # both at once (PS3.8 7.2.2.7)
                    self._send_quietly(HEAD.pack(RELEASE_RP, 4) + bytes(4))

    def abort(self) -> None:
        """As the service user, for whom no reason is told (PS3.8 Table 9-26)."""
        if self._is_open:
            self._is_open = False
            self._send_quietly(HEAD.pack(ABORT, 4) + bytes(4))

    def _send_quietly(self, pdu: bytes) -> None:
        with suppress(OSError):
            self._peer.sendall(pdu)

    def encoded(self, context_id: int, ds: Dataset) -> bytes:
        """A data set in the transfer syntax of the context."""
        syntax = UID(self.accepted[context_id][1])
        return encode(ds, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated) or b""

    def decoded(self, message: Message) -> Dataset:
        """A message's data set, empty where there is none."""
        syntax = UID(self.accepted[message.context_id][1])
        content = BytesIO(message.data or b"")
        return decode(content, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)


def _read_command(command: BytesIO) -> Dataset:
    command.seek(0)
    return decode(command, True, True)


def _read(peer: socket.socket, size: int, seconds: float) -> bytearray:
    """Raises OSError where the connection ends before, or single bytes hold it up."""
    received, deadline = bytearray(), time.monotonic() + seconds + size / SLOWEST_BYTES_PER_SECOND
    while len(received) < size:
        if (left := deadline - time.monotonic()) <= 0:
            raise TimeoutError
        peer.settimeout(min(left, seconds))
        chunk = peer.recv(min(size - len(received), _READ_BYTES))
        if not chunk:
            raise ConnectionError("closed")
        received += chunk
    return received
