"""The FHIR door: POST a bundle; read and search what is the sender's own."""

from __future__ import annotations

import base64
import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_options_header

from gateway.auth.bearer import authenticate_partner, challenge, require_scope
from gateway.case.access import Origin, Partner
from gateway.content_encoding import decoded
from gateway.errors import (
    GatewayError,
    InvalidContent,
    Issue,
    NotFound,
    NotSupported,
    Unauthenticated,
    UnsupportedMediaType,
    VersionMismatch,
)
from gateway.fhir import answers, narrowing, outcome, search, served, versions
from gateway.fhir.bundle import read_submission
from gateway.fhir.capability import capability_statement
from gateway.fhir.json_format import read_json
from gateway.fhir.xml_format import read_xml
from gateway.request_body import read_body
from gateway.store.objects import Spool
from gateway.workflow import deliver, disclosure, receive
from gateway.workflow.receive_bundle import receive_bundle
from mappings.fhir_definitions import resource_model

if TYPE_CHECKING:
    from gateway.services import Services

log = structlog.get_logger()
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}"
_MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}( *;[ -~]{{0,500}})?")  # RFC 9110 8.3.1
_READERS = {versions.JSON: read_json, versions.XML: read_xml}
_REFUSED = (InvalidContent, UnsupportedMediaType, VersionMismatch)


