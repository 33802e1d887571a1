"""Sends a FHIR transaction to a hospital's own server and reads what became of it (FHIR R4 3.1.0.11)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from gateway.errors import Issue, PeerRefused, PeerUnreachable
from gateway.senders.transport import PATIENCE, Answer, Patience, post

FHIR_JSON = "application/fhir+json"
_CODE = re.compile(r"[a-z][a-z-]{0,39}")
_LOCATION = re.compile(r"[!-~]{1,500}")

Token = Callable[[str], str]
"""Gives an access token, and another one than the refused token that it is told; empty: the server asks for none."""


@dataclass(frozen=True, slots=True)
class PushReceipt:
    """What the receiver said of the report: its HTTP status line and where the report is now."""

    status: str
    location: str

    def __str__(self) -> str:
        return f"{self.status} {self.location}".strip()


def no_token(_refused: str) -> str:
    return ""


def push_transaction(
    endpoint: str, bundle: bytes, patience: Patience = PATIENCE, token: Token = no_token
) -> PushReceipt:
    """POST a transaction whose last entry is the DiagnosticReport to the FHIR base URL ``endpoint``.

    Raises PeerUnreachable when it may succeed later (no connection, no answer in time, 408, 425, 429, 5xx) and
    PeerRefused when a person must look: any other answer that does not say that the report is kept there. After a
    401 it is sent once more, with another token.
    """
    answer = _send(endpoint, bundle, patience, token)
    if answer.may_change:
        raise PeerUnreachable(f"The receiver answered {answer.status}.", _issues(answer))
    if not answer.is_success:
        raise PeerRefused(f"The receiver refused the report with {_with_codes(answer)}.", _issues(answer))
    return _receipt(answer)


def _send(endpoint: str, bundle: bytes, patience: Patience, token: Token) -> Answer:
    used = token("")
    answer = _post(endpoint, bundle, patience, used)
    if used and answer.status == HTTPStatus.UNAUTHORIZED:
        return _post(endpoint, bundle, patience, token(used))
    return answer


def _post(endpoint: str, bundle: bytes, patience: Patience, token: str) -> Answer:
    headers = {"Content-Type": FHIR_JSON, "Accept": FHIR_JSON, "Prefer": "return=minimal"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return post("receiver", endpoint.rstrip("/"), bundle, headers, patience)


def _receipt(answer: Answer) -> PushReceipt:
    """Bundle.entry[].response of the report, which is the last entry; the order is that of the request."""
    bundle = answer.json_object()
    entries = bundle.get("entry")
    last = entries[-1] if isinstance(entries, list) and entries else {}
    response = last.get("response") if isinstance(last, dict) else None
    said = str(response.get("status", "")) if isinstance(response, dict) else ""
    if bundle.get("type") != "transaction-response" or said[:3] not in ("200", "201"):
        raise PeerRefused(f"The receiver answered {answer.status} but did not say that it keeps the report.")
    location = str(response.get("location", "")) if isinstance(response, dict) else ""
    return PushReceipt(said[:3], location if _LOCATION.fullmatch(location) else "")


def _issues(answer: Answer) -> tuple[Issue, ...]:
    """Severity and code of each OperationOutcome.issue; never its words, which may quote the record."""
    outcome = answer.json_object()
    found = outcome.get("issue") if outcome.get("resourceType") == "OperationOutcome" else None
    issues = [issue for issue in found if isinstance(issue, dict)] if isinstance(found, list) else []
    return tuple(Issue(_code(i.get("severity")), _code(i.get("code")), "") for i in issues[:20])


def _code(value: object) -> str:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else "unknown"


def _with_codes(answer: Answer) -> str:
    codes = ", ".join(dict.fromkeys(issue.code for issue in _issues(answer)))
    return f"{answer.status} ({codes})" if codes else str(answer.status)
