"""Which address of the staff API does what, and what holds for all of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from gateway.errors import GatewayError, InvalidContent, NotFound, UnsupportedMediaType
from gateway.web import api, openapi
from gateway.web.api_models import ErrorAnswer
from gateway.web.status import http_status
from gateway.web.visit import Guest, View, open_to_all, refuse_other_origins, signed_in

if TYPE_CHECKING:
    from gateway.services import Services

FOR_STAFF: tuple[tuple[str, str, View], ...] = (
    ("GET", "/cases", api.list_cases),
    ("GET", "/cases/<case_id>", api.read_case),
    ("GET", "/cases/<case_id>/timeline", api.timeline),
    ("POST", "/cases/<case_id>/accept", api.accept),
    ("POST", "/cases/<case_id>/ask", api.ask),
    ("POST", "/cases/<case_id>/assign", api.assign),
    ("POST", "/cases/<case_id>/decline", api.decline),
    ("POST", "/cases/<case_id>/waive", api.waive),
    ("POST", "/cases/<case_id>/draft", api.draft),
    ("POST", "/cases/<case_id>/sign", api.sign),
    ("POST", "/cases/<case_id>/close", api.close),
    ("POST", "/cases/<case_id>/join-study", api.join_study),
    ("POST", "/cases/<case_id>/part-study", api.part_study),
    ("POST", "/cases/<case_id>/retry", api.retry),
    ("POST", "/cases/<case_id>/fetch", api.fetch),
    ("GET", "/studies", api.list_studies),
    ("GET", "/users", api.list_users),
)
FOR_ALL: tuple[tuple[str, str, View], ...] = (
    ("POST", "/session", api.open_session),
    ("DELETE", "/session", api.close_session),
    ("GET", "/openapi.json", openapi.description),
)


def blueprint(services: Services) -> Blueprint:
    made = Blueprint("api", __name__, url_prefix="/api")
    for method, rule, view in FOR_STAFF:
        made.add_url_rule(rule, view.__name__, signed_in(services, "api", view), methods=[method])
    for method, rule, view in FOR_ALL:
        made.add_url_rule(rule, view.__name__, open_to_all(services, "api", view), methods=[method])
    made.add_url_rule("/<path:unknown>", "unknown", open_to_all(services, "api", _unknown))
    made.before_request(partial(refuse_other_origins, services))
    made.before_request(_require_json)
    made.after_request(_harden)
    made.register_error_handler(GatewayError, _error_answer)
    made.register_error_handler(HTTPException, _http_error_answer)
    return made


def _require_json() -> None:
    """Raises UnsupportedMediaType for a body of another type, InvalidContent for one that is no JSON object."""
    if request.method not in ("POST", "PUT", "PATCH"):
        return
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The staff API reads application/json.")
    if not isinstance(request.get_json(silent=True) if request.get_data() else {}, dict):
        raise InvalidContent("The body is not a JSON object.")


def _unknown(_guest: Guest, unknown: str) -> Response:
    raise NotFound(f"The staff API has nothing at {unknown}.")


def _harden(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    return response


def _error_answer(error: GatewayError) -> tuple[Response, int]:
    answer = ErrorAnswer.model_validate(
        {"error": type(error).__name__, "detail": str(error), "issues": list(error.issues)}
    )
    return jsonify(answer.model_dump(mode="json")), http_status(error)


def _http_error_answer(error: HTTPException) -> tuple[Response, int]:
    """What Flask itself refuses: a method that the address does not take, a body over the limit."""
    answer = ErrorAnswer(
        error=(error.name or "Error").replace(" ", ""), detail=error.description or "", issues=[]
    )
    return jsonify(answer.model_dump(mode="json")), error.code or 500
