"""One resource by itself: create, update, patch (FHIR R4 3.1.0.4, 3.1.0.6, 3.1.0.8), as a transaction of one entry."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from flask import Response, request

from gateway.auth.bearer import require_scope
from gateway.case.access import Partner
from gateway.errors import GatewayError, InvalidContent, Issue, NotSupported, SeveralMatches
from gateway.fhir import (
    answers,
    chaining,
    disclosed,
    outcome,
    releases,
    returning,
    search,
    served,
    submitting,
)
from gateway.fhir.bundle import read_single
from gateway.fhir.returning import MINIMAL, OUTCOME
from gateway.store import resources
from gateway.store.resource_search import ARRIVAL, Search
from gateway.workflow.disclosure import READ
from gateway.workflow.searchable import searching
from gateway.workflow.submission import Accepted, Submission
from mappings.fhir_definitions import Release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.services import Services

_IN_ENTRY = "Bundle.entry[0].resource"


def create(services: Services, partner: Partner, base: str, asked_type: str, kind: str) -> Response:
    """POST [type], with If-None-Exist a conditional create (3.1.0.8.1); ``kind`` is the type's name in R4."""
    require_scope(partner, kind, "c")
    condition = request.headers.get("If-None-Exist", "")

    def as_submission(content: dict[str, Any], release: Release) -> Submission:
        submission = read_single(content, release, {"method": "POST", "url": asked_type})
        if not condition:
            return submission
        existing = _matching(services, partner, base, asked_type, kind, condition)
        return replace(submission, entries=(replace(submission.entries[0], existing=existing),))

    with _in_its_own_words(kind):
        _, accepted = submitting.take(services, partner, as_submission)
    return _answer(services, partner, base, accepted)


def change(services: Services, partner: Partner, base: str, asked: str, reference: str) -> Response:
    """PUT or PATCH [type]/[id], with If-Match for the version that it names; ``reference`` is ``asked`` in R4."""
    kind, fhir_id = reference.split("/")
    require_scope(partner, kind, "u")
    with services.database.reading() as session:
        if served.has_made(services, session, partner, kind, fhir_id):
            raise NotSupported(
                f"This {kind} is made by the gateway, and is changed by what happens to its case."
            )
    wanted = {"method": request.method, "url": asked, "ifMatch": request.headers.get("If-Match", "")}

    with _in_its_own_words("Parameters" if request.method == "PATCH" else kind):
        _, accepted = submitting.take(
            services, partner, lambda content, release: read_single(content, release, wanted)
        )
    return _answer(services, partner, base, accepted)


def _matching(
    services: Services, partner: Partner, base: str, asked_type: str, kind: str, condition: str
) -> str:
    """The reference of the sender's resource that the condition finds, '' for none. Raises SeveralMatches."""
    pairs = parse_qsl(condition.removeprefix(f"{asked_type}?").removeprefix("?"), keep_blank_values=True)
    asked = chaining.followed(services, partner, kind, releases.pairs_in_r4(asked_type, pairs), base)
    query = search.parse(kind, asked, strict=True, base=base)
    if not query.terms:
        raise InvalidContent("If-None-Exist has no search parameter that says what is looked for.")
    with searching(services, partner) as session:
        hits = Search(session, partner, kind, query.terms).page(ARRIVAL, None, 2)
        found = resources.by_pk(session, partner, [hit.pk for hit in hits])
    if len(found) > 1:
        raise SeveralMatches(f"If-None-Exist finds more than one {kind} that you sent: it must name one.")
    return found[0].reference if found else ""


@contextmanager
def _in_its_own_words(type_name: str) -> Iterator[None]:
    """The places that errors name are of the resource that was sent: there was no Bundle around it."""
    try:
        yield
    except GatewayError as error:
        error.issues = tuple(_in_place(error.issues, type_name))
        raise


def _in_place(issues: Iterable[Issue], type_name: str) -> Iterator[Issue]:
    for issue in issues:
        place = issue.expression or ""
        if place.startswith(_IN_ENTRY):
            place = type_name + place.removeprefix(_IN_ENTRY)
        yield replace(issue, expression=None if place.startswith("Bundle.") else place or None)


def _answer(services: Services, partner: Partner, base: str, accepted: Accepted) -> Response:
    """201 for what was created, else 200; the body as ``Prefer: return=`` asks, the resource where it does not."""
    [entry] = accepted.entries
    with services.database.reading() as session:
        found = returning.kept(session, partner, entry)
    is_new = entry.status == "created"
    headers = {"Location": answers.location_of(found, base), **answers.version_headers(found)}
    if accepted.case_ids:
        links = (f'<{base}/Task/{case_id}>; rel="related"' for case_id in accepted.case_ids)
        headers["Link"] = ", ".join(links)
    wanted = returning.preferred() if returning.may_tell(partner, entry) else MINIMAL
    if wanted == MINIMAL:
        return Response(status=201 if is_new else 200, headers=headers)
    if wanted == OUTCOME:
        issues = tuple(_in_place(entry.issues, found.type)) or (returning.done(entry),)
        return answers.fhir_answer(outcome.of_issues(issues), 201 if is_new else 200, headers)
    disclosed.record(services, partner, READ, found.reference, [found])
    return answers.fhir_answer(found.resource, 201 if is_new else 200, headers)
