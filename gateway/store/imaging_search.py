"""Searching received imaging by its DICOM attributes, on the index alone: no file is opened (QIDO-RS, C-FIND).

Only what can be retrieved is found: not an instance whose address gives another one. Where instances of a study name
different patients, the study is found by each of them, and told as that of the one who was asked for, the first where
several match; a series as that of one who has instances in it, and an instance as that of its own (ADR 31). Studies are
in the order of their arrival, series and instances in that of their numbers. Nothing is ever deleted, so what was
there when a peer began to page through it is on one of the pages, whatever arrives meanwhile.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    cast,
    func,
    literal,
    null,
    select,
    text,
    tuple_,
    union_all,
)
from sqlalchemy import String as Text
from sqlalchemy.orm import InstrumentedAttribute, Session

from gateway.case.access import Viewer
from gateway.store.imaging_conditions import (
    AnyColumns,
    PatientTable,
    has_other_patients,
    is_sqlite,
    narrow,
    other_patients,
    patients_matched,
)
from gateway.store.imaging_criteria import Criterion, OneOf, Page
from gateway.store.studies import visible
from gateway.store.tables import InstanceRow, OtherPatientRow, SeriesRow, StudyRow


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
    """``id`` is the gateway's own; ``attributes`` study-level DICOM JSON.

    ``patient`` is that of another patient than the first of ``patient_count``, whose ``patient_number`` is not 0.
    """

    id: str
    study_instance_uid: str
    attributes: dict[str, Any]
    modalities: list[str]
    sop_classes: list[str]
    series_count: int
    instance_count: int
    patient_count: int
    patient_number: int = 0
    patient: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SeriesFound:
    study: StudyFound
    id: str
    series_instance_uid: str
    attributes: dict[str, Any]
    instance_count: int
    patient_numbers: list[int]


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
    StudyRow.number_of_patients,
)
_SERIES = (
    SeriesRow.id,
    SeriesRow.series_instance_uid,
    SeriesRow.attributes,
    SeriesRow.number_of_instances,
    SeriesRow.patients,
)
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
_IDENTITY = ("patient_id_start", "patient_id", "patient_name", "patient_birth_date", "patient_sex")
_STUDY_ORDER = (StudyRow.received_at, StudyRow.id)
_SERIES_ORDER = (*_STUDY_ORDER, SeriesRow.series_number, SeriesRow.id)
_INSTANCE_ORDER = (*_SERIES_ORDER, InstanceRow.instance_number, InstanceRow.id)


def search_patients(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], page: Page
) -> list[PatientFound]:
    """Each different number, name, birth date and sex, by the number."""
    studies = narrow(session, viewer, visible(viewer), criteria)
    faces = [_faces(StudyRow, studies, StudyRow.id, literal(0))]
    if has_other_patients(session, viewer):
        others = other_patients(session, viewer, criteria)
        faces.append(_faces(OtherPatientRow, others, OtherPatientRow.study_id, OtherPatientRow.number))
    told = union_all(*faces).subquery()
    identity = [told.c[name] for name in _IDENTITY]
    grouped = select(
        func.min(told.c.place),
        func.count(),
        func.sum(told.c.patient_series),
        func.sum(told.c.patient_instances),
    )
    rows = _rows(session, _paged(grouped.group_by(*identity).order_by(*identity), page))
    places = [_place(row[0]) for row in rows]
    first = _attributes_of(session, [study for study, number in places if number == 0])
    others_told = _other_attributes(session, [study for study, number in places if number])
    return [
        PatientFound(others_told[place] if place[1] else first[place[0]], row[1], int(row[2]), int(row[3]))
        for place, row in zip(places, rows, strict=True)
    ]


def _faces(patient: PatientTable, found: AnyColumns, study_id: Any, number: Any) -> AnyColumns:
    """What the studies tell of the patients: who, where, and how much."""
    place = (study_id + " " + cast(number, Text)).label("place")
    told = [getattr(patient, name) for name in (*_IDENTITY, "patient_series", "patient_instances")]
    return found.with_only_columns(*told, place)


def _place(told: str) -> tuple[str, int]:
    study_id, _, number = told.rpartition(" ")
    return study_id, int(number)


def search_studies(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], page: Page
) -> list[StudyFound]:
    """A key of series or instance level is none here."""
    patients = patients_matched(session, viewer, criteria)
    found = narrow(session, viewer, visible(viewer), criteria, patients).with_only_columns(StudyRow.id)
    if criteria and is_sqlite(session):
        found = found.order_by(*map(_sorted_after, _STUDY_ORDER))
    else:
        found = found.order_by(*_STUDY_ORDER)
    ids = _paged(found, page).subquery()
    query = select(*_STUDY).join(ids, ids.c.id == StudyRow.id).order_by(*_STUDY_ORDER)
    studies = [StudyFound(*row) for row in _rows(session, query)]
    faces = _Faces(session, studies, patients)
    return [faces.of(study, faces.matched(study)) for study in studies]


def search_series(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], page: Page
) -> list[SeriesFound]:
    """A key of instance level is none here."""
    patients = patients_matched(session, viewer, criteria)
    found = _series(session, viewer, criteria, patients).with_only_columns(SeriesRow.id)
    if patients is not None:
        found = found.where(_has_instance_of(patients))
    ids = _paged(found.order_by(*_SERIES_ORDER), page).subquery()
    query = _with_study(select(*_SERIES, *_STUDY)).join(ids, ids.c.id == SeriesRow.id)
    series = _series_found(session, query.order_by(*_SERIES_ORDER))
    faces = _Faces(session, [one.study for one in series], patients)
    return [faces.of_series(one, faces.matched(one.study, one.patient_numbers)) for one in series]


def search_instances(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], page: Page
) -> list[InstanceFound]:
    patients = patients_matched(session, viewer, criteria)
    found = (
        _series(session, viewer, criteria, patients)
        .join(InstanceRow, InstanceRow.series_id == SeriesRow.id)
        .where(InstanceRow.shadowed.is_(False), *_by_uid(criteria))
        .with_only_columns(InstanceRow.series_id, InstanceRow.patient_number, *_INSTANCE)
        .order_by(*_INSTANCE_ORDER)
    )
    if patients is not None:
        found = found.where(_is_of(patients))
    rows = _rows(session, _paged(found, page))
    parents = _with_study(select(*_SERIES, *_STUDY)).where(SeriesRow.id.in_({row[0] for row in rows}))
    series = {one.id: one for one in _series_found(session, parents)}
    faces = _Faces(session, [one.study for one in series.values()])
    told = {key: faces.of_series(series[key[0]], key[1]) for key in {(row[0], row[1]) for row in rows}}
    return [InstanceFound(told[row[0], row[1]], *row[2:]) for row in rows]


def _by_uid(criteria: Sequence[Criterion]) -> Iterator[ColumnElement[bool]]:
    """For the index of SOP Instance UIDs. Where none is asked for, SQLite, which has no statistics, would take it for a
    short way to the instances of a study, and read all of the partner's.
    """
    if any(isinstance(one, OneOf) and one.key.keyword == "SOPInstanceUID" for one in criteria):
        yield InstanceRow.partner_id == StudyRow.partner_id


class _Faces:
    """Whose each study of a page is told to be; asks nothing of the database where each has one patient.

    ``patients`` are those who were asked for, of ``patients_matched``.
    """

    def __init__(
        self, session: Session, studies: Iterable[StudyFound], patients: Subquery | None = None
    ) -> None:
        ids = sorted({study.id for study in studies if study.patient_count > 1})
        self._others = _other_attributes(session, ids) if ids else {}
        self._matched: dict[str, set[int]] = {}
        if patients is not None and ids:
            for study_id, number in session.execute(select(patients).where(patients.c.study_id.in_(ids))):
                self._matched.setdefault(study_id, set()).add(number)

    def matched(self, study: StudyFound, among: Iterable[int] = ()) -> int:
        """The first who was asked for; ``among`` those."""
        asked, numbers = self._matched.get(study.id), set(among)
        if asked is None:
            return min(numbers, default=0)
        return min(asked & numbers if numbers else asked)

    def of(self, study: StudyFound, number: int) -> StudyFound:
        if number == 0:
            return study
        return replace(study, patient_number=number, patient=self._others[study.id, number])

    def of_series(self, series: SeriesFound, number: int) -> SeriesFound:
        return series if number == 0 else replace(series, study=self.of(series.study, number))


def _other_attributes(session: Session, study_ids: Sequence[str]) -> dict[tuple[str, int], dict[str, Any]]:
    query = select(OtherPatientRow.study_id, OtherPatientRow.number, OtherPatientRow.attributes)
    found = session.execute(query.where(OtherPatientRow.study_id.in_(study_ids)))
    return {(row[0], row[1]): row[2] for row in found}


def _is_of(patients: Subquery) -> ColumnElement[bool]:
    """Whether the instance is one of these patients' own."""
    return tuple_(SeriesRow.study_id, InstanceRow.patient_number).in_(
        select(patients.c.study_id, patients.c.number)
    )


