"""The hospital's own FHIR server, as small as one can be: it takes the transaction with the report.

It wants a token for that, which the gateway buys at its token endpoint (SMART App Launch 2.2.0, Backend Services).
"""

import json
import secrets
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs
from uuid import uuid4

import requests
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.demo.running import HOST

CLIENT_ID = "second-opinion-gateway"
TOKEN_SECONDS = 300
TIMEOUT_SECONDS = 10

Resource = dict[str, Any]
Answer = tuple[HTTPStatus, Resource]


class ReportReceiver:
    """A context manager; ``received`` are the transactions that came, in order, ``tokens`` what was bought.

    ``jwks_url`` is where the gateway publishes its keys.
    """

    def __init__(self, jwks_url: str) -> None:
        self.received: list[Resource] = []
        self.tokens: list[str] = []
        self._jwks_url = jwks_url
        self._server = ThreadingHTTPServer((HOST, 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"{self._base}/fhir"

    @property
    def token_url(self) -> str:
        return f"{self._base}/token"

    @property
    def _base(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}"

    def give_token(self, body: bytes) -> Answer:
        """RFC 6749 5: a token for a client assertion that the gateway's key has signed."""
        form = parse_qs(body.decode())
        try:
            self._verify(form["client_assertion"][0])
        except (JoseError, ValueError, LookupError, requests.RequestException):
            return HTTPStatus.UNAUTHORIZED, {"error": "invalid_client"}
        token = secrets.token_urlsafe(24)
        self.tokens.append(token)
        granted = {"access_token": token, "token_type": "bearer", "expires_in": TOKEN_SECONDS}
        return HTTPStatus.OK, granted | {"scope": form["scope"][0]}

    def _verify(self, assertion: str) -> None:
        keys = KeySet.import_key_set(requests.get(self._jwks_url, timeout=TIMEOUT_SECONDS).json())
        claims = jwt.decode(assertion, keys, algorithms=["ES384"]).claims
        jwt.JWTClaimsRegistry(
            now=int(time.time()),
            iss={"essential": True, "value": CLIENT_ID},
            sub={"essential": True, "value": CLIENT_ID},
            aud={"essential": True, "value": self.token_url},
            exp={"essential": True},
            jti={"essential": True},
        ).validate(claims)

    def take(self, authorization: str, body: bytes) -> Answer:
        """FHIR R4 3.1.0.11.3: one response for each entry, in order."""
        if authorization.removeprefix("Bearer ") not in self.tokens:
            issue = {"severity": "error", "code": "login"}
            return HTTPStatus.UNAUTHORIZED, {"resourceType": "OperationOutcome", "issue": [issue]}
        bundle = json.loads(body)
        self.received.append(bundle)
        locations = [f"{entry['resource']['resourceType']}/{uuid4()}/_history/1" for entry in bundle["entry"]]
        entries = [{"response": {"status": "201 Created", "location": location}} for location in locations]
        answer = {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
        return HTTPStatus.OK, answer

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(receiver: ReportReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.path == "/token":
                self._answer("application/json", *receiver.give_token(body))
            else:
                taken = receiver.take(self.headers.get("Authorization", ""), body)
                self._answer("application/fhir+json", *taken)

        def _answer(self, content_type: str, status: HTTPStatus, resource: Resource) -> None:
            answer = json.dumps(resource).encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: Any) -> None:
            """The timeline tells enough."""

    return Handler
