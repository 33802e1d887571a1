"""The public keys of a partner: a JWK Set (RFC 7517) reduced to what SMART Backend Services can use."""

from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

ALGORITHMS = ("RS384", "ES384")
"""SMART App Launch 2.2.0, Client Authentication: Asymmetric; nothing weaker or else is taken."""
MIN_RSA_BITS = 2048
MAX_KEYS = 50
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_KINDS: dict[str, type[ECKey] | type[RSAKey]] = {"RSA": RSAKey, "EC": ECKey}
_ALGORITHM_OF = {"RSA": "RS384", "EC": "ES384"}

ClientKey = ECKey | RSAKey


def read_jwks(jwks: object) -> tuple[list[ClientKey], list[str]]:
    """The usable keys, and in plain words what is wrong with the others."""
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(members, list):
        return [], ["it is no JWK Set: an object with a list 'keys' was expected (RFC 7517 5)"]
    if len(members) > MAX_KEYS:
        return [], [f"it holds {len(members)} keys; at most {MAX_KEYS} are read"]
    keys: list[ClientKey] = []
    faults: list[str] = []
    for number, jwk in enumerate(members, start=1):
        key = _read_key(jwk)
        if isinstance(key, str):
            faults.append(f"key {number} {key}")
        else:
            keys.append(key)
    return keys, faults


def _read_key(jwk: Any) -> ClientKey | str:
    if not isinstance(jwk, dict):
        return "is no JSON object"
    if fault := _described_wrongly(jwk):
        return fault
    try:
        key = _KINDS[jwk["kty"]].import_key(jwk)
    except (JoseError, ValueError, TypeError, KeyError):
        return f"is no valid {jwk['kty']} key"
    return _too_weak(key) or key


def _described_wrongly(jwk: dict[str, Any]) -> str:
    kind, operations = jwk.get("kty"), jwk.get("key_ops")
    if _PRIVATE_MEMBERS.intersection(jwk):
        return "holds a private key: it is exposed now, make a new one and register only its public part"
    if not isinstance(kind, str) or kind not in _KINDS:
        return "is neither RSA (for RS384) nor EC on P-384 (for ES384)"
    if not isinstance(jwk.get("kid"), str) or not jwk["kid"]:
        return "has no kid: the assertion's header names its key by kid"
    if jwk.get("use", "sig") != "sig":
        return "is not for signatures: its use must be sig"
    if jwk.get("alg", _ALGORITHM_OF[kind]) != _ALGORITHM_OF[kind]:
        return f"is for another algorithm than {_ALGORITHM_OF[kind]}"
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return "may not verify signatures: its key_ops must hold verify"
    return ""


def _too_weak(key: ClientKey) -> str:
    if isinstance(key, ECKey):
        return "" if key.curve_name == "P-384" else "is not on the curve P-384 that ES384 needs"
    bits = key.raw_value.key_size
    return "" if bits >= MIN_RSA_BITS else f"has {bits} bits; RSA needs {MIN_RSA_BITS} at least"
