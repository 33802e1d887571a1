"""``gateway serve``: the three parts under one process, which starts them anew when they die.

The supervisor imports what the parts share, once, and forks them; so it must have one thread only and no
connection open. It does no work of its own and holds nothing that could be lost.
"""

import gc
import http.client
import importlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from gateway.config import Config
from gateway.errors import GatewayError
from gateway.processes import parts
from gateway.processes.lifeline import die_with_parent, name_process

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
STABLE_SECONDS = 60.0
STOP_SECONDS = 20.0
_READY_POLL_SECONDS = 0.1
_SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_SHARED = (  # what more than one part uses, and is large
    "gateway.app",
    "gateway.auth.routes",
    "gateway.dicomweb.routes",
    "gateway.dimse.scp",
    "gateway.fhir.routes",
    "gateway.web.routes",
    "gateway.processes.web_server",
    "gateway.workflow.deliver",
    "gateway.workflow.intake",
    "gateway.workflow.normalise",
    "dbos",
    "gunicorn.workers.gthread",
    "sqlalchemy.dialects.sqlite",
)

log = structlog.get_logger(__name__)


class CannotStart(GatewayError):
    """What the operator must put right first."""


@dataclass
class Part:
    """One part, whether it runs or waits for its next start."""

    name: str
    run: Callable[[], None]
    pid: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    pause_seconds: float = FIRST_PAUSE_SECONDS


def serve(config: Config, when_ready: Callable[[], None]) -> None:
    """Blocking, until SIGTERM or SIGINT. Raises CannotStart."""
    listener = _listen(config)
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        _prepare_and_load(config)
        Supervisor(config, listener, when_ready).run()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _listen(config: Config) -> socket.socket:
    """The HTTP socket belongs to the supervisor: a request that comes while the web part starts anew waits in it."""
    from gateway.processes import web_server

    try:
        web_server.listen(config.host, config.dicom_port).close()
        return web_server.listen(config.host, config.http_port)
    except OSError as error:
        ports = f"{config.http_port} (HTTP) and {config.dicom_port} (DICOM)"
        raise CannotStart(f"Cannot listen on {config.host}, ports {ports}: {error.strerror}.") from error


def _prepare_and_load(config: Config) -> None:
    """The schema is brought up to date in a process of its own while this one imports."""
    preparing = _fork("prepare", partial(_prepare, config))
    for module in _SHARED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    _, status = os.waitpid(preparing, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise CannotStart("The database could not be prepared; the lines above say why.")


def _prepare(config: Config) -> None:
    from gateway.processes import prepare

    prepare.prepare(config)


class Supervisor:
    def __init__(self, config: Config, listener: socket.socket, when_ready: Callable[[], None]) -> None:
        self._config = config
        self._listener = listener
        self._when_ready = when_ready
        self._ready = False
        self._parts = [
            Part(parts.DIMSE, self._without_listener(partial(parts.dimse, config))),
            Part(parts.WORKER, self._without_listener(partial(parts.worker, config))),
            Part(parts.WEB, partial(parts.web, config, listener)),
        ]

    def _without_listener(self, run: Callable[[], None]) -> Callable[[], None]:
        def closing() -> None:
            self._listener.close()
            run()

        return closing

    def run(self) -> None:
        while True:
            self._start_due()
            received = self._wait()
            self._reap()
            if received in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                break
            if not self._ready and self._answers_ready():
                self._ready = True
                self._when_ready()
        self._stop()

    def _start_due(self) -> None:
        for part in self._parts:
            if not part.pid and time.monotonic() >= part.start_at:
                part.pid, part.started_at = _fork(f"gateway-{part.name}", part.run), time.monotonic()

    def _wait(self) -> int | None:
        """The next signal; None when it is time to start a part, or to look whether all are ready."""
        due = [part.start_at - time.monotonic() for part in self._parts if not part.pid]
        if not self._ready:
            due.append(_READY_POLL_SECONDS)
        if not due:
            return signal.sigwaitinfo(_SIGNALS).si_signo
        received = signal.sigtimedwait(_SIGNALS, max(0.0, min(due)))
        return received.si_signo if received else None

    def _reap(self) -> None:
        for part in self._parts:
            if not part.pid or os.waitpid(part.pid, os.WNOHANG)[0] == 0:
                continue
            lived = time.monotonic() - part.started_at
            if lived > STABLE_SECONDS:
                part.pause_seconds = FIRST_PAUSE_SECONDS
            log.error(
                "part-ended", part=part.name, lived_seconds=round(lived, 1), again_in=part.pause_seconds
            )
            part.pid, part.start_at = 0, time.monotonic() + part.pause_seconds
            part.pause_seconds = min(2 * part.pause_seconds, LONGEST_PAUSE_SECONDS)

    def _answers_ready(self) -> bool:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._config.host, self._config.host)  # noqa: S104 - read, not bound
        connection = http.client.HTTPConnection(host, self._config.http_port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _stop(self) -> None:
        """All at once; what has not ended in time is killed with everything that it started."""
        running = {part.pid for part in self._parts if part.pid}
        for pid in running:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running and time.monotonic() < deadline:
            running -= {pid for pid in running if os.waitpid(pid, os.WNOHANG)[0]}
            if running:
                signal.sigtimedwait({signal.SIGCHLD}, 0.2)
        for pid in running:
            log.error("part-killed", pid=pid)
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._listener.close()


def _fork(name: str, run: Callable[[], None]) -> int:
    """Run in a new process, which is the leader of its own group: Ctrl-C reaches the supervisor only."""
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        die_with_parent(parent)
        name_process(name)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        run()
        code = 0
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 0 if stopped.code is None else 1
    except GatewayError as error:
        log.error("cannot-go-on", part=name, reason=str(error))
    except BaseException:  # the outermost edge of this process
        log.exception("part-failed", part=name)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
