"""QIDO-RS: Search transaction of the Studies service (PS3.18 10.6), from the index alone."""

from typing import Any

from gateway.case.access import Viewer
from gateway.dicomweb.query import Query
from gateway.store import imaging_search
from gateway.store.database import Session
from gateway.store.tables import InstanceRow, SeriesRow, StudyRow

Json = dict[str, Any]

# Tables 10.6.3-3 to 10.6.3-5: in the answer even where the value is empty (type 2) or unknown.
_STUDY_ALWAYS = {
    "00080020": "DA",
    "00080030": "TM",
    "00080050": "SH",
    "00080090": "PN",
    "00100010": "PN",
    "00100020": "LO",
    "00100030": "DA",
    "00100040": "CS",
    "00200010": "SH",
}
_SERIES_ALWAYS = {"00080060": "CS", "00200011": "IS"}


def search(
    session: Session, viewer: Viewer, level: str, query: Query, base_url: str
) -> tuple[list[Json], bool]:
    """The matches as DICOM JSON, and whether there are more after them. ``base_url`` as in the store response.

    Attributes of the levels above are in each match, also where the path names their UIDs.
    """
    if level == "study":
        studies = imaging_search.search_studies(session, viewer, query.criteria, query.page)
        found = [_study_found(study, base_url) for study in studies]
    elif level == "series":
        series = imaging_search.search_series(session, viewer, query.criteria, query.page)
        found = [_series_found(one, base_url) for one in series]
    else:
        instances = imaging_search.search_instances(session, viewer, query.criteria, query.page)
        found = [_instance(row, base_url) for row in instances]
    return [_ordered(one) for one in found[: query.limit]], len(found) > query.limit


def _ordered(attributes: Json) -> Json:
    """F.2.2: ascending by tag."""
    return dict(sorted(attributes.items()))


def _study(row: StudyRow) -> Json:
    return {tag: {"vr": vr} for tag, vr in _STUDY_ALWAYS.items()} | row.attributes


def _study_found(found: imaging_search.StudyFound, base_url: str) -> Json:
    counts = {"00201206": _value("IS", found.series_count), "00201208": _value("IS", found.instance_count)}
    return (
        _study(found.row)
        | counts
        | {
            "00080061": {"vr": "CS", "Value": list(found.modalities)} if found.modalities else {"vr": "CS"},
            **_place(study_url(base_url, found.row)),
        }
    )


def _series(row: SeriesRow) -> Json:
    return {tag: {"vr": vr} for tag, vr in _SERIES_ALWAYS.items()} | row.attributes


def _series_found(found: imaging_search.SeriesFound, base_url: str) -> Json:
    return (
        _study(found.row.study)
        | _series(found.row)
        | {"00201209": _value("IS", found.instance_count)}
        | _place(series_url(base_url, found.row))
    )


def _instance(row: InstanceRow, base_url: str) -> Json:
    own = {
        "00080016": _value("UI", row.sop_class_uid),
        "00080018": _value("UI", row.sop_instance_uid),
        "00083002": _value("UI", row.transfer_syntax_uid),
        "00200013": _value("IS", row.instance_number),
    }
    if row.rows is not None and row.columns is not None:
        own |= {"00280010": _value("US", row.rows), "00280011": _value("US", row.columns)}
    if row.frames > 1:
        own["00280008"] = _value("IS", row.frames)
    return _study(row.series.study) | _series(row.series) | own | _place(instance_url(base_url, row))


def _place(url: str) -> Json:
    """Retrieve URL, and Instance Availability: all that is stored is at hand."""
    return {"00080056": _value("CS", "ONLINE"), "00081190": _value("UR", url)}


def _value(vr: str, value: str | int | None) -> Json:
    return {"vr": vr} if value is None or value == "" else {"vr": vr, "Value": [value]}


def study_url(base_url: str, row: StudyRow) -> str:
    return f"{base_url}/studies/{row.study_instance_uid}"


def series_url(base_url: str, row: SeriesRow) -> str:
    return f"{study_url(base_url, row.study)}/series/{row.series_instance_uid}"


def instance_url(base_url: str, row: InstanceRow) -> str:
    return f"{series_url(base_url, row.series)}/instances/{row.sop_instance_uid}"
