"""Fetches a partner's JWK Set from its registered URL, and nothing from anywhere else.

The connection goes to the very address that was checked; redirects and proxies are not followed.
"""

import http.client
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
from gateway.public_network import addresses, url_fault

TIMEOUT_SECONDS = 5.0
MAX_BYTES = 256 * 1024
DEFAULT_AGE_SECONDS, MIN_AGE_SECONDS, MAX_AGE_SECONDS = 600, 10, 3600
"""The minimum holds even for ``no-store``: who may ask for a token may not make the gateway flood a partner."""


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    jwks: Any
    max_age_seconds: int


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


def _addresses(parts: SplitResult, allow_loopback: bool) -> list[tuple[str, int]]:
    """Raises Unauthenticated when any address of the host is in no public network."""
    if found := addresses(parts, allow_loopback=allow_loopback):
        return found
    raise _unreadable("its host is in a private network; register the keys themselves instead of the URL")


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
