"""The bytes of a case's document, exactly as they were sent."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gateway.case.access import Viewer
from gateway.case.model import Document
from gateway.errors import NotFound
from gateway.store import cases, resources
from gateway.store.database import Session
from mappings.attachments import attachments_of, open_attachment
from mappings.fhir_elements import text

if TYPE_CHECKING:
    from gateway.services import Services


def read_document(services: Services, viewer: Viewer, case_id: str, document_id: str) -> bytes:
    """Decoded bytes of ``Document.id``. Raises NotFound when there are none that the viewer may see."""
    with services.database.reading() as session:
        case = cases.row(session, viewer, case_id)
        documents = cases.load_record(case.record).documents
        document = next((d for d in documents if d.id == document_id), None)
        if document is None:
            raise NotFound("No such document in this case.")
        return bytes_of(session, case.partner_id, document)


def bytes_of(session: Session, partner_id: str, document: Document) -> bytes:
    """Exactly the bytes that the record describes: NotFound when they are absent or were replaced meanwhile."""
    stored = resources.by_reference(session, partner_id, [document.source.reference or ""])
    index = int(document.id.rsplit("-", 1)[1])
    attachments = attachments_of(stored[0].content) if stored else []
    if index >= len(attachments):
        raise NotFound("The document was replaced; load the case again.")
    binaries = resources.by_reference(session, partner_id, [text(attachments[index].get("url"))])
    found = open_attachment(attachments[index], {b.reference: b.content for b in binaries})
    if not found.bytes_:
        raise NotFound(found.problem)
    if hashlib.sha256(found.bytes_).hexdigest() != document.sha256:
        raise NotFound("The document was replaced; load the case again.")
    return found.bytes_
