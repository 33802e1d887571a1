"""A peer's connection that knows how slow the peer is."""

import socket
import time
from dataclasses import dataclass
from typing import Any

_SEND_BYTES = 256 * 1024


class TooSlow(BaseException):
    """The peer was waited for too long. Not an Exception: no door must take it for a fault of its own."""


@dataclass(frozen=True, slots=True)
class Patience:
    """``silence_seconds`` is the longest wait for a byte, and how far a peer may lag behind ``bytes_per_second``."""

    silence_seconds: float
    bytes_per_second: int


class PeerSocket(socket.socket):
    """Counts what a request waits for its peer, either way, and gives up. The gateway's own time is not counted.

    One thread reads and writes; ``lag_seconds`` and ``cut_off`` are for another.
    """

    def __init__(self, accepted: socket.socket, patience: Patience) -> None:
        super().__init__(fileno=accepted.detach())
        self._patience = patience
        self._has_own_time_out = False
        self.start_request()

    def start_request(self) -> None:
        self._lag_seconds = 0.0
        self._waits_since: float | None = None
        self.has_answered = False
        self.is_cut_off = False

    def setblocking(self, flag: bool, /) -> None:
        """Blocking is for as long as the patience lasts."""
        super().settimeout(self._patience.silence_seconds if flag else 0.0)
        self._has_own_time_out = False

    def settimeout(self, value: float | None, /) -> None:
        """Who sets a time-out of his own is told of it by TimeoutError."""
        super().settimeout(value)
        self._has_own_time_out = True

    def lag_seconds(self) -> float:
        """How far the peer that is waited for now is behind the slowest rate; haste earlier on earns it nothing."""
        since = self._waits_since
        return 0.0 if since is None else self._lag_seconds + time.monotonic() - since

    def cut_off(self) -> None:
        """End the wait of the thread that serves this peer."""
        self.is_cut_off = True
        try:
            self.shutdown(socket.SHUT_RDWR if self.has_answered else socket.SHUT_RD)
        except OSError:  # the peer has gone
            return

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        self._begin()
        received = b""
        try:
            received = super().recv(size, flags)
        except TimeoutError:
            self._judge_timeout()
            raise
        finally:
            self._end(len(received))
        self._judge()
        return received

    def sendall(self, content: Any, flags: int = 0, /) -> None:
        """In pieces: the time-out of a socket is for the whole of its sendall."""
        self.has_answered = True
        left = memoryview(content).cast("B")
        while left:
            left = left[self._send(left[:_SEND_BYTES], flags) :]

    def _send(self, piece: memoryview, flags: int) -> int:
        self._begin()
        sent = 0
        try:
            sent = super().send(piece, flags)
        except TimeoutError:
            self._judge_timeout()
            raise
        finally:
            self._end(sent)
        self._judge()
        return sent

    def _begin(self) -> None:
        self._waits_since = time.monotonic()

    def _end(self, count: int) -> None:
        since, self._waits_since = self._waits_since or 0.0, None
        waited = time.monotonic() - since
        self._lag_seconds = max(0.0, self._lag_seconds + waited - count / self._patience.bytes_per_second)

    def _judge(self) -> None:
        if self.gettimeout() == 0.0:  # who does not wait, as the poller, has its own deadline
            return
        if self.is_cut_off or self._lag_seconds > self._patience.silence_seconds:
            raise TooSlow

    def _judge_timeout(self) -> None:
        if not self._has_own_time_out:
            raise TooSlow
