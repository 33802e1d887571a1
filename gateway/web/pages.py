"""Pages to look at. Each look is on the audit trail; the fragments that refresh a page are not looks of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from flask import Response, make_response, render_template, request

from gateway.case.access import Role, User, require_role
from gateway.case.checklist import Line, lines
from gateway.case.confirmation import fingerprint
from gateway.case.expected import merged
from gateway.case.model import Case, Severity
from gateway.case.patient_match import contradictions
from gateway.case.status import OPEN, Action, CaseStatus, actions_for
from gateway.clock import utc_now
from gateway.errors import NotFound
from gateway.store import cases, placements, receipts, trail, users
from gateway.store import worklist as entries
from gateway.store.database import Session
from gateway.web import words
from gateway.web.timeline import timeline
from gateway.web.visit import Visit
from gateway.workflow import viewing
from mappings.checklist_tables import CHECKLISTS
from mappings.opinion_to_report import report_of

PAGE = 50
MAX_SEARCH = 200
UNDECIDED = ("held", "waiting")
_LIFE = list(CaseStatus)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A form that could not be done: what the person wrote is shown again, with the reason why not."""

    action: str = ""
    problem: str = ""
    form: Mapping[str, str] = field(default_factory=dict)


NO_ATTEMPT = Attempt()


def worklist(visit: Visit) -> str:
    """``status`` is one CaseStatus, ``all``, or empty for everything that is not over; ``q`` searches."""
    viewing.view_list(visit.services, visit.user, "worklist", visit.origin)
    return render_template("worklist.html", fragment=_worklist_fragment(visit))


def worklist_rows(visit: Visit) -> Response:
    """The list again for htmx: 204, and nothing moves on the page, while nothing on any list has changed."""
    with visit.services.database.reading() as session:
        seen = _seen(session, visit.user)
    if request.args.get("seen") == seen:
        return make_response("", 204)
    return make_response(render_template("_worklist.html", fragment=_worklist_fragment(visit)))


def _seen(session: Session, user: User) -> str:
    """Changes when anything on the lists does, and once a day, as the days of waiting do."""
    undecided = placements.count(session, user, UNDECIDED)
    return f"{entries.version(session, user)}-{undecided}-{utc_now():%Y%m%d}"


def _worklist_fragment(visit: Visit) -> dict[str, Any]:
    status, search = request.args.get("status", ""), request.args.get("q", "")[:MAX_SEARCH]
    statuses = _statuses(status)
    with visit.services.database.reading() as session:
        of_status = entries.counts(session, visit.user, search)
        total = sum(of_status.get(s, 0) for s in statuses)
        page = _page(total)
        wanted = entries.Wanted(() if status == "all" else statuses, search)
        shown = entries.page(session, visit.user, wanted, (page - 1) * PAGE, PAGE)
        undecided = placements.count(session, visit.user, UNDECIDED)
        seen = _seen(session, visit.user)
    counts = {s.value: of_status.get(s, 0) for s in _LIFE}
    return {
        "entries": shown,
        "counts": counts | {"": sum(counts[s] for s in OPEN), "all": sum(counts.values())},
        "status": status,
        "search": search,
        "page": page,
        "pages": _pages(total),
        "total": total,
        "undecided": undecided,
        "now": utc_now(),
        "seen": seen,
    }


def _statuses(wanted: str) -> list[str]:
    if wanted == "":
        return sorted(OPEN)
    return [status.value for status in _LIFE] if wanted == "all" else [wanted]


