"""Access tokens of partners' authorization servers, where the gateway is itself the client.

SMART App Launch 2.2.0, Backend Services: client_credentials, proven by a signed assertion (RFC 7523).
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from gateway.errors import PeerRefused, PeerUnreachable
from gateway.senders.transport import Answer, Patience, post

PATIENCE = Patience(read=30.0, total=60.0)
EARLY_SECONDS = 60.0
"""A token that expires this soon is not used again: it must still be valid when all of a report has arrived."""
MAX_AGE_SECONDS = 3600
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TOKEN = re.compile(r"[!-~]{1,16000}")
_ERROR = re.compile(r"[a-z][a-z_]{0,39}")

Sign = Callable[[str, str], str]
"""Makes a client assertion for a client id and an audience."""


@dataclass(frozen=True, slots=True)
class Client:
    """How the gateway is registered at an authorization server, and what it asks for there."""

    token_url: str
    client_id: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Held:
    token: str = field(repr=False)
    until: float


class AccessTokens:
    """One per process; a token is used again until shortly before it expires."""

    def __init__(self, sign: Sign, patience: Patience = PATIENCE) -> None:
        self._sign = sign
        self._patience = patience
        self._held: dict[Client, _Held] = {}

    def get(self, client: Client, refused: str = "") -> str:
        """A token other than ``refused``.

        Raises PeerUnreachable when there may be one later (no connection, no answer in time, 408, 425, 429, 5xx) and
        PeerRefused when a person must look: any other answer that holds none.
        """
        held = self._held.get(client)
        if held and held.token != refused and time.monotonic() < held.until:
            return held.token
        asked_at = time.monotonic()
        granted = _granted(self._ask(client))
        self._held[client] = _Held(granted["access_token"], asked_at + _usable_seconds(granted))
        return self._held[client].token

    def _ask(self, client: Client) -> Answer:
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(client.scopes),
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._sign(client.client_id, client.token_url),
        }
        return post("token endpoint", client.token_url, form, {"Accept": "application/json"}, self._patience)


def _granted(answer: Answer) -> dict[str, Any]:
    """The access token response (RFC 6749 5.1) with a token in it that may stand in a header."""
    if answer.may_change:
        raise PeerUnreachable(f"The token endpoint answered {answer.status}.")
    if answer.status != HTTPStatus.OK:
        raise PeerRefused(f"The token endpoint refused the gateway with {answer.status}{_error(answer)}.")
    granted = answer.json_object()
    token, kind = granted.get("access_token"), granted.get("token_type")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or str(kind).lower() != "bearer":
        raise PeerRefused("The token endpoint answered 200 without a bearer token (RFC 6749 5.1).")
    return granted


def _error(answer: Answer) -> str:
    """The error code (RFC 6749 5.2); never its description, which is the peer's own words."""
    code = answer.json_object().get("error")
    return f" ({code})" if isinstance(code, str) and _ERROR.fullmatch(code) else ""


def _usable_seconds(granted: dict[str, Any]) -> float:
    """How long the token may be used again; not at all when the server does not say."""
    seconds = granted.get("expires_in")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return 0.0
    return min(seconds, MAX_AGE_SECONDS) - EARLY_SECONDS
