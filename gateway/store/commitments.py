"""Requests for storage commitment, and whether their outcome has been reported."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.case.access import Partner
from gateway.clock import utc_now
from gateway.errors import NotFound
from gateway.store.ids import new_id
from gateway.store.tables import CommitmentRow, InstanceRow

WAITING, REPORTED, UNDELIVERED = "waiting", "reported", "undelivered"
_AT_ONCE = 500  # UIDs in a statement


def add(
    session: Session,
    partner: Partner,
    ae_title: str,
    transaction_uid: str,
    references: Sequence[tuple[str, str]],
    *,
    is_duplicate: bool,
    held_until: datetime,
) -> CommitmentRow:
    """``references`` are SOP class and SOP instance UIDs."""
    now = utc_now()
    row = CommitmentRow(
        id=new_id(),
        partner_id=partner.id,
        ae_title=ae_title,
        transaction_uid=transaction_uid,
        references=[list(reference) for reference in references],
        is_duplicate=is_duplicate,
        state=WAITING,
        held_until=held_until,
        requested_at=now,
        updated_at=now,
    )
    session.add(row)
    session.flush()
    return row


def get(session: Session, commitment_id: str, *, lock: bool = False) -> CommitmentRow:
    """Raises NotFound."""
    row = session.get(CommitmentRow, commitment_id, with_for_update=lock, populate_existing=lock)
    if row is None:
        raise NotFound(f"No storage commitment {commitment_id}.")
    return row


def of_transaction(session: Session, partner: Partner, transaction_uid: str) -> CommitmentRow | None:
    """The first request under this Transaction UID."""
    query = select(CommitmentRow).where(
        CommitmentRow.partner_id == partner.id,
        CommitmentRow.transaction_uid == transaction_uid,
        CommitmentRow.is_duplicate.is_(False),
    )
    return session.scalars(query.with_for_update()).first()


def newest(session: Session, limit: int = 200) -> list[CommitmentRow]:
    return list(
        session.scalars(select(CommitmentRow).order_by(CommitmentRow.requested_at.desc()).limit(limit))
    )


def instances(session: Session, partner_id: str, sop_instance_uids: Sequence[str]) -> dict[str, list[Any]]:
    """Of each SOP Instance UID every data set that is kept: sop_class_uid, object_key, sha256, size_bytes, id."""
    found: dict[str, list[Any]] = {}
    for first in range(0, len(sop_instance_uids), _AT_ONCE):
        query = select(
            InstanceRow.sop_instance_uid,
            InstanceRow.sop_class_uid,
            InstanceRow.object_key,
            InstanceRow.sha256,
            InstanceRow.size_bytes,
            InstanceRow.id,
        ).where(
            InstanceRow.partner_id == partner_id,
            InstanceRow.sop_instance_uid.in_(sop_instance_uids[first : first + _AT_ONCE]),
        )
        for row in session.execute(query):
            found.setdefault(row.sop_instance_uid, []).append(row)
    return found
