"""Imaging manifests that came as documents of the record: DICOM Key Object Selections, FHIR manifest Bundles (MADO)."""

import json
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

from gateway.case.model import Demographics, ExpectedStudy, Source
from gateway.case.patient_match import contradictions
from gateway.errors import NotDicom
from mappings.attachments import attachments_of, open_attachment
from mappings.dicom_to_header import read_header
from mappings.fhir_bag import Bag, Sourced
from mappings.fhir_elements import Resource, objects, text
from mappings.fhir_people import demographics_of
from mappings.imaging_study import expected_study
from mappings.key_object_selection import MAX_BYTES, studies_in_manifest

_WITHDRAWN = frozenset({"superseded", "entered-in-error"})
_DICOM = frozenset({"application/dicom"})
_FHIR = frozenset({"application/fhir+json", "application/json"})


def attached_studies(
    bag: Bag, child: Demographics | None, assigning_authority: str
) -> Iterator[ExpectedStudy]:
    """The studies that attached manifests name. One that is about another child than the record's names none."""
    for resource in bag.of("DocumentReference", "DiagnosticReport", "Media"):
        if text(resource.content.get("status")) in _WITHDRAWN:
            continue
        for attachment in attachments_of(resource.content):
            kind = text(attachment.get("contentType")).partition(";")[0].strip().lower()
            if kind not in _DICOM | _FHIR:
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
    bag = Bag(*_entries(content, source))
    for study in bag.of("ImagingStudy"):
        subject = bag.follow(study, study.content.get("subject"))
        patient = demographics_of(subject.content, assigning_authority) if subject else None
        if not (child and patient and contradictions(child, patient)):
            yield expected_study(study, bag, assigning_authority)


def _entries(content: bytes, source: Source) -> tuple[list[Sourced], list[Sourced]]:
    """The resources by fullUrl, and again by the relative reference that their ids give (R4 2.36.4.1)."""
    try:
        bundle = json.loads(content)
    except (ValueError, RecursionError):
        return [], []
    is_bundle = isinstance(bundle, dict) and bundle.get("resourceType") == "Bundle"
    entries = [
        (text(e.get("fullUrl")), e.get("resource")) for e in objects(bundle.get("entry") if is_bundle else [])
    ]
    resources = [(url, resource) for url, resource in entries if isinstance(resource, dict)]
    return (
        [_sourced(resource, source, url or _relative(resource)) for url, resource in resources],
        [_sourced(resource, source, _relative(resource)) for _, resource in resources],
    )


def _relative(resource: Resource) -> str:
    return f"{text(resource.get('resourceType'))}/{text(resource.get('id'))}"


def _sourced(resource: Resource, source: Source, name: str) -> Sourced:
    return Sourced(resource, replace(source, reference=name))
