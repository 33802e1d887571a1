"""What a search has found, as DICOM JSON (PS3.18 F.2), for QIDO-RS and C-FIND alike.

Each match has the attributes of the levels above it too. Where something can be retrieved is the door's to say.
"""

from typing import Any

from gateway.store.imaging_search import InstanceFound, PatientFound, SeriesFound, StudyFound
from mappings.dicom_attributes import patient_tags, tags_of_patient

Json = dict[str, Any]

# PS3.18 Tables 10.6.3-3 and 10.6.3-4: in the answer even where the value is empty (type 2) or unknown.
_PATIENT_ALWAYS: Json = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00080056": {"vr": "CS", "Value": ["ONLINE"]},  # Instance Availability: nothing is ever taken away
    "00100010": {"vr": "PN"},
    "00100020": {"vr": "LO"},
    "00100030": {"vr": "DA"},
    "00100040": {"vr": "CS"},
}
_STUDY_ALWAYS: Json = _PATIENT_ALWAYS | {
    "00080020": {"vr": "DA"},
    "00080030": {"vr": "TM"},
    "00080050": {"vr": "SH"},
    "00080090": {"vr": "PN"},
    "00200010": {"vr": "SH"},
}
_SERIES_ALWAYS: Json = {"00080060": {"vr": "CS"}, "00200011": {"vr": "IS"}}


def of(found: PatientFound | StudyFound | SeriesFound | InstanceFound) -> Json:
    match found:
        case PatientFound():
            return _patient(found)
        case StudyFound():
            return _study(found) | _of_study_alone(found)
        case SeriesFound():
            return _series(found) | {"00201209": element("IS", found.instance_count)}
        case InstanceFound():
            return _series(found.series) | _of_instance_alone(found)


def _of_study_alone(found: StudyFound) -> Json:
    return {
        "00080061": element("CS", *found.modalities),
        "00080062": element("UI", *found.sop_classes),
        "00201206": element("IS", found.series_count),
        "00201208": element("IS", found.instance_count),
    }


def _of_instance_alone(found: InstanceFound) -> Json:
    own = {
        "00080016": element("UI", found.sop_class_uid),
        "00080018": element("UI", found.sop_instance_uid),
        "00083002": element("UI", found.transfer_syntax_uid),
        "00200013": element("IS", found.instance_number),
    }
    if found.rows is not None and found.columns is not None:
        own |= {"00280010": element("US", found.rows), "00280011": element("US", found.columns)}
    if found.frames > 1:
        own["00280008"] = element("IS", found.frames)
    return own


def element(vr: str, *values: str | int | None) -> Json:
    told = [value for value in values if value is not None and value != ""]
    return {"vr": vr, "Value": told} if told else {"vr": vr}


def _patient(found: PatientFound) -> Json:
    own = {tag: value for tag, value in found.attributes.items() if tag in patient_tags()}
    counts = {
        "00201200": element("IS", found.study_count),
        "00201202": element("IS", found.series_count),
        "00201204": element("IS", found.instance_count),
    }
    return _PATIENT_ALWAYS | own | counts


def _study(found: StudyFound) -> Json:
    if found.patient is None:
        return _STUDY_ALWAYS | found.attributes
    attributes = {tag: value for tag, value in found.attributes.items() if tag not in tags_of_patient()}
    patient = {tag: value for tag, value in found.patient.items() if tag in tags_of_patient()}
    return _STUDY_ALWAYS | attributes | patient


def _series(found: SeriesFound) -> Json:
    return _study(found.study) | _SERIES_ALWAYS | found.attributes
