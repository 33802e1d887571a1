"""Partners' subscriptions, and the events that each has had."""

from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from gateway.case.access import Partner
from gateway.case.subscription import Event, SubscriptionStatus, Topic, Wanted
from gateway.errors import NotFound
from gateway.store.ids import new_id
from gateway.store.tables import SubscriptionEventRow, SubscriptionRow

MAX_OF_PARTNER = 100
"""Subscriptions of one partner that are not deleted: each costs a look at every event."""


def add(session: Session, partner: Partner, wanted: Wanted, content: str, now: datetime) -> SubscriptionRow:
    """``content`` is the Subscription as JSON."""
    row = SubscriptionRow(
        id=new_id(),
        partner_id=partner.id,
        topic=wanted.topic,
        status=SubscriptionStatus.REQUESTED,
        version=1,
        content=content,
        end_at=wanted.end,
        heartbeat_seconds=wanted.heartbeat_seconds,
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    session.flush()
    return row


def of_partner(
    session: Session, partner: Partner, subscription_id: str | None = None
) -> list[SubscriptionRow]:
    """The partner's own that are not deleted, oldest first; only the one of that id, if it is given."""
    query = select(SubscriptionRow).where(
        SubscriptionRow.partner_id == partner.id, SubscriptionRow.deleted_at.is_(None)
    )
    if subscription_id is not None:
        query = query.where(SubscriptionRow.id == subscription_id)
    return list(session.scalars(query.order_by(SubscriptionRow.created_at, SubscriptionRow.id)))


def own(session: Session, partner: Partner, subscription_id: str, *, lock: bool = False) -> SubscriptionRow:
    """Raises NotFound when it is another partner's, deleted, or none."""
    row = session.get(SubscriptionRow, subscription_id, with_for_update=lock, populate_existing=lock)
    if row is None or row.partner_id != partner.id or row.deleted_at is not None:
        raise NotFound("No Subscription of yours has that id.")
    return row


def row(session: Session, subscription_id: str, *, lock: bool = False) -> SubscriptionRow:
    """Whoever's, deleted or not. Raises NotFound."""
    found = session.get(SubscriptionRow, subscription_id, with_for_update=lock, populate_existing=lock)
    if found is None:
        raise NotFound(f"No subscription {subscription_id}.")
    return found


def listening(session: Session, partner_id: str, topic: Topic, now: datetime) -> list[SubscriptionRow]:
    """Those whose events are counted, locked: also while the endpoint is not reached (Backport, Errors)."""
    query = (
        select(SubscriptionRow)
        .where(
            SubscriptionRow.partner_id == partner_id,
            SubscriptionRow.topic == topic,
            SubscriptionRow.deleted_at.is_(None),
            SubscriptionRow.status != SubscriptionStatus.OFF,
            or_(SubscriptionRow.end_at.is_(None), SubscriptionRow.end_at > now),
        )
        .order_by(SubscriptionRow.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return list(session.scalars(query))


def add_event(
    session: Session, row: SubscriptionRow, focus: str, context: str, case_id: str, now: datetime
) -> None:
    """The next event of a locked subscription."""
    row.events += 1
    session.add(
        SubscriptionEventRow(
            subscription_id=row.id, number=row.events, at=now, focus=focus, context=context, case_id=case_id
        )
    )
    session.flush()


def events(session: Session, row: SubscriptionRow, since: int, until: int, limit: int) -> tuple[Event, ...]:
    """Those numbered from ``since`` to ``until``, both included."""
    query = (
        select(SubscriptionEventRow)
        .where(
            SubscriptionEventRow.subscription_id == row.id,
            SubscriptionEventRow.number.between(since, until),
        )
        .order_by(SubscriptionEventRow.number)
        .limit(limit)
    )
    return tuple(Event(e.number, e.at, e.focus, e.context, e.case_id) for e in session.scalars(query))


def with_heartbeat(session: Session) -> list[SubscriptionRow]:
    """The active ones that are told regularly that the gateway is there."""
    query = select(SubscriptionRow).where(
        SubscriptionRow.status == SubscriptionStatus.ACTIVE,
        SubscriptionRow.heartbeat_seconds > 0,
        SubscriptionRow.deleted_at.is_(None),
    )
    return list(session.scalars(query))


def past_end(session: Session, now: datetime, *, lock: bool = False) -> list[SubscriptionRow]:
    """Those whose time is over and that do not say so yet."""
    query = select(SubscriptionRow).where(
        SubscriptionRow.status != SubscriptionStatus.OFF, SubscriptionRow.end_at <= now
    )
    return list(session.scalars(query.with_for_update() if lock else query))


def is_due(row: SubscriptionRow, now: datetime, slack_seconds: float) -> bool:
    """Whether the heartbeat period is over, or will be within the slack."""
    last = row.tried_at or row.updated_at
    return last + timedelta(seconds=row.heartbeat_seconds - slack_seconds) <= now


def status_at(row: SubscriptionRow, now: datetime) -> SubscriptionStatus:
    """Off when Subscription.end is reached, also where nobody has written that down yet."""
    is_over = row.end_at is not None and row.end_at <= now
    return SubscriptionStatus.OFF if is_over else SubscriptionStatus(row.status)


def newest(session: Session, limit: int = 200) -> list[SubscriptionRow]:
    return list(
        session.scalars(select(SubscriptionRow).order_by(SubscriptionRow.created_at.desc()).limit(limit))
    )
