"""What the FHIR door answers to what it does not take: OperationOutcome, status and headers."""

import secrets

import structlog
from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from gateway.auth.bearer import challenge
from gateway.errors import GatewayError, Issue, NotFound, NotSupported, Unauthenticated
from gateway.fhir import answers, outcome
from mappings.fhir_definitions import resource_model

log = structlog.get_logger()
_ASKED_FOR = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
NOT_OFFERED = frozenset({"fhir.not_offered", "fhir.head_of_export"})
"""The endpoints of every address and method that no other takes."""


def not_offered(path: str) -> GatewayError:
    if not path:
        return NotSupported("The base takes a Bundle by POST; what is searched is asked for type by type.")
    type_name = path.split("/")[0]
    if resource_model(type_name) is None:
        return NotFound(
            f"There is nothing at this address; '{type_name[:64]}' is no resource type of FHIR R4."
        )
    return NotSupported(
        _WHY.get(request.method, f"{request.method} is not offered here; see /fhir/metadata.")
    )


_WHY = {
    "DELETE": "Nothing that was sent is taken away: send the resource again with the status entered-in-error.",
    "PATCH": "Send the whole resource by PUT; one status alone may be patched, a DocumentReference's to superseded.",
    "PUT": "PUT is not offered here: name the resource by its type and id, or create it by POST with If-None-Exist.",
    "POST": "POST is not offered here. Send a Bundle to the base, or a resource to its type; see /fhir/metadata.",
}


def of_error(error: GatewayError) -> Response:
    status, _ = outcome.status_of(error)
    return answers.fhir_answer(outcome.of_error(error), status, headers_of(error))


def headers_of(error: GatewayError) -> dict[str, str]:
    headers = {}
    status, _ = outcome.status_of(error)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = challenge(request.headers)
    if status == 405:
        headers["Allow"] = ", ".join(_allowed())
    if status in (429, 503):
        headers["Retry-After"] = "30"
    return headers


def _allowed() -> list[str]:
    """The methods that the address takes (RFC 9110 10.2.1, 15.5.6)."""
    routes = current_app.create_url_adapter(request)
    return [method for method in _ASKED_FOR if routes is not None and _is_taken(routes, method)]


def _is_taken(routes: MapAdapter, method: str) -> bool:
    try:
        endpoint, _ = routes.match(method=method)
    except HTTPException:
        return False
    return endpoint not in NOT_OFFERED


def of_http(error: HTTPException) -> Response:
    code = {404: "not-found", 405: "not-supported", 413: "too-long"}.get(error.code or 500, "invalid")
    issue = Issue("error", code, error.description or error.name)
    return answers.fhir_answer(outcome.of_issues([issue]), error.code or 500)


def of_unknown(error: Exception) -> Response:
    reference = secrets.token_hex(8)
    log.error("fhir request failed", reference=reference, exc_info=error)
    return answers.fhir_answer(outcome.of_unknown(reference), 500)
