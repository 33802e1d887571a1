"""The client assertion by which a partner proves who it is (RFC 7523 3; SMART App Launch 2.2.0, Asymmetric).

Every refusal is an Unauthenticated whose text names the claim or header at fault, what was found and what was expected.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from joserfc import jws
from joserfc.errors import JoseError

from gateway.auth.client_keys import ALGORITHMS, ClientKey, read_jwks
from gateway.auth.record import record
from gateway.case.access import Origin
from gateway.clock import UTC, utc_now
from gateway.errors import NotFound, Unauthenticated
from gateway.store import credentials, partners
from gateway.store.partners import Registration

if TYPE_CHECKING:
    from gateway.services import Services

MAX_LIFE_SECONDS = 300
LEEWAY_SECONDS = 30
"""How far the clocks of the partner and the gateway may be apart."""
MAX_JTI_LENGTH = 255


class _Registry(jws.JWSRegistry):
    """Unknown header parameters are ignored (RFC 7515 4), and a header may hold a certificate chain."""

    max_header_length = 16 * 1024
    max_payload_length = 16 * 1024


_REGISTRY = _Registry(algorithms=ALGORITHMS, strict_check_header=False)


def token_url(services: Services) -> str:
    """The only audience that an assertion may name."""
    return f"{services.config.base_url}/oauth/token"


def authenticate(services: Services, assertion: str, client_id: str | None, origin: Origin) -> Registration:
    """The partner that signed the assertion, which is used up by this. Raises Unauthenticated."""
    signed = _extract(assertion)
    claims = _claims(signed)
    client = _client(services, claims, client_id)
    _verify_signature(services, client, signed)
    _verify_audience(claims, token_url(services))
    expires_at = _verify_times(claims, utc_now().timestamp())
    _use_once(services, client, _jti(claims), expires_at, origin)
    return client


def _extract(assertion: str) -> jws.CompactSignature:
    try:
        signed = jws.extract_compact(assertion.encode(), registry=_REGISTRY)
        header: Any = signed.headers()
    except (JoseError, ValueError, RecursionError) as error:
        raise Unauthenticated("The client assertion is no signed JWT in compact form.") from error
    if not isinstance(header, dict) or header.get("alg") not in ALGORITHMS:
        found = header.get("alg") if isinstance(header, dict) else None
        raise Unauthenticated(f"The algorithm (alg) {_shown(found)} is not allowed; use RS384 or ES384.")
    if not isinstance(header.get("kid"), str):
        raise Unauthenticated("The header has no kid: it must name the key that signed the assertion.")
    return signed


def _claims(signed: jws.CompactSignature) -> dict[str, Any]:
    try:
        claims = json.loads(signed.payload)
    except (ValueError, RecursionError) as error:
        raise Unauthenticated("The client assertion's payload is not JSON.") from error
    if not isinstance(claims, dict):
        raise Unauthenticated("The client assertion's payload is no JSON object.")
    return claims


def _client(services: Services, claims: dict[str, Any], client_id: str | None) -> Registration:
    issuer, subject = claims.get("iss"), claims.get("sub")
    if not isinstance(issuer, str) or issuer != subject:
        raise Unauthenticated(
            f"iss and sub must both be the client id; iss is {_shown(issuer)} and sub is {_shown(subject)}."
        )
    if client_id is not None and client_id != issuer:
        raise Unauthenticated("The parameter client_id is not the iss of the client assertion.")
    registration = registered(services, issuer)
    if registration is None:
        raise Unauthenticated(f"The client {_shown(issuer)} (iss and sub) is not registered.")
    return registration


def registered(services: Services, client_id: str) -> Registration | None:
    """The partner of that id, unless it is disabled."""
    if not client_id.isprintable():
        return None  # a NUL or half a surrogate pair: no database takes it as text
    try:
        with services.database.reading() as session:
            found = partners.get(session, client_id)
    except NotFound:
        return None
    return None if found.disabled else found


def _verify_signature(services: Services, client: Registration, signed: jws.CompactSignature) -> None:
    header = signed.headers()
    kid = header["kid"]
    if "jku" in header and header["jku"] != client.jwks_url:
        raise Unauthenticated("The header's jku is not the registered JWKS URL.")
    keys = [key for key in _client_keys(services, client, kid) if key.kid == kid]
    if not keys:
        raise Unauthenticated(f"The kid {_shown(kid)} names none of the client's registered keys.")
    if not any(_signed_by(key, signed) for key in keys):
        raise Unauthenticated(f"The signature is not one by the registered key with the kid {_shown(kid)}.")


def _client_keys(services: Services, client: Registration, kid: str) -> list[ClientKey]:
    if client.jwks is not None:
        return read_jwks(client.jwks)[0]
    if client.jwks_url:
        return services.keyring.keys_at(client.jwks_url, kid)
    raise Unauthenticated("No keys are registered for this client.")


def _signed_by(key: ClientKey, signed: jws.CompactSignature) -> bool:
    """False too for a key of another kind than the header's algorithm needs."""
    try:
        return jws.validate_compact(signed, key, registry=_REGISTRY)
    except (JoseError, ValueError):
        return False


def _verify_audience(claims: dict[str, Any], expected: str) -> None:
    audience = claims.get("aud")
    if expected not in (audience if isinstance(audience, list) else [audience]):
        raise Unauthenticated(f"aud is {_shown(audience)}; expected is the token endpoint {expected}.")


def _verify_times(claims: dict[str, Any], now: float) -> datetime:
    """The instant from which the assertion could not be used again anyway."""
    expires = _instant(claims, "exp")
    if expires is None:
        raise Unauthenticated("exp is missing: the time in seconds since 1970 when the assertion expires.")
    if expires <= now - LEEWAY_SECONDS:
        raise Unauthenticated(f"exp has passed {now - expires:.0f} seconds ago.")
    for name in ("iat", "nbf"):
        value = _instant(claims, name)
        if value is not None and value > now + LEEWAY_SECONDS:
            raise Unauthenticated(f"{name} is {value - now:.0f} seconds in the future.")
    if expires > now + MAX_LIFE_SECONDS + LEEWAY_SECONDS:
        raise Unauthenticated(
            f"exp is too far: {expires - now:.0f} seconds ahead of now; allowed are {MAX_LIFE_SECONDS}."
        )
    return datetime.fromtimestamp(expires + LEEWAY_SECONDS, UTC)


def _instant(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 2): a finite JSON number."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(_float(value)):
        raise Unauthenticated(f"{name} is {_shown(value)}; expected is a number of seconds since 1970.")
    return _float(value)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _jti(claims: dict[str, Any]) -> str:
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti or len(jti) > MAX_JTI_LENGTH or not jti.isprintable():
        raise Unauthenticated(
            f"jti must be a text of 1 to {MAX_JTI_LENGTH} printable characters, new for each assertion."
        )
    return jti


def _use_once(
    services: Services, client: Registration, jti: str, expires_at: datetime, origin: Origin
) -> None:
    with services.database.transaction() as session:
        if not credentials.use_assertion(session, client.id, jti, expires_at):
            raise Unauthenticated("jti was used before: each assertion is good for one request.")
        actor = client.partner.actor
        record(session, actor, "authenticate", actor, origin)


def _shown(value: object) -> str:
    """What was found, short and safe to repeat in an error_description (RFC 6749 5.2)."""
    if value is None:
        return "missing"
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value).replace('"', "'")
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text[:200])
