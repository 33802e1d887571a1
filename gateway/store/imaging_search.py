"""Searching received imaging by its DICOM attributes, on the index alone: no file is opened (QIDO-RS, C-FIND).

Only what can be retrieved is found: not a conflicting second instance, nor a study or series of nothing else. Studies
are in the order of their arrival, series and instances in that of their numbers. Nothing is ever deleted, so what was
there when a peer began to page through it is on one of the pages, whatever arrives meanwhile.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, null, select, text, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from gateway.case.access import Viewer
from gateway.store.imaging_conditions import AnyColumns, is_sqlite, narrow
from gateway.store.imaging_criteria import Criterion, Page
from gateway.store.studies import visible
from gateway.store.tables import InstanceRow, SeriesRow, StudyRow


@dataclass(frozen=True, slots=True)
class PatientFound:
    """What a partner's studies call one patient: two children under one number are two.

    ``attributes`` is the study-level DICOM JSON of one of the studies.
    """

    attributes: dict[str, Any]
    study_count: int
    series_count: int
    instance_count: int


@dataclass(frozen=True, slots=True)
class StudyFound:
    """``id`` is the gateway's own; ``attributes`` study-level DICOM JSON."""

    id: str
    study_instance_uid: str
    attributes: dict[str, Any]
    modalities: list[str]
    sop_classes: list[str]
    series_count: int
    instance_count: int


@dataclass(frozen=True, slots=True)
class SeriesFound:
    study: StudyFound
    id: str
    series_instance_uid: str
    attributes: dict[str, Any]
    instance_count: int


@dataclass(frozen=True, slots=True)
class InstanceFound:
    series: SeriesFound
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    instance_number: int | None
    frames: int
    rows: int | None
    columns: int | None
    object_key: str


_STUDY = (
    StudyRow.id,
    StudyRow.study_instance_uid,
    StudyRow.attributes,
    StudyRow.modalities,
    StudyRow.sop_classes,
    StudyRow.number_of_series,
    StudyRow.number_of_instances,
)
_SERIES = (SeriesRow.id, SeriesRow.series_instance_uid, SeriesRow.attributes, SeriesRow.number_of_instances)
_INSTANCE = (
    InstanceRow.sop_instance_uid,
    InstanceRow.sop_class_uid,
    InstanceRow.transfer_syntax_uid,
    InstanceRow.instance_number,
    InstanceRow.frames,
    InstanceRow.rows,
    InstanceRow.columns,
    InstanceRow.object_key,
)
_STUDY_ORDER = (StudyRow.received_at, StudyRow.id)
_SERIES_ORDER = (*_STUDY_ORDER, SeriesRow.series_number, SeriesRow.id)
_INSTANCE_ORDER = (*_SERIES_ORDER, InstanceRow.instance_number, InstanceRow.id)


def search_patients(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], page: Page
) -> list[PatientFound]:
    """Each different number, name, birth date and sex, by the number."""
    identity = (
        StudyRow.patient_id_start,
        StudyRow.patient_id,
        StudyRow.patient_name,
        StudyRow.patient_birth_date,
        StudyRow.patient_sex,
    )
    counts = (func.count(), func.sum(StudyRow.number_of_series), func.sum(StudyRow.number_of_instances))
    grouped = _studies(session, viewer, criteria).with_only_columns(func.min(StudyRow.id), *counts)
    rows = _rows(session, _paged(grouped.group_by(*identity).order_by(*identity), page))
    attributes = _attributes_of(session, [row[0] for row in rows])
    return [PatientFound(attributes[row[0]], row[1], int(row[2]), int(row[3])) for row in rows]


def search_studies(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], page: Page
) -> list[StudyFound]:
    """A key of series or instance level is none here."""
    found = _studies(session, viewer, criteria).with_only_columns(StudyRow.id)
    if criteria and is_sqlite(session):
        found = found.order_by(*map(_sorted_after, _STUDY_ORDER))
    else:
        found = found.order_by(*_STUDY_ORDER)
    ids = _paged(found, page).subquery()
    query = select(*_STUDY).join(ids, ids.c.id == StudyRow.id).order_by(*_STUDY_ORDER)
    return [StudyFound(*row) for row in _rows(session, query)]


