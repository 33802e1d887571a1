"""The client assertion by which the gateway proves who it is to a partner's authorization server.

RFC 7523 3; SMART App Launch 2.2.0, Client Authentication: Asymmetric. The public key is at /oauth/jwks.
"""

import time
from uuid import uuid4

from joserfc import jwt

from gateway.auth.keyring import ASSERTION_ALGORITHM, Keyring

LIFE_SECONDS = 240
"""SMART allows 300 by the partner's clock, which may be behind."""


def sign(keyring: Keyring, client_id: str, token_url: str) -> str:
    """Good for one request to ``token_url`` by the gateway as ``client_id``."""
    key = keyring.assertion_key()
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": token_url,
        "iat": now,
        "exp": now + LIFE_SECONDS,
        "jti": str(uuid4()),
    }
    header = {"alg": ASSERTION_ALGORITHM, "typ": "JWT", "kid": key.kid}
    return jwt.encode(header, claims, key, algorithms=[ASSERTION_ALGORITHM])
