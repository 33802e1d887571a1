"""The web part: gunicorn with one process of threads, on a socket that is already bound."""

import logging
import os
import socket
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from gateway.config import Config
from gateway.processes.lifeline import die_with_parent, name_process
from gateway.processes.peer_socket import Patience
from gateway.processes.web_worker import WebWorker
from gateway.services import Services

_GRACEFUL_SECONDS = 15  # less than the supervisor waits before it kills
_BACKLOG = 256


class _RoutedLogger(Logger):
    """gunicorn's loggers go where logs.configure sends everything; its access log, with query strings, nowhere."""

    def setup(self, cfg: Any) -> None:
        for log in (self.error_log, self.access_log):
            log.handlers, log.propagate = [], True
            log.setLevel(logging.WARNING)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Of a request that is not HTTP, gunicorn would quote the line, whatever stands in it."""
        super().warning(
            str(msg).split(": ")[0] if str(msg).startswith("Invalid request") else msg, *args, **kwargs
        )

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        pass

    def reopen_files(self) -> None:
        pass

    def close_on_exec(self) -> None:
        pass


class WebServer(BaseApplication):
    """``timeout`` is the heartbeat of the process, not of a request: an upload may take as long as it needs."""

    def __init__(self, services: Services, listener: socket.socket) -> None:
        self._services = services
        self._listener = listener
        super().__init__()

    def load_config(self) -> None:
        settings = {
            "bind": f"fd://{self._listener.detach()}",
            "backlog": _BACKLOG,
            "worker_class": _worker_class(self._services.config),
            "workers": 1,
            "threads": self._services.config.web_threads,
            "worker_connections": self._services.config.http_connections,
            "sendfile": False,  # it would go past the count of what a peer takes
            "timeout": 60,
            "graceful_timeout": _GRACEFUL_SECONDS,
            "keepalive": 15,
            "limit_request_line": 8190,
            "limit_request_fields": 100,
            "limit_request_field_size": 16384,
            "forwarded_allow_ips": "",  # whom to believe is ProxyFix's matter alone
            "control_socket_disable": True,
            "logger_class": _RoutedLogger,
            "post_fork": _after_fork,
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,  # noqa: S108 - heartbeats only
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        from gateway.app import create_app

        return create_app(self._services)


def _worker_class(config: Config) -> type[WebWorker]:
    class ConfiguredWorker(WebWorker):
        patience = Patience(config.silence_seconds, config.slowest_bytes_per_second)
        head_seconds = config.head_seconds

    return ConfiguredWorker


def _after_fork(_arbiter: Arbiter, worker: Worker) -> None:
    die_with_parent(worker.ppid)
    name_process("gateway-http")


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen. Raises OSError when the port is taken or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def serve(services: Services, listener: socket.socket) -> None:
    """Blocking; SIGTERM finishes the requests that are running."""
    WebServer(services, listener).run()
