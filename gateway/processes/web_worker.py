"""gunicorn's threaded worker, which slow peers cannot stop.

A request's head is read in the poller: a thread works on what has been asked, and never waits for a question. A thread
that waits for a slow body or a slow reader is taken away when another request needs it. Connections that wait give way
to new ones, those of the address that has most of them first. ``/healthz`` and ``/readyz`` have threads of their own.
"""

import logging
import selectors
import socket
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn import http, util
from gunicorn.http.body import Body
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from gateway.processes.peer_socket import Patience, PeerSocket, TooSlow

MAX_HEAD_BYTES = 64 * 1024
LINGER_SECONDS = (
    10.0  # after the last answer, while the peer still sends what nobody will read (RFC 9112 9.6)
)
DRAIN_SECONDS = 0.1  # for the rest of a body that is on its way, when its connection is to be used again
STOP_SECONDS = 2.0  # for those that wait when the worker stops, as gunicorn has it
SPARED_LAG_SECONDS = 0.2  # nobody is taken a thread away for less
_ROOM_POLL_SECONDS = 0.05
_READ_BYTES = 64 * 1024
_HEALTH = ("/healthz", "/readyz")
_END_OF_HEAD = b"\r\n\r\n"

log = logging.getLogger(__name__)


class Connection(TConn):
    """A peer's connection. While no thread has it, ``deadline`` says until when the poller waits for the peer."""

    sock: PeerSocket
    parser: Any

    def __init__(self, cfg: Any, sock: PeerSocket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.parser = http.get_parser(cfg, sock, client)
        self.data_ready = True  # it comes to a thread with a request
        self.address = str(client[0])
        self.head = bytearray()
        self.deadline = 0.0

    def has_whole_head(self) -> bool:
        """Or one that gunicorn refuses without reading on: a line that ends in LF alone."""
        return _END_OF_HEAD in self.head or b"\n" in self.head.replace(b"\r\n", b"")

    def begin(self) -> None:
        """Give the head, and what came with it, to gunicorn's parser."""
        self.sock.start_request()
        self.parser.unreader.unread(bytes(self.head))
        self.head.clear()


class RequestBody(Body):
    """What cannot be read is an OSError to the doors, whatever is wrong with it."""

    def _read_reader(self, size: int) -> bytes:
        try:
            return bytes(super()._read_reader(size))  # type: ignore[misc]  # the stubs lack it
        except ParseException as error:
            raise OSError("the body's chunks are broken") from error


class WebWorker(ThreadWorker):
    """Configured by ``patience`` and ``head_seconds``, which ``web_server`` sets in a subclass."""

    patience: Patience
    head_seconds: float

    def init_process(self) -> None:
        self._waiting: dict[Connection, None] = {}  # in the order in which they began to wait
        self._working: set[Connection] = set()
        self._health = {path: ThreadPoolExecutor(1) for path in _HEALTH}
        super().init_process()

    # In the poller's thread.

    def accept(self, listener: Any) -> None:
        while self.nr_conns >= self.worker_connections - 1 and self._waiting:
            self._close(self._to_give_way())
        try:
            accepted, client = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # accept(2): what is wrong with one connection, or for a moment
            log.warning("accept failed: %s", error.strerror)
            time.sleep(_ROOM_POLL_SECONDS)
            return
        self.nr_conns += 1
        conn = Connection(self.cfg, PeerSocket(accepted, self.patience), client, listener.getsockname())
        self._await_head(conn)

    def _to_give_way(self) -> Connection:
        """Of those that wait, the first of the address that has most."""
        counts = Counter(conn.address for conn in self._waiting)
        most, _ = counts.most_common(1)[0]
        return next(conn for conn in self._waiting if conn.address == most)

    def _await_head(self, conn: Connection, ahead: bytes = b"") -> None:
        conn.sock.setblocking(False)
        self._wait(conn, self.cfg.keepalive, self._read_head)
        if ahead:
            self._take(conn, ahead)

    def _wait(self, conn: Connection, seconds: float, then: Any) -> None:
        self._waiting[conn] = None
        self._limit(conn, seconds)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(then, conn))

    def _limit(self, conn: Connection, seconds: float) -> None:
        conn.deadline = time.monotonic() + (seconds if self.alive else min(seconds, STOP_SECONDS))

    def _leave(self, conn: Connection) -> None:
        del self._waiting[conn]
        self.poller.unregister(conn.sock)

    def _read_head(self, conn: Connection, _socket: Any) -> None:
        if received := self._receive(conn):
            self._take(conn, received)

    def _receive(self, conn: Connection) -> bytes:
        """What has come; closes the connection when the peer did."""
        if conn not in self._waiting:  # it gave way in this very turn
            return b""
        try:
            received = conn.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            received = b""
        if not received:
            self._close(conn)
        return received

    def _take(self, conn: Connection, received: bytes) -> None:
        if not conn.head:
            self._limit(conn, self.head_seconds)
        conn.head += received
        if conn.has_whole_head():
            self._leave(conn)
            self.enqueue_req(conn)
        elif len(conn.head) > MAX_HEAD_BYTES:
            self._refuse(conn, 431 if b"\r\n" in conn.head else 414)

    def enqueue_req(self, conn: Any) -> None:
        pool = next((self._health[path] for path in _HEALTH if _asks_for(conn.head, path)), self.tpool)
        if pool is self.tpool:
            self._working.add(conn)
        conn.begin()
        future = pool.submit(self.handle, conn)
        future.add_done_callback(partial(self.method_queue.defer, self.finish_request, conn))
        self._make_room()

    def finish_request(self, conn: Any, fs: Future[bool]) -> None:
        self._working.discard(conn)
        if conn.sock.fileno() < 0:  # closed by gunicorn, because an answer broke off
            self.nr_conns -= 1
        elif fs.exception() is None and fs.result():
            self._await_head(conn, conn.parser.unreader.take_buffered())
        else:
            self._end(conn)

    def _make_room(self) -> None:
        """For each request that has no thread, take one from the peer that lags most; at the end from all that lag."""
        lacking = len(self._working) - (self.cfg.threads if self.alive else 0)
        spared_seconds = SPARED_LAG_SECONDS if self.alive else STOP_SECONDS
        if lacking <= 0:
            return
        lagging = sorted(self._working, key=lambda conn: conn.sock.lag_seconds(), reverse=True)
        for conn in lagging[:lacking]:
            if conn.sock.lag_seconds() > spared_seconds:
                conn.sock.cut_off()

    def _refuse(self, conn: Connection, status: int) -> None:
        self._leave(conn)
        _answer_shortly(conn.sock, status)
        self._end(conn)

    def _end(self, conn: Connection) -> None:
        """Answered for the last time: the peer must be able to read that (RFC 9112 9.6)."""
        conn.head.clear()
        conn.sock.setblocking(False)
        self._wait(conn, LINGER_SECONDS, self._discard)
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)

    def _discard(self, conn: Connection, _socket: Any) -> None:
        self._receive(conn)

    def _close(self, conn: Connection) -> None:
        self._leave(conn)
        self.nr_conns -= 1
        conn.close()

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        if len(self._working) > self.cfg.threads:
            timeout = _ROOM_POLL_SECONDS
        super().wait_for_and_dispatch_events(timeout)
        self._make_room()

    def murder_keepalived(self, force: bool = False) -> None:
        """Called in every turn: whoever was waited for long enough."""
        now = time.monotonic()
        for conn in [conn for conn in self._waiting if force or conn.deadline <= now]:
            if conn.head and not force:
                self._refuse(conn, 408)
            else:
                self._close(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        for conn in self._waiting:
            conn.deadline = min(conn.deadline, deadline)

    # In a thread of the pool.

    def handle(self, conn: Any) -> bool:
        try:
            return bool(super().handle(conn))
        except TooSlow:
            has_answered = conn.sock.has_answered
            conn.sock.start_request()
            if not has_answered:
                _answer_shortly(conn.sock, 408)
            return False

    def handle_request(self, req: Any, conn: Any) -> bool:
        req.body = RequestBody(req.body.reader)
        return bool(super().handle_request(req, conn))

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        return keepalive and bool(conn.parser.finish_body(deadline=time.monotonic() + DRAIN_SECONDS))


def _asks_for(head: bytearray, path: str) -> bool:
    return head.startswith((f"GET {path} ".encode(), f"HEAD {path} ".encode()))


def _answer_shortly(peer: socket.socket, status: int) -> None:
    reason = {408: "Request Timeout", 414: "URI Too Long", 431: "Request Header Fields Too Large"}[status]
    with suppress(OSError):
        util.write_error(peer, status, reason, "")
