"""The OAuth 2 endpoints, and the documents by which partners find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify
from werkzeug.exceptions import BadRequest

from gateway.auth import discovery
from gateway.auth.server import TokenServer
from gateway.errors import StoreUnavailable

if TYPE_CHECKING:
    from gateway.services import Services

_CACHE_SECONDS = 300


def blueprint(services: Services) -> Blueprint:
    """Exempt it from CSRF protection: a partner's request carries a signed assertion and no cookie."""
    routes = Blueprint("auth", __name__)
    server = TokenServer(services)

    @routes.post("/oauth/token")
    def token() -> Response:
        return server.token_response()

    @routes.get("/oauth/jwks")
    def jwks() -> Response:
        return _public(jsonify(keys=services.keyring.public_keys()))

    @routes.get("/.well-known/smart-configuration")
    @routes.get("/fhir/.well-known/smart-configuration")
    def smart_configuration() -> Response:
        return _public(jsonify(discovery.smart_configuration(services)))

    @routes.get("/.well-known/oauth-authorization-server")
    def authorization_server() -> Response:
        return _public(jsonify(discovery.authorization_server_metadata(services)))

    routes.register_error_handler(StoreUnavailable, _unavailable)
    routes.register_error_handler(BadRequest, _invalid_request)
    return routes


def _invalid_request(error: BadRequest) -> tuple[Response, int, dict[str, str]]:
    """RFC 6749 5.2."""
    body = jsonify(error="invalid_request", error_description=error.description)
    return body, 400, {"Cache-Control": "no-store"}


def _public(response: Response) -> Response:
    response.cache_control.public = True
    response.cache_control.max_age = _CACHE_SECONDS
    return response


def _unavailable(error: StoreUnavailable) -> tuple[Response, int, dict[str, str]]:
    """The same form as the token endpoint's other errors; the sender may try again."""
    body = jsonify(error="temporarily_unavailable", error_description=error.message)
    return body, 503, {"Cache-Control": "no-store", "Retry-After": "5"}
