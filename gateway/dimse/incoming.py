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
HEAD_BYTES = 6  # of a PDU: type, reserved, length
SLOWEST_BYTES_PER_SECOND = 1024
_LOOK_SECONDS = 0.1


class Incoming:
    """In place of AssociationSocket.recv, which waits anew for every byte.

    The whole A-ASSOCIATE-RQ must be there ``acse_seconds`` after the connection. ``begin`` is called before anything is
    received, in the thread that receives; it raises OSError.
    """

    def __init__(
        self,
        assoc: "Association",
        peer: socket.socket,
        acse_seconds: float,
        stall_seconds: float,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._assoc, self._peer, self._stall_seconds = assoc, peer, stall_seconds
        self._asked_by = time.monotonic() + acse_seconds
        self._begin: Callable[[], None] | None = begin
        # New memory for each PDU would cost more than the PDU.
        self._buffer = memoryview(bytearray(_USUAL_BYTES))
        self._start = self._end = 0  # of what has come and was not yet given

    @property
    def is_ahead(self) -> bool:
        """Whether something has come of the next PDU."""
        return self._end > self._start

    def receive(self, size: int, meanwhile: Callable[[], None]) -> memoryview:
        """The next ``size`` bytes, fewer only at the end of the connection; they stand until it is called again.

        ``meanwhile`` is called now and then while nothing comes. Raises OSError, by which the connection ends.
        """
        if self._begin is not None:
            begin, self._begin = self._begin, None
            begin()
        if self._end - self._start < size:
            self._make_room(size + HEAD_BYTES)
            try:
                self._wait_for(size, meanwhile)
            finally:
                self._peer.settimeout(self._stall_seconds)  # for what is sent
        start, self._start = self._start, min(self._start + size, self._end)
        return self._buffer[start : self._start]

    def _make_room(self, size: int) -> None:
        ahead = bytes(self._buffer[self._start : self._end])  # of the head of a PDU at most
        if size > len(self._buffer):
            self._buffer = memoryview(bytearray(size))
        self._buffer[: len(ahead)] = ahead
        self._start, self._end = 0, len(ahead)

    def _wait_for(self, size: int, meanwhile: Callable[[], None]) -> None:
        """With it the head of the PDU that follows, if it is here already."""
        stalled_at = time.monotonic() + self._stall_seconds
        deadline = stalled_at + size / SLOWEST_BYTES_PER_SECOND
        if not has_asked(self._assoc):
            deadline = min(deadline, self._asked_by)
        while self._end < size:
            left = min(deadline, stalled_at) - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._peer.settimeout(min(left, _LOOK_SECONDS))
            try:
                count = self._peer.recv_into(self._buffer[self._end : size + HEAD_BYTES])
            except TimeoutError:
                meanwhile()
                continue
            if not count:
                return
            self._end += count
            stalled_at = time.monotonic() + self._stall_seconds


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
