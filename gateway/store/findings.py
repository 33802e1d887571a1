"""Findings and the enquiries that ask for what they miss."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.case.model import CaseFinding, Enquiry, Finding, FindingState, Severity
from gateway.store.ids import bounded, new_id
from gateway.store.tables import EnquiryRow, FindingRow

_KEY_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Keys that opened and closed by comparing what is found now with what was found before."""

    opened: tuple[str, ...]
    closed: tuple[str, ...]


def key_of(finding: Finding) -> str:
    """The key under which a finding is kept."""
    return bounded(finding.key, _KEY_CHARACTERS)


def reconcile(session: Session, case_id: str, found: Sequence[Finding], now: datetime) -> Reconciled:
    """Open what is newly found, close what is gone, reopen what came back.

    A waiver by a person stays as long as the same is found.
    """
    rows = {row.key: row for row in session.scalars(select(FindingRow).where(FindingRow.case_id == case_id))}
    opened, closed = [], []
    present = {key_of(finding): finding for finding in found}
    for key, finding in present.items():
        row = rows.get(key)
        if row is None:
            row = FindingRow(id=new_id(), case_id=case_id, key=key, state=FindingState.OPEN, opened_at=now)
            session.add(row)
            opened.append(key)
        elif row.state == FindingState.RESOLVED or _says_something_else(row, finding):
            row.state, row.opened_at, row.closed_at = FindingState.OPEN, now, None
            row.waived_by = row.waived_because = ""
            opened.append(key)
        row.check, row.severity = finding.check, finding.severity
        row.subject, row.text, row.remedy = finding.subject, finding.text, finding.remedy
        row.evidence = dict(finding.evidence)
    for key, row in rows.items():
        if key not in present and row.state != FindingState.RESOLVED:
            row.state, row.closed_at = FindingState.RESOLVED, now
            closed.append(key)
    session.flush()
    return Reconciled(tuple(opened), tuple(closed))


def _says_something_else(row: FindingRow, finding: Finding) -> bool:
    """A person waived what was found then; what is found now is another matter."""
    return row.state == FindingState.WAIVED and (row.text, row.evidence) != (
        finding.text,
        dict(finding.evidence),
    )


def waive(session: Session, case_id: str, finding_id: str, by: str, because: str, now: datetime) -> bool:
    """Whether the finding was open and is waived now."""
    row = session.get(FindingRow, finding_id)
    if row is None or row.case_id != case_id or row.state != FindingState.OPEN:
        return False
    row.state, row.waived_by, row.waived_because, row.closed_at = FindingState.WAIVED, by, because, now
    return True


def of_case(session: Session, case_id: str) -> tuple[CaseFinding, ...]:
    """Open ones first, the gravest first."""
    rows = session.scalars(
        select(FindingRow).where(FindingRow.case_id == case_id).order_by(FindingRow.opened_at)
    )
    found = [_case_finding(row) for row in rows]
    gravity = list(Severity)
    found.sort(key=lambda f: (f.state is not FindingState.OPEN, gravity.index(f.finding.severity)))
    return tuple(found)


def _case_finding(row: FindingRow) -> CaseFinding:
    return CaseFinding(
        id=row.id,
        finding=Finding(
            key=row.key,
            check=row.check,
            severity=Severity(row.severity),
            subject=row.subject,
            text=row.text,
            evidence=tuple(row.evidence.items()),
            remedy=row.remedy,
        ),
        state=FindingState(row.state),
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        waived_by=row.waived_by,
        waived_because=row.waived_because,
    )


def add_enquiry(
    session: Session, case_id: str, text: str, finding_ids: Sequence[str], asked_by: str, now: datetime
) -> str:
    row = EnquiryRow(
        id=new_id(),
        case_id=case_id,
        text=text,
        finding_ids=list(finding_ids),
        asked_by=asked_by,
        asked_at=now,
    )
    session.add(row)
    session.flush()
    return row.id


def answer_enquiries(session: Session, case_id: str, now: datetime) -> tuple[str, ...]:
    """Close enquiries about findings of which none is open any more; enquiries without findings wait for a person."""
    open_ids = set(
        session.scalars(
            select(FindingRow.id).where(FindingRow.case_id == case_id, FindingRow.state == FindingState.OPEN)
        )
    )
    answered = []
    for row in session.scalars(
        select(EnquiryRow).where(EnquiryRow.case_id == case_id, EnquiryRow.answered_at.is_(None))
    ):
        if row.finding_ids and not open_ids.intersection(row.finding_ids):
            row.answered_at = now
            answered.append(row.id)
    return tuple(answered)


def enquiries_of_case(session: Session, case_id: str) -> tuple[Enquiry, ...]:
    rows = session.scalars(
        select(EnquiryRow).where(EnquiryRow.case_id == case_id).order_by(EnquiryRow.asked_at)
    )
    return tuple(
        Enquiry(r.id, r.text, tuple(r.finding_ids), r.asked_by, r.asked_at, r.answered_at) for r in rows
    )
