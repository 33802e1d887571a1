"""The worklist: one page of the viewer's cases at a time, and how many there are of each status."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, false, func, select
from sqlalchemy.orm import Session

from gateway.case.access import Viewer
from gateway.case.model import DeliveryState, FindingState, Severity
from gateway.store.cases import search_words, visible
from gateway.store.tables import CaseRow, DeliveryRow, FindingRow, OpinionRow, PartnerRow, UserRow


@dataclass(frozen=True, slots=True)
class WorklistEntry:
    """One line of the worklist."""

    id: str
    patient_name: str
    partner_name: str
    status: str
    assignee_name: str
    open_findings: int
    blocking_findings: int
    found_after_signing: int
    failed_deliveries: int
    opened_at: datetime
    updated_at: datetime


_SHOWN = (
    CaseRow.id,
    CaseRow.patient_name,
    PartnerRow.name.label("partner_name"),
    CaseRow.status,
    UserRow.name.label("assignee_name"),
    CaseRow.opened_at,
    CaseRow.updated_at,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Cases of all statuses where none is named; found by all words of ``search`` where there are any."""

    statuses: Sequence[str] = ()
    search: str = ""


def page(session: Session, viewer: Viewer, wanted: Wanted, offset: int, limit: int) -> list[WorklistEntry]:
    """Part of the viewer's cases, last changed first."""
    query = (
        visible(viewer)
        .join(PartnerRow, PartnerRow.id == CaseRow.partner_id)
        .outerjoin(UserRow, UserRow.id == CaseRow.assignee_id)
        .where(*_searched(wanted.search))
        .order_by(CaseRow.updated_at.desc(), CaseRow.id)
        .offset(offset)
        .limit(limit)
    )
    if wanted.statuses:
        query = query.where(CaseRow.status.in_(wanted.statuses))
    rows = session.execute(query.with_only_columns(*_SHOWN)).all()
    found = _findings(session, [row.id for row in rows])
    failed = _failed_deliveries(session, [row.id for row in rows])
    return [
        WorklistEntry(
            id=row.id,
            patient_name=row.patient_name,
            partner_name=row.partner_name,
            status=row.status,
            assignee_name=row.assignee_name or "",
            open_findings=found.get(row.id, _NONE).open,
            blocking_findings=found.get(row.id, _NONE).blocking,
            found_after_signing=found.get(row.id, _NONE).late,
            failed_deliveries=failed.get(row.id, 0),
            opened_at=row.opened_at,
            updated_at=row.updated_at,
        )
        for row in rows
    ]


def counts(session: Session, viewer: Viewer, search: str = "") -> dict[str, int]:
    """How many cases of each status the viewer may see and the search finds; a status without any is left out."""
    query = visible(viewer).where(*_searched(search)).group_by(CaseRow.status)
    return _pairs(session, query.with_only_columns(CaseRow.status, func.count()))


_NEWEST = 50


def version(session: Session, viewer: Viewer) -> str:
    """Another text as soon as a case of the viewer's has come, changed or moved on. Cheap: it is asked all the time.

    The newest change alone would not do: a change that takes long to commit is older than it by then.
    """
    newest = visible(viewer).order_by(CaseRow.updated_at.desc(), CaseRow.id).limit(_NEWEST)
    changes = session.execute(newest.with_only_columns(CaseRow.id, CaseRow.updated_at))
    seen = (sorted(counts(session, viewer).items()), [(row[0], row[1].isoformat()) for row in changes])
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class CaseChoice:
    """A case as a person chooses among many."""

    id: str
    patient_name: str
    partner_name: str


def choices(session: Session, viewer: Viewer, statuses: Sequence[str]) -> list[CaseChoice]:
    """Every case in one of the statuses that the viewer may see, last changed first."""
    query = (
        visible(viewer)
        .join(PartnerRow, PartnerRow.id == CaseRow.partner_id)
        .where(CaseRow.status.in_(statuses))
        .order_by(CaseRow.updated_at.desc(), CaseRow.id)
        .with_only_columns(CaseRow.id, CaseRow.patient_name, PartnerRow.name)
    )
    return [CaseChoice(*row) for row in session.execute(query)]


def _searched(search: str) -> list[ColumnElement[bool]]:
    """Each word is part of a name of the child, in any of its forms, or of the case's number; accents do not count."""
    if not search.strip():
        return []
    words = search_words(search)
    return [CaseRow.search_text.contains(word, autoescape=True) for word in sorted(words)] or [false()]


@dataclass(frozen=True, slots=True)
class _Findings:
    open: int
    blocking: int
    late: int  # opened after the signature


_NONE = _Findings(0, 0, 0)


def _findings(session: Session, case_ids: Sequence[str]) -> dict[str, _Findings]:
    signed = (
        select(OpinionRow.case_id, func.max(OpinionRow.signed_at).label("at"))
        .where(OpinionRow.case_id.in_(case_ids))
        .group_by(OpinionRow.case_id)
        .subquery()
    )
    query = (
        select(
            FindingRow.case_id,
            func.count(),
            func.count().filter(FindingRow.severity == Severity.BLOCKS),
            func.count().filter(FindingRow.opened_at > signed.c.at),
        )
        .outerjoin(signed, signed.c.case_id == FindingRow.case_id)
        .where(FindingRow.case_id.in_(case_ids), FindingRow.state == FindingState.OPEN)
        .group_by(FindingRow.case_id)
    )
    return {case_id: _Findings(*numbers) for case_id, *numbers in session.execute(query)}


def _failed_deliveries(session: Session, case_ids: Sequence[str]) -> dict[str, int]:
    failed = DeliveryRow.case_id.in_(case_ids) & (DeliveryRow.state == DeliveryState.FAILED)
    return _pairs(
        session, select(DeliveryRow.case_id, func.count()).where(failed).group_by(DeliveryRow.case_id)
    )


def _pairs(session: Session, query: Select[str, int]) -> dict[str, int]:
    return {row[0]: row[1] for row in session.execute(query)}
