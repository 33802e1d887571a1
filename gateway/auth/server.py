"""The OAuth 2 authorization server for partners: client_credentials with private_key_jwt (SMART Backend Services)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import structlog
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.integrations.flask_oauth2.requests import FlaskOAuth2Payload, FlaskOAuth2Request
from authlib.oauth2 import OAuth2Request
from authlib.oauth2.rfc6749 import (
    ClientMixin,
    InvalidClientError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
)
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from flask import Request, Response, g, request

from gateway.auth import assertion, scopes
from gateway.auth.tokens import AccessTokens
from gateway.case.access import Origin
from gateway.errors import Unauthenticated
from gateway.store.partners import Registration

if TYPE_CHECKING:
    from gateway.services import Services

log = structlog.get_logger(__name__)
AUTH_METHOD = "private_key_jwt"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANT_TYPE = "client_credentials"
MAX_SCOPE_LENGTH = 4000
_NO_STORE = [("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Pragma", "no-cache")]


class TokenServer(AuthorizationServer):
    """Answers POST /oauth/token; nothing is stored of a token, which carries its own proof."""

    def __init__(self, services: Services) -> None:
        super().__init__(query_client=None, save_token=lambda token, request: None)
        self._services = services
        self.register_grant(_Grant)
        self.register_client_auth_method(AUTH_METHOD, self._authenticate)
        self.register_token_generator(GRANT_TYPE, AccessTokens(services))

    def token_response(self) -> Response:
        """The answer to the present Flask request (RFC 6749 5)."""
        try:
            _require_well_formed(request)
        except OAuth2Error as error:
            return self.handle_error_response(None, error)
        return cast(Response, self.create_token_response())

    def create_oauth2_request(self, _: Any) -> FlaskOAuth2Request:
        return _TokenRequest(request, assertion.token_url(self._services))

    def handle_error_response(self, request: Any, error: OAuth2Error) -> Response:
        """invalid_client is 401, the rest 400; no challenge names HTTP Basic, which is not taken here."""
        body = {"error": error.error, "error_description": error.get_error_description()}
        if error.error != InvalidClientError.error:
            return self.handle_response(400, body, _NO_STORE)
        return self.handle_response(401, body, [*_NO_STORE, ("WWW-Authenticate", "Bearer")])

    def _authenticate(self, query_client: object, token_request: OAuth2Request) -> _Client:
        form = token_request.form
        if form.get("client_assertion_type") != ASSERTION_TYPE or not form.get("client_assertion"):
            raise InvalidClientError(
                description=f"A client_assertion with the client_assertion_type {ASSERTION_TYPE} is needed."
            )
        origin = Origin("oauth", request.remote_addr or "", g.get("request_id", ""))
        try:
            registration = assertion.authenticate(
                self._services, form["client_assertion"], form.get("client_id"), origin
            )
        except Unauthenticated as error:
            log.warning("client-assertion-refused", address=origin.address, reason=error.message)
            raise InvalidClientError(description=error.message) from error
        return _Client(registration)


class _TokenRequest(FlaskOAuth2Request):
    """The form only: what is in the URL ends in logs.

    authlib refuses http beyond loopback; that TLS ends at a proxy in front of the gateway is not its to know.
    """

    def __init__(self, received: Any, url: str) -> None:
        OAuth2Request.__init__(
            self, received.method, url.replace("http:", "https:", 1), headers=received.headers
        )
        self._request = received
        self.payload = _Form(received)


class _Form(FlaskOAuth2Payload):
    def __init__(self, received: Any) -> None:
        super().__init__(received)
        self._form = received.form

    @property
    def data(self) -> Any:
        return self._form


class _Client(ClientMixin):
    """A partner as authlib sees it."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    def get_client_id(self) -> str:
        return self._registration.id

    def get_allowed_scope(self, scope: Any) -> str:
        """The asked scopes narrowed to the registered ones (RFC 6749 3.3)."""
        asked = (scope or "").split()
        if not asked or len(scope) > MAX_SCOPE_LENGTH:
            raise InvalidScopeError(
                "The parameter scope is missing or too long; ask for example system/*.rs."
            )
        granted = scopes.narrow(asked, self._registration.scopes)
        if not granted:
            raise InvalidScopeError(
                "None of the asked scopes is registered for this client; "
                f"registered are {' '.join(self._registration.scopes)}."
            )
        return " ".join(granted)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == AUTH_METHOD

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == GRANT_TYPE


class _Grant(ClientCredentialsGrant):
    def __init__(self, token_request: OAuth2Request, server: Any) -> None:
        super().__init__(token_request, server)
        self.TOKEN_ENDPOINT_AUTH_METHODS = [AUTH_METHOD]

    def create_token_response(self) -> Any:
        """Unlike the inherited one it never writes a token to the log."""
        token = self.generate_token(scope=self.request.scope, include_refresh_token=False)
        return 200, token, _NO_STORE


def _require_well_formed(received: Request) -> None:
    """RFC 6749 3.2: a form, and no parameter twice."""
    if received.mimetype != "application/x-www-form-urlencoded":
        raise InvalidRequestError("The body must be application/x-www-form-urlencoded.")
    if any(len(values) > 1 for _, values in received.form.lists()):
        raise InvalidRequestError("A parameter stands twice in the request.")
    if not received.form.get("grant_type"):
        raise InvalidRequestError(f"The parameter grant_type is missing; expected is {GRANT_TYPE}.")
