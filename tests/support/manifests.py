"""Imaging manifests as archives make them: DICOM Key Object Selections and FHIR Bundles in the form of IHE MADO."""

from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, generate_uid

from tests.support.bundles import MRN, in_letters
from tests.support.dicom_files import encode
from tests.support.fetching import Imaging, endpoint

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
MANIFEST = ("113030", "DCM", "Manifest")
OF_INTEREST = ("113000", "DCM", "Of Interest")
REJECTED = ("113001", "DCM", "Rejected for Quality Reasons")


def code(value: str, scheme: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made


def key_objects(
    imaging: Imaging,
    title: tuple[str, str, str] = MANIFEST,
    *,
    uids: Iterable[str] | None = None,
    place: dict[str, Any] | None = None,
    **changes: Any,
) -> bytes:
    """A Key Object Selection that references the stack, in its study; ``place`` are attributes of the series."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = KEY_OBJECT_SELECTION, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = imaging.study, generate_uid()
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "KO", 900, 1
    ds.PatientID, ds.PatientName = imaging.mrn, f"Okafor^Amara {in_letters(imaging.mrn)}"
    ds.PatientBirthDate, ds.PatientSex, ds.IssuerOfPatientID = "20180309", "F", MRN
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = Sequence([code(*title)])
    ds.CurrentRequestedProcedureEvidenceSequence = Sequence(
        [_evidence(imaging, uids or imaging.uids, place or {})]
    )
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return encode(ds)


def _evidence(imaging: Imaging, uids: Iterable[str], place: dict[str, Any]) -> Dataset:
    study, series = Dataset(), Dataset()
    study.StudyInstanceUID = imaging.study
    series.SeriesInstanceUID = imaging.series
    for keyword, value in place.items():
        setattr(series, keyword, value)
    series.ReferencedSOPSequence = Sequence([_reference(uid) for uid in uids])
    study.ReferencedSeriesSequence = Sequence([series])
    return study


def _reference(uid: str) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = CTImageStorage, uid
    return made


def mado_bundle(imaging: Imaging, address: str, patient: dict[str, Any]) -> dict[str, Any]:
    """A document Bundle: Composition, ImagingStudy with every instance, Endpoint of the series, Patient."""
    urls = {
        name: f"urn:uuid:{index:08d}-0000-4000-8000-000000000000"
        for index, name in enumerate(("c", "i", "e", "p"))
    }
    study = {
        "resourceType": "ImagingStudy",
        "id": "study",
        "identifier": [{"system": "urn:dicom:uid", "value": imaging.study}],
        "status": "available",
        "subject": {"reference": urls["p"]},
        "numberOfSeries": 1,
        "series": [
            {
                "uid": imaging.series,
                "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"},
                "numberOfInstances": len(imaging.uids),
                "endpoint": [{"reference": urls["e"]}],
                "instance": [
                    {
                        "uid": uid,
                        "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{CTImageStorage}"},
                    }
                    for uid in imaging.uids
                ],
            }
        ],
    }
    composition = {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": "Imaging manifest"},
        "subject": {"reference": urls["p"]},
        "date": "2026-11-01T10:00:00Z",
        "author": [{"display": "Archive"}],
        "title": "Imaging study manifest",
        "section": [{"entry": [{"reference": urls["i"]}]}],
    }
    resources = {"c": composition, "i": study, "e": endpoint(address), "p": patient}
    return {
        "resourceType": "Bundle",
        "type": "document",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{imaging.study}.9"},
        "timestamp": "2026-11-01T10:00:00Z",
        "entry": [{"fullUrl": urls[name], "resource": resource} for name, resource in resources.items()],
    }
