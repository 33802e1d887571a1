"""Requests that are answered later, and how far they are."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gateway.case.access import Origin, Partner
from gateway.clock import utc_now
from gateway.errors import NotFound
from gateway.store.ids import new_id
from gateway.store.tables import AsyncRequestRow

EXPORT, BUNDLE = "export", "bundle"
WAITING, BEGUN, DONE, FAILED, CANCELLED, EXPIRED = (
    "waiting",
    "begun",
    "done",
    "failed",
    "cancelled",
    "expired",
)
UNFINISHED, GONE = (WAITING, BEGUN), (CANCELLED, EXPIRED)


def add(
    session: Session, partner: Partner, kind: str, url: str, asked: Mapping[str, Any], origin: Origin
) -> AsyncRequestRow:
    row = AsyncRequestRow(
        id=new_id(),
        partner_id=partner.id,
        kind=kind,
        state=WAITING,
        url=url,
        scopes=list(partner.scopes),
        address=origin.address[:255],
        asked=dict(asked),
        asked_at=utc_now(),
    )
    session.add(row)
    session.flush()
    return row


def get(session: Session, request_id: str, *, lock: bool = False) -> AsyncRequestRow:
    """Raises NotFound."""
    row = session.get(AsyncRequestRow, request_id, with_for_update=lock, populate_existing=lock)
    if row is None:
        raise NotFound(f"No request {request_id}.")
    return row


def of_partner(session: Session, partner: Partner, request_id: str, *, lock: bool = False) -> AsyncRequestRow:
    """Raises NotFound for another partner's, and for one that was cancelled or has expired."""
    row = session.get(AsyncRequestRow, request_id, with_for_update=lock, populate_existing=lock)
    if row is None or row.partner_id != partner.id or row.state in GONE or _is_over(row):
        raise NotFound("There is no such request of yours, or it was cancelled, or its answer has expired.")
    return row


def _is_over(row: AsyncRequestRow) -> bool:
    return row.expires_at is not None and row.expires_at <= utc_now()


def count_unfinished(session: Session, partner: Partner, kind: str) -> int:
    query = select(func.count()).where(
        AsyncRequestRow.partner_id == partner.id,
        AsyncRequestRow.kind == kind,
        AsyncRequestRow.state.in_(UNFINISHED),
    )
    return session.scalar(query) or 0


def expired(session: Session, now: datetime, limit: int) -> Sequence[str]:
    """Ids of those whose answers are to be removed; the longest expired first."""
    query = (
        select(AsyncRequestRow.id)
        .where(AsyncRequestRow.expires_at < now)
        .order_by(AsyncRequestRow.expires_at)
        .limit(limit)
    )
    return session.scalars(query).all()