def _pages(total: int) -> int:
    return max(1, -(-total // PAGE))


def _page(total: int) -> int:
    """The page that is asked for, or the last one where there are fewer by now."""
    asked = request.args.get("page", "1")
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 1
    return min(max(number, 1), _pages(total))


def case(visit: Visit, case_id: str) -> str:
    found = viewing.view_case(visit.services, visit.user, case_id, visit.origin)
    return case_page(visit, found)


def case_page(visit: Visit, found: Case, attempt: Attempt = NO_ATTEMPT) -> str:
    with visit.services.database.reading() as session:
        people = users.names(session)
        trace = timeline(trail.of_case(session, visit.user, found.id), found, people)
        places = placements.of_case(session, visit.user, found.id)
        specialists = users.with_role(session, Role.SPECIALIST)
    return render_template(
        "case.html",
        case=found,
        attempt=attempt,
        actions=possible_actions(visit.user, found),
        may_decide=_may_decide(visit.user, found),
        specialists=specialists,
        findings=_grouped(found),
        checklist=_by_list(found),
        expected=_expected(found),
        titles=_titles(found),
        differences={h.study.id: _differences(found, h.study.patient) for h in found.held_studies},
        places=places,
        people=people,
        acts=[act for act in trace if not act.looked],
        looks=[act for act in trace if act.looked],
        now=utc_now(),
    )


def _may_decide(user: User, found: Case) -> bool:
    return Role.INTAKE in user.roles and found.status in OPEN - {"signed", "delivered"}


def possible_actions(user: User, found: Case) -> list[Action]:
    """In the order in which a person thinks of them. Writing is for the one whom the case is assigned to."""
    allowed = actions_for(found.status, user.roles)
    if found.assignee_id != user.id:
        allowed -= {Action.DRAFT, Action.SIGN}
    return [action for action in words.ACTION if action in allowed]


def _by_list(found: Case) -> list[tuple[str, list[Line]]]:
    demanded = lines(found, CHECKLISTS)
    return [(name, list(group)) for name, group in groupby(demanded, key=lambda line: line.checklist)]


def _grouped(found: Case) -> list[tuple[Severity, str, list[Any]]]:
    """Open findings by what they mean now: how grave they are, or, once it is signed, whether the report tells them."""
    if found.signed_opinion is None:
        groups = [
            (s, words.SEVERITY[s], [f for f in found.open_findings if f.finding.severity is s])
            for s in Severity
        ]
    else:
        late = list(found.found_after_signing)
        told = [f for f in found.open_findings if f not in late]
        groups = [(Severity.BLOCKS, words.FOUND_LATE, late), (Severity.LIMITS, words.DECLARED, told)]
    return [group for group in groups if group[2]]


def _expected(found: Case) -> list[Any]:
    """Studies that the records announce and that have not come, not even to be held."""
    studies = [*found.studies, *(held.study for held in found.held_studies)]
    received = {study.study_instance_uid for study in studies}
    return [e for e in merged(found.record.expected_studies) if e.study_instance_uid not in received]


def _titles(found: Case) -> dict[str, str]:
    """What people call a study, by its UID: as it arrived, else as the records announce it."""
    studies = [*found.studies, *(held.study for held in found.held_studies)]
    announced = {e.study_instance_uid: e.description for e in found.record.expected_studies if e.description}
    return announced | {study.study_instance_uid: study.title for study in studies}


def _differences(found: Case, seen: Any) -> dict[str, str]:
    return contradictions(found.record.patient, seen) if found.record.patient else {}


def case_changes(visit: Visit, case_id: str) -> Response:
    """A line for htmx once the case is no longer what the page shows; 204 until then."""
    with visit.services.database.reading() as session:
        changed_at = cases.changed_at(session, visit.user, case_id)
    if changed_at.isoformat() == request.args.get("seen"):
        return make_response("", 204)
    return make_response(render_template("_changed.html", case_id=case_id))


def case_fetches(visit: Visit, case_id: str) -> str:
    """How far the fetching is, for htmx."""
    found = viewing.look_again(visit.services, visit.user, case_id)
    return render_template(
        "_fetches.html",
        case=found,
        attempt=NO_ATTEMPT,
        may_decide=_may_decide(visit.user, found),
        titles=_titles(found),
    )


def draft(visit: Visit, case_id: str) -> str:
    found = viewing.view_case(visit.services, visit.user, case_id, visit.origin)
    return draft_page(visit, found)


def draft_page(visit: Visit, found: Case, attempt: Attempt = NO_ATTEMPT) -> str:
    _require_action(visit, found, Action.DRAFT)
    return render_template(
        "draft.html", case=found, attempt=attempt, based_on=draft_version(found), now=utc_now()
    )


def draft_version(found: Case) -> str:
    """What a form was filled from: two windows on one draft must not overwrite each other."""
    return found.draft_opinion.drafted_at.isoformat() if found.draft_opinion else ""


def sign(visit: Visit, case_id: str) -> str:
    found = viewing.view_case(visit.services, visit.user, case_id, visit.origin)
    return sign_page(visit, found)


def sign_page(visit: Visit, found: Case, attempt: Attempt = NO_ATTEMPT) -> str:
    """The confirm step: the report as it will be, with everything that it declares."""
    _require_action(visit, found, Action.SIGN)
    opinion = found.draft_opinion
    if opinion is None:
        raise NotFound("There is no draft to sign.")
    return render_template(
        "sign.html",
        case=found,
        report=report_of(found, opinion, utc_now(), visit.services.config.programme_name),
        attempt=attempt,
        confirmed=fingerprint(found),
        now=utc_now(),
    )


def _require_action(visit: Visit, found: Case, action: Action) -> None:
    if action not in possible_actions(visit.user, found):
        raise NotFound(f"'{words.ACTION[action]}' is not possible for you on a case that is {found.status}.")


def opinion(visit: Visit, case_id: str) -> str:
    found = viewing.view_case(visit.services, visit.user, case_id, visit.origin, f"opinion:{case_id}")
    signed = found.signed_opinion
    if signed is None:
        raise NotFound("No opinion of this case is signed yet.")
    return render_template("opinion.html", case=found, opinion=signed, attempt=NO_ATTEMPT, now=utc_now())


def imaging(visit: Visit) -> str:
    """Studies over all cases that are in none: held, waiting, taken out."""
    require_role(visit.user, Role.INTAKE)
    viewing.view_list(visit.services, visit.user, "imaging", visit.origin)
    return imaging_page(visit)


def imaging_page(visit: Visit, attempt: Attempt = NO_ATTEMPT) -> str:
    with visit.services.database.reading() as session:
        found = placements.in_state(session, visit.user)
        people = users.names(session)
        open_cases = entries.choices(session, visit.user, sorted(OPEN)) if found else []
    groups = [(state, [p for p in found if p.state == state]) for state in placements.UNPLACED]
    return render_template(
        "imaging.html", groups=groups, people=people, open_cases=open_cases, attempt=attempt
    )


def refused(visit: Visit) -> str:
    """What came in and could not be taken: kept, so that nothing is lost."""
    require_role(visit.user, Role.INTAKE)
    with visit.services.database.reading() as session:
        found = receipts.refused(session, visit.user)
    return render_template("refused.html", receipts=found)
