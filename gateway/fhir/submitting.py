"""What a partner sends: kept (POST of a Bundle, a message, one resource), or looked at ($check, $validate)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Response, request
from werkzeug.http import parse_options_header

from gateway.auth.bearer import require_scope
from gateway.case.access import Partner
from gateway.content_encoding import decoded
from gateway.errors import Conflict, GatewayError, InvalidContent, UnsupportedMediaType
from gateway.fhir import (
    answers,
    disclosed,
    messages,
    outcome,
    preflight,
    refusing,
    releases,
    served,
    versions,
)
from gateway.fhir.bundle import read_submission
from gateway.fhir.content import read_content
from gateway.request_body import read_body
from gateway.store.objects import Spool
from gateway.workflow import disclosure, receive
from gateway.workflow.check_bundle import check_bundle
from gateway.workflow.receive_bundle import receive_bundle
from gateway.workflow.submission import Accepted, Submission
from mappings.fhir_definitions import Release, resource_model

if TYPE_CHECKING:
    from gateway.services import Services

_REFUSED = (InvalidContent, UnsupportedMediaType, Conflict)


def post_bundle(services: Services, partner: Partner, base: str, *, is_message: bool = False) -> Response:
    """A message that cannot be taken is answered by a response message, where there is anything to respond to."""
    require_scope(partner, "Bundle", "c")
    messages.require_synchronous(is_message and request.args.get("async") == "true")
    sender = messages.Sender(services.config.programme_name, base)
    headers: list[messages.Header] = []

    def as_submission(sent: dict[str, Any], release: Release) -> Submission:
        content = messages.message_of(sent) if is_message else sent
        if header := messages.header_of(releases.led_in_r4(content, release)):
            headers.append(header)
        return read_submission(content, release)

    try:
        submission, accepted = take(services, partner, as_submission)
    except GatewayError as error:
        if not headers:
            raise
        status, _ = outcome.status_of(error)
        told = messages.refused(headers[0], sender, partner.id, outcome.of_error(error), status)
        return answers.fhir_answer(told, status, refusing.headers_of(error))
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


def take(
    services: Services, partner: Partner, as_submission: Callable[[dict[str, Any], Release], Submission]
) -> tuple[Submission, Accepted]:
    """Bytes first: what cannot be taken is kept too, as a refused receipt, and the error says every fault."""
    content_type = request.headers.get("Content-Type", "")
    max_bytes = services.config.max_fhir_bytes
    with services.objects.spool(max_bytes) as spool:
        _fill(spool, max_bytes)
        try:
            sent, release = _sent(spool)
            answers.require_fhir_answer()
            submission = as_submission(sent, release)
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


def check(services: Services, partner: Partner) -> Response:
    """The answer that the same body would get at the base, as an OperationOutcome, and nothing is kept."""
    require_scope(partner, "Bundle", "c")
    answers.require_fhir_answer()
    disclosure.record(services, partner, disclosure.CHECK, "Bundle", disclosed.origin())
    max_bytes = services.config.max_fhir_bytes
    with services.objects.spool(max_bytes) as spool:
        _fill(spool, max_bytes)
        sent, release = _sent(spool)
        content, profile = preflight.content_of(sent, request.args.get("profile", ""))
        submission = read_submission(content, release)
        content_type = request.headers.get("Content-Type", "")
        checked = check_bundle(services, partner, spool, submission, disclosed.origin(), content_type)
    return answers.fhir_answer(preflight.of_check(checked, content, release, profile))


def validate(services: Services, partner: Partner, type_name: str) -> Response:
    """FHIR R4 operation-resource-validate: 200 also for what is wrong, unless it is no FHIR at all."""
    if not any(resource_model(type_name, release) for release in Release):
        raise refusing.not_offered(type_name)
    answers.require_fhir_answer()
    disclosure.record(services, partner, disclosure.VALIDATE, type_name, disclosed.origin())
    content, release = sent_resource(services, services.config.max_fhir_bytes)
    asked = {name: request.args[name] for name in ("profile", "mode") if name in request.args}
    return answers.fhir_answer(preflight.of_validation(content, type_name, release, asked))


def sent_resource(services: Services, max_bytes: int) -> tuple[dict[str, Any], Release]:
    """The body and its release, in which the answer is too; what is wrong with it raises GatewayError."""
    with services.objects.spool(max_bytes) as spool:
        _fill(spool, max_bytes)
        return _sent(spool)


def parameters(services: Services) -> dict[str, Any]:
    """The Parameters of an operation, or nothing where there is no body. Raises InvalidContent for anything else."""
    max_bytes = services.config.max_fhir_bytes
    with services.objects.spool(max_bytes) as spool:
        _fill(spool, max_bytes)
        sent = _sent(spool)[0] if spool.size_bytes else {"resourceType": "Parameters"}
    if sent.get("resourceType") != "Parameters":
        raise InvalidContent("Parameters were expected in the body.")
    return sent


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
