"""Instances that come one after the other from a sender who waits for each answer (ADR 27).

What comes alone is indexed before it is answered. What follows at once upon an answer is answered when it is on disk
with a note by which its row can be made (workflow/index_again.py); the rows of several are then written together: at
the latest ``LONGEST_SECONDS`` after, as soon as nothing follows, and before the sender is served anything else.
"""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from gateway.clock import utc_now
from gateway.errors import StoreUnavailable
from gateway.workflow.receive import (
    DICOM_MEDIA_TYPE,
    Arrival,
    Kept,
    index_kept,
    keep_instance,
    keep_refused,
)

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.case.access import Origin, Partner
    from gateway.case.imaging import InstanceHeader
    from gateway.services import Services
    from gateway.store.objects import Spool

AT_ONCE_SECONDS = 0.01  # from an answer to what follows upon it
LONGEST_SECONDS = 0.2
MOST_INSTANCES = 32
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An instance whose sender was told that it is kept; its spool is what is left behind when the gateway dies."""

    kept: Kept
    spool: Spool


class InstanceStream:
    """Of one sender; for one thread."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._waiting: list[_Waiting] = []
        self._sender: tuple[Partner, Origin] | None = None
        self._first_at: datetime = utc_now()
        self._due_at = 0.0
        self._answered_at = float("-inf")
        self._follows = self._is_failing = False

    @property
    def is_behind(self) -> bool:
        """Whether instances wait to be indexed."""
        return bool(self._waiting)

    @property
    def is_due(self) -> bool:
        return self.is_behind and time.monotonic() >= self._due_at

    @property
    def rest_seconds(self) -> float:
        """For how long nothing may come until it is to ``catch_up``."""
        return AT_ONCE_SECONDS if self.is_behind and not self._is_failing else RETRY_SECONDS

    def begin(self) -> None:
        """The next instance begins to arrive."""
        self._follows = time.monotonic() - self._answered_at < AT_ONCE_SECONDS

    def take(self, partner: Partner, arrival: Arrival, origin: Origin) -> InstanceHeader:
        """Store one file and raise as ``receive_instance`` does; the spool is removed when it is indexed.

        Nothing more is taken as long as what waits cannot be indexed.
        """
        with ExitStack() as removing:
            removing.enter_context(arrival.spool)
            if self._is_failing or self.is_due or self._sender != (partner, origin):
                self._index_waiting()
            now = utc_now()
            kept = keep_instance(self._services, partner, arrival, origin, now)
            if self._follows and kept.stored.is_noted:
                self._wait(_Waiting(kept, arrival.spool), partner, origin, now)
                removing.pop_all()
            else:
                self._index_waiting()
                index_kept(self._services, partner, {0: kept}, origin, now)
        self._answered_at = time.monotonic()
        return kept.header

    def _wait(self, one: _Waiting, partner: Partner, origin: Origin, now: datetime) -> None:
        one.spool.close()
        if not self._waiting:
            self._sender, self._first_at = (partner, origin), now
            self._due_at = time.monotonic() + LONGEST_SECONDS
        self._waiting.append(one)
        if len(self._waiting) >= MOST_INSTANCES:
            self._due_at = 0.0

    def keep_up(self) -> None:
        """Index what waits, where it is due."""
        if self.is_due:
            self.catch_up()

    def catch_up(self) -> None:
        """Index what waits; what cannot be indexed now waits on."""
        try:
            self._index_waiting()
        except StoreUnavailable:
            log.warning("indexing-waits", instances=len(self._waiting))
            self._due_at = time.monotonic() + RETRY_SECONDS

    def finish(self) -> None:
        """Returns when all is indexed."""
        self.catch_up()
        while self.is_behind:
            time.sleep(RETRY_SECONDS)
            self.catch_up()

    def _index_waiting(self) -> None:
        """Raises StoreUnavailable."""
        if self._sender is None or not self._waiting:
            return
        partner, origin = self._sender
        kept = {at: one.kept for at, one in enumerate(self._waiting)}
        self._is_failing = True
        try:
            index_kept(self._services, partner, kept, origin, self._first_at)
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 one that cannot be indexed must not keep the others from it
            self._index_one_by_one(partner, origin)
        for one in self._waiting:
            one.spool.remove()
        self._waiting.clear()
        self._is_failing = False

    def _index_one_by_one(self, partner: Partner, origin: Origin) -> None:
        for one in self._waiting:
            try:
                index_kept(self._services, partner, {0: one.kept}, origin, self._first_at)
            except StoreUnavailable:
                raise
            except Exception as error:  # its sender was told that it is kept: a person must see it
                reference = secrets.token_hex(4)
                log.error("indexing-failed", reference=reference, partner=partner.id, exc_info=error)
                keep_refused(self._services, partner, one.spool, origin, DICOM_MEDIA_TYPE, error)
