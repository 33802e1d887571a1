"""A DICOM peer that says byte by byte what it is told to (PS3.8 9.3, PS3.7 6.3), where pynetdicom would not say it."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.dimse import Answer, Listener

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
COMMAND, LAST = 0x01, 0x02  # message control header (PS3.8 E.2)
APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
C_STORE_RQ, C_FIND_RQ = 0x0001, 0x0020  # Command Field (PS3.7 Table E.1-1)
DATA_SET = 0x0001


def item(kind: int, content: bytes) -> bytes:
    """Of an A-ASSOCIATE-RQ, or of one of its items (PS3.8 9.3.2)."""
    return struct.pack(">BxH", kind, len(content)) + content


def context(context_id: int, abstract_syntax: str, *transfer_syntaxes: str) -> bytes:
    names = [item(0x30, abstract_syntax.encode()), *(item(0x40, name.encode()) for name in transfer_syntaxes)]
    return item(0x20, struct.pack(">Bxxx", context_id) + b"".join(names))


def role(sop_class_uid: str, scu: int, scp: int) -> bytes:
    """A sub-item of the user information (PS3.7 D.3.3.4)."""
    return item(0x54, item(0, sop_class_uid.encode())[2:] + bytes((scu, scp)))


def user_information(*more: bytes, longest: int = 16384) -> bytes:
    return item(0x50, item(0x51, struct.pack(">I", longest)) + item(0x52, b"1.2.3") + b"".join(more))


@dataclass(frozen=True)
class Request:
    """An A-ASSOCIATE-RQ. AE titles are padded with spaces where they are short."""

    contexts: tuple[bytes, ...]
    user: bytes = field(default_factory=user_information)
    calling: bytes = b"HOSPITAL_A"
    called: bytes = b"SECONDOPINION"
    version: int = 1
    application_context: bytes = item(0x10, APPLICATION_CONTEXT)
    more: bytes = b""

    def encoded(self) -> bytes:
        fixed = struct.pack(">Hxx16s16s32x", self.version, self.called.ljust(16), self.calling.ljust(16))
        return pdu(
            ASSOCIATE_RQ, fixed + self.application_context + b"".join(self.contexts) + self.user + self.more
        )


def pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(content)) + content


def element(number: int, value: bytes) -> bytes:
    """Of a command set (PS3.7 6.3.1)."""
    return struct.pack("<HHI", 0, number, len(value)) + value


def command_of(request: int, sop_class_uid: str, sop_instance_uid: str = "") -> bytes:
    """A request that a data set follows."""
    elements = (
        element(0x0002, _uid(sop_class_uid)),
        element(0x0100, struct.pack("<H", request)),
        element(0x0110, struct.pack("<H", 1)),
        element(0x0700, struct.pack("<H", 2)),
        element(0x0800, struct.pack("<H", DATA_SET)),
        element(0x1000, _uid(sop_instance_uid)) if sop_instance_uid else b"",
    )
    return element(0, struct.pack("<I", len(b"".join(elements)))) + b"".join(elements)


def _uid(value: str) -> bytes:
    return value.encode() + b"\0" * (len(value) % 2)


@dataclass(frozen=True)
class Pdu:
    """``seconds``: after how long it came."""

    kind: int
    content: bytes
    seconds: float = 0.0

    @property
    def reason(self) -> tuple[int, ...]:
        """Of an A-ASSOCIATE-RJ result, source and reason; of an A-ABORT source and reason (PS3.8 9.3.4, 9.3.8)."""
        return tuple(self.content[1:4] if self.kind == ASSOCIATE_RJ else self.content[2:4])

    @property
    def results(self) -> dict[int, int]:
        """Of an A-ASSOCIATE-AC: the result of each presentation context (PS3.8 Table 9-18)."""
        return {content[0]: content[2] for kind, content in items(self.content[68:]) if kind == 0x21}


def items(content: bytes) -> Iterator[tuple[int, bytes]]:
    while content:
        kind, length = struct.unpack_from(">BxH", content)
        yield kind, content[4 : 4 + length]
        content = content[4 + length :]


class WirePeer:
    """A connection. ``longest_pdu`` is that of the P-DATA-TF that came."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.longest_pdu = 0

    def send(self, content: bytes) -> None:
        self._connection.sendall(content)

    def ask(self, request: Request) -> Pdu:
        self.send(request.encoded())
        return self.receive()

    def send_values(self, *values: tuple[int, int, bytes]) -> None:
        """Each a PDU of its own: presentation context, message control header, fragment."""
        for context_id, control, fragment in values:
            value = struct.pack(">IBB", len(fragment) + 2, context_id, control) + fragment
            self.send(pdu(P_DATA, value))

    def receive(self) -> Pdu:
        """Raises EOFError when the connection ended."""
        started = time.monotonic()
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return Pdu(kind, self._exactly(length), time.monotonic() - started)

    def receive_answer(self) -> tuple[int, Answer]:
        """The presentation context and the status of a response without a data set."""
        command = b""
        while True:
            received = self.receive()
            assert received.kind == P_DATA, received
            self.longest_pdu = max(self.longest_pdu, len(received.content))
            context_id, control = received.content[4:6]
            command += received.content[6:]
            if control & LAST:
                return context_id, _answer(command)

    def is_closed(self) -> bool:
        """Waits for it. What comes before is let go."""
        try:
            while self._connection.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            received = self._connection.recv(size - len(content))
            if not received:
                raise EOFError
            content += received
        return content


def _answer(command: bytes) -> Answer:
    found = {}
    while command:
        _, number, length = struct.unpack_from("<HHI", command)
        found[number] = command[8 : 8 + length]
        command = command[8 + length :]
    return Answer(int.from_bytes(found[0x0900], "little"), found.get(0x0902, b"").decode().strip())


@contextmanager
def wire_peer(gateway: Listener) -> Iterator[WirePeer]:
    with socket.create_connection(("127.0.0.1", gateway.dicom_port), timeout=10) as connection:
        yield WirePeer(connection)
