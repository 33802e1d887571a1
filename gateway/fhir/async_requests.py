"""Requests that are answered later: where they stand, their answer, and their end (FHIR R4 3.1.6, R5 3.2.6)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO

from flask import Response, request
from werkzeug.http import http_date

from gateway.auth.bearer import require_scope
from gateway.case.access import Partner
from gateway.clock import utc_now
from gateway.errors import Issue, NotAcceptable, NotFound
from gateway.fhir import answers, disclosed, outcome
from gateway.store import async_requests
from gateway.store.async_requests import BUNDLE, DONE, EXPORT, UNFINISHED, WAITING
from gateway.store.resources import dumps, loads
from gateway.workflow import deliver, disclosure, export, respond_async
from gateway.workflow.export import OUTCOMES, File
from mappings.fhir_definitions import Release

if TYPE_CHECKING:
    from gateway.services import Services
    from gateway.store.tables import AsyncRequestRow

NDJSON = "application/fhir+ndjson"
PATH = "async-requests"
_NDJSON_NAMES = (NDJSON, "application/ndjson")
_LONGEST_WAIT_SECONDS = 60
_CHUNK_BYTES = 256 * 1024
_GIVEN_UP: dict[str, Any] = {
    "status": 503,
    "headers": {},
    "resource": outcome.of_issues(
        [Issue("error", "transient", "The gateway could not receive the bundle; please send it again.")]
    ),
    "release": "4.0",
}
_GZIP = 16 + zlib.MAX_WBITS


def accepted(base: str, request_id: str) -> Response:
    """202 with the address at which its status is asked."""
    told = outcome.of_issues(
        [Issue("information", "informational", "The request is answered at the address in Content-Location.")]
    )
    return answers.fhir_answer(told, 202, {"Content-Location": f"{base}/{PATH}/{request_id}"})


def status(services: Services, partner: Partner, base: str, request_id: str) -> Response:
    """202 until it is answered. Raises NotFound for another partner's, a cancelled and an expired one."""
    with services.database.reading() as session:
        row = async_requests.of_partner(session, partner, request_id)
    if row.state in UNFINISHED:
        return _in_progress(row)
    if row.kind == BUNDLE:
        return _bundle_answer(services, partner, row)
    return _export_answer(partner, base, row)


def cancel(services: Services, partner: Partner, request_id: str) -> Response:
    """What is being written is given up, what is written removed; from now on it is not there (404)."""
    respond_async.cancel(services, partner, request_id, disclosed.origin())
    told = outcome.of_issues([Issue("information", "informational", "The request is cancelled.")])
    return answers.fhir_answer(told, 202)


def _in_progress(row: AsyncRequestRow) -> Response:
    """To be asked again after half the time that it has taken so far."""
    taken = (utc_now() - row.asked_at).total_seconds()
    seconds = min(max(1, round(taken / 2)), _LONGEST_WAIT_SECONDS)
    progress = "waiting" if row.state == WAITING else "in progress"
    headers = {"X-Progress": progress, "Retry-After": str(seconds), "Cache-Control": "no-store"}
    return Response(status=202, headers=headers)


def _bundle_answer(services: Services, partner: Partner, row: AsyncRequestRow) -> Response:
    """A batch-response of one entry: the answer as it would have been at once (FHIR R5 3.2.6.2.3).

    In the format and release that the bundle was to be answered in, whatever asks for it now.
    """
    require_scope(partner, "Bundle", "c")
    told = loads(row.answer) if row.answer else _GIVEN_UP
    disclosure.record(
        services, partner, disclosure.READ, respond_async.subject_of(row.id), disclosed.origin(), count=1
    )
    response = {"status": f"{told['status']} {HTTPStatus(told['status']).phrase}"}
    if location := told["headers"].get("Location"):
        response["location"] = location
    entry: dict[str, Any] = {"response": response}
    resource = told["resource"]
    if resource and resource["resourceType"] == OUTCOMES:
        response["outcome"] = resource
    elif resource:
        entry = {"resource": resource, "response": response}
    answers.answer_as(row.asked["media_type"], Release(row.asked["release"] or told["release"]))
    bundle = {"resourceType": "Bundle", "type": "batch-response", "entry": [entry]}
    return answers.fhir_answer(bundle, headers=_expires(row))


