"""Foreign bytes meet decoders in a process of their own, which may fail, hang or grow without harm to this one.

A process is forked for each job, and does the next one only when that has the same owner, such as a study: nothing
of one child's images is left in the memory in which another's are decoded. The processes come from a warm program
(``limited_server.py``) that is started with the first job. It is given neither this process's environment, where
secrets stand, nor its open files.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import IO, Any

import structlog

from gateway.errors import GatewayError, InvalidContent, NotAcceptable, NotFound, StoreUnavailable

MIB = 1024 * 1024
AT_ONCE = max(2, os.cpu_count() or 1)
KEPT = 4  # processes that wait for another job of their owner
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
_GRACE_SECONDS = 5.0  # for a process that its own clock ends
_MAX_REPLY_BYTES = 256 * 1024
NOT_WITHIN_LIMITS = "This could not be done within the limits of time and memory."
_BUSY = "The gateway is busy with other images; please ask again."

log = structlog.get_logger(__name__)

Json = dict[str, Any]
_CAUSES: dict[Any, type[GatewayError]] = {cause.__name__: cause for cause in (NotFound, InvalidContent)}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one job. ``wall_seconds`` is longer than ``cpu_seconds``: a busy machine gives a process its seconds late."""

    memory_bytes: int
    cpu_seconds: int
    wall_seconds: float
    output_bytes: int = 0


class Job:
    """A job that runs. ``process`` is the id of the process that did it, once it has ended."""

    def __init__(
        self, line: socket.socket, limits: Limits, again: Callable[[], socket.socket] | None
    ) -> None:
        self._line, self._limits, self._again = line, limits, again
        self.has_ended_well = False
        self.process = 0

    @property
    def line(self) -> socket.socket:
        return self._line

    def result(self) -> Json:
        """Waits. Raises NotAcceptable, NotFound or InvalidContent in the job's own words.

        NotAcceptable when it died or did not end.
        """
        said = self._said()
        if not said and self._again is not None:  # the process had waited for longer than it does
            self._line.close()
            self._line = self._again()
            said = self._said()
        if not said:
            raise NotAcceptable(NOT_WITHIN_LIMITS)
        reply: Json = json.loads(said)
        self.process = int(reply["process"])
        if "refused" in reply:
            raise _CAUSES.get(reply.get("cause"), NotAcceptable)(str(reply["refused"]))
        self.has_ended_well = True
        return dict(reply["result"])

    def _said(self) -> bytes:
        """Empty when the process is gone or takes too long."""
        self._line.settimeout(self._limits.wall_seconds + _GRACE_SECONDS)
        with suppress(OSError):
            return self._line.recv(_MAX_REPLY_BYTES)
        return b""


class LimitedProcesses:
    """Starts jobs; as many at one time as the machine has processors. Opens nothing until the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._jobs: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._kept: OrderedDict[str, socket.socket] = OrderedDict()

    @contextmanager
    def start(
        self,
        job: str,
        source: IO[bytes],
        sink: IO[bytes],
        limits: Limits,
        owner: str = "",
        **parameters: Any,
    ) -> Iterator[Job]:
        """Begin the job of that name (``limited_server.JOBS``), which reads ``source`` and writes ``sink``.

        Both are files of this machine; the caller leaves them alone until the job has ended. A process that has done
        a job well may do the next one of the same ``owner``. Raises StoreUnavailable when there is no place in time.
        """
        message = json.dumps({"job": job, "limits": asdict(limits), "parameters": parameters}).encode()
        files = [source.fileno(), sink.fileno()]
        if not self._places.acquire(timeout=limits.wall_seconds):
            raise StoreUnavailable(_BUSY)
        try:
            begin = partial(self._begin, message, files)
            line = self._begin_again(owner, message, files)
            running = Job(line or begin(), limits, begin if line else None)
            try:
                yield running
            finally:
                self._give_back(owner, running)
        finally:
            self._places.release()

    def run(
        self, job: str, source: IO[bytes], sink: IO[bytes], limits: Limits, owner: str = "", **parameters: Any
    ) -> Json:
        """Start the job and wait for its result."""
        with self.start(job, source, sink, limits, owner, **parameters) as running:
            return running.result()

    def close(self) -> None:
        with self._lock:
            while self._kept:
                self._kept.popitem()[1].close()
            self._end()

    def _begin(self, message: bytes, files: list[int]) -> socket.socket:
        """In a process that has done nothing yet; the line to it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._send(message, [theirs.fileno(), *files])
        except BaseException:
            ours.close()
            raise
        return ours

    def _begin_again(self, owner: str, message: bytes, files: list[int]) -> socket.socket | None:
        """In a process that has done a job of the same owner; None where there is none."""
        with self._lock:
            line = self._kept.pop(owner, None)
        if line is None:
            return None
        try:
            socket.send_fds(line, [message], files)
        except OSError:
            line.close()
            return None
        return line

    def _give_back(self, owner: str, job: Job) -> None:
        """A process that failed, or was given up, is not used again."""
        if not owner or not job.has_ended_well:
            job.line.close()
            return
        with self._lock:
            replaced = [self._kept.pop(owner, None)]
            self._kept[owner] = job.line
            if len(self._kept) > KEPT:
                replaced.append(self._kept.popitem(last=False)[1])
        for line in replaced:
            if line is not None:
                line.close()

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
