"""The sockets on which peers connect; opened once, and shared by all processes that serve them (ADR 19)."""

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.dimse import tls
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.config import Config

_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Listeners:
    """Either may be missing: the plain port can be switched off, and TLS is served where a port is configured."""

    plain: socket.socket | None
    tls: socket.socket | None

    def close(self) -> None:
        for listener in (self.plain, self.tls):
            if listener is not None:
                listener.close()


def listen(config: "Config") -> Listeners:
    """Raises GatewayError when a port is taken or the certificate cannot be used."""
    if config.dicom_tls_port:
        tls.server_context(config)
    plain = _bind(config.host, config.dicom_port) if config.dicom_port else None
    try:
        return Listeners(plain, _bind(config.host, config.dicom_tls_port) if config.dicom_tls_port else None)
    except GatewayError:
        if plain is not None:
            plain.close()
        raise


def _bind(host: str, port: int) -> socket.socket:
    """Not blocking, because of several processes that see a connection only one accepts it."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise GatewayError(f"Cannot listen on {host}, port {port} (DICOM): {error.strerror}.") from error
    return listener
