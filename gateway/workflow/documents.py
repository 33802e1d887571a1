"""The bytes of a case's document, exactly as they were sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.case.access import Viewer
from gateway.errors import NotFound
from gateway.store import cases, resources
from mappings.attachments import attachments_of, open_attachment
from mappings.fhir_elements import text

if TYPE_CHECKING:
    from gateway.services import Services


def read_document(services: Services, viewer: Viewer, case_id: str, document_id: str) -> bytes:
    """Decoded bytes of ``Document.id``. Raises NotFound when there are none that the viewer may see."""
    with services.database.reading() as session:
        case = cases.load(session, viewer, case_id)
        document = next((d for d in case.record.documents if d.id == document_id), None)
        if document is None:
            raise NotFound("No such document in this case.")
        stored = resources.by_reference(session, case.partner_id, [document.source.reference or ""])
        attachment = attachments_of(stored[0].content)[int(document_id.rsplit("-", 1)[1])]
        binaries = resources.by_reference(session, case.partner_id, [text(attachment.get("url"))])
    found = open_attachment(attachment, {b.reference: b.content for b in binaries})
    if not found.bytes_:
        raise NotFound(found.problem)
    return found.bytes_
