"""FHIR documents that came as attachments of the record, in JSON: a Binary, or a Bundle inside a bundle (IHE MHD)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from gateway.case.model import ClinicalItem, Demographics, Section, Source
from mappings.attachments import attachments_of, open_attachment
from mappings.clinical_items import ITEM_KINDS, is_entered_in_error, to_item
from mappings.fhir_bag import Bag, Sourced
from mappings.fhir_document import sections_of
from mappings.fhir_elements import Resource, objects, text
from mappings.fhir_people import demographics_of

MAX_BYTES = 8 * 1024 * 1024
FHIR_JSON = frozenset({"application/fhir+json", "application/json"})


@dataclass(frozen=True, slots=True)
class AttachedDocument:
    """``holder`` is the DocumentReference, ``bag`` the document's own resources, ``patient`` its Composition's."""

    holder: Sourced
    bag: Bag
    composition: Sourced
    patient: Sourced | None

    def demographics(self, assigning_authority: str) -> Demographics | None:
        return demographics_of(self.patient.content, assigning_authority) if self.patient else None

    def items(self) -> Iterator[ClinicalItem]:
        """The document's facts about its patient, each with the DocumentReference as its source."""
        for resource in self.bag.of(*ITEM_KINDS):
            element = resource.content.get("subject") or resource.content.get("patient")
            about = self.bag.follow(resource, element)
            if is_entered_in_error(resource.content) or (about is not None and not self._is_patient(about)):
                continue
            yield to_item(resource.content, self.holder.source, self._medication)

    def sections(self) -> Iterator[Section]:
        for section in sections_of(self.bag, self.composition):
            yield replace(section, source=self.holder.source)

    def _is_patient(self, resource: Sourced) -> bool:
        return self.patient is not None and resource.content is self.patient.content

    def _medication(self, wanted: str) -> Resource | None:
        found = self.bag.get(wanted)
        return found.content if found else None


def attached_documents(bag: Bag) -> Iterator[AttachedDocument]:
    """Of DocumentReferences, whatever their status."""
    binaries = bag.binaries()
    for holder in bag.of("DocumentReference"):
        for attachment in attachments_of(holder.content):
            if media_type(attachment) in FHIR_JSON:
                content = open_attachment(attachment, binaries).bytes_
                if 0 < len(content) <= MAX_BYTES and (found := _read(content, holder)) is not None:
                    yield found


def media_type(attachment: Resource) -> str:
    return text(attachment.get("contentType")).partition(";")[0].strip().lower()


def _read(content: bytes, holder: Sourced) -> AttachedDocument | None:
    bundle = read_bundle(content)
    inside = bag_of(bundle, holder.source)
    if bundle.get("type") != "document" or not inside.own or inside.own[0].type != "Composition":
        return None
    composition = inside.own[0]
    patient = inside.follow(composition, composition.content.get("subject"))
    is_patient = patient is not None and patient.type == "Patient"
    return AttachedDocument(holder, inside, composition, patient if is_patient else None)


def read_bundle(content: bytes) -> Resource:
    """Digits as they were sent; empty where it is no Bundle."""
    try:
        bundle = json.loads(content, parse_float=Decimal)
    except (ValueError, RecursionError):
        return {}
    return bundle if isinstance(bundle, dict) and bundle.get("resourceType") == "Bundle" else {}


def bag_of(bundle: Resource, source: Source) -> Bag:
    """A Bundle's resources by fullUrl, and again by the relative reference that their ids give (R4 2.36.4.1)."""
    entries = [(text(e.get("fullUrl")), e.get("resource")) for e in objects(bundle.get("entry"))]
    resources = [(url, resource) for url, resource in entries if isinstance(resource, dict)]
    return Bag(
        [_sourced(resource, source, url or _relative(resource)) for url, resource in resources],
        [_sourced(resource, source, _relative(resource)) for _, resource in resources],
    )


def _relative(resource: Resource) -> str:
    return f"{text(resource.get('resourceType'))}/{text(resource.get('id'))}"


def _sourced(resource: Resource, source: Source, name: str) -> Sourced:
    return Sourced(resource, replace(source, reference=name))
