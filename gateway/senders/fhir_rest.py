"""Sends a FHIR transaction to a hospital's own server and reads what became of it (FHIR R4 3.1.0.11)."""

import json
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from gateway.errors import Issue, PeerRefused, PeerUnreachable

FHIR_JSON = "application/fhir+json"
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
TOTAL_SECONDS = 180.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
_TRY_LATER = frozenset({408, 425, 429})
_CODE = re.compile(r"[a-z][a-z-]{0,39}")
_LOCATION = re.compile(r"[!-~]{1,500}")
_LOOPBACK_NAMES = frozenset({"localhost"})


@dataclass(frozen=True, slots=True)
class PushReceipt:
    """What the receiver said of the report: its HTTP status line and where the report is now."""

    status: str
    location: str

    def __str__(self) -> str:
        return f"{self.status} {self.location}".strip()


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for the connection, for each piece of the answer, and for all of it."""

    connect: float = CONNECT_SECONDS
    read: float = READ_SECONDS
    total: float = TOTAL_SECONDS


def push_transaction(endpoint: str, bundle: bytes, patience: Patience = Patience()) -> PushReceipt:
    """POST a transaction whose last entry is the DiagnosticReport to the FHIR base URL ``endpoint``.

    Raises PeerUnreachable when it may succeed later (no connection, no answer in time, 408, 425, 429, 5xx) and
    PeerRefused when a person must look: any other answer that does not say that the report is kept there.
    Redirects are not followed: what is sent is a child's record, and the operator named one address.
    """
    _require_private_transport(endpoint)
    status, body = _post(endpoint, bundle, patience)
    if status in _TRY_LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise PeerUnreachable(f"The receiver answered {status}.", _issues(body))
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise PeerRefused(f"The receiver refused the report with {_with_codes(status, body)}.", _issues(body))
    return _receipt(status, body)


def _require_private_transport(endpoint: str) -> None:
    try:
        url = urlsplit(endpoint)
    except ValueError as error:
        raise PeerRefused("The receiver's address is not https, and no address at all.") from error
    if url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname or "")):
        return
    raise PeerRefused("The receiver's address is not https; a report is not sent in the clear.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in _LOOPBACK_NAMES


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from sending what a .netrc file holds for the host."""
    return request


def _post(endpoint: str, bundle: bytes, patience: Patience) -> tuple[int, bytes]:
    deadline = time.monotonic() + patience.total
    try:
        with requests.post(
            endpoint.rstrip("/"),
            data=bundle,
            headers={"Content-Type": FHIR_JSON, "Accept": FHIR_JSON, "Prefer": "return=minimal"},
            auth=_no_credentials,
            timeout=(patience.connect, patience.read),
            allow_redirects=False,
            stream=True,
        ) as answer:
            return answer.status_code, _body(answer, deadline)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise PeerUnreachable(f"The receiver could not be reached ({type(error).__name__}).") from error


def _body(answer: requests.Response, deadline: float) -> bytes:
    """The decoded body; a receiver that answers without end is cut off.

    read1 returns what has arrived: a read of a whole chunk would let single bytes hold it past the deadline.
    """
    body = bytearray()
    while chunk := answer.raw.read1(64 * 1024, decode_content=True):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise PeerRefused(f"The receiver answered {answer.status_code} with far too many bytes.")
        if time.monotonic() > deadline:
            raise PeerUnreachable("The receiver's answer took too long.")
    return bytes(body)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _receipt(status: int, body: bytes) -> PushReceipt:
    """Bundle.entry[].response of the report, which is the last entry; the order is that of the request."""
    answer = _parsed(body)
    entries = answer.get("entry")
    last = entries[-1] if isinstance(entries, list) and entries else {}
    response = last.get("response") if isinstance(last, dict) else None
    said = str(response.get("status", "")) if isinstance(response, dict) else ""
    if answer.get("type") != "transaction-response" or said[:3] not in ("200", "201"):
        raise PeerRefused(f"The receiver answered {status} but did not say that it keeps the report.")
    location = str(response.get("location", "")) if isinstance(response, dict) else ""
    return PushReceipt(said[:3], location if _LOCATION.fullmatch(location) else "")


def _issues(body: bytes) -> tuple[Issue, ...]:
    """Severity and code of each OperationOutcome.issue; never its words, which may quote the record."""
    outcome = _parsed(body)
    found = outcome.get("issue") if outcome.get("resourceType") == "OperationOutcome" else None
    issues = [issue for issue in found if isinstance(issue, dict)] if isinstance(found, list) else []
    return tuple(Issue(_code(i.get("severity")), _code(i.get("code")), "") for i in issues[:20])


def _code(value: object) -> str:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else "unknown"


def _with_codes(status: int, body: bytes) -> str:
    codes = ", ".join(dict.fromkeys(issue.code for issue in _issues(body)))
    return f"{status} ({codes})" if codes else str(status)
