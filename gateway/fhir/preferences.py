"""The Prefer header of a request (RFC 7240; FHIR R4 3.1.0.1.9)."""

from flask import request
from werkzeug.http import parse_list_header


def preferences() -> dict[str, str]:
    """By name in small letters; of a preference that stands twice the first counts (RFC 7240 2).

    Semicolons, which begin parameters there, part preferences too: FHIR defines no parameters, and people mix them up.
    """
    found: dict[str, str] = {}
    sent = ",".join(request.headers.getlist("Prefer")).replace(";", ",")
    for item in parse_list_header(sent):
        name, _, value = item.partition("=")
        found.setdefault(name.strip().casefold(), value.strip().strip('"'))
    return found


def wants_async() -> bool:
    return "respond-async" in preferences()


def handling() -> str:
    """``strict``, ``lenient``, or empty (3.1.1.3)."""
    return preferences().get("handling", "").casefold()
