"""The three parts of a running gateway: each blocks until it is told to stop. DICOM may be several processes."""

import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog

from gateway.clock import utc_now
from gateway.config import Config
from gateway.errors import StoreUnavailable
from gateway.services import Services, build_services
from gateway.store import heartbeats
from gateway.store.database import Database
from gateway.store.heartbeats import BEAT_SECONDS, FRESH_SECONDS

if TYPE_CHECKING:
    from gateway.dimse.listening import Listeners
    from gateway.dimse.room import RoomOfProcess

WEB, DIMSE, WORKER = "web", "dimse", "worker"
TAKE_OVER_SECONDS = 30.0
TURNS_BETWEEN_FORGETTING = 120
FINISHED_WORK_KEPT = timedelta(days=7)
_FIRST_BEAT_SECONDS = 0.05

log = structlog.get_logger(__name__)


def machine() -> str:
    """The name under which this machine's work and heartbeats are known to the others."""
    return socket.gethostname()[:64]


def web(config: Config, listener: socket.socket) -> None:
    from gateway.processes import web_server

    web_server.serve(build_services(config), listener)


def dimse(config: Config, listeners: "Listeners | None" = None, room: "RoomOfProcess | None" = None) -> None:
    """One of several processes where it is given what they share. Raises GatewayError."""
    from gateway.dimse import scp
    from gateway.workflow.index_again import index_left_behind

    services, stop, listening = build_services(config), _stop_on_signal(), threading.Event()
    index_left_behind(services)  # by the process in whose place this one may be
    part = dimse_part(room.process if room else 0)
    with Heart(services, part, lambda: listening.is_set() and _runs(scp.LISTENER_THREAD)):
        scp.serve(services, stop, listening, listeners, room)


def dimse_part(process: int) -> str:
    """Under which name a DICOM process beats: dimse, dimse-2, dimse-3."""
    return f"{DIMSE}-{process + 1}" if process else DIMSE


def worker(config: Config) -> None:
    from gateway.workflow import durable

    services, stop = build_services(config), _stop_on_signal()
    durable.launch(services, machine())
    with Heart(services, WORKER, durable.is_running):
        for turn in itertools.count():
            if stop.wait(TAKE_OVER_SECONDS):
                break
            _take_over_from_dead(services)
            _keep_in_touch(services)
            if turn % TURNS_BETWEEN_FORGETTING == 0:
                _forget_finished(services)
                _remove_expired(services)
        durable.stop()


def pause(config: Config, part: str, seconds: float) -> None:
    """Before a part that died starts anew: it is not ready, and is not tried too often."""
    database = build_services(config).database
    _forget(database, part)
    database.close()
    time.sleep(seconds)


def _forget(database: Database, part: str) -> None:
    try:
        with database.transaction() as session:
            heartbeats.forget(session, [part], machine())
    except StoreUnavailable:
        log.warning("database-unavailable", part=part)


def _take_over_from_dead(services: Services) -> None:
    from gateway.workflow import durable

    try:
        with services.database.reading() as session:
            living = heartbeats.living_machines(session, WORKER)
    except StoreUnavailable:
        return
    durable.take_over_from_dead(living | {machine()})


def _keep_in_touch(services: Services) -> None:
    from gateway.workflow import notify_send

    try:
        notify_send.sweep(services)
    except Exception:  # the outermost edge of the worker: half a minute later it is tried again
        log.exception("heartbeats-failed")


def _forget_finished(services: Services) -> None:
    try:
        forgotten = services.jobs.forget_finished(utc_now() - FINISHED_WORK_KEPT)
    except Exception:  # the outermost edge of the worker: an hour later it is tried again
        log.exception("forgetting-failed")
        return
    if forgotten:
        log.info("finished-work-forgotten", count=forgotten)


def _remove_expired(services: Services) -> None:
    from gateway.workflow import respond_async

    try:
        removed = respond_async.remove_expired(services)
    except Exception:  # the outermost edge of the worker: an hour later it is tried again
        log.exception("removing-failed")
        return
    if removed:
        log.info("expired-answers-removed", count=removed)


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _runs(thread_name: str) -> bool:
    return any(thread.name == thread_name for thread in threading.enumerate())


class Heart:
    """Says every two seconds that a part can do work; ends the process when it has ceased to.

    A context manager. The supervisor starts a process that ended anew.
    """

    def __init__(self, services: Services, part: str, works: Callable[[], bool]) -> None:
        self._database = services.database
        self._part = part
        self._works = works
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, name="heart", daemon=True)

    def __enter__(self) -> Self:
        _forget(self._database, self._part)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        _forget(self._database, self._part)

    def _beat_until_stopped(self) -> None:
        while not self._works():
            if self._stop.wait(_FIRST_BEAT_SECONDS):
                return
        last = time.monotonic()
        while True:
            if self._works():
                last = time.monotonic()
                self._beat()
            elif time.monotonic() - last > FRESH_SECONDS:
                log.error("part-stuck", part=self._part)
                os._exit(1)
            if self._stop.wait(BEAT_SECONDS):
                return

    def _beat(self) -> None:
        try:
            with self._database.transaction() as session:
                heartbeats.beat(session, self._part, machine())
        except StoreUnavailable:
            log.warning("database-unavailable", part=self._part)
        except Exception:  # the outermost edge of this thread: one beat is lost, not all
            log.exception("heartbeat-failed", part=self._part)
