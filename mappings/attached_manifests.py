"""Imaging manifests that came as documents of the record: DICOM Key Object Selections, FHIR manifest Bundles (MADO)."""

from collections.abc import Iterator
from io import BytesIO

from gateway.case.model import Demographics, ExpectedStudy, Source
from gateway.case.patient_match import contradictions
from gateway.errors import NotDicom
from mappings.attached_documents import FHIR_JSON, bag_of, media_type, read_bundle
from mappings.attachments import attachments_of, open_attachment
from mappings.dicom_to_header import read_header
from mappings.fhir_bag import Bag
from mappings.fhir_elements import text
from mappings.fhir_people import demographics_of
from mappings.imaging_study import expected_study
from mappings.key_object_selection import MAX_BYTES, studies_in_manifest

_WITHDRAWN = frozenset({"superseded", "entered-in-error"})
_DICOM = frozenset({"application/dicom"})


def attached_studies(
    bag: Bag, child: Demographics | None, assigning_authority: str
) -> Iterator[ExpectedStudy]:
    """The studies that attached manifests name. One that is about another child than the record's names none."""
    for resource in bag.of("DocumentReference", "DiagnosticReport", "Media"):
        if text(resource.content.get("status")) in _WITHDRAWN:
            continue
        for attachment in attachments_of(resource.content):
            kind = media_type(attachment)
            if kind not in _DICOM | FHIR_JSON:
                continue
            content = open_attachment(attachment, bag.binaries()).bytes_
            if not 0 < len(content) <= MAX_BYTES:
                continue
            read = _of_key_objects if kind in _DICOM else _of_bundle
            yield from read(content, resource.source, child, assigning_authority)


def _of_key_objects(
    content: bytes, source: Source, child: Demographics | None, assigning_authority: str
) -> Iterator[ExpectedStudy]:
    try:
        patient = read_header(BytesIO(content), assigning_authority).patient
        if not (child and contradictions(child, patient)):
            yield from studies_in_manifest(BytesIO(content), source)
    except NotDicom:
        return  # a document that cannot be read is a finding of its own


def _of_bundle(
    content: bytes, source: Source, child: Demographics | None, assigning_authority: str
) -> Iterator[ExpectedStudy]:
    bag = bag_of(read_bundle(content), source)
    for study in bag.of("ImagingStudy"):
        subject = bag.follow(study, study.content.get("subject"))
        patient = demographics_of(subject.content, assigning_authority) if subject else None
        if not (child and patient and contradictions(child, patient)):
            yield expected_study(study, bag, assigning_authority)
