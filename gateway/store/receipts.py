"""Receipts: what came in, from whom, when, byte for byte."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.case.access import Origin, Partner
from gateway.clock import utc_now
from gateway.store.ids import new_id
from gateway.store.objects import Stored
from gateway.store.tables import ReceiptRow

KEPT, REFUSED = "kept", "refused"


def add(
    session: Session,
    partner: Partner,
    stored: Stored,
    origin: Origin,
    content_type: str,
    *,
    state: str = KEPT,
    received_at: datetime | None = None,
) -> ReceiptRow:
    """Record stored bytes. ``state`` refused: kept for a person to look at, part of no case."""
    row = ReceiptRow(
        id=new_id(),
        partner_id=partner.id,
        channel=origin.channel,
        address=origin.address[:255],
        content_type=content_type[:120],
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        object_key=stored.key,
        received_at=received_at or utc_now(),
        state=state,
    )
    session.add(row)
    session.flush()
    return row


@dataclass(frozen=True, slots=True)
class EarlierAnswer:
    receipt_id: str
    case_id: str | None
    answer: dict[str, Any]


def same_bundle(session: Session, partner: Partner, sha256: str) -> EarlierAnswer | None:
    """The answer that this partner's bundle of exactly these bytes got before."""
    row = session.scalars(
        select(ReceiptRow)
        .where(
            ReceiptRow.partner_id == partner.id,
            ReceiptRow.sha256 == sha256,
            ReceiptRow.channel == "fhir",
            ReceiptRow.state == KEPT,
        )
        .order_by(ReceiptRow.received_at)
    ).first()
    return EarlierAnswer(row.id, row.case_id, row.answer) if row and row.answer is not None else None


def get(session: Session, receipt_id: str) -> ReceiptRow | None:
    return session.get(ReceiptRow, receipt_id)
