"""The hospital's own FHIR server, as small as one can be: it takes the transaction with the report."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from gateway.demo.running import HOST

Resource = dict[str, Any]


class ReportReceiver:
    """A context manager; ``received`` are the transactions that came, in order."""

    def __init__(self) -> None:
        self.received: list[Resource] = []
        self._server = ThreadingHTTPServer((HOST, 0), _handler(self.received))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}/fhir"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(received: list[Resource]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answer = json.dumps(_take(json.loads(body), received)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: Any) -> None:
            """The timeline tells enough."""

    return Handler


def _take(bundle: Resource, received: list[Resource]) -> Resource:
    """FHIR R4 3.1.0.11.3: one response for each entry, in order."""
    received.append(bundle)
    locations = [f"{entry['resource']['resourceType']}/{uuid4()}/_history/1" for entry in bundle["entry"]]
    entries = [{"response": {"status": "201 Created", "location": location}} for location in locations]
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
