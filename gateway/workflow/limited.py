"""Foreign bytes meet decoders in a process of their own, which may fail, hang or grow without harm to this one.

Each job has a process that was forked for it alone and ends with it: nothing of one child's images is left in the
memory in which the next one's are decoded. The processes come from a warm program (``limited_server.py``) that is
started with the first job. It is given neither this process's environment, where secrets stand, nor its open files.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self

import structlog

from gateway.errors import NotAcceptable, NotFound, StoreUnavailable

MIB = 1024 * 1024
AT_ONCE = max(2, os.cpu_count() or 1)
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
_GRACE_SECONDS = 5.0  # for a process that its own clock ends
_MAX_REPLY_BYTES = 4 * MIB
_READ_BYTES = 64 * 1024
NOT_WITHIN_LIMITS = "This could not be done within the limits of time and memory."
_BUSY = "The gateway is busy with other images; please ask again."

log = structlog.get_logger(__name__)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one job. ``wall_seconds`` is longer than ``cpu_seconds``: a busy machine gives a process its seconds late."""

    memory_bytes: int
    cpu_seconds: int
    wall_seconds: float
    output_bytes: int = 0


class Job:
    """A job that runs; a context manager that leaves nothing behind."""

    def __init__(self, reply: socket.socket, places: threading.Semaphore, limits: Limits) -> None:
        self._reply, self._places, self._limits = reply, places, limits

    def result(self) -> Json:
        """Waits. Raises NotAcceptable or NotFound in the job's own words, NotAcceptable when it died or did not end."""
        self._reply.settimeout(self._limits.wall_seconds + _GRACE_SECONDS)
        said = bytearray()
        with suppress(OSError):  # a time-out, or a process that is gone
            while (more := self._reply.recv(_READ_BYTES)) and len(said) < _MAX_REPLY_BYTES:
                said += more
        try:
            reply: Json = json.loads(said)
        except ValueError:
            raise NotAcceptable(NOT_WITHIN_LIMITS) from None
        if "refused" in reply:
            cause = NotFound if reply.get("cause") == NotFound.__name__ else NotAcceptable
            raise cause(str(reply["refused"]))
        return dict(reply["result"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reply.close()
        self._places.release()


class LimitedProcesses:
    """Starts jobs; as many at one time as the machine has processors. Opens nothing until the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._jobs: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def start(self, job: str, source: IO[bytes], sink: IO[bytes], limits: Limits, **parameters: Any) -> Job:
        """Begin the job of that name (``limited_server.JOBS``), which reads ``source`` and writes ``sink``.

        Both are files of this machine; the caller leaves them alone until the job has ended. Raises StoreUnavailable
        when there is no place in time.
        """
        if not self._places.acquire(timeout=limits.wall_seconds):
            raise StoreUnavailable(_BUSY)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                message = json.dumps({"job": job, "limits": _as_json(limits), "parameters": parameters})
                self._send(message.encode(), [theirs.fileno(), source.fileno(), sink.fileno()])
        except BaseException:
            ours.close()
            self._places.release()
            raise
        return Job(ours, self._places, limits)

    def run(self, job: str, source: IO[bytes], sink: IO[bytes], limits: Limits, **parameters: Any) -> Json:
        """Start the job and wait for its result."""
        with self.start(job, source, sink, limits, **parameters) as running:
            return running.result()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _send(self, message: bytes, descriptors: list[int]) -> None:
        with self._lock:
            for last in (False, True):
                try:
                    socket.send_fds(self._running(), [message], descriptors)
                    return
                except OSError as error:
                    log.warning("limited-server-gone", cause=type(error).__name__)
                    self._end()
                    if last:
                        raise StoreUnavailable(
                            "The gateway cannot open files now; please ask again."
                        ) from error

    def _running(self) -> socket.socket:
        if self._server is not None and self._server.poll() is not None:
            self._end()
        if self._jobs is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._server = subprocess.Popen(
                    [sys.executable, "-P", "-m", "gateway.workflow.limited_server", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                )
            self._jobs = ours
        return self._jobs

    def _end(self) -> None:
        """The program ends when its socket does."""
        if self._jobs is not None:
            self._jobs.close()
        if self._server is not None:
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(_GRACE_SECONDS)
        self._jobs = self._server = None


def _as_json(limits: Limits) -> Json:
    return {
        "memory_bytes": limits.memory_bytes,
        "cpu_seconds": limits.cpu_seconds,
        "wall_seconds": limits.wall_seconds,
        "output_bytes": limits.output_bytes,
    }
