"""A hospital's authorization server, as strict as SMART App Launch 2.2.0 lets it be; the gateway is its client."""

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import requests
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CLIENT_ID = "second-opinion"
SCOPES = "system/DiagnosticReport.c system/ImagingStudy.c system/Patient.c system/ServiceRequest.c"


class Refusal(Exception):
    """The error code and the status of an answer (RFC 6749 5.2)."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code, self.status = code, status


@dataclass
class Authorization:
    """What it knows of its one client, and what it has given out. ``expires_in`` ... leaves it out of the answer."""

    jwks_url: str
    client_id: str = CLIENT_ID
    scopes: str = SCOPES
    expires_in: Any = 300
    token_url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)
    valid: dict[str, set[str]] = field(default_factory=dict)

    def answer(self, content_type: str, body: bytes) -> tuple[int, bytes]:
        """Of the token endpoint: status and JSON."""
        try:
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            self.asked.append(form)
            return 200, json.dumps(self._grant(content_type, form)).encode()
        except Refusal as refusal:
            said = {"error": refusal.code, "error_description": "in words of the hospital's own"}
            return refusal.status, json.dumps(said).encode()

    def status_for(self, authorization: str | None, created: set[str]) -> int:
        """200, 401 or 403 for a transaction that creates resources of these types."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme != "Bearer" or token not in self.valid:
            return 401
        return 200 if {f"system/{kind}.c" for kind in created} <= self.valid[token] else 403

    def revoke(self) -> None:
        """Every token so far stops working."""
        self.valid.clear()

    def _grant(self, content_type: str, form: dict[str, str]) -> dict[str, Any]:
        expected = {"grant_type", "scope", "client_assertion_type", "client_assertion"}
        if content_type != "application/x-www-form-urlencoded" or set(form) != expected:
            raise Refusal("invalid_request")
        if form["grant_type"] != "client_credentials":
            raise Refusal("unsupported_grant_type")
        self._authenticate(form)
        if not set(form["scope"].split(" ")) <= set(self.scopes.split(" ")):
            raise Refusal("invalid_scope")
        token = secrets.token_urlsafe(24)
        self.issued.append(token)
        self.valid[token] = set(form["scope"].split(" "))
        answer = {"access_token": token, "token_type": "bearer", "scope": form["scope"]}
        return answer if self.expires_in is ... else answer | {"expires_in": self.expires_in}

    def _authenticate(self, form: dict[str, str]) -> None:
        if form["client_assertion_type"] != ASSERTION_TYPE:
            raise Refusal("invalid_client", 401)
        keys = KeySet.import_key_set(requests.get(self.jwks_url, timeout=10).json())
        try:
            signed = jwt.decode(form["client_assertion"], keys, algorithms=["ES384"])
        except (JoseError, ValueError) as error:
            raise Refusal("invalid_client", 401) from error
        self._require_claims(signed.claims)
        self.headers.append(signed.header)
        self.claims.append(signed.claims)

    def _require_claims(self, claims: dict[str, Any]) -> None:
        now = time.time()
        good = (
            claims["iss"] == claims["sub"] == self.client_id
            and claims["aud"] == self.token_url
            and now < claims["exp"] <= now + 300
            and claims["jti"] not in [used["jti"] for used in self.claims]
        )
        if not good:
            raise Refusal("invalid_client", 401)
