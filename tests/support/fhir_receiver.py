"""A hospital's FHIR server on loopback that keeps what it is sent, and behaves as it is told to."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.authorization import Authorization

NO_ACCESS = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "security"}]}


@dataclass
class Answer:
    """What the server does with one request; ``body`` None is the answer of a server that keeps everything."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    wait_seconds: float = 0.0
    drip: bool = False


class FhirReceiver:
    """A context manager. Conditional creates are honoured: the same ifNoneExist makes one resource.

    With an ``authorization`` it has a token endpoint too, and takes nothing without a token from there.
    """

    def __init__(self, authorization: Authorization | None = None) -> None:
        self.authorization = authorization
        self.answers: list[Answer] = []
        self.token_answers: list[Answer] = []
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.kept: dict[str, dict[str, Any]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/token":
                    receiver.answer_token_request(self, body)
                    return
                receiver.received.append((self.path, dict(self.headers), body))
                receiver.answer(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        if authorization is not None:
            authorization.token_url = self.token_url

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/fhir"

    @property
    def token_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/token"

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        told = self.answers.pop(0) if self.answers else Answer()
        bundle = json.loads(body)
        if self.authorization:
            created = {entry["request"]["url"] for entry in bundle["entry"]}
            status = self.authorization.status_for(handler.headers["Authorization"], created)
            told = told if status == 200 else Answer(status, json.dumps(NO_ACCESS).encode())
        self._write(handler, told, self._transaction(bundle) if told.body is None else told.body)

    def answer_token_request(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.token_answers:
            told = self.token_answers.pop(0)
            self._write(handler, told, told.body or b"")
            return
        assert self.authorization is not None
        status, content = self.authorization.answer(handler.headers["Content-Type"], body)
        self._write(handler, Answer(status), content)

    def _write(self, handler: BaseHTTPRequestHandler, told: Answer, content: bytes) -> None:
        time.sleep(told.wait_seconds)
        try:
            handler.send_response(told.status)
            for name, value in told.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            write_body(handler.wfile.write, content, told.drip)
        except OSError:
            pass  # the gateway has hung up

    def _transaction(self, bundle: dict[str, Any]) -> bytes:
        entries = [self._conditional_create(entry) for entry in bundle["entry"]]
        return json.dumps(
            {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
        ).encode()

    def _conditional_create(self, entry: dict[str, Any]) -> dict[str, Any]:
        key = f"{entry['request']['url']}?{entry['request']['ifNoneExist']}"
        status = "200 OK" if key in self.kept else "201 Created"
        number = list(self.kept).index(key) if key in self.kept else len(self.kept)
        self.kept.setdefault(key, entry["resource"])
        return {"response": {"status": status, "location": f"{entry['request']['url']}/{number}/_history/1"}}

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [resource for resource in self.kept.values() if resource["resourceType"] == kind]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def write_body(write: Callable[[bytes], object], content: bytes, drip: bool) -> None:
    pieces = [content[i : i + 1] for i in range(len(content))] if drip else [content]
    for piece in pieces:
        write(piece)
        if drip:
            time.sleep(0.05)
