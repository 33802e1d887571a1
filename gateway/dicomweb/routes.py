"""The DICOMweb door: store, search and retrieve the sender's own imaging (PS3.18 10.1)."""

import json
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from flask import Blueprint, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestedRangeNotSatisfiable

from gateway.auth.bearer import challenge
from gateway.case.access import Partner
from gateway.content_encoding import ACCEPTED, decoded
from gateway.dicomweb import media_types, qido_rs, stow_rs
from gateway.dicomweb.capabilities import answer_options
from gateway.dicomweb.door import accept as _accept
from gateway.dicomweb.door import base_url as _base_url
from gateway.dicomweb.door import json_answer as _json
from gateway.dicomweb.door import origin as _origin
from gateway.dicomweb.door import partner_of as _partner
from gateway.dicomweb.door import while_permitted
from gateway.dicomweb.query import read_query
from gateway.dicomweb.rest import add_rest
from gateway.dicomweb.retrieve_routes import add_retrieve
from gateway.dicomweb.status import status_of
from gateway.dicomweb.warning import warning_headers
from gateway.errors import GatewayError, Unauthenticated
from gateway.request_body import read_body
from gateway.workflow import disclosure, imaging_find
from gateway.workflow.imaging_find import Matches

if TYPE_CHECKING:
    from gateway.services import Services

RETRY_AFTER_SECONDS = 60
_STUDY, _SERIES = "/studies/<study>", "/studies/<study>/series/<series>"
log = structlog.get_logger(__name__)


def blueprint(services: "Services") -> Blueprint:
    """Mounted at /dicom-web."""
    door = Blueprint("dicomweb", __name__)
    _add_store(door, services)
    _add_search(door, services)
    add_retrieve(door, services)
    door.before_request(answer_options)

    add_rest(door, services)
    door.register_error_handler(GatewayError, _of_error)
    door.register_error_handler(HTTPException, _of_http)
    door.register_error_handler(Exception, _of_unknown)
    return door


def _add_store(door: Blueprint, services: "Services") -> None:
    @door.post("/studies")
    def store() -> Response:
        return _store(services, None)

    @door.post(_STUDY)
    def store_study(study: str) -> Response:
        return _store(services, study)


def _add_search(door: Blueprint, services: "Services") -> None:
    @door.get("/studies")
    def search_studies() -> Response:
        return _search(services, "study")

    @door.get("/series")
    def search_series() -> Response:
        return _search(services, "series")

    @door.get(f"{_STUDY}/series")
    def search_series_of_study(study: str) -> Response:
        return _search(services, "series", StudyInstanceUID=study)

    @door.get("/instances")
    def search_instances() -> Response:
        return _search(services, "instance")

    @door.get(f"{_STUDY}/instances")
    def search_instances_of_study(study: str) -> Response:
        return _search(services, "instance", StudyInstanceUID=study)

    @door.get(f"{_SERIES}/instances")
    def search_instances_of_series(study: str, series: str) -> Response:
        return _search(services, "instance", StudyInstanceUID=study, SeriesInstanceUID=series)


def _store(services: "Services", study: str | None) -> Response:
    partner = _partner(services, "c")
    media_type = media_types.json_or_xml(_accept())
    max_bytes = services.config.max_stow_bytes
    stream = request.environ[
        "wsgi.input"
    ]  # werkzeug's has a limit of its own, and errors that hide the cause
    sent = read_body(stream, max_bytes, request.content_length)
    chunks = decoded(sent, request.headers.get("Content-Encoding", ""), max_bytes)
    origin = _origin(stow_rs.CHANNEL)
    outcome = stow_rs.store(services, partner, request.content_type or "", chunks, origin, study)
    body = outcome.body(_base_url(services), media_type)
    answer = Response(body, outcome.http_status, content_type=media_type)
    answer.headers.extend(outcome.headers())
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer


def _search(services: "Services", level: str, **addressed: str) -> Response:
    partner = _partner(services, "s")
    media_type = media_types.json_or_xml(_accept())
    query = read_query(level, addressed, request.args.items(multi=True))
    matches = imaging_find.find(
        services, partner, level, query.criteria, query.page, frozenset(query.extra_tags)
    )
    origin = _origin("qido-rs")
    disclosure.record(
        services, partner, disclosure.SEARCH, f"imaging:{level}", origin, found=len(matches.found)
    )
    query.warnings += qido_rs.warnings(matches.found)
    if matches.has_more:
        query.warnings.append("There are additional results that can be requested with offset.")
    answer = _found(services, partner, matches, media_type) if matches.found else _no_content()
    answer.headers.extend(warning_headers(query.warnings))
    return answer


def _found(services: "Services", partner: Partner, matches: Matches, media_type: str) -> Response:
    pairs = zip(matches.found, matches.attributes, strict=True)
    content_type, chunks = qido_rs.answer(pairs, media_type, _base_url(services))
    return Response(while_permitted(services, partner, "s", chunks), content_type=content_type)


def _no_content() -> Response:
    """No match is 204, not an empty list (Table 10.6.3-1)."""
    answer = Response(status=204)
    del answer.headers["Content-Type"]
    return answer


def _error(status: int, name: str, detail: str, reference: str) -> Response:
    answer = _json(json.dumps({"error": name, "detail": detail, "reference": reference}), status)
    answer.headers.extend(warning_headers([detail]))
    return answer


def _of_error(error: GatewayError) -> Response:
    reference = _reference()
    log.info("dicomweb request refused", cause=type(error).__name__, reference=reference)
    answer = _error(status_of(error).http, type(error).__name__, str(error), reference)
    if isinstance(error, Unauthenticated):
        answer.headers["WWW-Authenticate"] = challenge(request.headers)
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if answer.status_code == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        answer.headers["Accept-Encoding"] = ACCEPTED  # says whether it was the coding (RFC 9110 15.5.16)
    return answer


def _of_http(error: HTTPException) -> Response:
    answer = _error(error.code or 500, error.name, error.description or error.name, _reference())
    if isinstance(error, MethodNotAllowed):
        answer.headers["Allow"] = ", ".join(error.valid_methods or ())
    if isinstance(error, RequestedRangeNotSatisfiable):
        answer.headers["Content-Range"] = f"bytes */{error.length}"
    return answer


def _of_unknown(error: Exception) -> Response:
    reference = _reference()
    log.error("dicomweb request failed", exc_info=error, reference=reference)
    return _error(500, "InternalError", f"Internal error; please give us reference {reference}.", reference)


def _reference() -> str:
    """The request's id, which the log lines of the request have too."""
    return str(g.get("request_id") or secrets.token_hex(8))
