"""HTTP answers in FHIR JSON, and what of a request decides them."""

from collections.abc import Iterable
from typing import Any

from flask import Response, request
from werkzeug.http import http_date

from gateway.errors import Issue, NotAcceptable
from gateway.fhir import outcome
from gateway.fhir.served import Served
from gateway.fhir.versions import MEDIA_TYPE
from gateway.store.resources import dumps
from gateway.workflow.submission import Accepted, EntryOutcome, Submission

_ACCEPTABLE = (MEDIA_TYPE, "application/json", "text/json")
_CODES = {"created": "201 Created", "updated": "200 OK", "unchanged": "200 OK"}


def fhir_json(resource: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A resource as application/fhir+json; fhirVersion=4.0 (FHIR R4 3.1.0.1.10)."""
    answer = Response(dumps(resource), status, headers)
    answer.content_type = f"{MEDIA_TYPE}; fhirVersion=4.0; charset=utf-8"
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer


def require_json_answer() -> None:
    """Raises NotAcceptable when neither ``_format`` nor Accept allows FHIR JSON."""
    asked = request.args.get("_format", "")
    if asked:
        if asked.split(";")[0].strip() not in (*_ACCEPTABLE, "json"):
            raise NotAcceptable(f"The answer can be had as {MEDIA_TYPE} only.")
        return
    accept = request.accept_mimetypes
    if accept and not any(accept.quality(kind) > 0 for kind in _ACCEPTABLE):
        raise NotAcceptable(f"The answer can be had as {MEDIA_TYPE} only.")


def of_served(served: Served, base: str) -> Response:
    """One resource with ETag (weak, its version) and Last-Modified (3.1.0.5)."""
    location = f"{base}/{served.resource['resourceType']}/{served.id}/_history/{served.version}"
    headers = {
        "ETag": f'W/"{served.version}"',
        "Last-Modified": http_date(served.updated_at),
        "Content-Location": location,
    }
    return fhir_json(served.resource, headers=headers)


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
        return {"response": {"status": "400 Bad Request", "outcome": outcome.of_issues(entry.issues)}}
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
