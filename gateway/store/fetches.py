"""Studies that the gateway fetches: what is wanted, how far it is, what could not be had."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from gateway.case.expected import merged
from gateway.case.fetching import Fetch, FetchState, MissingInstance, Problem
from gateway.case.model import ExpectedStudy
from gateway.errors import NotFound
from gateway.store.ids import new_id
from gateway.store.studies import JOINED
from gateway.store.tables import CaseRow, FetchRow, FetchWishRow, InstanceRow, SeriesRow, StudyRow

_EXPECTED = TypeAdapter(ExpectedStudy)


def row(session: Session, fetch_id: str, *, lock: bool = False) -> FetchRow:
    """Raises NotFound. ``lock`` reads it anew and keeps others from changing it until the end of the transaction."""
    found = session.get(FetchRow, fetch_id, with_for_update=lock, populate_existing=lock)
    if found is None:
        raise NotFound("Nothing of that name is fetched.")
    return found


def wish(session: Session, case: CaseRow, expected: ExpectedStudy, now: datetime) -> tuple[FetchRow, bool]:
    """Keep what a case's records say of a study; the fetch, and whether that is news. The fetch is locked."""
    fetch = _of_study(session, case.partner_id, expected.study_instance_uid)
    if fetch is None:
        fetch = FetchRow(
            id=new_id(),
            partner_id=case.partner_id,
            study_instance_uid=expected.study_instance_uid,
            state=FetchState.PENDING,
            missing=[],
            updated_at=now,
        )
        session.add(fetch)
        session.flush()
    said = _EXPECTED.dump_json(expected).decode()
    known = session.get(FetchWishRow, (fetch.id, case.id))
    if known is not None and known.expected == said:
        return fetch, False
    session.merge(FetchWishRow(fetch_id=fetch.id, case_id=case.id, expected=said))
    session.flush()
    return fetch, True


def _of_study(session: Session, partner_id: str, study_instance_uid: str) -> FetchRow | None:
    return session.scalar(
        select(FetchRow)
        .where(FetchRow.partner_id == partner_id, FetchRow.study_instance_uid == study_instance_uid)
        .with_for_update()
    )


def forget_other_wishes(session: Session, case_id: str, kept: Iterable[str]) -> None:
    """The case's records name no other study to fetch than these (ids of fetches)."""
    session.execute(
        delete(FetchWishRow).where(FetchWishRow.case_id == case_id, FetchWishRow.fetch_id.not_in(list(kept)))
    )


def wanted(
    session: Session, fetch_id: str, statuses: Iterable[str]
) -> tuple[list[str], ExpectedStudy | None]:
    """The cases in one of the statuses that want the study, and what their records together say of it."""
    found = session.execute(
        select(FetchWishRow.case_id, FetchWishRow.expected)
        .join(CaseRow, CaseRow.id == FetchWishRow.case_id)
        .where(FetchWishRow.fetch_id == fetch_id, CaseRow.status.in_(list(statuses)))
        .order_by(FetchWishRow.case_id)
    ).all()
    said = merged(_EXPECTED.validate_json(expected) for _, expected in found)
    return [case_id for case_id, _ in found], said[0] if said else None


def of_case(session: Session, case_id: str) -> tuple[Fetch, ...]:
    """In the order of their studies' UIDs."""
    rows = session.scalars(
        select(FetchRow)
        .join(FetchWishRow, FetchWishRow.fetch_id == FetchRow.id)
        .where(FetchWishRow.case_id == case_id)
        .order_by(FetchRow.study_instance_uid)
    )
    return tuple(map(_fetch, rows))


def is_of_case(session: Session, fetch_id: str, case_id: str) -> bool:
    return session.get(FetchWishRow, (fetch_id, case_id)) is not None


def _fetch(row: FetchRow) -> Fetch:
    return Fetch(
        id=row.id,
        study_instance_uid=row.study_instance_uid,
        state=FetchState(row.state),
        expected=row.expected,
        here=row.here,
        problem=Problem(row.problem) if row.problem else None,
        reason=row.reason,
        missing=missing_of(row),
        tries=row.tries,
        next_try_at=row.next_try_at,
        updated_at=row.updated_at,
    )


def missing_of(row: FetchRow) -> tuple[MissingInstance, ...]:
    return tuple(MissingInstance(m["sop_instance_uid"], Problem(m["problem"])) for m in row.missing)


def stored_uids(session: Session, partner_id: str, study_instance_uid: str) -> set[str]:
    """SOP Instance UIDs of the partner's study that are here."""
    return set(
        session.scalars(
            select(InstanceRow.sop_instance_uid)
            .join(SeriesRow, SeriesRow.id == InstanceRow.series_id)
            .join(StudyRow, StudyRow.id == SeriesRow.study_id)
            .where(StudyRow.partner_id == partner_id, StudyRow.study_instance_uid == study_instance_uid)
        )
    )


def documents_of_class(session: Session, case_id: str, sop_class_uid: str, limit: int) -> list[InstanceRow]:
    """First-received instances of a SOP class in the studies that are joined to the case, the oldest first."""
    return list(
        session.scalars(
            select(InstanceRow)
            .join(SeriesRow, SeriesRow.id == InstanceRow.series_id)
            .join(StudyRow, StudyRow.id == SeriesRow.study_id)
            .where(
                StudyRow.case_id == case_id,
                StudyRow.join_state == JOINED,
                InstanceRow.sop_class_uid == sop_class_uid,
                InstanceRow.conflict.is_(False),
            )
            .order_by(InstanceRow.received_at, InstanceRow.id)
            .limit(limit)
        )
    )
