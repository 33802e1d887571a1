"""HTTP answers in FHIR JSON or XML, and what of a request decides them."""

from collections.abc import Iterable
from typing import Any

from flask import Response, request
from werkzeug.http import http_date

from gateway.errors import Issue, NotAcceptable
from gateway.fhir import outcome
from gateway.fhir.served import Served
from gateway.fhir.versions import FORMATS, JSON, XML
from gateway.fhir.xml_format import to_xml
from gateway.store.resources import dumps
from gateway.workflow.submission import Accepted, EntryOutcome, Submission

_CODES = {"created": "201 Created", "updated": "200 OK", "unchanged": "200 OK"}
_SHORT = {"json": JSON, "xml": XML}


def fhir_answer(
    resource: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A resource in the format that is asked for, with fhirVersion=4.0 (FHIR R4 3.1.0.1.10, 3.1.0.1.11).

    Who is told that none of them can be had is told so in JSON.
    """
    media_type = _asked_format() or JSON
    body = to_xml(resource) if media_type == XML else dumps(resource)
    answer = Response(body, status, headers)
    answer.content_type = f"{media_type}; fhirVersion=4.0; charset=utf-8"
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer


def require_fhir_answer() -> None:
    """Raises NotAcceptable when neither ``_format`` nor Accept allows FHIR JSON or XML."""
    if _asked_format() is None:
        raise NotAcceptable(f"The answer can be had as {JSON} and as {XML} only.")


def wants_fhir() -> bool:
    """Whether FHIR is asked for by name, and not only anything."""
    asked = request.args.get("_format", "") or request.headers.get("Accept", "")
    return "json" in asked or "xml" in asked


def _asked_format() -> str | None:
    """``_format`` goes before Accept; of equals the format of what was sent, then JSON. None: neither will do."""
    if asked := request.args.get("_format", ""):
        return _named(asked.split(";")[0].strip().replace(" ", "+").casefold())
    if not request.accept_mimetypes:
        return _sent_format()
    wanted = sorted({JSON, XML}, key=lambda one: (-_quality(one), one != _sent_format()))
    return wanted[0] if _quality(wanted[0]) > 0 else None


def _named(name: str) -> str | None:
    return _SHORT.get(name) or FORMATS.get(name)


def _sent_format() -> str:
    return FORMATS.get(request.mimetype, JSON)


def _quality(wanted: str) -> float:
    """Of the most telling range of Accept that covers one of the format's media types (RFC 9110 12.5.1)."""
    found = [
        (_precision(essence), quality)
        for asked, quality in request.accept_mimetypes
        if _covers(essence := asked.split(";")[0].strip().casefold(), wanted)
    ]
    return max(found, default=(0, 0.0))[1]


def _covers(essence: str, wanted: str) -> bool:
    return essence in ("*/*", "application/*") or FORMATS.get(essence) == wanted


def _precision(essence: str) -> int:
    return 0 if essence == "*/*" else 1 if essence.endswith("/*") else 2


def of_served(served: Served, base: str) -> Response:
    """One resource with ETag (weak, its version) and Last-Modified (3.1.0.5)."""
    location = f"{base}/{served.resource['resourceType']}/{served.id}/_history/{served.version}"
    headers = {
        "ETag": f'W/"{served.version}"',
        "Last-Modified": http_date(served.updated_at),
        "Content-Location": location,
    }
    return fhir_answer(served.resource, headers=headers)


def transaction_response(submission: Submission, accepted: Accepted, base: str) -> dict[str, Any]:
    """One entry for each entry of the request, in order (3.1.0.11.3); the coordination Task is linked as related."""
    links = [{"relation": "related", "url": f"{base}/Task/{case_id}"} for case_id in accepted.case_ids]
    response: dict[str, Any] = {"resourceType": "Bundle", "type": f"{submission.bundle_type}-response"}
    if links:
        response["link"] = links
    response["entry"] = [_entry(entry) for entry in accepted.entries]
    return response


def _entry(entry: EntryOutcome) -> dict[str, Any]:
    if entry.status == "refused":
        stale = any(issue.code == "conflict" for issue in entry.issues)
        status = "412 Precondition Failed" if stale else "400 Bad Request"
        return {"response": {"status": status, "outcome": outcome.of_issues(entry.issues)}}
    response: dict[str, Any] = {"status": _CODES[entry.status]}
    response["location"] = f"{entry.reference}/_history/{entry.version}" if entry.version else entry.reference
    if entry.version:
        response["etag"] = f'W/"{entry.version}"'
        response["lastModified"] = entry.updated_at
    if entry.issues:
        response["outcome"] = outcome.of_issues(entry.issues)
    return {"response": response}


def searchset(
    found: Iterable[Served], total: int, base: str, links: list[dict[str, str]], ignored: Iterable[str]
) -> Any:
    """A Bundle of type searchset (3.1.1.1); parameters that were not honoured stand in an outcome entry."""
    entries: list[dict[str, Any]] = [
        {
            "fullUrl": f"{base}/{s.resource['resourceType']}/{s.id}",
            "resource": s.resource,
            "search": {"mode": "match"},
        }
        for s in found
    ]
    unknown = [Issue("warning", "not-supported", f"The parameter '{n[:64]}' was ignored.") for n in ignored]
    if unknown:
        entries.append({"resource": outcome.of_issues(unknown), "search": {"mode": "outcome"}})
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": total, "link": links}
    if entries:
        bundle["entry"] = entries
    return bundle
