"""Opinions and their way back to the hospital."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.case.access import User
from gateway.case.model import Delivery, DeliveryState, Opinion
from gateway.errors import Conflict, NotFound
from gateway.store.ids import new_id
from gateway.store.tables import DeliveryRow, OpinionRow


def save_draft(
    session: Session,
    case_id: str,
    author: User,
    findings_text: str,
    conclusion: str,
    recommendations: str,
    now: datetime,
) -> OpinionRow:
    """The author's one draft of the case, made or changed.

    Another author's draft is never touched, nor a signed opinion (decision 7).
    """
    row = draft_row(session, case_id, author.id)
    if row is None:
        row = OpinionRow(id=new_id(), case_id=case_id, author_id=author.id)
        session.add(row)
    row.author_name, row.drafted_at = author.name, now
    row.findings_text, row.conclusion, row.recommendations = findings_text, conclusion, recommendations
    session.flush()
    return row


def draft_row(session: Session, case_id: str, author_id: str) -> OpinionRow | None:
    return session.scalar(
        select(OpinionRow).where(
            OpinionRow.case_id == case_id, OpinionRow.author_id == author_id, OpinionRow.signed_at.is_(None)
        )
    )


@dataclass(frozen=True, slots=True)
class FrozenReport:
    """Object keys of the signed report's three forms and of the parcel that is pushed, each JSON with its SHA-256.

    ``report_subject`` and ``report_based_on`` are references that the report has, ``Type/id`` or empty.
    """

    report_key: str
    report_subject: str
    report_based_on: str
    report_sha256: str
    html_key: str
    pdf_key: str
    parcel_key: str
    parcel_sha256: str


def freeze(session: Session, opinion_id: str, report: FrozenReport, signed_at: datetime) -> None:
    """Sign. Raises Conflict when it is signed already."""
    row = session.get_one(OpinionRow, opinion_id)
    if row.signed_at is not None:
        raise Conflict("This opinion is signed already; a signed opinion is never changed.")
    row.signed_at = signed_at
    row.report_key, row.report_sha256 = report.report_key, report.report_sha256
    row.report_subject, row.report_based_on = report.report_subject, report.report_based_on
    row.html_key, row.pdf_key = report.html_key, report.pdf_key
    row.parcel_key, row.parcel_sha256 = report.parcel_key, report.parcel_sha256
    session.flush()


def row(session: Session, opinion_id: str) -> OpinionRow:
    """Raises NotFound."""
    found = session.get(OpinionRow, opinion_id)
    if found is None:
        raise NotFound("No such opinion.")
    return found


def of_case(session: Session, case_id: str) -> tuple[Opinion, ...]:
    rows = session.scalars(
        select(OpinionRow).where(OpinionRow.case_id == case_id).order_by(OpinionRow.drafted_at)
    )
    return tuple(
        Opinion(
            id=r.id,
            author_id=r.author_id,
            author_name=r.author_name,
            findings_text=r.findings_text,
            conclusion=r.conclusion,
            recommendations=r.recommendations,
            drafted_at=r.drafted_at,
            signed_at=r.signed_at,
            report_sha256=r.report_sha256,
        )
        for r in rows
    )


def add_delivery(
    session: Session,
    case_id: str,
    opinion_id: str,
    channel: str,
    address: str,
    state: DeliveryState,
    now: datetime,
) -> str:
    row = DeliveryRow(
        id=new_id(),
        case_id=case_id,
        opinion_id=opinion_id,
        channel=channel,
        address=address,
        state=state,
        updated_at=now,
    )
    session.add(row)
    session.flush()
    return row.id


def delivery_row(session: Session, delivery_id: str, *, lock: bool = False) -> DeliveryRow:
    """Raises NotFound. ``lock`` reads it anew and keeps others from changing it until the end of the transaction."""
    found = session.get(DeliveryRow, delivery_id, with_for_update=lock, populate_existing=lock)
    if found is None:
        raise NotFound("No such delivery.")
    return found


def delivery_rows(session: Session, opinion_id: str) -> list[DeliveryRow]:
    """Every way that one opinion goes back."""
    rows = select(DeliveryRow).where(DeliveryRow.opinion_id == opinion_id).order_by(DeliveryRow.channel)
    return list(session.scalars(rows))


def deliveries_of_case(session: Session, case_id: str) -> tuple[Delivery, ...]:
    rows = session.scalars(
        select(DeliveryRow).where(DeliveryRow.case_id == case_id).order_by(DeliveryRow.updated_at)
    )
    return tuple(
        Delivery(
            id=r.id,
            opinion_id=r.opinion_id,
            channel=r.channel,
            address=r.address,
            state=DeliveryState(r.state),
            attempts=r.attempts,
            last_error=r.last_error,
            receipt=r.receipt,
            updated_at=r.updated_at,
        )
        for r in rows
    )
