"""The bytes of a case's document, exactly as they were sent."""

import hashlib

from gateway.case.model import Document
from gateway.errors import Conflict, NotFound
from gateway.store import resources
from gateway.store.database import Session
from mappings.attachments import attachments_of, open_attachment
from mappings.fhir_elements import text

_REPLACED = "A newer version of this document has just arrived. Open the case again."


def bytes_of(session: Session, partner_id: str, document: Document) -> bytes:
    """Exactly the bytes that the record describes.

    Raises NotFound when there are none, Conflict when a newer version has come since the case was read.
    """
    stored = resources.by_reference(session, partner_id, [document.source.reference or ""])
    index = int(document.id.rsplit("-", 1)[1])
    attachments = attachments_of(stored[0].content) if stored else []
    if index >= len(attachments):
        raise Conflict(_REPLACED)
    binaries = resources.by_reference(session, partner_id, [text(attachments[index].get("url"))])
    found = open_attachment(attachments[index], {b.reference: b.content for b in binaries})
    if not found.bytes_:
        raise NotFound(found.problem)
    if hashlib.sha256(found.bytes_).hexdigest() != document.sha256:
        raise Conflict(_REPLACED)
    return found.bytes_
