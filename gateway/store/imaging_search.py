"""Searching received imaging by its DICOM attributes, on the index alone: no file is opened (QIDO-RS, C-FIND)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, func, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from gateway.case.access import Viewer
from gateway.store.studies import visible
from gateway.store.tables import InstanceRow, SeriesRow, StudyRow

_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "StudyInstanceUID": StudyRow.study_instance_uid,
    "StudyDate": StudyRow.study_date,
    "StudyTime": StudyRow.study_time,
    "StudyDescription": StudyRow.description,
    "AccessionNumber": StudyRow.accession_number,
    "PatientID": StudyRow.patient_id,
    "PatientName": StudyRow.patient_name,
    "PatientBirthDate": StudyRow.patient_birth_date,
    "PatientSex": StudyRow.patient_sex,
    "SeriesInstanceUID": SeriesRow.series_instance_uid,
    "SeriesNumber": SeriesRow.series_number,
    "SeriesDescription": SeriesRow.description,
    "Modality": SeriesRow.modality,
    "BodyPartExamined": SeriesRow.body_part,
    "SOPInstanceUID": InstanceRow.sop_instance_uid,
    "SOPClassUID": InstanceRow.sop_class_uid,
    "InstanceNumber": InstanceRow.instance_number,
}
_ESCAPE = "\\"


@dataclass(frozen=True, slots=True)
class OneOf:
    """Single value or list of UID matching (PS3.4 C.2.2.2.1, C.2.2.2.2)."""

    keyword: str
    values: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Like:
    """Wildcard matching with * and ?, no difference between capitals (PS3.4 C.2.2.2.4).

    ``is_name``: of a person name, one component group of several may match (PS3.4 C.2.2.2.1).
    """

    keyword: str
    pattern: str
    is_name: bool = False


@dataclass(frozen=True, slots=True)
class Between:
    """Range matching of dates and times as DICOM writes them; an open end is '' (PS3.4 C.2.2.2.5)."""

    keyword: str
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class StartsWith:
    """A time that is given less exactly than it was stored."""

    keyword: str
    value: str


@dataclass(frozen=True, slots=True)
class AnyModality:
    """Modalities in Study (0008,0061): one of the study's series is of one of these."""

    values: tuple[str, ...]


Criterion = OneOf | Like | Between | StartsWith | AnyModality


@dataclass(frozen=True, slots=True)
class Page:
    limit: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class StudyFound:
    row: StudyRow
    modalities: tuple[str, ...]
    series_count: int
    instance_count: int


@dataclass(frozen=True, slots=True)
class SeriesFound:
    row: SeriesRow
    instance_count: int


def search_studies(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], page: Page
) -> list[StudyFound]:
    """Studies in the order they were first received; a criterion of series or instance level is no criterion here."""
    query = visible(viewer).where(*map(_condition, criteria)).order_by(StudyRow.received_at, StudyRow.id)
    rows = list(session.scalars(_paged(query, page)))
    ids = [row.id for row in rows]
    modalities = _modalities(session, ids)
    counts = _counts(session, ids)
    return [StudyFound(row, modalities.get(row.id, ()), *counts.get(row.id, (0, 0))) for row in rows]


def search_series(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], page: Page
) -> list[SeriesFound]:
    query = (
        select(SeriesRow)
        .join(StudyRow, StudyRow.id == SeriesRow.study_id)
        .where(StudyRow.id.in_(visible(viewer).with_only_columns(StudyRow.id)), *map(_condition, criteria))
        .options(joinedload(SeriesRow.study))
        .order_by(StudyRow.received_at, StudyRow.id, SeriesRow.series_number, SeriesRow.id)
    )
    rows = list(session.scalars(_paged(query, page)))
    counted = (
        select(InstanceRow.series_id, func.count())
        .where(InstanceRow.series_id.in_([row.id for row in rows]), InstanceRow.conflict.is_(False))
        .group_by(InstanceRow.series_id)
    )
    counts = {series_id: int(count) for series_id, count in session.execute(counted)}
    return [SeriesFound(row, counts.get(row.id, 0)) for row in rows]


