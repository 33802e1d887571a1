"""Access tokens: JWTs of 300 seconds that the gateway signs with its own key and reads again (RFC 9068)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from joserfc import jwt
from joserfc.errors import BadSignatureError, ExpiredTokenError, JoseError
from joserfc.jwk import ECKey, GuestProtocol, KeySet

from gateway.auth.keyring import TOKEN_ALGORITHM as ALGORITHM
from gateway.errors import Unauthenticated

if TYPE_CHECKING:
    from gateway.services import Services

LIFE_SECONDS = 300
_TYPES = ("at+jwt", "application/at+jwt")


class AccessTokens(JWTBearerTokenGenerator):
    """Issuer and audience are both the gateway's base URL: it takes its own tokens only."""

    def __init__(self, services: Services) -> None:
        super().__init__(
            services.config.base_url, alg=ALGORITHM, expires_generator=lambda client, grant_type: LIFE_SECONDS
        )
        self._keyring = services.keyring

    def get_jwks(self) -> KeySet:
        """A set, because only a key that is picked from one puts its kid into the header."""
        return KeySet([self._keyring.signing_key()])

    def get_audiences(self, client: Any, user: Any, scope: Any) -> str:
        return str(self.issuer)


def verify(services: Services, token: str) -> dict[str, Any]:
    """The claims of an access token that is valid now (RFC 9068 4). Raises Unauthenticated with the reason."""
    base_url = services.config.base_url
    claims = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": base_url},
        aud={"essential": True, "value": base_url},
        exp={"essential": True},
        sub={"essential": True},
        client_id={"essential": True},
        scope={"essential": True},
        jti={"essential": True},
        iat={"essential": True},
    )

    def key_of(signed: GuestProtocol) -> ECKey:
        key = services.keyring.verifying_key(signed.headers()["kid"])
        if key is None:
            raise Unauthenticated("The access token is not signed by this gateway.")
        return key

    try:
        decoded = jwt.decode(token, key_of, algorithms=[ALGORITHM])
        if decoded.header.get("typ") not in _TYPES:
            raise Unauthenticated("The bearer token is no access token: its typ is not at+jwt.")
        claims.validate(decoded.claims)
    except ExpiredTokenError as error:
        raise Unauthenticated("The access token has expired; ask for a new one.") from error
    except BadSignatureError as error:
        raise Unauthenticated("The access token's signature is wrong.") from error
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise Unauthenticated("The bearer token is no access token of this gateway.") from error
    return decoded.claims
