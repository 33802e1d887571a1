"""Sends a notification to a subscriber's URL: to a registered host, or to the public network and nowhere else."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from gateway.errors import PeerRefused, PeerUnreachable
from gateway.public_network import addresses
from gateway.senders.transport import Patience, post

_PEER = "subscriber"


def post_notification(
    endpoint: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout_seconds: float,
    *,
    is_registered: bool,
    allow_loopback: bool = False,
) -> None:
    """Raises PeerUnreachable where it may be taken later, PeerRefused for 410 Gone and for an inner host.

    Every other answer than success may change: what a subscriber has set up wrongly it puts right.
    """
    patience = Patience(connect=min(timeout_seconds, 10.0), read=timeout_seconds, total=timeout_seconds)
    if is_registered:
        answer = post(_PEER, endpoint, body, headers, patience)
    else:
        with _PublicSession(endpoint, allow_loopback=allow_loopback) as session:
            answer = post(_PEER, endpoint, body, headers, patience, session)
    if answer.status == HTTPStatus.GONE:
        raise PeerRefused("The subscriber answered 410: it wants no notifications any more.")
    if not answer.is_success:
        raise PeerUnreachable(f"The subscriber answered {answer.status}.")


class _PublicSession(requests.Session):
    """Connects to the address that was checked, whatever the host's name leads to a moment later; uses no proxy."""

    def __init__(self, url: str, *, allow_loopback: bool) -> None:
        super().__init__()
        self.trust_env = False
        parts = urlsplit(url)
        try:
            found = addresses(parts, allow_loopback=allow_loopback)
        except (OSError, UnicodeError) as error:
            raise PeerUnreachable("The subscriber's host is not known.") from error
        if not found:
            raise PeerRefused("The subscriber's host is in a private network, and is not registered.")
        self.headers["Host"] = parts.netloc
        self.mount(f"{parts.scheme}://", _Pinned(found[0][0], parts.hostname or ""))


class _Pinned(HTTPAdapter):
    """The certificate must be that of the host's name, though the connection goes to ``address``."""

    def __init__(self, address: str, host: str) -> None:
        self._address, self._host = address, host
        super().__init__()

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        where, how = super().build_connection_pool_key_attributes(request, verify, cert)
        where["host"] = self._address
        if where["scheme"] == "https":
            how |= {"assert_hostname": self._host, "server_hostname": self._host}
        return where, how