def _has_instance_of(patients: Subquery) -> ColumnElement[bool]:
    return (
        select(literal(1))
        .select_from(InstanceRow)
        .where(InstanceRow.series_id == SeriesRow.id, InstanceRow.shadowed.is_(False), _is_of(patients))
        .correlate(SeriesRow)
        .exists()
    )


def first_files(session: Session, found: Iterable[StudyFound | SeriesFound]) -> list[str]:
    """For each, the object key of its first instance: of the patient as whose it is told."""
    return [str(session.scalars(_first_file(one)).one()) for one in found]


def _first_file(found: StudyFound | SeriesFound) -> Select[str]:
    study, of = (found, SeriesRow.study_id) if isinstance(found, StudyFound) else (found.study, SeriesRow.id)
    query = (
        select(InstanceRow.object_key)
        .join(SeriesRow, SeriesRow.id == InstanceRow.series_id)
        .where(of == found.id, InstanceRow.shadowed.is_(False))
    )
    if study.patient_count > 1:
        query = query.where(InstanceRow.patient_number == study.patient_number)
    order = (SeriesRow.series_number, SeriesRow.id, InstanceRow.instance_number, InstanceRow.id)
    return query.order_by(*order).limit(1)


def _series(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], patients: Subquery | None
) -> AnyColumns:
    series = visible(viewer).join(SeriesRow, SeriesRow.study_id == StudyRow.id)
    return narrow(session, viewer, series, criteria, patients)


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
