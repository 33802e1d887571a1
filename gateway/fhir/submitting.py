"""What a partner sends: kept (POST of a Bundle, a message, one resource), or looked at ($check, $validate)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Response, request
from werkzeug.http import parse_options_header

from gateway.auth.bearer import require_scope
from gateway.case.access import Origin, Partner
from gateway.content_encoding import decoded
from gateway.errors import Conflict, GatewayError, InvalidContent, UnsupportedMediaType
from gateway.fhir import (
    answers,
    async_requests,
    disclosed,
    messages,
    preferences,
    preflight,
    refusing,
    returning,
    versions,
)
from gateway.fhir.bundle import read_submission
from gateway.fhir.content import read_content
from gateway.fhir.submitted import AsSubmission, Sending, answer_bundle
from gateway.request_body import read_body
from gateway.store.async_requests import BUNDLE
from gateway.store.objects import Spool
from gateway.workflow import disclosure, receive, respond_async
from gateway.workflow.check_bundle import check_bundle
from gateway.workflow.durable import Work
from gateway.workflow.receive_bundle import receive_bundle
from gateway.workflow.submission import Accepted, Submission
from mappings.fhir_definitions import Release, resource_model

if TYPE_CHECKING:
    from gateway.services import Services

_REFUSED = (InvalidContent, UnsupportedMediaType, Conflict)


def post_bundle(services: Services, partner: Partner, base: str, *, is_message: bool = False) -> Response:
    """Answered at once, or with ``Prefer: respond-async`` later."""
    require_scope(partner, "Bundle", "c")
    messages.require_synchronous(is_message and request.args.get("async") == "true")
    sending = Sending(disclosed.origin(), is_message, returning.preferred())
    if preferences.wants_async():
        return _take_on(services, partner, base, sending)
    answer = answer_bundle(services, partner, sending, partial(take, services, partner))
    headers = answer.headers if answer.error is None else refusing.headers_of(answer.error)
    if answer.resource is None:
        return Response(status=answer.status, headers=headers)
    return answers.fhir_answer(answer.resource, answer.status, headers)


def _take_on(services: Services, partner: Partner, base: str, sending: Sending) -> Response:
    """Bytes first, as ever; what is wrong with them is told in the answer (FHIR R5 3.2.6.2)."""
    media_type, release = answers.asked_format()
    if "_outputFormat" in request.args:
        raise InvalidContent("_outputFormat is for $export; a bundle is answered by a Bundle.")
    content_type = request.headers.get("Content-Type", "")
    max_bytes = services.config.max_fhir_bytes
    with services.objects.spool(max_bytes) as spool:
        _fill(spool, max_bytes)
        stored = services.objects.keep(spool)
    asked = {
        "key": stored.key,
        "sha256": stored.sha256,
        "size_bytes": stored.size_bytes,
        "content_type": content_type[:500],
        "is_message": sending.is_message,
        "returns": sending.returns,
        "media_type": media_type,
        "release": release.value if release else "",
        "request_id": sending.origin.request_id,
    }
    url = f"{base}{request.path.removeprefix('/fhir')}"
    work = Work.RECEIVE_BUNDLE
    request_id = respond_async.ask(services, partner, work, BUNDLE, url, asked, sending.origin)
    return async_requests.accepted(base, request_id)


def take(services: Services, partner: Partner, as_submission: AsSubmission) -> tuple[Submission, Accepted]:
    """What is in the body of the request."""

    def if_it_can_be_answered(sent: dict[str, Any], release: Release) -> Submission:
        answers.require_fhir_answer()
        return as_submission(sent, release)

    content_type = request.headers.get("Content-Type", "")
    max_bytes = services.config.max_fhir_bytes
    with services.objects.spool(max_bytes) as spool:
        _fill(spool, max_bytes)
        return take_spooled(
            services,
            partner,
            spool,
            content_type,
            disclosed.origin(),
            answers.answer_in,
            if_it_can_be_answered,
        )


def take_spooled(
    services: Services,
    partner: Partner,
    spool: Spool,
    content_type: str,
    origin: Origin,
    answer_in: Callable[[Release], None],
    as_submission: AsSubmission,
) -> tuple[Submission, Accepted]:
    """Bytes first: what cannot be taken is kept too, as a refused receipt, and the error says every fault.

    ``answer_in`` is told the release of what was sent, as soon as it is known.
    """
    try:
        submission = as_submission(*_read(spool, content_type, answer_in))
        return submission, receive_bundle(services, partner, spool, submission, origin, content_type)
    except _REFUSED as error:
        receive.keep_refused(services, partner, spool, origin, content_type, error)
        raise
    except GatewayError:
        raise
    except Exception as error:  # a fault of our own: what was sent must not be lost by it
        receive.keep_refused(services, partner, spool, origin, content_type, error)
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
    return _read(spool, request.headers.get("Content-Type", ""), answers.answer_in)


def _read(
    spool: Spool, content_type: str, answer_in: Callable[[Release], None]
) -> tuple[dict[str, Any], Release]:
    media_type, given = parse_options_header(content_type)
    parameters = {name.casefold(): value for name, value in given.items()}
    told = versions.declared(parameters)
    answer_in(told or Release.R4)
    sent = versions.format_of(media_type.casefold())
    versions.require_utf8(parameters)
    with spool.reader() as reader:
        content, release = read_content(reader.read, sent, told)
    answer_in(release)
    return content, release


def _fill(spool: Spool, max_bytes: int) -> None:
    """Raises TooLarge before more than the limit is on disk, BodyBroken when the connection breaks off."""
    stream = request.environ["wsgi.input"]  # werkzeug's has errors that hide the cause
    sent = read_body(stream, max_bytes, request.content_length)
    for chunk in decoded(sent, request.headers.get("Content-Encoding", ""), max_bytes):
        spool.write(chunk)
