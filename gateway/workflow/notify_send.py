"""Send a subscriber what it has not been told yet; tried again until its server takes it, or a person must look.

Handshake, events in their order, or a heartbeat where there is nothing else to say (Subscriptions R5 Backport 1.1.0).
One at a time for each subscription: who is at it holds it for as long as the try may take. A crash after sending and
before recording leads to a second sending, which the number of the event tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from gateway import audit
from gateway.case.access import SYSTEM_ACTOR, Origin
from gateway.case.subscription import Event, NotificationType, SubscriptionStatus, Wanted
from gateway.clock import utc_now
from gateway.errors import Conflict, GatewayError, NotFound, PeerRefused
from gateway.store import partners, subscriptions
from gateway.store.trail import Act
from gateway.workflow.durable import RETRY_SECONDS
from gateway.workflow.faults import log_fault
from gateway.workflow.notify import send_soon, wanted
from gateway.workflow.notify_content import notification, told_of
from mappings.subscription_request import Refused

if TYPE_CHECKING:
    from gateway.services import Services
    from gateway.store.database import Session
    from gateway.store.partners import Registration
    from gateway.store.tables import SubscriptionRow

NOTIFY, NOTIFY_FAILED, NOTIFY_DELAYED, END = "notify", "notify-failed", "notify-delayed", "end-subscription"
CHANNEL = "rest-hook"
SWEEP_SECONDS = 30.0
"""How often somebody looks which heartbeats are due; they are sent that much early rather than late."""
_BESIDE_SENDING = timedelta(seconds=30)
_GIVEN_UP_AFTER = timedelta(seconds=sum(RETRY_SECONDS))

log = structlog.get_logger(__name__)


class _Busy(Exception):
    """Somebody else is sending."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One notification to be sent, of the subscription as it was at ``version``."""

    subscription_id: str
    version: int
    partner: Registration
    wanted: Wanted
    kind: NotificationType
    events: tuple[Event, ...] = ()


def attempt(services: Services, subject: str, last: bool) -> bool:
    """Everything that is to be said to ``subscription id/round``; False when that must be tried again.

    May be repeated at any time. Nothing is sent inside a transaction.
    """
    subscription_id, _, number = subject.rpartition("/")
    try:
        while (job := _claim(services, subscription_id, int(number))) is not None:
            error, is_final = _send(services, job)
            if (is_over := _record(services, job, error, is_final or last)) is not None:
                return is_over
    except _Busy:
        return False
    return True


def _claim(services: Services, subscription_id: str, number: int) -> _Job | None:
    """None when there is nothing to say. Raises _Busy."""
    now = utc_now()
    with services.database.transaction() as session:
        row = subscriptions.row(session, subscription_id, lock=True)
        if row.round != number or (kind := _due(row, now)) is None:
            return None
        if row.busy_until is not None and row.busy_until > now:
            raise _Busy
        try:
            asked = wanted(services, row)
        except Refused:
            row.status, row.last_error = (
                SubscriptionStatus.ERROR,
                "This version of the gateway does not offer it.",
            )
            log.error("subscription-given-up", subscription=row.id, partner=row.partner_id)
            return None
        row.busy_until = now + timedelta(seconds=asked.timeout_seconds) + _BESIDE_SENDING
        events: tuple[Event, ...] = ()
        if kind is NotificationType.EVENT:
            events = subscriptions.events(session, row, row.sent + 1, row.events, asked.max_count)
        return _Job(row.id, row.version, partners.get(session, row.partner_id), asked, kind, events)


def _due(row: SubscriptionRow, now: datetime) -> NotificationType | None:
    if row.deleted_at is not None:
        return None
    match subscriptions.status_at(row, now):
        case SubscriptionStatus.REQUESTED:
            return NotificationType.HANDSHAKE
        case SubscriptionStatus.ACTIVE if row.sent < row.events:
            return NotificationType.EVENT
        case SubscriptionStatus.ACTIVE if row.heartbeat_seconds:
            return NotificationType.HEARTBEAT if subscriptions.is_due(row, now, SWEEP_SECONDS) else None
    return None


