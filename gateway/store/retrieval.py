"""The instances that a retrieval names by patients, studies, series or SOP instances (PS3.4 C.4.2, C.4.3)."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session, selectinload

from gateway.case.access import Viewer
from gateway.store.studies import visible
from gateway.store.tables import InstanceRow, SeriesRow, StudyRow

KEYS: dict[str, InstrumentedAttribute[str]] = {
    "PatientID": StudyRow.patient_id,
    "StudyInstanceUID": StudyRow.study_instance_uid,
    "SeriesInstanceUID": SeriesRow.series_instance_uid,
    "SOPInstanceUID": InstanceRow.sop_instance_uid,
}
_AT_ONCE = 500  # values of one list in a statement


def instances(session: Session, viewer: Viewer, keys: dict[str, Sequence[str]]) -> list[InstanceRow]:
    """First-received instances, never a conflicting second, that have one of the values of every key.

    In the order of study, series and instance number; each once.
    """
    if not keys or not all(keys.values()):
        return []
    longest = max(keys, key=lambda keyword: len(keys[keyword]))
    others = [KEYS[keyword].in_(values) for keyword, values in keys.items() if keyword != longest]
    found: dict[str, InstanceRow] = {}
    wanted = list(dict.fromkeys(keys[longest]))
    for first in range(0, len(wanted), _AT_ONCE):
        query = (
            select(InstanceRow)
            .join(SeriesRow, SeriesRow.id == InstanceRow.series_id)
            .join(StudyRow, StudyRow.id == SeriesRow.study_id)
            .where(
                StudyRow.id.in_(visible(viewer).with_only_columns(StudyRow.id)),
                InstanceRow.conflict.is_(False),
                KEYS[longest].in_(wanted[first : first + _AT_ONCE]),
                *others,
            )
            .options(selectinload(InstanceRow.series))
            .order_by(StudyRow.received_at, StudyRow.id, SeriesRow.series_number, SeriesRow.id)
            .order_by(InstanceRow.instance_number, InstanceRow.id)
        )
        found |= {row.id: row for row in session.scalars(query)}
    return list(found.values())
