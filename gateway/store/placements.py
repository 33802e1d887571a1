"""Where received studies stand: in a case and why, or waiting for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gateway.case.access import Viewer
from gateway.case.model import Study
from gateway.store import studies
from gateway.store.tables import PartnerRow, StudyRow

UNPLACED = (studies.HELD, studies.WAITING, studies.REFUSED)


@dataclass(frozen=True, slots=True)
class Placement:
    """A study and its place. ``case_id`` of a held study is only a candidate; ``decided_by`` is an actor or empty."""

    study: Study
    partner_id: str
    partner_name: str
    state: str
    case_id: str
    reasons: tuple[str, ...]
    decided_by: str
    received_at: datetime
    updated_at: datetime


def of_case(session: Session, viewer: Viewer, case_id: str) -> dict[str, Placement]:
    """The studies that are in a case or held for it, by study id."""
    found = studies.rows(session, viewer, StudyRow.case_id == case_id)
    return {row.id: placement for row, placement in zip(found, _placements(session, found), strict=True)}


def in_state(session: Session, viewer: Viewer, states: Sequence[str] = UNPLACED) -> list[Placement]:
    """Studies in the given states that the viewer may see, newest first."""
    return _placements(session, studies.rows(session, viewer, StudyRow.join_state.in_(states)))


def count(session: Session, viewer: Viewer, states: Sequence[str]) -> int:
    query = studies.visible(viewer).where(StudyRow.join_state.in_(states))
    return session.scalar(select(func.count()).select_from(query.subquery())) or 0


def _placements(session: Session, found: Sequence[StudyRow]) -> list[Placement]:
    names = {p.id: p.name for p in session.scalars(select(PartnerRow))}
    return [
        Placement(
            study=studies.to_study(row),
            partner_id=row.partner_id,
            partner_name=names[row.partner_id],
            state=row.join_state,
            case_id=row.case_id or "",
            reasons=tuple(row.join_reasons),
            decided_by=row.decided_by,
            received_at=row.received_at,
            updated_at=row.updated_at,
        )
        for row in found
    ]
