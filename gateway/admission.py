"""What every HTTP door refuses before it looks at a request: a name that is not the gateway's."""

from collections.abc import Callable
from urllib.parse import urlsplit

from flask import request
from werkzeug.exceptions import BadRequest

_PROBES = ("/healthz", "/readyz")


def refuse_other_hosts(names: frozenset[str]) -> Callable[[], None]:
    """Raises BadRequest where the Host header names none of ``names``, with any port.

    A page of evil.example whose name is made to mean this machine (DNS rebinding) is of one origin with what it asks
    for. Only the name tells. Probes call a container by its address, and are told nothing but that it lives.
    """

    def refuse() -> None:
        if request.path not in _PROBES and _host() not in names:
            raise BadRequest(
                "The gateway is not known by this host name. GATEWAY_PUBLIC_URL says how it is reached."
            )

    return refuse


def _host() -> str:
    """Name or address in lower case without port and brackets; empty where the header is no host."""
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        return ""
