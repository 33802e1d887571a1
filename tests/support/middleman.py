"""A loopback HTTP server between the gateway and a real archive: it counts what is asked, and may answer otherwise."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import requests

from tests.support.fhir_receiver import Answer, write_body

Instead = Callable[[str], Answer | None]


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # the gateway has hung up


class Middleman:
    """A context manager. ``instead`` gives the answer to a path, or None where the archive is to be asked.

    An answer whose Content-Length is empty ends with its connection.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.instead: Instead = lambda _path: None
        middleman = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                middleman.asked.append(self.path)
                middleman.headers.append(dict(self.headers))
                told = middleman.instead(self.path)
                try:
                    middleman.forward(self) if told is None else answer(self, told)
                except OSError:  # the archive is away, or the gateway has hung up
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/dicom-web"

    def forward(self, handler: BaseHTTPRequestHandler) -> None:
        sent = {"Accept": handler.headers.get("Accept", "*/*")}
        path = handler.path.removeprefix("/dicom-web")
        with requests.get(f"{self.upstream}{path}", headers=sent, timeout=60) as found:
            headers = {"Content-Type": found.headers.get("Content-Type", "")}
            answer(handler, Answer(found.status_code, found.content, headers))

    def instances_asked(self) -> list[str]:
        """SOP Instance UIDs, in the order in which they were asked for."""
        retrieved = [path.split("?")[0].split("/instances/") for path in self.asked]
        return [parts[1] for parts in retrieved if len(parts) == 2]

    def searches(self) -> list[str]:
        return [path for path in self.asked if path.split("?")[0].endswith("/instances")]

    def forget(self) -> None:
        self.asked.clear()
        self.headers.clear()
        self.instead = lambda _path: None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def answer(handler: BaseHTTPRequestHandler, told: Answer) -> None:
    time.sleep(told.wait_seconds)
    body = told.body or b""
    headers = {"Content-Length": str(len(body))} | told.headers
    handler.send_response(told.status)
    for name, value in headers.items():
        if value:
            handler.send_header(name, value)
    handler.end_headers()
    write_body(handler.wfile.write, body, told.drip)
    if headers["Content-Length"] != str(len(body)):
        handler.close_connection = True
