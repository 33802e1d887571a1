"""PDUs as they come from a peer that nobody knows yet (PS3.8 9.3.1): bounded in time."""

import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynetdicom.association import Association

_USUAL_BYTES = 128 * 1024
SLOWEST_BYTES_PER_SECOND = 1024


def bounded_receive(
    assoc: "Association", peer: socket.socket, acse_seconds: float, stall_seconds: float
) -> Callable[[int], memoryview]:
    """In place of AssociationSocket.recv, which waits anew for every byte.

    What it gives stands until the next is asked for. The whole A-ASSOCIATE-RQ must be there ``acse_seconds`` after the
    connection. Raises OSError, by which the connection ends.
    """
    asked_by = time.monotonic() + acse_seconds
    buffer = memoryview(bytearray(_USUAL_BYTES))  # new memory for each PDU would cost more than the PDU

    def receive(size: int) -> memoryview:
        nonlocal buffer
        if size > len(buffer):
            buffer = memoryview(bytearray(size))
        deadline = time.monotonic() + stall_seconds + size / SLOWEST_BYTES_PER_SECOND
        if not has_asked(assoc):
            deadline = min(deadline, asked_by)
        try:
            return _receive(peer, buffer[:size], deadline, stall_seconds)
        finally:
            peer.settimeout(stall_seconds)  # for what is sent

    return receive


def _receive(peer: socket.socket, buffer: memoryview, deadline: float, stall_seconds: float) -> memoryview:
    """Less than the buffer holds only where the connection ended."""
    at = 0
    while at < len(buffer):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        peer.settimeout(min(left, stall_seconds))
        count = peer.recv_into(buffer[at:])
        if not count:
            break
        at += count
    return buffer[:at]


def has_asked(assoc: "Association") -> bool:
    """For an association, by an A-ASSOCIATE-RQ."""
    return assoc.requestor.primitive is not None


def to_give_way(connected: Sequence["Association"]) -> "Association | None":
    """Who asked for nothing for longest, of the address that has most such."""
    silent = [assoc for assoc in connected if not has_asked(assoc)]
    if not silent:
        return None
    most, _ = Counter(assoc.requestor.address for assoc in silent).most_common(1)[0]
    return next(assoc for assoc in silent if assoc.requestor.address == most)


def hang_up(assoc: "Association") -> None:
    """Its threads end soon after."""
    peer = assoc.dul.socket.socket if assoc.dul.socket else None
    if peer is not None:
        with suppress(OSError):  # it ended by itself meanwhile
            peer.shutdown(socket.SHUT_RDWR)
