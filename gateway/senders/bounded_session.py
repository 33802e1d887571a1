"""An HTTP session that asks one partner, is not sent elsewhere, and reads no answer without end.

It is what dicomweb-client is given, so that the bounds hold for whatever that asks for too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from gateway.errors import PeerRefused, PeerUnreachable, TooLarge
from gateway.senders.transport import no_other_credentials

Authorize = Callable[[requests.PreparedRequest], requests.PreparedRequest]


@dataclass(frozen=True, slots=True)
class Bounds:
    """``silence_seconds`` is the longest wait for a byte, and how far an answer may lag behind the slowest rate."""

    max_bytes: int
    connect_seconds: float = 10.0
    silence_seconds: float = 60.0
    slowest_bytes_per_second: int = 1024


class BoundedSession(requests.Session):
    """Raises PeerRefused for a redirect: the operator named one address."""

    def __init__(self, bounds: Bounds, authorize: Authorize = no_other_credentials) -> None:
        super().__init__()
        self._bounds = bounds
        self.auth = authorize
        self.headers["Accept-Encoding"] = "identity"
        for scheme in ("http://", "https://"):
            self.mount(scheme, _BoundedAdapter(bounds))

    def send(self, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        request.headers.pop("Host", None)  # dicomweb-client writes one without the port
        how["allow_redirects"] = False
        how["timeout"] = (self._bounds.connect_seconds, self._bounds.silence_seconds)
        answer = super().send(request, **how)
        if HTTPStatus.MULTIPLE_CHOICES <= answer.status_code < HTTPStatus.BAD_REQUEST:
            answer.close()
            raise PeerRefused(f"The answer was a redirect ({answer.status_code}), which is not followed.")
        return answer


class _BoundedAdapter(HTTPAdapter):
    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        super().__init__()

    def send(self, *of: Any, **how: Any) -> requests.Response:
        answer = super().send(*of, **how)
        answer.raw = _BoundedBody(answer.raw, self._bounds)
        return answer


class _BoundedBody:
    """The decoded body. Raises TooLarge past the limit, PeerUnreachable when it comes too slowly.

    read1 gives what has arrived: waiting for a whole chunk would let single bytes hold a reader for hours.
    """

    def __init__(self, raw: Any, bounds: Bounds) -> None:
        self._raw, self._bounds = raw, bounds
        self._began, self._count = time.monotonic(), 0

    def read(self, count: int) -> bytes:
        chunk: bytes = self._raw.read1(count, decode_content=True)
        self._count += len(chunk)
        if self._count > self._bounds.max_bytes:
            raise TooLarge(f"The answer has more than {self._bounds.max_bytes} bytes.")
        allowed = self._bounds.silence_seconds + self._count / self._bounds.slowest_bytes_per_second
        if time.monotonic() - self._began > allowed:
            raise PeerUnreachable("The answer came too slowly.")
        return chunk

    def close(self) -> None:
        self._raw.close()

    def release_conn(self) -> None:
        self._raw.release_conn()
