"""Requests that are answered later (FHIR R4 3.1.6, R5 3.2.6): taken on, worked on, answered, cancelled, forgotten.

What an answer is made of is removed when it expires or its request is cancelled; the row of the request stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from gateway import audit
from gateway.case.access import SYSTEM_ACTOR, Origin, Partner
from gateway.clock import utc_now
from gateway.errors import Conflict, TooManyRequests
from gateway.store import async_requests, partners
from gateway.store.async_requests import (
    BEGUN,
    BUNDLE,
    CANCELLED,
    DONE,
    EXPIRED,
    EXPORT,
    UNFINISHED,
    WAITING,
)
from gateway.store.objects import LENT

if TYPE_CHECKING:
    from gateway.services import Services
    from gateway.store.tables import AsyncRequestRow
    from gateway.workflow.durable import Work

ASK, CANCEL = "ask-async", "cancel-async"
KEPT = {EXPORT: timedelta(hours=24), BUNDLE: timedelta(days=7)}
"""How long an answer can be fetched."""
MOST_UNFINISHED = {EXPORT: 3, BUNDLE: 1000}
_REMOVED_AT_ONCE = 100

log = structlog.get_logger(__name__)


def subject_of(request_id: str) -> str:
    """On the audit trail."""
    return f"async-request:{request_id}"


def files_of(request_id: str) -> str:
    """The folder of what is lent of its answer."""
    return f"{LENT}{request_id}"


def ask(
    services: Services,
    partner: Partner,
    work: Work,
    kind: str,
    url: str,
    asked: Mapping[str, Any],
    origin: Origin,
) -> str:
    """Take a request on; its id. It is worked on, whatever happens. Raises TooManyRequests."""
    with services.database.transaction() as session:
        partners.lock(session, partner)
        if async_requests.count_unfinished(session, partner, kind) >= MOST_UNFINISHED[kind]:
            raise TooManyRequests("Too many requests of yours are not answered yet; please wait for them.")
        row = async_requests.add(session, partner, kind, url, asked, origin)
        audit.record(session, partner, ASK, subject_of(row.id), origin=origin, kind=kind)
        services.jobs.enqueue(session, work, row.id)
        return row.id


def begin(services: Services, request_id: str) -> AsyncRequestRow | None:
    """The request, from now on begun; None where nothing is left to do.

    The ``transaction_at`` of an export is chosen once, while nobody else changes what the partner sent: all that was
    received until then is committed, and what comes later is later.
    """
    with services.database.transaction() as session:
        row = async_requests.get(session, request_id, lock=True)
        if row.state not in UNFINISHED:
            return None
        if row.kind == EXPORT and row.transaction_at is None:
            partners.lock(session, partners.get(session, row.partner_id).partner)
            row.transaction_at = utc_now()
        row.state = BEGUN
    return row


def is_wanted(services: Services, request_id: str) -> bool:
    """Whether nobody has cancelled it meanwhile."""
    with services.database.reading() as session:
        return async_requests.get(session, request_id).state == BEGUN


def finish(services: Services, request_id: str, state: str, answer: str = "") -> None:
    """Done or failed, with ``answer`` as its kind has it. One that was cancelled stays so."""
    with services.database.transaction() as session:
        row = async_requests.get(session, request_id, lock=True)
        if row.state == BEGUN:
            row.state, row.answer, row.finished_at = state, answer, utc_now()
            row.expires_at = row.finished_at + KEPT[row.kind]
            audit.record(session, SYSTEM_ACTOR, f"async-{state}", subject_of(row.id), kind=row.kind)
        is_done = row.state == DONE
    if not is_done:
        services.objects.take_back(files_of(request_id))


def cancel(services: Services, partner: Partner, request_id: str, origin: Origin) -> None:
    """The sender does not want the answer, or does not need it any more. Raises NotFound.

    Raises Conflict for a bundle that is being received just now.
    """
    with services.database.transaction() as session:
        row = async_requests.of_partner(session, partner, request_id, lock=True)
        if row.kind == BUNDLE and row.state == BEGUN:
            raise Conflict("The bundle is being received already and cannot be cancelled any more.")
        was_waiting = row.state == WAITING
        row.state, row.answer, row.expires_at = CANCELLED, "", utc_now()
        audit.record(session, partner, CANCEL, subject_of(row.id), origin=origin, waiting=was_waiting)
    services.objects.take_back(files_of(request_id))


def remove_expired(services: Services) -> int:
    """How many answers were removed; what is lent goes first, so that the row tells of it until it is gone."""
    removed = 0
    while True:
        with services.database.reading() as session:
            request_ids = async_requests.expired(session, utc_now(), _REMOVED_AT_ONCE)
        for request_id in request_ids:
            services.objects.take_back(files_of(request_id))
            with services.database.transaction() as session:
                row = async_requests.get(session, request_id, lock=True)
                row.state = row.state if row.state == CANCELLED else EXPIRED
                row.answer, row.expires_at = "", None
            removed += 1
        if len(request_ids) < _REMOVED_AT_ONCE:
            return removed
