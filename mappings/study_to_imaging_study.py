"""A received study as FHIR R4 ImagingStudy: what is stored here, and nothing that its headers do not say."""

from collections.abc import Iterator
from datetime import datetime

from gateway.case.model import Instance, Series, Study
from mappings.fhir_datatypes import (
    URI_SYSTEM,
    Element,
    absent,
    identifier,
    instant,
    patient_reference,
    present,
)
from mappings.plain_text import all_legible, started_words, study_date

DCM_SYSTEM = "http://dicom.nema.org/resources/ontology/DCM"
_ENDPOINT = "wado"


def to_imaging_study(
    study: Study, patient: str, dicomweb_base: str, updated_at: datetime | None = None
) -> Element:
    """ImagingStudy derived from the received instances.

    ``patient`` is the reference of the case's Patient; empty for a study that is in no case: then the subject is a
    logical reference by what the headers say. Numbers count distinct SOP Instance UIDs; a second, differing
    copy of an instance is a finding and is not listed. DICOM DA and TM carry no offset, and a FHIR dateTime
    with a time needs one: ``started`` keeps the date and a note tells the local time.
    """
    study = all_legible(study)
    instances = sum(len(_distinct(series)) for series in study.series)
    on = study_date(study.started)
    return present(
        resourceType="ImagingStudy",
        id=study.id,
        meta=present(lastUpdated=instant(updated_at)) if updated_at else None,
        contained=[_endpoint(dicomweb_base)],
        identifier=list(_identifiers(study)),
        status="available",
        modality=[_modality(code) for code in study.modalities],
        subject=patient_reference(None, patient) if patient else patient_reference(study.patient),
        started=on.isoformat() if on else None,
        endpoint=[{"reference": f"#{_ENDPOINT}", "type": "Endpoint"}],
        numberOfSeries=len(study.series),
        numberOfInstances=instances,
        description=study.description,
        note=list(_note_on_time(study)),
        series=[_series(series) for series in study.series],
    )


def _identifiers(study: Study) -> Iterator[Element]:
    yield {"use": "official", "system": "urn:dicom:uid", "value": f"urn:oid:{study.study_instance_uid}"}
    if study.accession:
        yield identifier(study.accession, "ACSN")


def _note_on_time(study: Study) -> Iterator[Element]:
    if study.started and (" " in study.started or not study_date(study.started)):
        yield {
            "text": f"Study date and time as sent: {started_words(study.started)}. "
            "The sender stated no offset from UTC."
        }


def _endpoint(dicomweb_base: str) -> Element:
    """R4 Endpoint for WADO-RS: address is the base URL of the DICOMweb service."""
    return {
        "resourceType": "Endpoint",
        "id": _ENDPOINT,
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        "payloadType": [{"text": "DICOM"}],
        "payloadMimeType": ["application/dicom"],
        "address": dicomweb_base,
    }


def _modality(code: str) -> Element:
    return {"system": DCM_SYSTEM, "code": code}


def _series(series: Series) -> Element:
    """R4 ImagingStudy.series; modality is 1..1, so an absent one says so. bodySite is the sent word, uncoded."""
    instances = _distinct(series)
    return present(
        uid=series.series_instance_uid,
        number=_unsigned(series.number),
        modality=_modality(series.modality) if series.modality else absent(),
        description=series.description,
        numberOfInstances=len(instances),
        bodySite=present(display=series.body_part),
        instance=[_instance(instance) for instance in instances],
    )


def _instance(instance: Instance) -> Element:
    return present(
        uid=instance.sop_instance_uid,
        sopClass={"system": URI_SYSTEM, "code": f"urn:oid:{instance.sop_class_uid}"},
        number=_unsigned(instance.number),
    )


def _unsigned(number: int | None) -> int | None:
    """DICOM IS may be negative, FHIR unsignedInt may not."""
    return number if number is not None and number >= 0 else None


def _distinct(series: Series) -> list[Instance]:
    """The first received of each SOP Instance UID."""
    kept: dict[str, Instance] = {}
    for instance in series.instances:
        known = kept.get(instance.sop_instance_uid)
        if known is None or (known.conflict and not instance.conflict):
            kept[instance.sop_instance_uid] = instance
    return list(kept.values())
