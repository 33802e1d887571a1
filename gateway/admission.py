"""What every HTTP door refuses before it looks at a request: a name that is not the gateway's, text with a NUL."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Request, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest
from werkzeug.formparser import FormDataParser

_NUL = "The request has a NUL character in a text."
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


def refuse_nul() -> None:
    """Raises BadRequest for a NUL in path or query: no name of anything has one, and PostgreSQL takes no such text."""
    if "\0" in request.path or _has_nul(request.args):
        raise BadRequest(_NUL)


class _Form(FormDataParser):
    def parse(self, *given: Any, **more: Any) -> Any:
        stream, fields, files = super().parse(*given, **more)
        if _has_nul(fields):
            raise BadRequest(_NUL)
        return stream, fields, files


class CheckedRequest(Request):
    """Whoever reads its form reads none with a NUL; a body that nobody reads as a form stays unread."""

    form_data_parser_class = _Form


def _has_nul(fields: MultiDict[str, str]) -> bool:
    return any("\0" in text for pair in fields.items(multi=True) for text in pair)


def _host() -> str:
    """Name or address in lower case without port and brackets; empty where the header is no host."""
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        return ""
