"""What is asked of the DICOMweb door and is none of its resources, or a resource by a method that it has not."""

from typing import TYPE_CHECKING, Any

from flask import Blueprint, current_app, request
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import MapAdapter, RequestRedirect

from gateway.dicomweb import door
from gateway.errors import NotSupported

if TYPE_CHECKING:
    from gateway.services import Services

_ENDPOINT = "not_offered"
_ASKED_FOR = ("GET", "POST")


def add_rest(blueprint: Blueprint, services: "Services") -> None:
    """Takes every path, and every method there is: Flask answers for the whole application what no route takes."""

    def not_offered(anything: str = "") -> Any:
        door.partner_of(services)
        return _answer(anything)

    def add_rules(state: BlueprintSetupState) -> None:
        endpoint = f"{blueprint.name}.{_ENDPOINT}"
        state.app.view_functions[endpoint] = not_offered
        for path in ("/", "/<path:anything>"):
            rule = state.app.url_rule_class(f"{state.url_prefix}{path}", endpoint=endpoint, methods=None)
            rule.provide_automatic_options = False  # type: ignore[attr-defined]  # Flask asks each rule for it
            state.app.url_map.add(rule)

    blueprint.record(add_rules)


def _answer(path: str) -> Any:
    """What the path without a slash at its end answers; else raises MethodNotAllowed or NotSupported."""
    adapter = current_app.create_url_adapter(request)
    if adapter is None:
        raise NotSupported("The gateway does not offer this DICOMweb resource.")
    without_slash = request.path.rstrip("/")
    offered = {method: found for method in _ASKED_FOR if (found := _match(adapter, without_slash, method))}
    method = "GET" if request.method == "HEAD" else request.method
    if path.endswith("/") and method in offered:
        endpoint, arguments = offered[method]
        return current_app.view_functions[endpoint](**arguments)
    if not offered:
        raise NotSupported("The gateway does not offer this DICOMweb resource.")
    allowed = [*offered, *(["HEAD"] if "GET" in offered else []), "OPTIONS"]
    raise MethodNotAllowed(allowed, f"This resource takes {', '.join(allowed)}.")


def _match(adapter: MapAdapter, path: str, method: str) -> tuple[str, dict[str, Any]] | None:
    """Endpoint and arguments of the route that takes it."""
    try:
        endpoint, arguments = adapter.match(path, method)
    except RequestRedirect:
        return None
    return None if endpoint == request.endpoint else (endpoint, dict(arguments))
