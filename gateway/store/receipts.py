"""Receipts: what came in, from whom, when, byte for byte."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, false, select
from sqlalchemy.orm import Session

from gateway.case.access import Origin, Partner, Role, System, User, Viewer
from gateway.clock import utc_now
from gateway.store.ids import new_id
from gateway.store.objects import Stored
from gateway.store.tables import AuditRow, PartnerRow, ReceiptRow

KEPT, REFUSED = "kept", "refused"
_RECEIPT = cast(Table, ReceiptRow.__table__)


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
    row = ReceiptRow(**_columns(partner, stored, origin, content_type, state, received_at or utc_now()))
    session.add(row)
    session.flush()
    return row


def add_all(
    session: Session,
    partner: Partner,
    found: Mapping[str, Stored],
    origin: Origin,
    content_type: str,
    received_at: datetime,
) -> None:
    """Record many at once; the ids of the receipts are the keys."""
    rows = [
        _columns(partner, stored, origin, content_type, KEPT, received_at) | {"id": receipt_id}
        for receipt_id, stored in found.items()
    ]
    if rows:
        session.connection().execute(_RECEIPT.insert(), rows)


def _columns(
    partner: Partner, stored: Stored, origin: Origin, content_type: str, state: str, received_at: datetime
) -> dict[str, Any]:
    return {
        "id": new_id(),
        "partner_id": partner.id,
        "channel": origin.channel,
        "address": origin.address[:255],
        "content_type": content_type[:120],
        "sha256": stored.sha256,
        "size_bytes": stored.size_bytes,
        "object_key": stored.key,
        "received_at": received_at,
        "state": state,
    }


def has_sent(session: Session, partner_id: str, sha256: str) -> bool:
    """Whether a receipt says that these bytes came from that partner."""
    found = select(ReceiptRow.id).where(ReceiptRow.partner_id == partner_id, ReceiptRow.sha256 == sha256)
    return session.scalar(found.limit(1)) is not None


@dataclass(frozen=True, slots=True)
class EarlierAnswer:
    receipt_id: str
    case_id: str | None
    answer: dict[str, Any]


def same_bundle(session: Session, partner: Partner, sha256: str) -> EarlierAnswer | None:
    """The answer that this partner's bundle of exactly these bytes got when it was last kept."""
    row = session.scalars(
        select(ReceiptRow)
        .where(
            ReceiptRow.partner_id == partner.id,
            ReceiptRow.sha256 == sha256,
            ReceiptRow.channel == "fhir",
            ReceiptRow.state == KEPT,
        )
        .order_by(ReceiptRow.received_at.desc())
    ).first()
    return EarlierAnswer(row.id, row.case_id, row.answer) if row and row.answer is not None else None


def get(session: Session, receipt_id: str) -> ReceiptRow | None:
    return session.get(ReceiptRow, receipt_id)


def of_case(session: Session, case_id: str) -> list[ReceiptRow]:
    """Bundles of a case, oldest first."""
    return list(
        session.scalars(
            select(ReceiptRow)
            .where(ReceiptRow.case_id == case_id, ReceiptRow.state == KEPT)
            .order_by(ReceiptRow.received_at)
        )
    )


@dataclass(frozen=True, slots=True)
class RefusedReceipt:
    """Bytes that could not be taken. ``cause`` is the name of the error's class, empty where none was recorded."""

    id: str
    partner_id: str
    partner_name: str
    channel: str
    address: str
    content_type: str
    size_bytes: int
    sha256: str
    received_at: datetime
    cause: str


def refused(session: Session, viewer: Viewer, limit: int = 200) -> list[RefusedReceipt]:
    """The newest refused receipts: a partner's own, all for intake, none for a specialist."""
    query = (
        select(ReceiptRow, PartnerRow.name)
        .join(PartnerRow, PartnerRow.id == ReceiptRow.partner_id)
        .where(ReceiptRow.state == REFUSED, *_visible(viewer))
        .order_by(ReceiptRow.received_at.desc(), ReceiptRow.id)
        .limit(limit)
    )
    found = [(row, name) for row, name in session.execute(query)]
    causes = _causes(session, [row.id for row, _ in found])
    return [
        RefusedReceipt(
            id=row.id,
            partner_id=row.partner_id,
            partner_name=name,
            channel=row.channel,
            address=row.address,
            content_type=row.content_type,
            size_bytes=row.size_bytes,
            sha256=row.sha256,
            received_at=row.received_at,
            cause=causes.get(row.id, ""),
        )
        for row, name in found
    ]


def _visible(viewer: Viewer) -> tuple[Any, ...]:
    match viewer:
        case Partner():
            return (ReceiptRow.partner_id == viewer.id,)
        case User() if Role.INTAKE not in viewer.roles:
            return (false(),)
        case User() | System():
            return ()


def _causes(session: Session, receipt_ids: list[str]) -> dict[str, str]:
    """By receipt id: the cause on the audit trail (``keep_refused`` in workflow/receive.py)."""
    subjects = [f"receipt:{receipt_id}" for receipt_id in receipt_ids]
    rows = session.scalars(
        select(AuditRow).where(AuditRow.action == "refused", AuditRow.subject.in_(subjects))
    )
    return {row.subject.removeprefix("receipt:"): str(row.detail.get("cause", "")) for row in rows}


def of_several_cases(session: Session, receipt_ids: set[str]) -> frozenset[str]:
    """Which of the bundles went to more than one case."""
    rows = session.execute(select(ReceiptRow.id, ReceiptRow.answer).where(ReceiptRow.id.in_(receipt_ids)))
    return frozenset(receipt_id for receipt_id, answer in rows if len((answer or {}).get("case_ids", ())) > 1)