def blueprint(services: Services) -> Blueprint:
    """Mounted at /fhir."""
    door = Blueprint("fhir", __name__)
    base = services.config.fhir_base

    @door.post("/", strict_slashes=False)
    @door.post("/Bundle")
    def post_bundle() -> Response:
        return _post_bundle(services, base)

    @door.get("/metadata")
    def metadata() -> Response:
        answers.require_fhir_answer()
        return answers.fhir_answer(capability_statement(services.config.base_url))

    @door.get("/<type_name>/<fhir_id>")
    def read(type_name: str, fhir_id: str) -> Response:
        return _read(services, base, type_name, fhir_id)

    @door.get("/<type_name>")
    def search_type(type_name: str) -> Response:
        return _search(services, base, type_name, list(request.args.items(multi=True)))

    @door.post("/<type_name>/_search")
    def search_by_form(type_name: str) -> Response:
        pairs = [*request.args.items(multi=True), *request.form.items(multi=True)]
        return _search(services, base, type_name, pairs)

    @door.route("/<path:anything>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def not_offered(anything: str) -> Response:
        _partner(services)
        raise _not_offered(anything)

    door.register_error_handler(GatewayError, _of_error)
    door.register_error_handler(HTTPException, _of_http)
    door.register_error_handler(Exception, _of_unknown)
    return door


def _partner(services: Services) -> Partner:
    return authenticate_partner(services, request.headers, request.remote_addr)


def _origin() -> Origin:
    return Origin("fhir", request.remote_addr or "")


def _post_bundle(services: Services, base: str) -> Response:
    """Bytes first: what cannot be taken is kept too, as a refused receipt, and the answer says every fault."""
    partner = _partner(services)
    require_scope(partner, "Bundle", "c")
    content_type = request.headers.get("Content-Type", "")
    max_bytes = services.config.max_fhir_bytes
    with services.objects.spool(max_bytes) as spool:
        _fill(spool, max_bytes)
        try:
            media_type, parameters = parse_options_header(content_type)
            sent = versions.format_of(media_type.casefold(), {k.casefold(): v for k, v in parameters.items()})
            answers.require_fhir_answer()
            with spool.reader() as reader:
                submission = read_submission(_READERS[sent](reader.read()))
            accepted = receive_bundle(services, partner, spool, submission, _origin(), content_type)
        except _REFUSED as error:
            receive.keep_refused(services, partner, spool, _origin(), content_type, error)
            raise
        except GatewayError:
            raise
        except Exception as error:  # a fault of our own: what was sent must not be lost by it
            receive.keep_refused(services, partner, spool, _origin(), content_type, error)
            raise
    with services.database.reading() as session:
        tasks = [served.task_of(services, session, partner, case_id) for case_id in accepted.case_ids]
    location = {"Location": f"{base}/Task/{tasks[0].id}"} if tasks else {}
    if submission.bundle_type in ("transaction", "batch"):
        return answers.fhir_answer(answers.transaction_response(submission, accepted, base), headers=location)
    return answers.fhir_answer(tasks[0].resource, 201 if accepted.opened else 200, location)


def _fill(spool: Spool, max_bytes: int) -> None:
    """Raises TooLarge before more than the limit is on disk, BodyBroken when the connection breaks off."""
    stream = request.environ["wsgi.input"]  # werkzeug's has errors that hide the cause
    sent = read_body(stream, max_bytes, request.content_length)
    for chunk in decoded(sent, request.headers.get("Content-Encoding", ""), max_bytes):
        spool.write(chunk)


def _read(services: Services, base: str, type_name: str, fhir_id: str) -> Response:
    partner = _partner(services)
    _require_readable(type_name)
    require_scope(partner, type_name, "r")
    with services.database.reading() as session:
        found = served.read(services, session, partner, type_name, fhir_id)
    native = type_name == "Binary" and not answers.wants_fhir()
    if not native:
        answers.require_fhir_answer()
    unchanged = not native and request.headers.get("If-None-Match") == f'W/"{found.version}"'
    _record_reads(services, partner, "read", type_name, [found], carried=not unchanged)
    if native:
        return _native(found)
    return Response(status=304) if unchanged else answers.of_served(found, base)


def _native(found: served.Served) -> Response:
    """The bytes themselves, unless FHIR is asked for (FHIR R4 2.24.5); no browser runs them as the gateway's page."""
    try:
        body = base64.b64decode(str(found.resource.get("data") or ""))
    except ValueError as error:
        raise NotFound("The Binary's data is no base64; read it as FHIR JSON.") from error
    answer = Response(body)
    sent = str(found.resource.get("contentType"))
    answer.content_type = sent if _MEDIA_TYPE.fullmatch(sent) else "application/octet-stream"
    answer.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    answer.headers["Content-Disposition"] = "attachment"
    return answer


def _search(services: Services, base: str, type_name: str, pairs: list[tuple[str, str]]) -> Response:
    partner = _partner(services)
    _require_readable(type_name)
    require_scope(partner, type_name, "s")
    answers.require_fhir_answer()
    strict = "handling=strict" in request.headers.get("Prefer", "")
    query = search.parse(type_name, pairs, strict)
    if type_name == "Binary" and not any(name == "_id" for name, _ in query.asked):
        raise InvalidContent("Binaries may be large: name those that you want by _id.")
    with services.database.reading() as session:
        tasks = narrowing.of_tasks(query) if type_name == "Task" else None
        found = search.matching(query, served.every(services, session, partner, type_name, tasks))
    page = [] if query.only_total else found[query.offset : query.offset + query.count]
    _record_reads(services, partner, "search", type_name, page)
    links = _links(base, query, len(found))
    ignored = () if query.only_total else query.ignored
    return answers.fhir_answer(answers.searchset(page, len(found), base, links, ignored))


def _links(base: str, query: search.Query, total: int) -> list[dict[str, str]]:
    """self says what was honoured (3.1.1.3), next is there while there is more."""
    if query.only_total:
        total_of = urlencode([*query.asked, ("_summary", "count")])
        return [{"relation": "self", "url": f"{base}/{query.type}?{total_of}"}]
    asked = [*query.asked, ("_count", str(query.count))]
    links = [
        {
            "relation": "self",
            "url": f"{base}/{query.type}?{urlencode([*asked, ('_offset', str(query.offset))])}",
        }
    ]
    after = query.offset + query.count
    if query.count and after < total:
        links.append(
            {"relation": "next", "url": f"{base}/{query.type}?{urlencode([*asked, ('_offset', str(after))])}"}
        )
    return links


def _record_reads(
    services: Services,
    partner: Partner,
    action: str,
    type_name: str,
    found: list[served.Served],
    *,
    carried: bool = True,
) -> None:
    """Every read is on the trail; a report that the answer carries to its hospital is thereby delivered."""
    subject = f"{type_name}/{found[0].id}" if action == "read" else type_name
    disclosure.record(services, partner, action, subject, _origin(), count=len(found))
    for report in found:
        if report.opinion_id and carried and request.method != "HEAD":
            deliver.record_read(services, partner, report.opinion_id, _origin())


def _require_readable(type_name: str) -> None:
    if type_name not in served.READABLE:
        raise _not_offered(type_name)


def _not_offered(path: str) -> GatewayError:
    type_name = path.split("/")[0]
    if resource_model(type_name) is None:
        return NotFound(
            f"There is nothing at this address; '{type_name[:64]}' is no resource type of FHIR R4."
        )
    return NotSupported(
        f"{request.method} is not offered here. Send a Bundle by POST to the base; see /fhir/metadata."
    )


def _of_error(error: GatewayError) -> Response:
    status, _ = outcome.status_of(error)
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = challenge(request.headers)
    if status == 503:
        headers["Retry-After"] = "30"
    return answers.fhir_answer(outcome.of_error(error), status, headers)


def _of_http(error: HTTPException) -> Response:
    code = {404: "not-found", 405: "not-supported", 413: "too-long"}.get(error.code or 500, "invalid")
    issue = Issue("error", code, error.description or error.name)
    return answers.fhir_answer(outcome.of_issues([issue]), error.code or 500)


def _of_unknown(error: Exception) -> Response:
    reference = secrets.token_hex(8)
    log.error("fhir request failed", reference=reference, exc_info=error)
    return answers.fhir_answer(outcome.of_unknown(reference), 500)