def search_series(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], page: Page
) -> list[SeriesFound]:
    """A key of instance level is none here."""
    found = _series(session, viewer, criteria).with_only_columns(SeriesRow.id).order_by(*_SERIES_ORDER)
    ids = _paged(found, page).subquery()
    query = _with_study(select(*_SERIES, *_STUDY)).join(ids, ids.c.id == SeriesRow.id)
    return _series_found(session, query.order_by(*_SERIES_ORDER))


def search_instances(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], page: Page
) -> list[InstanceFound]:
    found = (
        _series(session, viewer, criteria)
        .join(InstanceRow, InstanceRow.series_id == SeriesRow.id)
        .where(InstanceRow.conflict.is_(False), InstanceRow.partner_id == StudyRow.partner_id)
        .with_only_columns(InstanceRow.series_id, *_INSTANCE)
        .order_by(*_INSTANCE_ORDER)
    )
    rows = _rows(session, _paged(found, page))
    parents = _with_study(select(*_SERIES, *_STUDY)).where(SeriesRow.id.in_({row[0] for row in rows}))
    series = {one.id: one for one in _series_found(session, parents)}
    return [InstanceFound(series[row[0]], *row[1:]) for row in rows]


def first_files(session: Session, found: Iterable[StudyFound | SeriesFound]) -> list[str]:
    """For each, the object key of its first instance."""
    return [str(session.scalars(_first_file(one)).one()) for one in found]


def _first_file(found: StudyFound | SeriesFound) -> Select[str]:
    of = SeriesRow.study_id if isinstance(found, StudyFound) else SeriesRow.id
    return (
        select(InstanceRow.object_key)
        .join(SeriesRow, SeriesRow.id == InstanceRow.series_id)
        .where(of == found.id, InstanceRow.conflict.is_(False))
        .order_by(SeriesRow.series_number, SeriesRow.id, InstanceRow.instance_number, InstanceRow.id)
        .limit(1)
    )


def _studies(session: Session, viewer: Viewer, criteria: Sequence[Criterion]) -> AnyColumns:
    studies = visible(viewer).where(StudyRow.has_instances == true())
    return narrow(session, viewer, studies, criteria)


def _series(session: Session, viewer: Viewer, criteria: Sequence[Criterion]) -> AnyColumns:
    studies = _studies(session, viewer, criteria)
    return studies.join(SeriesRow, SeriesRow.study_id == StudyRow.id).where(SeriesRow.number_of_instances > 0)


def _with_study(query: AnyColumns) -> AnyColumns:
    return query.join(StudyRow, StudyRow.id == SeriesRow.study_id)


def _series_found(session: Session, query: AnyColumns) -> list[SeriesFound]:
    count = len(_SERIES)
    return [SeriesFound(StudyFound(*row[count:]), *row[:count]) for row in _rows(session, query)]


def _attributes_of(session: Session, study_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    query = select(StudyRow.id, StudyRow.attributes).where(StudyRow.id.in_(study_ids))
    return {row[0]: row[1] for row in session.execute(query)}


def _sorted_after(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """Keeps SQLite, which has no statistics, from reading every study in this order to be spared sorting a few."""
    return func.coalesce(column, null())


def _paged(query: AnyColumns, page: Page) -> AnyColumns:
    return query.limit(page.limit).offset(page.offset)


def _rows(session: Session, query: AnyColumns) -> Sequence[tuple[Any, ...]]:
    """Plain rows: making objects of the ORM would take longer than the search.

    PostgreSQL makes a plan for each search: for one that has come several times it would keep a plan that fits none.
    """
    if not is_sqlite(session):
        session.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
    return [tuple(row) for row in session.execute(query)]