def search_instances(
    session: Session, viewer: Viewer, criteria: Sequence[Criterion], page: Page
) -> list[InstanceRow]:
    """First-received instances, never a conflicting second one."""
    query = (
        select(InstanceRow)
        .join(SeriesRow, SeriesRow.id == InstanceRow.series_id)
        .join(StudyRow, StudyRow.id == SeriesRow.study_id)
        .where(
            StudyRow.id.in_(visible(viewer).with_only_columns(StudyRow.id)),
            InstanceRow.conflict.is_(False),
            *map(_condition, criteria),
        )
        .options(joinedload(InstanceRow.series).joinedload(SeriesRow.study))
        .order_by(StudyRow.received_at, StudyRow.id, SeriesRow.series_number, SeriesRow.id)
        .order_by(InstanceRow.instance_number, InstanceRow.id)
    )
    return list(session.scalars(_paged(query, page)))


def _paged(query: Select[Any], page: Page) -> Select[Any]:
    return query.limit(page.limit).offset(page.offset)


def _condition(criterion: Criterion) -> ColumnElement[bool]:
    match criterion:
        case OneOf(keyword, values):
            return _COLUMNS[keyword].in_(values)
        case Like(keyword, pattern, is_name):
            return _like(_COLUMNS[keyword], pattern, is_name)
        case Between(keyword, first, last):
            return _between(_COLUMNS[keyword], first, last)
        case StartsWith(keyword, value):
            return _COLUMNS[keyword].startswith(value, autoescape=True)
        case AnyModality(values):
            of_study = select(SeriesRow.id).where(SeriesRow.study_id == StudyRow.id)
            return of_study.where(SeriesRow.modality.in_(values)).correlate(StudyRow).exists()


def _like(column: InstrumentedAttribute[Any], pattern: str, is_name: bool) -> ColumnElement[bool]:
    escaped = pattern.lower()
    for special in (_ESCAPE, "%", "_"):
        escaped = escaped.replace(special, _ESCAPE + special)
    wanted = escaped.replace("*", "%").replace("?", "_")
    forms = [wanted, f"{wanted}=%", f"%={wanted}", f"%={wanted}=%"] if is_name else [wanted]
    return or_(*(_Lower(column).like(form, escape=_ESCAPE) for form in forms))


class _Lower(FunctionElement[str]):
    """lower() for every script: Änne and ÄNNE are the same child."""

    inherit_cache = True
    type = String()


@compiles(_Lower)
def _lower(element: _Lower, compiler: SQLCompiler, **kwargs: Any) -> str:
    """SQLite: database.py replaces its own, which knows ASCII only."""
    return f"lower({compiler.process(element.clauses, **kwargs)})"


@compiles(_Lower, "postgresql")
def _lower_by_icu(element: _Lower, compiler: SQLCompiler, **kwargs: Any) -> str:
    """A cluster of locale C has ASCII only too; Debian and Docker ship PostgreSQL with ICU."""
    return f'lower({compiler.process(element.clauses, **kwargs)} COLLATE "und-x-icu")'


def _between(column: InstrumentedAttribute[Any], first: str, last: str) -> ColumnElement[bool]:
    ends = [column >= first] if first else []
    return and_(column != "", *ends, *([column <= last] if last else []))


def _modalities(session: Session, study_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    query = (
        select(SeriesRow.study_id, SeriesRow.modality)
        .where(SeriesRow.study_id.in_(study_ids), SeriesRow.modality != "")
        .distinct()
        .order_by(SeriesRow.modality)
    )
    found: dict[str, tuple[str, ...]] = {}
    for study_id, modality in session.execute(query):
        found[study_id] = (*found.get(study_id, ()), modality)
    return found


def _counts(session: Session, study_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Series and instances of each study."""
    query = (
        select(SeriesRow.study_id, func.count(SeriesRow.id.distinct()), func.count(InstanceRow.id))
        .outerjoin(InstanceRow, and_(InstanceRow.series_id == SeriesRow.id, InstanceRow.conflict.is_(False)))
        .where(SeriesRow.study_id.in_(study_ids))
        .group_by(SeriesRow.study_id)
    )
    return {study_id: (series, instances) for study_id, series, instances in session.execute(query)}
