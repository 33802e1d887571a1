"""A referring hospital as its own systems see it: a key pair, and tokens from the real token endpoint."""

import time
from dataclasses import dataclass, field
from uuid import uuid4

import requests
from joserfc import jwt
from joserfc.jwk import ECKey

ALL_SCOPES = "system/*.cruds"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Partner:
    """A registered partner. SMART Backend Services: an ES384 assertion buys a token of five minutes."""

    id: str
    name: str
    ae_title: str
    base_url: str
    assigning_authority: str = ""
    key: ECKey = field(
        default_factory=lambda: ECKey.generate_key(
            "P-384", parameters={"use": "sig", "alg": "ES384", "kid": str(uuid4())}, auto_kid=False
        )
    )
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict, repr=False)

    def jwks(self) -> dict[str, object]:
        return {"keys": [self.key.as_dict(private=False)]}

    def assertion(self, **changed: object) -> str:
        """A client assertion (RFC 7523); ``changed`` overrides claims."""
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": self.id,
            "sub": self.id,
            "aud": f"{self.base_url}/oauth/token",
            "iat": now,
            "exp": now + 240,
            "jti": str(uuid4()),
        }
        header = {"alg": "ES384", "typ": "JWT", "kid": self.key.kid}
        return jwt.encode(header, claims | changed, self.key, algorithms=["ES384"])

    def request_token(self, scope: str = ALL_SCOPES, assertion: str | None = None) -> requests.Response:
        """The token endpoint's whole answer."""
        form = {
            "grant_type": "client_credentials",
            "scope": scope,
            "client_assertion_type": _ASSERTION,
            "client_assertion": assertion or self.assertion(),
        }
        return requests.post(f"{self.base_url}/oauth/token", data=form, timeout=20)

    def token(self, scope: str = ALL_SCOPES) -> str:
        """An access token, used again while it is valid for another minute."""
        token, until = self._tokens.get(scope, ("", 0.0))
        if time.monotonic() < until:
            return token
        response = self.request_token(scope)
        assert response.status_code == 200, response.text
        granted = response.json()
        self._tokens[scope] = (granted["access_token"], time.monotonic() + granted["expires_in"] - 60)
        return granted["access_token"]

    def headers(self, scope: str = ALL_SCOPES, **more: str) -> dict[str, str]:
        """The headers of an authorised request; ``more`` adds others, with _ for -."""
        return {"Authorization": f"Bearer {self.token(scope)}"} | {
            name.replace("_", "-"): value for name, value in more.items()
        }
