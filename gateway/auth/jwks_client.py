"""Fetches a partner's JWK Set from its registered URL, and nothing from anywhere else.

The address is checked after the name is resolved and the connection goes to that very address, so a name cannot point
into the gateway's own network; redirects and proxies are not followed.
"""

import http.client
import ipaddress
import json
import re
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from gateway.errors import Unauthenticated

TIMEOUT_SECONDS = 5.0
MAX_BYTES = 256 * 1024
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 2.1
DEFAULT_AGE_SECONDS, MIN_AGE_SECONDS, MAX_AGE_SECONDS = 600, 10, 3600
"""The minimum holds even for ``no-store``: who may ask for a token may not make the gateway flood a partner."""


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    jwks: Any
    max_age_seconds: int


def url_fault(url: str, *, allow_loopback: bool) -> str:
    """What is wrong with a partner's URL, in plain words; empty when it may be asked."""
    try:
        parts = urlsplit(url)
        names_a_host = bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        return "it is no URL"
    if not names_a_host or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        return "it must be an https URL with a host, without user name and fragment"
    if parts.scheme == "https" or (
        parts.scheme == "http" and allow_loopback and _names_loopback(parts.hostname or "")
    ):
        return ""
    return "it must be an https URL"


def fetch(url: str, *, allow_loopback: bool) -> FetchedKeys:
    """Raises Unauthenticated with the reason when the keys cannot be read."""
    if fault := url_fault(url, allow_loopback=allow_loopback):
        raise _unreadable(fault)
    parts = urlsplit(url)
    deadline = time.monotonic() + 2 * TIMEOUT_SECONDS
    try:
        connection = _connect(parts, _addresses(parts, allow_loopback))
        try:
            return _ask(connection, parts, deadline)
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as error:
        raise _unreadable("its TLS certificate is not trusted") from error
    except TimeoutError as error:
        raise _unreadable("it did not answer in time") from error
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        raise _unreadable("it cannot be reached") from error


def _unreadable(reason: str) -> Unauthenticated:
    return Unauthenticated(f"The keys at the registered JWKS URL could not be read: {reason}.")


def _names_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _addresses(parts: SplitResult, allow_loopback: bool) -> list[tuple[str, int]]:
    """The addresses of the host; raises Unauthenticated when any of them is in no public network."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    resolved = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    found = [str(entry[4][0]) for entry in resolved]
    if not all(may_be_asked(address, allow_loopback=allow_loopback) for address in found):
        raise _unreadable("its host is in a private network; register the keys themselves instead of the URL")
    return [(address, port) for address in found]


def may_be_asked(address: str, *, allow_loopback: bool) -> bool:
    """Only addresses of the public network, and of this machine where that is allowed."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = _embedded(ip) or ip
    return (ip.is_global and not ip.is_multicast) or (ip.is_loopback and allow_loopback)


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def _connect(parts: SplitResult, addresses: list[tuple[str, int]]) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(parts.netloc)
    plain = _first_that_answers(addresses)
    if parts.scheme == "http":
        connection.sock = plain
        return connection
    try:
        connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
    except OSError:
        plain.close()
        raise
    return connection


def _first_that_answers(addresses: list[tuple[str, int]]) -> socket.socket:
    for address in addresses[:-1]:
        with suppress(OSError):
            return socket.create_connection(address, TIMEOUT_SECONDS)
    return socket.create_connection(addresses[-1], TIMEOUT_SECONDS)


def _ask(connection: http.client.HTTPConnection, parts: SplitResult, deadline: float) -> FetchedKeys:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("GET", target, headers={"Accept": "application/json", "Accept-Encoding": "identity"})
    response = connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        raise _unreadable(f"it answered {response.status} where 200 was expected; redirects are not followed")
    body = _read(response, deadline)
    try:
        jwks = json.loads(body)
    except ValueError as error:
        raise _unreadable("it did not answer with JSON") from error
    return FetchedKeys(jwks, cache_seconds(response.headers.get("Cache-Control", "")))


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    body = bytearray()
    while chunk := response.read1(64 * 1024):
        body += chunk
        if len(body) > MAX_BYTES:
            raise _unreadable(f"it is larger than {MAX_BYTES // 1024} KiB")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(body)


def cache_seconds(cache_control: str) -> int:
    """Not longer than the partner's Cache-Control says (SMART App Launch 2.2.0, Registering a client)."""
    directives = cache_control.lower()
    if "no-store" in directives or "no-cache" in directives:
        return MIN_AGE_SECONDS
    age = re.search(r"(?<!s-)max-age=(\d{1,9})", directives)
    return min(max(int(age[1]), MIN_AGE_SECONDS), MAX_AGE_SECONDS) if age else DEFAULT_AGE_SECONDS
