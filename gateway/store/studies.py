"""Received imaging: studies, series and instances of one partner."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Select, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload, selectinload

from gateway.case.access import Partner, Scope, Viewer, scope
from gateway.case.imaging import InstanceHeader
from gateway.case.model import Demographics, Identifier, Instance, Series, Study
from gateway.errors import NotFound
from gateway.store import search_keys
from gateway.store.ids import new_id
from gateway.store.objects import Stored
from gateway.store.tables import CaseRow, InstanceRow, ReceiptRow, SeriesRow, StudyNameRow, StudyRow

WAITING, HELD, JOINED, REFUSED = "waiting", "held", "joined", "refused"
_DEMOGRAPHICS = TypeAdapter(Demographics)


@dataclass(frozen=True, slots=True)
class Kept:
    """A new instance row; ``conflict`` when other bytes came under the same UID before."""

    study_id: str
    instance_id: str
    conflict: bool


def hold_study(session: Session, partner: Partner, header: InstanceHeader, now: datetime) -> StudyRow:
    """The study that an instance belongs to, begun when it is not here yet; nobody else adds to it meanwhile.

    A study often comes on several associations at once. On PostgreSQL its row is locked until the transaction ends;
    on SQLite a transaction is alone already.
    """
    query = (
        select(StudyRow)
        .where(StudyRow.partner_id == partner.id, StudyRow.study_instance_uid == header.study_instance_uid)
        .with_for_update()
    )
    row = session.scalar(query)
    if row is not None:
        return row
    try:
        with session.begin_nested():
            row = _new_study(session, partner, header, now)
    except IntegrityError:  # another association has begun it at the same moment
        row = session.scalars(query).one()
    return row


def same_instance(
    session: Session, partner: Partner, header: InstanceHeader, dataset_sha256: str
) -> str | None:
    """The id of the row that holds exactly this data set under this UID; its preamble and group 0002 may differ."""
    return session.scalar(
        select(InstanceRow.id).where(
            InstanceRow.partner_id == partner.id,
            InstanceRow.sop_instance_uid == header.sop_instance_uid,
            InstanceRow.transfer_syntax_uid == header.transfer_syntax_uid,
            InstanceRow.dataset_sha256 == dataset_sha256,
        )
    )


def keep_instance(
    session: Session,
    study: StudyRow,
    header: InstanceHeader,
    receipt: ReceiptRow,
    stored: Stored,
    dataset_sha256: str,
    now: datetime,
) -> Kept:
    """Index a stored instance of a held study whose data set is not yet here.

    The first received stays; both are kept (decision 3).
    """
    conflict = bool(
        session.scalar(
            select(InstanceRow.id)
            .where(
                InstanceRow.partner_id == study.partner_id,
                InstanceRow.sop_instance_uid == header.sop_instance_uid,
            )
            .limit(1)
        )
    )
    _update_study(study, header, now)
    series = _series(session, study, header)
    row = InstanceRow(
        id=new_id(),
        partner_id=study.partner_id,
        series_id=series.id,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        instance_number=header.instance_number,
        position=header.position,
        frames=header.frames,
        rows=header.rows,
        columns=header.columns,
        conflict=conflict,
        fault=header.fault,
        sha256=stored.sha256,
        dataset_sha256=dataset_sha256,
        size_bytes=stored.size_bytes,
        object_key=stored.key,
        receipt_id=receipt.id,
        received_at=now,
    )
    session.add(row)
    if not conflict:
        _count(study, series, header)
    session.flush()
    return Kept(study.id, row.id, conflict)


def _count(study: StudyRow, series: SeriesRow, header: InstanceHeader) -> None:
    """What a search tells of them; the study is held."""
    if not series.number_of_instances:
        study.number_of_series += 1
        study.modalities = sorted({*study.modalities, series.modality} - {""})
    series.number_of_instances += 1
    study.number_of_instances += 1
    study.has_instances = True
    study.sop_classes = sorted({*study.sop_classes, header.sop_class_uid})


def _new_study(session: Session, partner: Partner, header: InstanceHeader, now: datetime) -> StudyRow:
    row = StudyRow(
        id=new_id(),
        partner_id=partner.id,
        study_instance_uid=header.study_instance_uid,
        accession_number=header.accession_number,
        accession_issuer=header.accession_issuer,
        study_date=header.study_date,
        study_time=header.study_time,
        description=header.study_description,
        patient_id=header.patient_id,
        patient_name=header.patient_name,
        patient_birth_date=header.patient_birth_date,
        patient_sex=header.patient_sex,
        attributes=header.study_attributes,
        patients=[_identity(header)],
        join_reasons=[],
        received_at=now,
        updated_at=now,
        **search_keys.search_columns(header),
    )
    session.add(row)
    session.flush()
    if names := search_keys.names(header):
        columns = {"partner_id": partner.id, "study_id": row.id}
        rows = [columns | {"keyword": key, "form": form, "text": text} for key, form, text in names]
        session.execute(insert(StudyNameRow), rows)
    return row


def _update_study(study: StudyRow, header: InstanceHeader, now: datetime) -> None:
    study.updated_at = now
    if _identity(header) not in study.patients:
        study.patients = [*study.patients, _identity(header)]


def _identity(header: InstanceHeader) -> dict[str, Any]:
    identity: dict[str, Any] = _DEMOGRAPHICS.dump_python(header.patient, mode="json")
    return identity


def _series(session: Session, study: StudyRow, header: InstanceHeader) -> SeriesRow:
    row = session.scalar(
        select(SeriesRow).where(
            SeriesRow.study_id == study.id, SeriesRow.series_instance_uid == header.series_instance_uid
        )
    )
    if row is None:
        row = SeriesRow(
            id=new_id(),
            study_id=study.id,
            series_instance_uid=header.series_instance_uid,
            series_number=header.series_number,
            modality=header.modality,
            description=header.series_description,
            body_part=header.body_part,
            attributes=header.series_attributes,
        )
        session.add(row)
        session.flush()
    return row


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
    """First-received instances (never a conflicting second) of a study, series or instance by their DICOM UIDs.

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
            InstanceRow.conflict.is_(False),
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
