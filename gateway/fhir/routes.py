"""The FHIR door: POST a bundle; read and search what is the sender's own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_options_header

from gateway.auth.bearer import authenticate_partner, challenge, require_scope
from gateway.case.access import Partner
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
from gateway.fhir import (
    answers,
    disclosed,
    everything,
    history,
    messages,
    outcome,
    preflight,
    reading,
    releases,
    searching,
    served,
    versions,
)
from gateway.fhir.bundle import read_submission
from gateway.fhir.capability import capability_statement, versions_offered
from gateway.fhir.content import read_content
from gateway.request_body import read_body
from gateway.store.objects import Spool
from gateway.workflow import disclosure, receive
from gateway.workflow.check_bundle import check_bundle
from gateway.workflow.receive_bundle import receive_bundle
from gateway.workflow.submission import Accepted, Submission
from mappings.fhir_definitions import Release, resource_model
from mappings.fhir_search_parameters import resource_types

if TYPE_CHECKING:
    from gateway.services import Services

log = structlog.get_logger()
_REFUSED = (InvalidContent, UnsupportedMediaType, VersionMismatch)


def blueprint(services: Services) -> Blueprint:
    """Mounted at /fhir."""
    door = Blueprint("fhir", __name__)
    base = services.config.fhir_base

    @door.post("/", strict_slashes=False)
    @door.post("/Bundle")
    def post_bundle() -> Response:
        return _post_bundle(services, base)

    @door.post("/$process-message")
    def process_message() -> Response:
        return _post_bundle(services, base, is_message=True)

    @door.get("/metadata")
    def metadata() -> Response:
        answers.require_fhir_answer()
        return answers.fhir_answer(capability_statement(services.config.base_url))

    @door.get("/$versions")
    def operation_versions() -> Response:
        answers.require_fhir_answer()
        return answers.fhir_answer(versions_offered())

    _offer_reading(door, services, base)

    @door.post("/$check")
    def check() -> Response:
        return _check(services)

    @door.post("/<type_name>/$validate")
    def validate(type_name: str) -> Response:
        return _validate(services, type_name)

    @door.route("/<path:anything>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def not_offered(anything: str) -> Response:
        _partner(services)
        raise _not_offered(anything)

    door.register_error_handler(GatewayError, _of_error)
    door.register_error_handler(HTTPException, _of_http)
    door.register_error_handler(Exception, _of_unknown)
    return door


def _offer_reading(door: Blueprint, services: Services, base: str) -> None:
    @door.get("/<type_name>/<fhir_id>")
    def read(type_name: str, fhir_id: str) -> Response:
        kind, own_id = _addressed(type_name, fhir_id)
        return reading.read(services, _reader(services, kind), base, kind, own_id)

    @door.get("/<type_name>/<fhir_id>/_history/<version>")
    def vread(type_name: str, fhir_id: str, version: str) -> Response:
        kind, own_id = _addressed(type_name, fhir_id)
        return reading.read(services, _reader(services, kind), base, kind, own_id, version)

    @door.get("/<type_name>/<fhir_id>/_history")
    def instance_history(type_name: str, fhir_id: str) -> Response:
        kind, own_id = _addressed(type_name, fhir_id)
        return history.history(services, _reader(services, kind), base, kind, own_id)

    @door.get("/<type_name>/_history")
    def type_history(type_name: str) -> Response:
        return history.history(services, _reader(services, type_name), base, type_name, None)

    @door.get("/Patient/<fhir_id>/$everything")
    def of_patient(fhir_id: str) -> Response:
        return everything.everything(services, _reader(services, "Patient"), base, fhir_id)

    @door.get("/<type_name>")
    def search_type(type_name: str) -> Response:
        kind, _ = _addressed(type_name)
        pairs = list(request.args.items(multi=True))
        return searching.search_type(services, _reader(services, kind), base, type_name, pairs)

    @door.post("/<type_name>/_search")
    def search_by_form(type_name: str) -> Response:
        kind, _ = _addressed(type_name)
        partner = _reader(services, kind)
        if request.mimetype not in ("application/x-www-form-urlencoded", ""):
            raise UnsupportedMediaType("A search by POST is a form: application/x-www-form-urlencoded.")
        pairs = [*request.args.items(multi=True), *request.form.items(multi=True)]
        return searching.search_type(services, partner, base, type_name, pairs)


def _addressed(asked_type: str, asked_id: str = "") -> tuple[str, str]:
    """The R4 type and id of an address; one by the name of another release is answered in that."""
    type_name, fhir_id, release = releases.addressed(asked_type, asked_id)
    if release is not None:
        answers.answer_in(release)
    return type_name, fhir_id


def _partner(services: Services) -> Partner:
    return authenticate_partner(services, request.headers, request.remote_addr)


def _reader(services: Services, type_name: str) -> Partner:
    """Who asks, of a type that there is."""
    partner = _partner(services)
    if type_name not in resource_types():
        raise _not_offered(type_name)
    return partner


def _post_bundle(services: Services, base: str, *, is_message: bool = False) -> Response:
    """A message that cannot be taken is answered by a response message, where there is anything to respond to."""
    partner = _partner(services)
    require_scope(partner, "Bundle", "c")
    messages.require_synchronous(is_message and request.args.get("async") == "true")
    sender = messages.Sender(services.config.programme_name, base)
    headers: list[messages.Header] = []
    try:
        submission, accepted = _take(services, partner, headers, is_message)
    except GatewayError as error:
        if not headers:
            raise
        status, _ = outcome.status_of(error)
        told = messages.refused(headers[0], sender, partner.id, outcome.of_error(error), status)
        return answers.fhir_answer(told, status, _headers_of(error))
    with services.database.reading() as session:
        tasks = [served.task_of(services, session, partner, case_id) for case_id in accepted.case_ids]
    location = {"Location": f"{base}/Task/{tasks[0].id}"} if tasks else {}
    if submission.bundle_type in ("transaction", "batch"):
        return answers.fhir_answer(answers.transaction_response(submission, accepted, base), headers=location)
    if headers:
        issues = [issue for entry in accepted.entries for issue in entry.issues]
        told = messages.accepted(headers[0], sender, partner.id, tasks, issues)
        return answers.fhir_answer(told, headers=location)
    return answers.fhir_answer(tasks[0].resource, 201 if accepted.opened else 200, location)


def _take(
    services: Services, partner: Partner, headers: list[messages.Header], is_message: bool
) -> tuple[Submission, Accepted]:
    """Bytes first: what cannot be taken is kept too, as a refused receipt, and the error says every fault.

    The header of a message goes to ``headers`` as soon as it has been read.
    """
    content_type = request.headers.get("Content-Type", "")
    max_bytes = services.config.max_fhir_bytes
    with services.objects.spool(max_bytes) as spool:
        _fill(spool, max_bytes)
        try:
            sent, release = _sent(spool)
            answers.require_fhir_answer()
            content = messages.message_of(sent) if is_message else sent
            headers += (
                [header] if (header := messages.header_of(releases.led_in_r4(content, release))) else []
            )
            submission = read_submission(content, release)
            return submission, receive_bundle(
                services, partner, spool, submission, disclosed.origin(), content_type
            )
        except _REFUSED as error:
            receive.keep_refused(services, partner, spool, disclosed.origin(), content_type, error)
            raise
        except GatewayError:
            raise
        except Exception as error:  # a fault of our own: what was sent must not be lost by it
            receive.keep_refused(services, partner, spool, disclosed.origin(), content_type, error)
            raise


def _check(services: Services) -> Response:
    """The answer that the same body would get at the base, as an OperationOutcome, and nothing is kept."""
    partner = _partner(services)
    require_scope(partner, "Bundle", "c")
    answers.require_fhir_answer()
    disclosure.record(services, partner, disclosure.CHECK, "Bundle", disclosed.origin())
    max_bytes = services.config.max_fhir_bytes
    with services.objects.spool(max_bytes) as spool:
        _fill(spool, max_bytes)
        submission = read_submission(*_sent(spool))
        content_type = request.headers.get("Content-Type", "")
        checked = check_bundle(services, partner, spool, submission, disclosed.origin(), content_type)
    return answers.fhir_answer(preflight.of_check(checked))


def _validate(services: Services, type_name: str) -> Response:
    """FHIR R4 operation-resource-validate: 200 also for what is wrong, unless it is no FHIR at all."""
    partner = _partner(services)
    if not any(resource_model(type_name, release) for release in Release):
        raise _not_offered(type_name)
    answers.require_fhir_answer()
    disclosure.record(services, partner, disclosure.VALIDATE, type_name, disclosed.origin())
    max_bytes = services.config.max_fhir_bytes
    with services.objects.spool(max_bytes) as spool:
        _fill(spool, max_bytes)
        content, release = _sent(spool)
        return answers.fhir_answer(preflight.of_validation(content, type_name, release))


def _sent(spool: Spool) -> tuple[dict[str, Any], Release]:
    """What was sent and its release, in which the answer is too."""
    media_type, parameters = parse_options_header(request.headers.get("Content-Type", ""))
    told = versions.declared({k.casefold(): v for k, v in parameters.items()})
    answers.answer_in(told or Release.R4)
    sent = versions.format_of(media_type.casefold())
    with spool.reader() as reader:
        content, release = read_content(reader.read(), sent, told)
    answers.answer_in(release)
    return content, release


def _fill(spool: Spool, max_bytes: int) -> None:
    """Raises TooLarge before more than the limit is on disk, BodyBroken when the connection breaks off."""
    stream = request.environ["wsgi.input"]  # werkzeug's has errors that hide the cause
    sent = read_body(stream, max_bytes, request.content_length)
    for chunk in decoded(sent, request.headers.get("Content-Encoding", ""), max_bytes):
        spool.write(chunk)


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
    return answers.fhir_answer(outcome.of_error(error), status, _headers_of(error))


def _headers_of(error: GatewayError) -> dict[str, str]:
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = challenge(request.headers)
    if outcome.status_of(error)[0] == 503:
        headers["Retry-After"] = "30"
    return headers


def _of_http(error: HTTPException) -> Response:
    code = {404: "not-found", 405: "not-supported", 413: "too-long"}.get(error.code or 500, "invalid")
    issue = Issue("error", code, error.description or error.name)
    return answers.fhir_answer(outcome.of_issues([issue]), error.code or 500)


def _of_unknown(error: Exception) -> Response:
    reference = secrets.token_hex(8)
    log.error("fhir request failed", reference=reference, exc_info=error)
    return answers.fhir_answer(outcome.of_unknown(reference), 500)
