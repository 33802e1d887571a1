"""``gateway serve``: the parts under one process, which starts them anew when they die.

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
from functools import cached_property, partial

import structlog

from gateway.config import Config
from gateway.dimse import listening as dicom_listening
from gateway.dimse.room import Room, RoomOfProcess
from gateway.errors import GatewayError
from gateway.processes import data_folder, logs, parts
from gateway.processes.data_folder import CannotStart
from gateway.processes.lifeline import die_with_parent, name_process
from gateway.store import database

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
    "gateway.senders.dicom_scu",
    "gateway.web.routes",
    "gateway.processes.web_server",
    "gateway.workflow.commit_storage",
    "gateway.workflow.deliver",
    "gateway.workflow.intake",
    "gateway.workflow.receive_bundle",
    "dbos",
    "gateway.processes.web_worker",
    "sqlalchemy.dialects.sqlite",
)

log = structlog.get_logger(__name__)


@dataclass
class Part:
    """One part, and the process that runs it or waits to."""

    name: str
    run: Callable[[], None]
    pid: int = 0
    started_at: float = 0.0
    pause_seconds: float = 0.0


def serve(config: Config, when_ready: Callable[[], None]) -> None:
    """Blocking, until SIGTERM or SIGINT. Raises CannotStart."""
    with data_folder.held(config.data_dir, parts.DIMSE, parts.WORKER):
        listeners = _listen(config)
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            _prepare_and_load(config)
            Supervisor(config, listeners, when_ready).run()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@dataclass(frozen=True, slots=True)
class Listeners:
    """The supervisor's own: what comes while a part starts anew waits in them."""

    http: socket.socket
    dicom: dicom_listening.Listeners

    def close(self, *but: object) -> None:
        for listener in (self.http, self.dicom):
            if listener not in but:
                listener.close()


def _listen(config: Config) -> Listeners:
    from gateway.processes import web_server

    dicom = dicom_listening.listen(config)
    try:
        return Listeners(web_server.listen(config.host, config.http_port), dicom)
    except OSError as error:
        dicom.close()
        raise CannotStart(
            f"Cannot listen on {config.host}, port {config.http_port} (HTTP): {error.strerror}."
        ) from error


def _prepare_and_load(config: Config) -> None:
    """The schema is brought up to date in a process of its own while this one imports."""
    preparing = _fork("prepare", partial(_prepare, config))
    for module in _SHARED:
        importlib.import_module(module)
    database.warm()
    gc.collect()
    gc.freeze()
    _, status = os.waitpid(preparing, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise CannotStart("The database could not be prepared; the lines above say why.")


def _prepare(config: Config) -> None:
    from gateway.processes import prepare

    prepare.prepare(config)


class Supervisor:
    def __init__(self, config: Config, listeners: Listeners, when_ready: Callable[[], None]) -> None:
        self._config = config
        self._listeners = listeners
        self._when_ready = when_ready
        self._ready = False
        self._parts = [
            *map(self._dimse_part, range(config.dimse_process_count)),
            Part(parts.WORKER, self._keeping(None, partial(parts.worker, config))),
            Part(parts.WEB, self._keeping(listeners.http, partial(parts.web, config, listeners.http))),
        ]

    def _dimse_part(self, process: int) -> Part:
        dicom, room = self._listeners.dicom, RoomOfProcess(self._room, process)

        def run() -> None:
            self._room.clear(process)
            parts.dimse(self._config, dicom, room)

        return Part(parts.dimse_part(process), self._keeping(dicom, run))

    @cached_property
    def _room(self) -> Room:
        return Room(self._config, self._config.dimse_process_count)

    def _keeping(self, listener: object, run: Callable[[], None]) -> Callable[[], None]:
        """Close the listeners that are other parts'."""

        def closing() -> None:
            self._listeners.close(listener)
            run()

        return closing

    def run(self) -> None:
        for part in self._parts:
            self._start(part)
        while self._wait() not in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            for part in self._parts:
                if os.waitpid(part.pid, os.WNOHANG)[0]:
                    self._start_again(part)
            if not self._ready and self._answers_ready():
                self._ready = True
                self._when_ready()
        self._stop()

    def _wait(self) -> int | None:
        """The next signal; None when it is time to look whether all are ready."""
        if self._ready:
            return signal.sigwaitinfo(_SIGNALS).si_signo
        received = signal.sigtimedwait(_SIGNALS, _READY_POLL_SECONDS)
        return received.si_signo if received else None

    def _start(self, part: Part) -> None:
        part.pid, part.started_at = _fork(f"gateway-{part.name}", part.run), time.monotonic()

    def _start_again(self, part: Part) -> None:
        """The new process itself waits, so that nobody takes the part for ready meanwhile."""
        lived = time.monotonic() - part.started_at - part.pause_seconds
        longer = min(2 * part.pause_seconds or FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        part.pause_seconds = FIRST_PAUSE_SECONDS if lived > STABLE_SECONDS else longer
        log.error("part-ended", part=part.name, lived_seconds=round(lived, 1), again_in=part.pause_seconds)
        paused = partial(parts.pause, self._config, part.name, part.pause_seconds)
        part.pid, part.started_at = _fork(f"gateway-{part.name}", paused, part.run), time.monotonic()

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
        running = {part.pid for part in self._parts}
        self._listeners.close(self._listeners.http)
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
        self._listeners.close()


def _fork(name: str, *steps: Callable[[], None]) -> int:
    """Run the steps in a new process, which is the leader of its own group: Ctrl-C reaches the supervisor only."""
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
        for step in steps:
            step()
        code = 0
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 0 if stopped.code is None else 1
    except GatewayError as error:
        log.error("cannot-go-on", part=name, reason=logs.reason(error))
    except BaseException:  # the outermost edge of this process
        log.exception("part-failed", part=name)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
