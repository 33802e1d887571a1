"""Received imaging: studies, series and instances of one partner."""

from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload, selectinload

from gateway.case.access import Scope, Viewer, scope
from gateway.case.model import Demographics, Identifier, Instance, Series, Study
from gateway.errors import NotFound
from gateway.store.tables import CaseRow, InstanceRow, SeriesRow, StudyRow

WAITING, HELD, JOINED, REFUSED = "waiting", "held", "joined", "refused"
_DEMOGRAPHICS = TypeAdapter(Demographics)


def visible(viewer: Viewer) -> Select[StudyRow]:
    """The studies in the viewer's scope; with an assigned case only those that are joined to it."""
    query = select(StudyRow)
    match scope(viewer):
        case Scope.OWN:
            return query.where(StudyRow.partner_id == viewer.id)
        case Scope.ASSIGNED:
            mine = select(CaseRow.id).where(CaseRow.assignee_id == viewer.id)
            return query.where(StudyRow.case_id.in_(mine), StudyRow.join_state == JOINED)
        case Scope.ALL:
            return query


def rows(session: Session, viewer: Viewer, *conditions: Any) -> list[StudyRow]:
    """Studies with their series and instances, newest first."""
    query = visible(viewer).where(*conditions).order_by(StudyRow.received_at.desc(), StudyRow.id)
    return list(
        session.scalars(query.options(selectinload(StudyRow.series).selectinload(SeriesRow.instances)))
    )


def row(session: Session, viewer: Viewer, study_id: str, *, lock: bool = False) -> StudyRow:
    """Raises NotFound. ``lock``: nobody else places the study or adds to it until the transaction ends."""
    if lock:
        session.execute(select(StudyRow.id).where(StudyRow.id == study_id).with_for_update())
    found = rows(session, viewer, StudyRow.id == study_id)
    if not found:
        raise NotFound("No such study.")
    return found[0]


def instances(
    session: Session,
    viewer: Viewer,
    study_instance_uid: str,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
) -> list[InstanceRow]:
    """Of a study, series or instance by their DICOM UIDs, without an instance whose address gives another one.

    Ordered by series and instance number. Raises NotFound when the viewer may see none.
    """
    query = (
        select(InstanceRow)
        .join(SeriesRow, SeriesRow.id == InstanceRow.series_id)
        .where(
            SeriesRow.study_id.in_(
                visible(viewer)
                .with_only_columns(StudyRow.id)
                .where(StudyRow.study_instance_uid == study_instance_uid)
            ),
            InstanceRow.shadowed.is_(False),
        )
        .options(joinedload(InstanceRow.series).joinedload(SeriesRow.study))
        .order_by(SeriesRow.series_number, SeriesRow.id, InstanceRow.instance_number, InstanceRow.id)
    )
    if series_instance_uid is not None:
        query = query.where(SeriesRow.series_instance_uid == series_instance_uid)
    if sop_instance_uid is not None:
        query = query.where(InstanceRow.sop_instance_uid == sop_instance_uid)
    found = list(session.scalars(query))
    if not found:
        raise NotFound("No such instance is stored for you.")
    return found


def joined_by_itself(session: Session, study_id: str) -> str | None:
    """The id of the case that the study is in without a person's decision."""
    query = select(StudyRow.case_id).where(
        StudyRow.id == study_id, StudyRow.join_state == JOINED, StudyRow.decided_by == ""
    )
    return session.scalar(query)


def patients_of(study: StudyRow) -> list[Demographics]:
    """Each distinct identity that the study's headers tell, the first received first."""
    return [_DEMOGRAPHICS.validate_python(patient) for patient in study.patients]


def to_study(study: StudyRow) -> Study:
    """The case's view of a received study."""
    patients = patients_of(study)
    accession = Identifier(study.accession_number, study.accession_issuer) if study.accession_number else None
    return Study(
        id=study.id,
        study_instance_uid=study.study_instance_uid,
        accession=accession,
        description=study.description,
        started=f"{study.study_date} {study.study_time}".strip(),
        patient=patients[0],
        other_patients=tuple(patients[1:]),
        series=tuple(_to_series(series) for series in study.series),
    )


def _to_series(series: SeriesRow) -> Series:
    return Series(
        series_instance_uid=series.series_instance_uid,
        number=series.series_number,
        modality=series.modality,
        description=series.description,
        body_part=series.body_part,
        instances=tuple(_to_instances(series.instances)),
    )


def _to_instances(found: Iterable[InstanceRow]) -> Iterable[Instance]:
    for row in found:
        yield Instance(
            sop_instance_uid=row.sop_instance_uid,
            sop_class_uid=row.sop_class_uid,
            number=row.instance_number,
            position=row.position,
            frames=row.frames,
            sha256=row.sha256,
            conflict=row.conflict,
            fault=row.fault,
        )


def undecided(session: Session, partner_id: str) -> list[StudyRow]:
    """Studies that wait or are held and about which no person has decided."""
    return list(
        session.scalars(
            select(StudyRow).where(
                StudyRow.partner_id == partner_id,
                StudyRow.join_state.in_((WAITING, HELD)),
                StudyRow.decided_by == "",
            )
        )
    )
