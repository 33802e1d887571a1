"""The documents of a record, which of them hold, and what the sections of FHIR documents tell."""

import hashlib
from dataclasses import replace

from gateway.case.model import Document, Relation, Section
from mappings.attachments import attachments_of, open_attachment
from mappings.clinical_items import is_entered_in_error
from mappings.fhir_bag import Bag, Sourced
from mappings.fhir_document import sections_of
from mappings.fhir_elements import Resource, coded, objects, reference, text


def standing(bag: Bag, *types: str) -> list[Sourced]:
    """Resources without those that the sender marked as entered in error; these stay in the store."""
    return [r for r in bag.of(*types) if not is_entered_in_error(r.content)]


def sections(bag: Bag) -> tuple[Section, ...]:
    """Of the FHIR documents that hold."""
    gone = replaced(bag)
    compositions = [c for c in standing(bag, "Composition") if c.reference not in gone]
    return tuple(section for c in compositions for section in sections_of(bag, c))


def replaced(bag: Bag) -> set[str]:
    """References of what another document of the record replaces."""
    return {
        relation.target
        for r in standing(bag, "DocumentReference", "Composition")
        for relation in _relations(r.content)
        if relation.code == "replaces"
    }


def documents(bag: Bag) -> tuple[Document, ...]:
    """One for each attachment; a DocumentReference without any is an empty document."""
    binaries = bag.binaries()
    gone = replaced(bag)
    found: list[Document] = []
    for resource in bag.of("Composition", "DocumentReference", "DiagnosticReport", "Media"):
        superseded = (
            resource.reference in gone
            or resource.content.get("status") == "superseded"
            or is_entered_in_error(resource.content)
        )
        parts = attachments_of(resource.content) or ([{}] if resource.type == "DocumentReference" else [])
        for index, attachment in enumerate(parts):
            document = _document(resource, index, attachment, binaries)
            found.append(replace(document, superseded=superseded))
    return tuple(found)


def _relations(content: Resource) -> tuple[Relation, ...]:
    """relatesTo (0..*) of a DocumentReference, or of a Composition, where it is targetReference."""
    return tuple(
        Relation(text(relation.get("code")), target)
        for relation in objects(content.get("relatesTo"))
        if (target := reference(relation.get("target")) or reference(relation.get("targetReference")))
    )


def _document(resource: Sourced, index: int, attachment: Resource, binaries: dict[str, Resource]) -> Document:
    content = resource.content
    concept = coded(content.get("type") or content.get("code"))
    opened = open_attachment(attachment, binaries)
    title = text(attachment.get("title")) or text(content.get("description")) or concept.text
    date = (
        attachment.get("creation")
        or content.get("date")
        or content.get("effectiveDateTime")
        or content.get("issued")
    )
    return Document(
        id=f"{resource.reference.split('/')[-1]}-{index}",
        title=title or "Untitled document",
        concept=concept,
        content_type=text(attachment.get("contentType")),
        language=text(attachment.get("language")) or text(content.get("language")),
        date=text(date),
        size_bytes=len(opened.bytes_),
        content=opened.content,
        problem=opened.problem,
        source=resource.source,
        sha256=hashlib.sha256(opened.bytes_).hexdigest() if opened.bytes_ else "",
        relations=_relations(content),
    )
