"""The gateway's own parts in this process, for what cannot be seen from outside."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.serving import make_server

from gateway.config import Config
from gateway.services import Services, build_services
from gateway.store.migrations import upgrade


def migrated_services(data_dir: Path, **config: Any) -> Services:
    """Services on a database with the newest schema; SQLite in ``data_dir`` where no URL is given."""
    services = build_services(Config(data_dir=data_dir, **config))
    upgrade(services.database)
    return services


@contextmanager
def serving(app: Flask, port: int) -> Iterator[None]:
    """``app`` over HTTP on that loopback port."""
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class WebSite:
    """A loopback server that answers every GET with what is set here, and counts; over TLS with a context."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.status, self.body, self.headers = 200, b"", dict[str, str]()
        self.requests = 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests += 1
                self.send_response(site.status)
                for name, value in (site.headers | {"Content-Length": str(len(site.body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(site.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        origin = "https://localhost" if tls else "http://127.0.0.1"
        self.url = f"{origin}:{self._server.server_port}/jwks.json"

    def __enter__(self) -> "WebSite":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
