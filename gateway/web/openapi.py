"""The description of the staff API, made from its views by spectree. Without spectree's own pages."""

from collections.abc import Callable
from typing import Any

from flask import Response as FlaskResponse
from flask import jsonify
from pydantic import BaseModel, ValidationError
from spectree import Response, SecurityScheme, SpecTree
from spectree.config import ModeEnum
from spectree.models import InType, SecureType, SecuritySchemeData

from gateway import __version__
from gateway.errors import InvalidContent, Issue
from gateway.web.api_models import ErrorAnswer
from gateway.web.visit import SESSION_COOKIE, Guest, View

_ERROR_STATUSES = (400, 401, 403, 404, 409, 415, 503)
_CODES = {"missing": "required", "extra_forbidden": "structure"}
EVERYBODY: list[dict[str, list[str]]] = [{}]
"""The OpenAPI security requirement that asks for nothing."""


def _refuse_invalid(
    _request: Any, _response: Any, error: Exception | None, _instance: Any, _adapter: Any
) -> None:
    """Raises InvalidContent with every fault; the value that was sent is not repeated."""
    if isinstance(error, ValidationError):
        raise InvalidContent("The request is not as it should be.", tuple(_issue(e) for e in error.errors()))


def _issue(fault: Any) -> Issue:
    place = ".".join(str(part) for part in fault["loc"])
    return Issue("error", _CODES.get(fault["type"], "value"), f"{place}: {fault['msg']}", place)


def _raise_unanswerable(
    _request: Any, _response: Any, error: Exception | None, _instance: Any, _adapter: Any
) -> None:
    """An answer of another shape than the description says is a defect of ours."""
    if error is not None:
        raise RuntimeError("The API's answer does not have the shape that its description promises.")


_spec = SpecTree(
    "flask",
    before=_refuse_invalid,
    after=_raise_unanswerable,
    validation_error_status=400,
    validation_error_model=ErrorAnswer,
    naming_strategy=lambda model: model.__name__,
    nested_naming_strategy=lambda _parent, child: child,
    mode=ModeEnum.strict,
    path="dicom-web",  # what lies under it is left out: rules that take every method are beyond spectree
    title="Second-opinion gateway: staff API",
    version=__version__,
    description=(
        "Sign in with POST /api/session. A body must be application/json; a request from a page of another "
        "site is refused."
    ),
    security_schemes=[
        SecurityScheme(
            name="session",
            data=SecuritySchemeData(type=SecureType.API_KEY, name=SESSION_COOKIE, field_in=InType.COOKIE),
        )
    ],
    security={"session": []},
)


def described(name: str, model: type[BaseModel] | None, tag: str, **more: Any) -> Callable[[View], View]:
    """Check and describe a view: ``model`` is its answer with 200, or None for 204; the errors are common to all."""
    errors = dict.fromkeys((f"HTTP_{status}" for status in _ERROR_STATUSES), ErrorAnswer)
    answers = Response(HTTP_200=model, **errors) if model else Response("HTTP_204", **errors)
    decorate: Callable[[View], View] = _spec.validate(resp=answers, tags=[tag], operation_id=name, **more)
    return decorate


def description(_guest: Guest) -> FlaskResponse:
    return jsonify(_spec.spec)
