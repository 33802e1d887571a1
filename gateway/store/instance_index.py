"""The index of received instances: what one transaction adds to the studies of a partner.

Statements on tables, not on mapped objects: a study has thousands of instances, and this is all the work of each.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, cast

from pydantic import TypeAdapter
from sqlalchemy import Table, bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.case.access import Partner
from gateway.case.imaging import InstanceHeader
from gateway.case.model import Demographics
from gateway.store import search_keys
from gateway.store.ids import new_id
from gateway.store.objects import Stored
from gateway.store.tables import InstanceRow, OtherPatientRow, SeriesRow, StudyNameRow, StudyRow

NEW, SAME, CONFLICT = "new", "same", "conflict"
_DEMOGRAPHICS = TypeAdapter(Demographics)


@dataclass(frozen=True, slots=True)
class Indexed:
    """``status``: NEW, SAME (this data set was here) or CONFLICT (another one is here under this UID; both stay).

    ``instance_id`` is the row that holds this data set.
    """

    status: str
    instance_id: str
    study_id: str


class Content(Protocol):
    """An arrived file whose bytes are kept."""

    @property
    def header(self) -> InstanceHeader: ...
    @property
    def stored(self) -> Stored: ...


IsSameDataSet = Callable[[str, int, Any], bool]
"""Whether the data set at an offset of a stored object is that of an arrived file."""


class _Known(NamedTuple):
    """A row of the same UID."""

    id: str
    series_id: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int
    dataset_offset: int
    object_key: str


@dataclass
class _Series:
    id: str
    modality: str
    number_of_instances: int
    patients: list[int]


@dataclass
class _Study:
    """What is held of a study while instances are added to it.

    ``others``: what is to be added to the series and the instances of each patient but the first.
    """

    id: str
    patients: list[dict[str, Any]]
    number_of_series: int
    number_of_instances: int
    patient_series: int
    patient_instances: int
    modalities: list[str]
    sop_classes: list[str]
    series: dict[str, _Series] = field(default_factory=dict)
    others: dict[int, list[int]] = field(default_factory=dict)


_STUDY, _SERIES = cast(Table, StudyRow.__table__), cast(Table, SeriesRow.__table__)
_INSTANCE, _STUDY_NAME = cast(Table, InstanceRow.__table__), cast(Table, StudyNameRow.__table__)
_OTHER_PATIENT = cast(Table, OtherPatientRow.__table__)
_STUDY_BY_UID = (
    select(
        _STUDY.c.id,
        _STUDY.c.patients,
        _STUDY.c.number_of_series,
        _STUDY.c.number_of_instances,
        _STUDY.c.patient_series,
        _STUDY.c.patient_instances,
        _STUDY.c.modalities,
        _STUDY.c.sop_classes,
    )
    .where(_STUDY.c.partner_id == bindparam("partner"), _STUDY.c.study_instance_uid == bindparam("uid"))
    .with_for_update()
)
_SERIES_BY_UID = select(
    _SERIES.c.id, _SERIES.c.modality, _SERIES.c.number_of_instances, _SERIES.c.patients
).where(_SERIES.c.study_id == bindparam("study"), _SERIES.c.series_instance_uid == bindparam("uid"))
_INSTANCES_BY_UIDS = select(
    _INSTANCE.c.sop_instance_uid, *(_INSTANCE.c[name] for name in _Known._fields)
).where(
    _INSTANCE.c.partner_id == bindparam("partner"),
    _INSTANCE.c.sop_instance_uid.in_(bindparam("uids", expanding=True)),
)
_UPDATE_STUDY = _STUDY.update().where(_STUDY.c.id == bindparam("key"))
_UPDATE_OTHER_PATIENT = (
    _OTHER_PATIENT.update()
    .where(_OTHER_PATIENT.c.study_id == bindparam("study"), _OTHER_PATIENT.c.number == bindparam("place"))
    .values(
        patient_series=_OTHER_PATIENT.c.patient_series + bindparam("more_series"),
        patient_instances=_OTHER_PATIENT.c.patient_instances + bindparam("more_instances"),
    )
)
_UPDATE_SERIES = _SERIES.update().where(_SERIES.c.id == bindparam("key"))


class InstanceIndex:
    """Adds instances in one transaction; nobody else adds to their studies meanwhile.

    A study often comes on several associations at once. On PostgreSQL its row is locked until the transaction ends, in
    the order of ``headers``, which are of all that is to be added; on SQLite a transaction is alone already. Nothing is
    written of an instance before ``write``.
    """

    def __init__(
        self,
        session: Session,
        partner: Partner,
        now: datetime,
        headers: Sequence[InstanceHeader],
        is_same_data_set: IsSameDataSet,
    ) -> None:
        self._partner, self._now, self._is_same_data_set = partner, now, is_same_data_set
        self._connection = session.connection()
        self._studies: dict[str, _Study] = {}
        for header in headers:
            self._lock_study(header)
        self._known = self._known_instances({header.sop_instance_uid for header in headers})
        self._rows: list[dict[str, Any]] = []

    def add(self, content: Content, receipt_id: str) -> Indexed:
        """``receipt_id`` is of a receipt that is written before ``write``, unless the instance is the same."""
        header = content.header
        study = self._studies[header.study_instance_uid]
        known = self._known.setdefault(header.sop_instance_uid, [])
        for one in known:
            if self._is_same(one, content):
                return Indexed(SAME, one.id, study.id)
        series = self._series_of(study, header)
        row = self._row(header, content.stored, receipt_id)
        number = self._patient_number(study, header)
        status = CONFLICT if known else NEW
        shadowed = any(one.series_id == series.id for one in known)
        row |= {
            "series_id": series.id,
            "conflict": status == CONFLICT,
            "shadowed": shadowed,
            "patient_number": number,
        }
        self._rows.append(row)
        known.append(_Known(*(row[name] for name in _Known._fields)))
        if not shadowed:
            _count(study, series, header, number)
        return Indexed(status, row["id"], study.id)

    def _is_same(self, known: _Known, content: Content) -> bool:
        """The same data set in the same transfer syntax; the bytes are only looked at where nothing else tells."""
        header, stored = content.header, content.stored
        if known.transfer_syntax_uid != header.transfer_syntax_uid:
            return False
        if known.sha256 == stored.sha256:
            return True
        if known.size_bytes - known.dataset_offset != stored.size_bytes - header.dataset_offset:
            return False
        return self._is_same_data_set(known.object_key, known.dataset_offset, content)

    def write(self) -> None:
        if not self._rows:
            return
        self._connection.execute(_INSTANCE.insert(), self._rows)
        self._connection.execute(
            _UPDATE_SERIES,
            [
                {
                    "key": series.id,
                    "number_of_instances": series.number_of_instances,
                    "patients": series.patients,
                }
                for study in self._studies.values()
                for series in study.series.values()
            ],
        )
        self._connection.execute(
            _UPDATE_STUDY,
            [
                {
                    "key": study.id,
                    "patients": study.patients,
                    "number_of_series": study.number_of_series,
                    "number_of_instances": study.number_of_instances,
                    "number_of_patients": len(study.patients),
                    "patient_series": study.patient_series,
                    "patient_instances": study.patient_instances,
                    "modalities": study.modalities,
                    "sop_classes": study.sop_classes,
                    "updated_at": self._now,
                }
                for study in self._studies.values()
                if study.series
            ],
        )
        self._write_others()

    def _write_others(self) -> None:
        more = [
            {"study": study.id, "place": number, "more_series": series, "more_instances": instances}
            for study in self._studies.values()
            for number, (series, instances) in study.others.items()
        ]
        if more:
            self._connection.execute(_UPDATE_OTHER_PATIENT, more)

    def _known_instances(self, sop_instance_uids: set[str]) -> dict[str, list[_Known]]:
        wanted = {"partner": self._partner.id, "uids": sorted(sop_instance_uids)}
        known: dict[str, list[_Known]] = {}
        for uid, *row in self._connection.execute(_INSTANCES_BY_UIDS, wanted):
            known.setdefault(uid, []).append(_Known(*row))
        return known

    def _lock_study(self, header: InstanceHeader) -> None:
        uid = header.study_instance_uid
        if uid not in self._studies:
            self._studies[uid] = self._held(uid) or self._begun(header)

    def _held(self, uid: str) -> _Study | None:
        found = self._connection.execute(_STUDY_BY_UID, {"partner": self._partner.id, "uid": uid}).first()
        return None if found is None else _Study(*found)

    def _begun(self, header: InstanceHeader) -> _Study:
        try:
            with self._connection.begin_nested():
                return self._new_study(header)
        except IntegrityError:  # another association has begun it at the same moment
            found = self._held(header.study_instance_uid)
            if found is None:
                raise
            return found

    def _new_study(self, header: InstanceHeader) -> _Study:
        study = _Study(new_id(), [_identity(header)], 0, 0, 0, 0, [], [])
        row = {
            "id": study.id,
            "partner_id": self._partner.id,
            "study_instance_uid": header.study_instance_uid,
            "accession_number": header.accession_number,
            "accession_issuer": header.accession_issuer,
            "study_date": header.study_date,
            "study_time": header.study_time,
            "description": header.study_description,
            "patients": study.patients,
            "join_reasons": [],
            "received_at": self._now,
            "updated_at": self._now,
            **_patient_columns(header),
            **search_keys.search_columns(header),
        }
        self._connection.execute(_STUDY.insert(), row)
        self._name(study, 0, search_keys.names(header))
        return study

    def _patient_number(self, study: _Study, header: InstanceHeader) -> int:
        """The place of the instance's own patient in the study's."""
        identity = _identity(header)
        if identity in study.patients:
            return study.patients.index(identity)
        number = len(study.patients)
        study.patients = [*study.patients, identity]
        row = _patient_columns(header) | {
            "study_id": study.id,
            "number": number,
            "partner_id": self._partner.id,
            "patient_id_start": search_keys.start(header.patient_id),
        }
        self._connection.execute(_OTHER_PATIENT.insert(), row)
        names = search_keys.names(header)
        self._name(study, number, (name for name in names if name[0] == search_keys.PATIENT_NAME))
        return number

    def _name(self, study: _Study, patient_number: int, names: Iterable[tuple[str, str, str]]) -> None:
        columns = {"partner_id": self._partner.id, "study_id": study.id, "patient_number": patient_number}
        rows = [columns | {"keyword": key, "form": form, "text": text} for key, form, text in names]
        if rows:
            self._connection.execute(_STUDY_NAME.insert(), rows)

    def _series_of(self, study: _Study, header: InstanceHeader) -> _Series:
        uid = header.series_instance_uid
        if uid not in study.series:
            found = self._connection.execute(_SERIES_BY_UID, {"study": study.id, "uid": uid}).first()
            study.series[uid] = self._new_series(study, header) if found is None else _Series(*found)
        return study.series[uid]

    def _new_series(self, study: _Study, header: InstanceHeader) -> _Series:
        series = _Series(new_id(), header.modality, 0, [])
        row = {
            "id": series.id,
            "study_id": study.id,
            "series_instance_uid": header.series_instance_uid,
            "series_number": header.series_number,
            "modality": header.modality,
            "description": header.series_description,
            "body_part": header.body_part,
            "patients": series.patients,
            "attributes": header.series_attributes,
        }
        self._connection.execute(_SERIES.insert(), row)
        return series

    def _row(self, header: InstanceHeader, stored: Stored, receipt_id: str) -> dict[str, Any]:
        return {
            "id": new_id(),
            "partner_id": self._partner.id,
            "sop_instance_uid": header.sop_instance_uid,
            "sop_class_uid": header.sop_class_uid,
            "transfer_syntax_uid": header.transfer_syntax_uid,
            "instance_number": header.instance_number,
            "position": header.position,
            "frames": header.frames,
            "rows": header.rows,
            "columns": header.columns,
            "fault": header.fault,
            "sha256": stored.sha256,
            "dataset_offset": header.dataset_offset,
            "size_bytes": stored.size_bytes,
            "object_key": stored.key,
            "receipt_id": receipt_id,
            "received_at": self._now,
        }


def _patient_columns(header: InstanceHeader) -> dict[str, Any]:
    return {
        "patient_id": header.patient_id,
        "patient_name": header.patient_name,
        "patient_birth_date": header.patient_birth_date,
        "patient_sex": header.patient_sex,
        "attributes": header.study_attributes,
    }


def _count(study: _Study, series: _Series, header: InstanceHeader, patient_number: int) -> None:
    """What a search tells of them: instances that have an address of their own."""
    if not series.number_of_instances:
        study.number_of_series += 1
        study.modalities = sorted({*study.modalities, series.modality} - {""})
    series.number_of_instances += 1
    study.number_of_instances += 1
    is_new = patient_number not in series.patients
    if is_new:
        series.patients = [*series.patients, patient_number]
    if patient_number == 0:
        study.patient_series += is_new
        study.patient_instances += 1
    else:
        more = study.others.setdefault(patient_number, [0, 0])
        more[0] += is_new
        more[1] += 1
    study.sop_classes = sorted({*study.sop_classes, header.sop_class_uid})


def _identity(header: InstanceHeader) -> dict[str, Any]:
    identity: dict[str, Any] = _DEMOGRAPHICS.dump_python(header.patient, mode="json")
    return identity
