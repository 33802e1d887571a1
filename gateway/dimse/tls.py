"""DICOM over TLS: the BCP 195 TLS Secure Transport Connection Profile (PS3.15 B.9; RFC 9325)."""

import socket
import ssl
from typing import TYPE_CHECKING

import structlog

from gateway.auth.ae import FINGERPRINT, Certificate, fingerprint_of, is_certificate
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.config import Config

# RFC 9325 4.2: forward secrecy and authenticated encryption. Those of TLS 1.3 are all such.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_CLIENT_CERTIFICATE = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}

log = structlog.get_logger(__name__)


def server_context(config: "Config") -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with the gateway's certificate. Raises GatewayError."""
    context = _context(config, ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.verify_mode = _CLIENT_CERTIFICATE[config.dicom_tls_client_certificate]
    return context


class ServerTls:
    """The context of now: renewed certificates are used for new connections, without a restart."""

    def __init__(self, config: "Config") -> None:
        self._config = config
        self._seen = self._changed_at()
        self._context = server_context(config)

    def context(self) -> ssl.SSLContext:
        """Where the new files cannot be used, the former certificate goes on being shown."""
        found = self._changed_at()
        if found != self._seen:
            self._seen = found
            try:
                self._context = server_context(self._config)
                log.info("tls-certificates-read-anew")
            except GatewayError as error:
                log.error("tls-certificates-unusable", reason=str(error))
        return self._context

    def _changed_at(self) -> list[int]:
        config = self._config
        files = (config.dicom_tls_certificate, config.dicom_tls_key, config.dicom_tls_ca)
        return [file.stat().st_mtime_ns if file is not None and file.exists() else 0 for file in files]


def client_context(config: "Config", certificate: str = "") -> ssl.SSLContext:
    """For calling a peer. Without a registered ``certificate`` its own must be of a trusted issuer and of its host.

    One that is registered by its subject must be of a trusted issuer; of one that is registered by its fingerprint the
    caller must look at that. Raises GatewayError.
    """
    context = _context(config, ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = not certificate
    if certificate.startswith(FINGERPRINT):
        context.verify_mode = ssl.CERT_NONE
    elif config.dicom_tls_ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def shows_registered(registered: str, peer: socket.socket) -> bool:
    """Whether the server that was called is the one of the registered certificate."""
    if not isinstance(peer, ssl.SSLSocket):
        return False
    if registered.startswith(FINGERPRINT):
        return fingerprint_of(peer.getpeercert(binary_form=True) or b"") == registered
    return is_certificate(Certificate.of(peer), registered)


def _context(config: "Config", protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        if config.dicom_tls_certificate is not None:
            context.load_cert_chain(config.dicom_tls_certificate, config.dicom_tls_key)
        if config.dicom_tls_ca is not None:
            context.load_verify_locations(config.dicom_tls_ca)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "unreadable"
        raise GatewayError(f"The certificates for DICOM over TLS cannot be used: {reason}.") from error
    return context


def shake_hands(peer: ssl.SSLSocket, timeout_seconds: float) -> None:
    """In the connection's own thread, where it holds up nobody else. Raises OSError, by which the connection ends."""
    address = _address(peer)
    peer.settimeout(timeout_seconds)
    try:
        peer.do_handshake()
    except (OSError, ValueError) as error:
        log.warning(
            "tls-handshake-failed", address=address, reason=getattr(error, "reason", None) or str(error)
        )
        raise OSError("no TLS handshake") from error


def _address(peer: socket.socket) -> str:
    try:
        return str(peer.getpeername()[0])
    except OSError:
        return ""
