"""The staff's JSON API: the same acts as on the pages. Who is calling is told by the same session cookie.

A browser sends a cookie unasked, so that a stranger's page could act with it. Three things prevent that: the
cookie is SameSite=Lax; a request that names another origin is refused; a body is read as application/json only,
which a page of another site cannot send without asking first (Fetch, CORS-preflight request).
"""

from functools import partial

from flask import Response as FlaskResponse
from flask import after_this_request, session

from gateway.auth import login
from gateway.case.access import Role, User, require_role
from gateway.case.checklist import lines
from gateway.case.confirmation import fingerprint
from gateway.case.model import Case
from gateway.errors import Unauthenticated
from gateway.store import placements, trail, users, worklist
from gateway.web import api_models as models
from gateway.web.openapi import EVERYBODY, described
from gateway.web.pages import possible_actions
from gateway.web.timeline import timeline as in_words
from gateway.web.visit import Guest, Visit, end_session, start_session
from gateway.workflow import deliver, fetch_plan, opinion, review, viewing
from mappings.checklist_tables import CHECKLISTS


@described("list_cases", models.CaseList, "cases")
def list_cases(visit: Visit, query: models.CaseFilter) -> models.CaseList:
    """The cases that you may see, the last changed first, a page at a time."""
    viewing.view_list(visit.services, visit.user, "worklist", visit.origin)
    wanted = worklist.Wanted(query.status, query.q)
    with visit.services.database.reading() as db:
        found = worklist.page(db, visit.user, wanted, query.offset, query.limit)
        counts = worklist.counts(db, visit.user, query.q)
    total = sum(counts.get(status, 0) for status in query.status or counts)
    after = query.offset + query.limit
    return models.CaseList(
        cases=[models.CaseLine.model_validate(entry) for entry in found],
        total=total,
        next_offset=after if after < total else None,
    )


@described("read_case", models.CaseAnswer, "cases")
def read_case(visit: Visit, case_id: str) -> models.CaseAnswer:
    """One whole case, with the source of every fact."""
    found = viewing.view_case(visit.services, visit.user, case_id, visit.origin)
    return _case(visit.user, found)


def _case(user: User, found: Case) -> models.CaseAnswer:
    fields = {name: getattr(found, name) for name in models.CaseAnswer.model_fields if hasattr(found, name)}
    return models.CaseAnswer(
        **fields,
        checklist=lines(found, CHECKLISTS),
        actions=_actions(user, found),
        fingerprint=fingerprint(found),
    )


def _actions(user: User, found: Case) -> list[str]:
    return [action.value for action in possible_actions(user, found)]


@described("timeline", models.Timeline, "cases")
def timeline(visit: Visit, case_id: str) -> models.Timeline:
    """Everything that was done to the case and everybody who looked at it, oldest first."""
    found = viewing.view_case(visit.services, visit.user, case_id, visit.origin, f"timeline:{case_id}")
    with visit.services.database.reading() as db:
        acts = in_words(trail.of_case(db, visit.user, case_id), found, users.names(db))
    return models.Timeline(acts=[models.ActLine.model_validate(act) for act in acts])


@described("accept", models.ActAnswer, "acts", json=models.Nothing)
def accept(visit: Visit, case_id: str) -> models.ActAnswer:
    """Take the case for review; not possible while a finding blocks it."""
    review.accept(visit.services, visit.user, case_id, visit.origin)
    return _acted(visit, case_id)


@described("ask", models.ActAnswer, "acts")
def ask(visit: Visit, case_id: str, json: models.Question) -> models.ActAnswer:
    """Ask the referring hospital for what is missing."""
    created = review.ask(visit.services, visit.user, case_id, json.text, json.finding_ids, visit.origin)
    return _acted(visit, case_id, created)


@described("assign", models.ActAnswer, "acts")
def assign(visit: Visit, case_id: str, json: models.Assignment) -> models.ActAnswer:
    """Give the case to a specialist."""
    review.assign(visit.services, visit.user, case_id, json.specialist_id, visit.origin)
    return _acted(visit, case_id)


@described("decline", models.ActAnswer, "acts")
def decline(visit: Visit, case_id: str, json: models.Reason) -> models.ActAnswer:
    """Refuse the case; the hospital sees the reason."""
    review.decline(visit.services, visit.user, case_id, json.because, visit.origin)
    return _acted(visit, case_id)


@described("waive", models.ActAnswer, "acts")
def waive(visit: Visit, case_id: str, json: models.Waiver) -> models.ActAnswer:
    """Let review go on in spite of a finding, which the report still declares."""
    review.waive(visit.services, visit.user, case_id, json.finding_id, json.because, visit.origin)
    return _acted(visit, case_id)


