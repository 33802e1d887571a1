"""The answer to a bundle that was sent, in whatever way it comes: at once, or later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.case.access import Origin, Partner
from gateway.errors import GatewayError, Issue
from gateway.fhir import messages, outcome, releases, returning, served
from gateway.fhir.bundle import read_submission
from gateway.fhir.returning import MINIMAL, OUTCOME, REPRESENTATION
from gateway.fhir.served import Served
from gateway.store.database import Session
from gateway.workflow import disclosure
from gateway.workflow.submission import Accepted, EntryOutcome, Submission
from mappings.fhir_definitions import Release

if TYPE_CHECKING:
    from gateway.services import Services

AsSubmission = Callable[[dict[str, Any], Release], Submission]
Take = Callable[[AsSubmission], tuple[Submission, Accepted]]
"""Reads what was sent, makes it a submission, and keeps it."""
_CODES = {"created": "201 Created", "updated": "200 OK", "unchanged": "200 OK"}


@dataclass(frozen=True, slots=True)
class Sending:
    """What of a request its answer depends on, beside the body; ``returns`` is what it prefers (returning.py)."""

    origin: Origin
    is_message: bool = False
    returns: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """``resource`` is R4. ``error`` is that of a message which is answered by a response message."""

    resource: dict[str, Any] | None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: GatewayError | None = None


def answer_bundle(services: Services, partner: Partner, sending: Sending, take: Take) -> Answer:
    """A message that cannot be taken is answered by a response message, where there is anything to respond to."""
    base = services.config.fhir_base
    sender = messages.Sender(services.config.programme_name, base)
    headers: list[messages.Header] = []

    def as_submission(sent: dict[str, Any], release: Release) -> Submission:
        content = messages.message_of(sent) if sending.is_message else sent
        if header := messages.header_of(releases.led_in_r4(content, release)):
            headers.append(header)
        return read_submission(content, release)

    try:
        submission, accepted = take(as_submission)
    except GatewayError as error:
        if not headers:
            raise
        status, _ = outcome.status_of(error)
        told = messages.refused(headers[0], sender, partner.id, outcome.of_error(error), status)
        return Answer(told, status, error=error)
    with services.database.reading() as session:
        tasks = [served.task_of(services, session, partner, case_id) for case_id in accepted.case_ids]
    location = {"Location": f"{base}/Task/{tasks[0].id}"} if tasks else {}
    if submission.bundle_type in ("transaction", "batch"):
        return Answer(_response(services, partner, sending, submission, accepted), headers=location)
    issues = [issue for entry in accepted.entries for issue in entry.issues]
    if headers:
        return Answer(messages.accepted(headers[0], sender, partner.id, tasks, issues), headers=location)
    body = _task(tasks[0], issues, sending.returns)
    return Answer(body, 201 if accepted.opened else 200, location)


def _task(task: Served, issues: Iterable[Issue], returns: str) -> dict[str, Any] | None:
    if returns == MINIMAL:
        return None
    if returns == OUTCOME:
        taken = Issue("information", "informational", "The bundle was taken.")
        return outcome.of_issues([*issues] or [taken])
    return task.resource


def _response(
    services: Services, partner: Partner, sending: Sending, submission: Submission, accepted: Accepted
) -> dict[str, Any]:
    """One entry for each entry of the request, in order (3.1.0.11.3); the coordination Task is linked as related."""
    base = services.config.fhir_base
    links = [{"relation": "related", "url": f"{base}/Task/{case_id}"} for case_id in accepted.case_ids]
    response: dict[str, Any] = {"resourceType": "Bundle", "type": f"{submission.bundle_type}-response"}
    if links:
        response["link"] = links
    response["entry"] = [_entry(entry, sending.returns) for entry in accepted.entries]
    if sending.returns == REPRESENTATION:
        with services.database.reading() as session:
            count = _add_resources(session, partner, accepted.entries, response["entry"])
        disclosure.record(services, partner, disclosure.READ, "Bundle", sending.origin, count=count)
    return response


def _entry(entry: EntryOutcome, returns: str) -> dict[str, Any]:
    """What is wrong is told whatever is preferred: a hospital must learn of it."""
    if entry.status == "refused":
        stale = any(issue.code == "conflict" for issue in entry.issues)
        status = "412 Precondition Failed" if stale else "400 Bad Request"
        return {"response": {"status": status, "outcome": outcome.of_issues(entry.issues)}}
    response: dict[str, Any] = {"status": _CODES[entry.status]}
    response["location"] = f"{entry.reference}/_history/{entry.version}" if entry.version else entry.reference
    if entry.version:
        response["etag"] = f'W/"{entry.version}"'
        response["lastModified"] = entry.updated_at
    if entry.issues:
        response["outcome"] = outcome.of_issues(entry.issues)
    elif returns == OUTCOME:
        response["outcome"] = outcome.of_issues([returning.done(entry)])
    return {"response": response}


def _add_resources(
    session: Session, partner: Partner, entries: Iterable[EntryOutcome], answered: list[dict[str, Any]]
) -> int:
    """How many are told."""
    count = 0
    for place, entry in enumerate(entries):
        if entry.status != "refused" and returning.may_tell(partner, entry):
            answered[place] = {"resource": returning.kept(session, partner, entry).resource} | answered[place]
            count += 1
    return count
