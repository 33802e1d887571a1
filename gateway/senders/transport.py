"""One POST to a partner: by https or on this machine, to the registered address only, bounded in time and in size."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from gateway.errors import PeerRefused, PeerUnreachable

MAX_ANSWER_BYTES = 4 * 1024 * 1024
_TRY_LATER = frozenset({408, 425, 429})
_LOOPBACK_NAMES = frozenset({"localhost"})


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for the connection, for each piece of the answer, and for all of it."""

    connect: float = 10.0
    read: float = 60.0
    total: float = 180.0


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def may_change(self) -> bool:
        return may_change(self.status)

    def json_object(self) -> dict[str, Any]:
        """Empty when the body is no JSON object."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def may_change(status: int) -> bool:
    """The same request may succeed later."""
    return status in _TRY_LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def post(
    peer: str,
    url: str,
    body: bytes | Mapping[str, str],
    headers: Mapping[str, str],
    patience: Patience,
    session: requests.Session | None = None,
) -> Answer:
    """``peer`` names it in errors; a mapping is sent as a form; ``session`` decides where the connection goes.

    Raises PeerRefused for an address that would send in the clear and for an answer without end, and PeerUnreachable
    when there is no answer in time. Redirects are not followed: the operator named one address.
    """
    require_private(peer, url)
    deadline = time.monotonic() + patience.total
    try:
        with (session.post if session else requests.post)(
            url,
            data=body,
            headers=headers,
            auth=no_other_credentials,
            timeout=(patience.connect, patience.read),
            allow_redirects=False,
            stream=True,
        ) as answer:
            return Answer(answer.status_code, _read(peer, answer, deadline))
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise PeerUnreachable(f"The {peer} could not be reached ({type(error).__name__}).") from error


def require_private(peer: str, url: str) -> None:
    """Raises PeerRefused for an address that would send in the clear to another machine."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise PeerRefused(f"The {peer}'s address is not https, and no address at all.") from error
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return
    raise PeerRefused(f"The {peer}'s address is not https; nothing is sent in the clear.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in _LOOPBACK_NAMES


def no_other_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from sending what a .netrc file holds for the host."""
    return request


def _read(peer: str, answer: requests.Response, deadline: float) -> bytes:
    """The decoded body; a peer that answers without end is cut off.

    read1 returns what has arrived: a read of a whole chunk would let single bytes hold it past the deadline.
    """
    body = bytearray()
    while chunk := answer.raw.read1(64 * 1024, decode_content=True):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise PeerRefused(f"The {peer} answered {answer.status_code} with far too many bytes.")
        if time.monotonic() > deadline:
            raise PeerUnreachable(f"The {peer}'s answer took too long.")
    return bytes(body)