def _expires(row: AsyncRequestRow) -> dict[str, str]:
    return {"Expires": http_date(row.expires_at)} if row.expires_at else {}


def _export_answer(partner: Partner, base: str, row: AsyncRequestRow) -> Response:
    """The complete status of an export (Bulk Data Access 2.0.0, Export): JSON, not FHIR."""
    if row.state != DONE:
        failed = Issue("error", "exception", "The export could not be made; please ask for it again.")
        return answers.fhir_answer(outcome.of_issues([failed]), 500)
    manifest = export.manifest_of(row)
    for file in manifest.output:
        _require_scopes(partner, file)
    url = f"{base}/{PATH}/{row.id}"
    told: dict[str, Any] = {
        "transactionTime": row.transaction_at.isoformat() if row.transaction_at else "",
        "request": row.url,
        "requiresAccessToken": True,
        "output": [_item(file, url) for file in manifest.output],
        "error": [_item(file, url) for file in manifest.error],
    }
    headers = {"Cache-Control": "no-store", **_expires(row)}
    return Response(dumps(told), mimetype="application/json", headers=headers)


def _item(file: File, url: str) -> dict[str, Any]:
    return {"type": file.type, "url": f"{url}/{file.number}", "count": file.count}


def file(services: Services, partner: Partner, request_id: str, number: int) -> Response:
    """A file of an export, on the audit trail before it goes out; a report in it is thereby delivered."""
    with services.database.reading() as session:
        row = async_requests.of_partner(session, partner, request_id)
    found = _file_of(row, number)
    _require_scopes(partner, found)
    if not request.accept_mimetypes.best_match(_NDJSON_NAMES) and request.accept_mimetypes:
        raise NotAcceptable(f"The file can be had as {NDJSON} only.")
    stream = services.objects.open(export.key_of(row.id, number))
    subject = f"{respond_async.subject_of(row.id)}/{number}"
    disclosure.record(
        services, partner, EXPORT, subject, disclosed.origin(), type=found.type, count=found.count
    )
    if request.method != "HEAD":
        for opinion_id in found.opinions:
            deliver.record_read(services, partner, opinion_id, disclosed.origin())
    return _streamed(stream, found)


def _file_of(row: AsyncRequestRow, number: int) -> File:
    if row.kind == EXPORT and row.state == DONE:
        manifest = export.manifest_of(row)
        for file in (*manifest.output, *manifest.error):
            if file.number == number:
                return file
    raise NotFound("The export has no such file.")


def _require_scopes(partner: Partner, file: File) -> None:
    """The token that fetches allows what was exported, not only the one that asked for it."""
    if file.type != OUTCOMES:
        require_scope(partner, file.type, "r")
        require_scope(partner, file.type, "s")


def _streamed(stream: BinaryIO, file: File) -> Response:
    """As it is kept for who takes gzip, else inflated on the way."""
    takes_gzip = request.accept_encodings.quality("gzip") > 0
    answer = Response(_chunks(stream) if takes_gzip else _inflated(stream), content_type=NDJSON)
    answer.headers["Content-Length"] = str(file.gzip_bytes if takes_gzip else file.size_bytes)
    if takes_gzip:
        answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Vary"] = "Accept-Encoding"
    answer.headers["Cache-Control"] = "no-store"
    answer.call_on_close(stream.close)
    return answer


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _inflated(stream: BinaryIO) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_GZIP)
    for chunk in _chunks(stream):
        packed = chunk
        while packed:
            yield inflater.decompress(packed, _CHUNK_BYTES)
            packed = inflater.unconsumed_tail
    yield inflater.flush()
