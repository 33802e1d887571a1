"""Stored bytes to the browser, exactly as they are, and never as a page of ours."""

from urllib.parse import quote

from flask import Response, request

from gateway.case.model import Document
from gateway.clock import utc_now
from gateway.errors import NotFound
from gateway.store import opinions
from gateway.store.objects import read_bytes
from gateway.web.visit import Visit
from gateway.workflow.documents import bytes_of
from gateway.workflow.viewing import view_case
from mappings.opinion_to_report import report_of
from mappings.report_to_document import to_html

VIEWABLE = frozenset({"application/pdf", "image/png", "image/jpeg", "image/gif", "image/webp", "text/plain"})
"""Media types that a browser shows without running anything; all others are only saved."""

_LOCKED = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "frame-ancestors 'self'; sandbox"
)
_EXTENSION = {
    "application/pdf": ".pdf",
    "application/dicom": ".dcm",
    "application/fhir+json": ".json",
    "application/json": ".json",
    "application/xml": ".xml",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/webp": ".webp",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/xml": ".xml",
}


def viewable(content_type: str) -> bool:
    return _media_type(content_type) in VIEWABLE


def document(visit: Visit, case_id: str, document_id: str) -> Response:
    """The decoded bytes of a document; ``?view`` shows them in the browser where that is safe."""
    found = view_case(visit.services, visit.user, case_id, visit.origin, f"document:{document_id}")
    wanted = next((d for d in found.record.documents if d.id == document_id), None)
    if wanted is None:
        raise NotFound("The case has no such document.")
    with visit.services.database.reading() as session:
        content = bytes_of(session, found.partner_id, wanted)
    return _file(content, wanted.content_type, _file_name(wanted), inline="view" in request.args)


def report_html(visit: Visit, case_id: str) -> Response:
    """The signed report for the frame of the opinion page: a page of ours without scripts, locked all the same."""
    response = Response(_report(visit, case_id, "html_key"), content_type="text/html; charset=utf-8")
    return _lock(response)


def report_pdf(visit: Visit, case_id: str) -> Response:
    return _file(_report(visit, case_id, "pdf_key"), "application/pdf", f"{case_id}-opinion.pdf", inline=True)


def report_json(visit: Visit, case_id: str) -> Response:
    """The DiagnosticReport as it is handed to the hospital."""
    content = _report(visit, case_id, "report_key")
    return _file(content, "application/fhir+json", f"{case_id}-diagnostic-report.json", inline=False)


def _report(visit: Visit, case_id: str, key: str) -> bytes:
    """One of the signed report's three forms, by the name of its object key in OpinionRow."""
    found = view_case(visit.services, visit.user, case_id, visit.origin, f"report:{case_id}")
    if found.signed_opinion is None:
        raise NotFound("No opinion of this case is signed yet.")
    with visit.services.database.reading() as session:
        row = opinions.row(session, found.signed_opinion.id)
    return read_bytes(visit.services.objects, getattr(row, key))


def preview_html(visit: Visit, case_id: str) -> Response:
    """The report as it would be signed now, for the frame of the confirm step."""
    found = view_case(visit.services, visit.user, case_id, visit.origin, f"draft:{case_id}")
    if found.draft_opinion is None:
        raise NotFound("There is no draft.")
    report = report_of(found, found.draft_opinion, utc_now(), visit.services.config.programme_name)
    response = Response(to_html(report), content_type="text/html; charset=utf-8")
    return _lock(response)


def _file(content: bytes, content_type: str, name: str, *, inline: bool) -> Response:
    """PDF viewers do not start in a sandboxed document, and run no script of the file in our origin."""
    shown = inline and viewable(content_type)
    media_type = _media_type(content_type) if shown else "application/octet-stream"
    charset = "; charset=utf-8" if media_type == "text/plain" and _is_utf8(content) else ""
    response = Response(content, content_type=media_type + charset)
    kind = "inline" if shown else "attachment"
    response.headers["Content-Disposition"] = f"{kind}; filename*=UTF-8''{quote(name, safe='')}"
    return _lock(response, sandbox=media_type != "application/pdf")


def _lock(response: Response, *, sandbox: bool = True) -> Response:
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Content-Security-Policy"] = _LOCKED if sandbox else _LOCKED.removesuffix("; sandbox")
    return response


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _file_name(document: Document) -> str:
    """The title, without what a file system could stumble over."""
    name = "".join(c if c.isalnum() or c in " .-_()" else "_" for c in document.title).strip(" .")[:120]
    extension = _EXTENSION.get(_media_type(document.content_type), "")
    return name if not extension or name.lower().endswith(extension) else f"{name or 'document'}{extension}"