def _send(services: Services, job: _Job) -> tuple[str, bool]:
    """Why it was not taken, '' when it was, in words that are safe to show; and whether trying again is of no use."""
    try:
        if job.partner.disabled:
            raise Conflict("The hospital is disabled, and is sent nothing.")
        with services.database.reading() as session:
            row = subscriptions.row(session, job.subscription_id)
            count = job.events[-1].number if job.events else None
            told = told_of(row, job.wanted.content, count)
            bundle = notification(services, session, job.partner.partner, told, job.kind, job.events)
        services.notify(job.partner, job.wanted, bundle)
        return "", False
    except (PeerRefused, NotFound, Conflict) as error:
        return str(error), True
    except GatewayError as error:
        return str(error), False
    except Exception as error:  # noqa: BLE001 (edge of a durable step: an unknown fault must not end the tries unseen)
        reference = log_fault("notify.fault", error, subscription=job.subscription_id)
        return f"The notification could not be sent; the log tells why under {reference}.", False


def _record(services: Services, job: _Job, error: str, is_final: bool) -> bool | None:
    """None to go on, True when nothing more is to be done, False when it must be tried again."""
    now = utc_now()
    with services.database.transaction() as session:
        row = subscriptions.row(session, job.subscription_id, lock=True)
        row.busy_until, row.tried_at = None, now
        is_same = row.version == job.version and row.deleted_at is None
        if not error:
            _taken(row, job, is_same)
            _audit(session, job, NOTIFY)
            return None
        if not is_same:
            _audit(session, job, NOTIFY_DELAYED)
            return None
        row.last_error, row.failing_since = error, row.failing_since or now
        if is_final or job.kind is NotificationType.HANDSHAKE or now - row.failing_since > _GIVEN_UP_AFTER:
            row.status, row.version, row.updated_at = SubscriptionStatus.ERROR, row.version + 1, now
            log.error("subscription-given-up", subscription=row.id, partner=row.partner_id)
            _audit(session, job, NOTIFY_FAILED)
            return True
        _audit(session, job, NOTIFY_DELAYED)
        return job.kind is NotificationType.HEARTBEAT


def _taken(row: SubscriptionRow, job: _Job, is_same: bool) -> None:
    if job.events:
        row.sent = max(row.sent, job.events[-1].number)
    if is_same:
        row.failing_since, row.last_error = None, ""
        if job.kind is NotificationType.HANDSHAKE:
            row.status, row.version, row.updated_at = SubscriptionStatus.ACTIVE, row.version + 1, utc_now()


def _audit(session: Session, job: _Job, action: str) -> None:
    """One row for each event, on its case's trail; one for a handshake or a heartbeat."""
    subject, told = f"subscription:{job.subscription_id}", {"type": job.kind, "content": job.wanted.content}
    acts = [Act(action, subject, event.case_id, told | {"event": event.number}) for event in job.events]
    origin = Origin(CHANNEL, urlsplit(job.wanted.endpoint).netloc)
    audit.record_all(session, SYSTEM_ACTOR, acts or [Act(action, subject, detail=told)], origin)


def sweep(services: Services) -> None:
    """Enqueue the heartbeats that are due, and write down which subscriptions have ended."""
    now = utc_now()
    with services.database.reading() as session:
        told = subscriptions.with_heartbeat(session)
        due = [row.id for row in told if subscriptions.is_due(row, now, SWEEP_SECONDS)]
        has_ended = bool(subscriptions.past_end(session, now))
    if due or has_ended:
        with services.database.transaction() as session:
            for row in subscriptions.past_end(session, now, lock=True):
                row.status, row.version, row.updated_at = SubscriptionStatus.OFF, row.version + 1, now
                audit.record(session, SYSTEM_ACTOR, END, f"subscription:{row.id}")
            for subscription_id in due:
                send_soon(services, session, subscriptions.row(session, subscription_id, lock=True))
