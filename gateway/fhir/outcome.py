"""Errors as FHIR R4 OperationOutcome (2.26) and HTTP status (3.1.0.1.7): one table."""

from collections.abc import Iterable
from typing import Any

from gateway import errors
from gateway.errors import GatewayError, Issue

STATUS: dict[type[GatewayError], tuple[int, str]] = {
    errors.InvalidContent: (400, "invalid"),
    errors.BodyBroken: (400, "incomplete"),
    errors.NotFhir: (400, "structure"),
    errors.UnsupportedVersion: (415, "not-supported"),
    errors.Unattributed: (422, "business-rule"),
    errors.NotDicom: (400, "structure"),
    errors.StudyMismatch: (409, "business-rule"),
    errors.InstanceMismatch: (409, "business-rule"),
    errors.UnsupportedMediaType: (415, "not-supported"),
    errors.NotAcceptable: (406, "not-supported"),
    errors.TooLarge: (413, "too-long"),
    errors.TooManyRequests: (429, "throttled"),
    errors.NotSupported: (405, "not-supported"),
    errors.Unauthenticated: (401, "login"),
    errors.Forbidden: (403, "forbidden"),
    errors.UnknownSender: (403, "security"),
    errors.NotFound: (404, "not-found"),
    errors.Conflict: (409, "conflict"),
    errors.TransitionRefused: (409, "business-rule"),
    errors.ReviewBlocked: (409, "business-rule"),
    errors.VersionMismatch: (412, "conflict"),
    errors.SeveralMatches: (412, "multiple-matches"),
    errors.StoreUnavailable: (503, "transient"),
    errors.DeliveryFailed: (502, "exception"),
    errors.PeerUnreachable: (502, "transient"),
    errors.PeerRefused: (502, "processing"),
}
"""HTTP status and IssueType code by cause."""


MAX_ISSUES = 5_000
_GRAVITY = ("fatal", "error", "warning", "information")


def status_of(error: GatewayError) -> tuple[int, str]:
    """The row of the error's own class; a missing row is a bug that a test finds."""
    return STATUS[type(error)]


def of_error(error: GatewayError) -> dict[str, Any]:
    """Every fault at once; an error without issues is one issue."""
    issues = error.issues or (Issue("error", status_of(error)[1], str(error)),)
    return of_issues(issues)


def of_issues(issues: Iterable[Issue]) -> dict[str, Any]:
    """All of them; of a flood the gravest, and how many more there are."""
    told = list(issues)
    if len(told) > MAX_ISSUES:
        left_out = len(told) - MAX_ISSUES
        told = sorted(told, key=lambda issue: _GRAVITY.index(issue.severity))[:MAX_ISSUES]
        text = f"{left_out} more issues are not told here."
        told.append(Issue("warning", "incomplete", text))
    return {"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in told]}


def of_unknown(reference: str) -> dict[str, Any]:
    """An unexpected failure: the sender gets the reference that the log has, and nothing else."""
    text = f"The gateway failed unexpectedly. Nothing is lost that was acknowledged. Reference: {reference}"
    return of_issues([Issue("fatal", "exception", text)])


def _issue(issue: Issue) -> dict[str, Any]:
    found: dict[str, Any] = {
        "severity": issue.severity,
        "code": issue.code,
        "details": {"text": issue.text},
        "diagnostics": f"{issue.text} (fullUrl {issue.full_url[:200]})" if issue.full_url else issue.text,
    }
    if issue.expression:
        found["expression"] = [issue.expression]
    return found
