"""What partners' software reads before it asks for a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.auth import assertion, scopes, server
from gateway.auth.client_keys import ALGORITHMS

if TYPE_CHECKING:
    from gateway.services import Services


def smart_configuration(services: Services) -> dict[str, Any]:
    """SMART App Launch 2.2.0, Conformance: for backend services, so without issuer and authorization endpoint."""
    return {
        **_token_endpoint(services),
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }


def authorization_server_metadata(services: Services) -> dict[str, Any]:
    """RFC 8414 2. ``response_types_supported`` is required even where there is no authorization endpoint."""
    return {
        "issuer": services.config.base_url,
        **_token_endpoint(services),
        "response_types_supported": [],
    }


def _token_endpoint(services: Services) -> dict[str, Any]:
    return {
        "token_endpoint": assertion.token_url(services),
        "jwks_uri": f"{services.config.base_url}/oauth/jwks",
        "grant_types_supported": [server.GRANT_TYPE],
        "token_endpoint_auth_methods_supported": [server.AUTH_METHOD],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "scopes_supported": list(scopes.ALL_SCOPES),
    }