@described("draft", models.ActAnswer, "acts")
def draft(visit: Visit, case_id: str, json: models.OpinionText) -> models.ActAnswer:
    """Save the opinion's draft; it replaces the one before."""
    texts = (json.findings_text, json.conclusion, json.recommendations)
    created = opinion.draft(visit.services, visit.user, case_id, *texts, visit.origin)
    return _acted(visit, case_id, created)


@described("sign", models.ActAnswer, "acts")
def sign(visit: Visit, case_id: str, json: models.Signature) -> models.ActAnswer:
    """Sign the draft. What is signed is never changed again."""
    created = opinion.sign(visit.services, visit.user, case_id, json.confirmed, visit.origin)
    return _acted(visit, case_id, created)


@described("close", models.ActAnswer, "acts", json=models.Nothing)
def close(visit: Visit, case_id: str) -> models.ActAnswer:
    """End a case whose report is delivered."""
    review.close(visit.services, visit.user, case_id, visit.origin)
    return _acted(visit, case_id)


@described("join_study", models.ActAnswer, "acts")
def join_study(visit: Visit, case_id: str, json: models.StudyDecision) -> models.ActAnswer:
    """Decide that a study which is held, waits or was taken out belongs to this case."""
    review.join_study(visit.services, visit.user, case_id, json.study_id, json.because, visit.origin)
    return _acted(visit, case_id)


@described("part_study", models.ActAnswer, "acts")
def part_study(visit: Visit, case_id: str, json: models.StudyDecision) -> models.ActAnswer:
    """Decide that a study does not belong to this case."""
    review.part_study(visit.services, visit.user, case_id, json.study_id, json.because, visit.origin)
    return _acted(visit, case_id)


@described("retry", models.ActAnswer, "acts")
def retry(visit: Visit, case_id: str, json: models.Retry) -> models.ActAnswer:
    """Have a delivery that has failed tried again, to where the hospital is registered now. For intake."""
    deliver.retry(visit.services, visit.user, case_id, json.delivery_id, visit.origin)
    return _acted(visit, case_id)


@described("fetch", models.ActAnswer, "acts")
def fetch(visit: Visit, case_id: str, json: models.Refetch) -> models.ActAnswer:
    """Have a study fetched now that could not be had, or that would be tried again later. For intake."""
    fetch_plan.fetch_again(visit.services, visit.user, case_id, json.fetch_id, visit.origin)
    return _acted(visit, case_id)


def _acted(visit: Visit, case_id: str, created: str = "") -> models.ActAnswer:
    found = viewing.look_again(visit.services, visit.user, case_id)
    actions = _actions(visit.user, found)
    return models.ActAnswer(case_id=case_id, status=found.status, actions=actions, created=created)


@described("list_studies", models.StudyList, "imaging")
def list_studies(visit: Visit, query: models.StudyFilter) -> models.StudyList:
    """Received studies that are in no case: they wait for a person's decision, or for their case. For intake."""
    require_role(visit.user, Role.INTAKE)
    viewing.view_list(visit.services, visit.user, "imaging", visit.origin)
    with visit.services.database.reading() as db:
        found = placements.in_state(db, visit.user, query.state or placements.UNPLACED)
    return models.StudyList(studies=[models.StudyPlace.model_validate(place) for place in found])


@described("list_users", models.UserList, "staff")
def list_users(visit: Visit, query: models.UserFilter) -> models.UserList:
    """Staff of one role, by name."""
    with visit.services.database.reading() as db:
        found = users.with_role(db, query.role)
    return models.UserList(users=[_user(user) for user in found])


def _user(user: User) -> models.UserAnswer:
    return models.UserAnswer(id=user.id, name=user.name, roles=sorted(user.roles))


@described("open_session", models.UserAnswer, "staff", security=EVERYBODY)
def open_session(guest: Guest, json: models.SignIn) -> models.UserAnswer:
    """Sign in; the answer sets the session cookie."""
    secret = login.sign_in(guest.services, json.login, json.password, guest.origin)
    user = login.user_of_session(guest.services, secret)
    if user is None:
        raise Unauthenticated("Please sign in again.")
    session.clear()
    after_this_request(partial(_with_session, guest, secret))
    return _user(user)


def _with_session(guest: Guest, secret: str, response: FlaskResponse) -> FlaskResponse:
    start_session(guest, response, secret)
    return response


@described("close_session", None, "staff", security=EVERYBODY)
def close_session(guest: Guest) -> tuple[str, int]:
    """Sign out."""
    after_this_request(partial(_without_session, guest))
    return "", 204


def _without_session(guest: Guest, response: FlaskResponse) -> FlaskResponse:
    end_session(guest, response)
    return response
