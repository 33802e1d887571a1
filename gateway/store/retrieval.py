"""The instances that a retrieval names by patients, studies, series or SOP instances (PS3.4 C.4.2, C.4.3)."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, literal, select, tuple_, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session, selectinload

from gateway.case.access import Viewer
from gateway.store.studies import visible
from gateway.store.tables import InstanceRow, OtherPatientRow, SeriesRow, StudyRow

_KEYS: dict[str, InstrumentedAttribute[str]] = {
    "StudyInstanceUID": StudyRow.study_instance_uid,
    "SeriesInstanceUID": SeriesRow.series_instance_uid,
    "SOPInstanceUID": InstanceRow.sop_instance_uid,
}
_AT_ONCE = 500  # values of one list in a statement


def instances(session: Session, viewer: Viewer, keys: dict[str, Sequence[str]]) -> list[InstanceRow]:
    """The instances that have one of the values of every key; by a Patient ID those whose own patient has it.

    By a SOP Instance UID alone it is the one that came first under it, else none whose address gives another one.
    In the order of study, series and instance number; each once.
    """
    if not keys or not all(keys.values()):
        return []
    longest = max(keys, key=lambda keyword: len(keys[keyword]))
    others = [_has(keyword, values) for keyword, values in keys.items() if keyword != longest]
    is_second = InstanceRow.conflict if set(keys) == {"SOPInstanceUID"} else InstanceRow.shadowed
    found: dict[str, InstanceRow] = {}
    wanted = list(dict.fromkeys(keys[longest]))
    for first in range(0, len(wanted), _AT_ONCE):
        query = (
            select(InstanceRow)
            .join(SeriesRow, SeriesRow.id == InstanceRow.series_id)
            .join(StudyRow, StudyRow.id == SeriesRow.study_id)
            .where(
                StudyRow.id.in_(visible(viewer).with_only_columns(StudyRow.id)),
                _has(longest, wanted[first : first + _AT_ONCE]),
                *others,
                is_second.is_(False),
            )
            .options(selectinload(InstanceRow.series))
            .order_by(StudyRow.received_at, StudyRow.id, SeriesRow.series_number, SeriesRow.id)
            .order_by(InstanceRow.instance_number, InstanceRow.id)
        )
        found |= {row.id: row for row in session.scalars(query)}
    return list(found.values())


def _has(keyword: str, values: Sequence[str]) -> ColumnElement[bool]:
    if keyword != "PatientID":
        return _KEYS[keyword].in_(values)
    first = select(StudyRow.id, literal(0)).where(StudyRow.patient_id.in_(values))
    others = select(OtherPatientRow.study_id, OtherPatientRow.number).where(
        OtherPatientRow.patient_id.in_(values)
    )
    return tuple_(SeriesRow.study_id, InstanceRow.patient_number).in_(union_all(first, others))
