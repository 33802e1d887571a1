"""Which partner sends this HTTP request, and what its token allows (RFC 6750)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog
from werkzeug.datastructures import Headers

from gateway.auth import scopes, tokens
from gateway.auth.accounts import demo_partner
from gateway.auth.assertion import registered
from gateway.case.access import Partner
from gateway.errors import Forbidden, Unauthenticated

if TYPE_CHECKING:
    from gateway.services import Services

log = structlog.get_logger(__name__)


def authenticate_partner(
    services: Services, headers: Headers | Mapping[str, str], address: str | None = None
) -> Partner:
    """The partner of the bearer token, with the scopes of the token. Raises Unauthenticated.

    With ``dev`` a request without credentials is partner demo; a wrong token is refused even then.
    ``address`` is the peer's, for the log of refusals.
    """
    authorization = headers.get("Authorization")
    if authorization is None:
        if services.config.dev:
            return demo_partner(services)
        raise Unauthenticated(
            f"An access token is needed; get one at {services.config.base_url}/oauth/token (SMART Backend Services)."
        )
    try:
        return _partner_of(services, _token(authorization))
    except Unauthenticated as error:
        log.warning("bearer-token-refused", address=address, reason=error.message)
        raise


def _token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("The Authorization header must be: Bearer, a space, the access token.")
    return token.strip()


def _partner_of(services: Services, token: str) -> Partner:
    claims = tokens.verify(services, token)
    registration = registered(services, str(claims["sub"]))
    if registration is None:
        raise Unauthenticated("The partner of this access token is registered no more.")
    granted = scopes.narrow(str(claims["scope"]).split(), registration.scopes)
    return Partner(registration.id, registration.name, registration.assigning_authority, granted)


def require_scope(partner: Partner, resource_type: str, interaction: str) -> None:
    """Raises Forbidden unless the partner's token allows the interaction: c, r, u, d or s (SMART 2.2.0 scopes)."""
    if not scopes.allows(partner.scopes, resource_type, interaction):
        raise Forbidden(
            f"The access token does not allow to {scopes.INTERACTIONS[interaction]} {resource_type}; "
            f"the scope system/{resource_type}.{interaction} is needed."
        )


def challenge(headers: Headers | Mapping[str, str]) -> str:
    """The WWW-Authenticate header of a 401 (RFC 6750 3): no error code where no credentials were sent."""
    return 'Bearer error="invalid_token"' if "Authorization" in headers else "Bearer"
