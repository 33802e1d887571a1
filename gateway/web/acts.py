"""What the forms on the pages do. Each ends in a redirect, or in the same form with the reason why not."""

from collections.abc import Callable, Mapping

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response

from gateway.case.access import Role, require_role
from gateway.errors import Conflict, GatewayError, InvalidContent, NotFound
from gateway.web import pages
from gateway.web.status import http_status
from gateway.web.visit import Visit
from gateway.web.words import DONE
from gateway.workflow import deliver, fetch_plan, opinion, review, viewing
from gateway.workflow.viewing import look_again

Form = Mapping[str, str]
Answer = Response | str | tuple[str, int]
RETRYABLE = (InvalidContent, Conflict, NotFound)


def act(visit: Visit, case_id: str, action: str) -> Answer:
    """One of ACTS on a case, from the case's page."""
    try:
        ACTS[action](visit, case_id, request.form)
    except RETRYABLE as error:
        attempt = pages.Attempt(_form_id(action), str(error), request.form)
        found = look_again(visit.services, visit.user, case_id)
        return pages.case_page(visit, found, attempt), http_status(error)
    flash(DONE[action])
    return redirect(url_for("pages.case", case_id=case_id))


def _form_id(action: str) -> str:
    """Some forms are offered once for each finding, study or delivery: the subject tells which one it was."""
    subjects = {"waive": "finding_id", "retry": "delivery_id", "fetch": "fetch_id"}
    field = subjects.get(action, "study_id")
    subject = request.form.get(field)
    return f"{action}-{subject}" if subject else action


def _accept(visit: Visit, case_id: str, _form: Form) -> None:
    review.accept(visit.services, visit.user, case_id, visit.origin)


def _ask(visit: Visit, case_id: str, form: Form) -> None:
    findings = request.form.getlist("finding_id")
    review.ask(visit.services, visit.user, case_id, form.get("text", ""), findings, visit.origin)


def _assign(visit: Visit, case_id: str, form: Form) -> None:
    review.assign(visit.services, visit.user, case_id, form.get("specialist_id", ""), visit.origin)


def _decline(visit: Visit, case_id: str, form: Form) -> None:
    review.decline(visit.services, visit.user, case_id, form.get("because", ""), visit.origin)


def _waive(visit: Visit, case_id: str, form: Form) -> None:
    finding_id, because = form.get("finding_id", ""), form.get("because", "")
    review.waive(visit.services, visit.user, case_id, finding_id, because, visit.origin)


def _close(visit: Visit, case_id: str, _form: Form) -> None:
    review.close(visit.services, visit.user, case_id, visit.origin)


def _join_study(visit: Visit, case_id: str, form: Form) -> None:
    study_id, because = form.get("study_id", ""), form.get("because", "")
    review.join_study(visit.services, visit.user, case_id, study_id, because, visit.origin)


def _part_study(visit: Visit, case_id: str, form: Form) -> None:
    study_id, because = form.get("study_id", ""), form.get("because", "")
    review.part_study(visit.services, visit.user, case_id, study_id, because, visit.origin)


def _retry(visit: Visit, case_id: str, form: Form) -> None:
    deliver.retry(visit.services, visit.user, case_id, form.get("delivery_id", ""), visit.origin)


def _fetch(visit: Visit, case_id: str, form: Form) -> None:
    fetch_plan.fetch_again(visit.services, visit.user, case_id, form.get("fetch_id", ""), visit.origin)


ACTS: dict[str, Callable[[Visit, str, Form], None]] = {
    "accept": _accept,
    "ask": _ask,
    "assign": _assign,
    "decline": _decline,
    "waive": _waive,
    "close": _close,
    "join-study": _join_study,
    "part-study": _part_study,
    "retry": _retry,
    "fetch": _fetch,
}


def draft(visit: Visit, case_id: str) -> Answer:
    """Save; with the button ``then=sign`` go on to the confirm step."""
    form = request.form
    try:
        _refuse_overwriting(visit, case_id, form.get("based_on", ""))
        opinion.draft(
            visit.services,
            visit.user,
            case_id,
            form.get("findings_text", ""),
            form.get("conclusion", ""),
            form.get("recommendations", ""),
            visit.origin,
        )
    except (InvalidContent, Conflict) as error:
        found = look_again(visit.services, visit.user, case_id)
        attempt = pages.Attempt("draft", str(error), form)
        return pages.draft_page(visit, found, attempt), http_status(error)
    if form.get("then") == "sign":
        return redirect(url_for("pages.sign", case_id=case_id))
    flash(DONE["draft"])
    return redirect(url_for("pages.draft", case_id=case_id))


def _refuse_overwriting(visit: Visit, case_id: str, based_on: str) -> None:
    current = look_again(visit.services, visit.user, case_id)
    if based_on != pages.draft_version(current):
        raise Conflict(
            "This draft was saved in another window meanwhile. What you wrote is still here and not saved: "
            "open the saved draft beside it, bring both together and save again."
        )


def sign(visit: Visit, case_id: str) -> Answer:
    try:
        confirmed = request.form.get("confirmed", "")
        if not confirmed or request.form.get("read") != "yes":
            raise InvalidContent("Confirm that you have read the report before you sign it.")
        opinion.sign(visit.services, visit.user, case_id, confirmed, visit.origin)
    except (InvalidContent, Conflict) as error:
        found = viewing.view_case(visit.services, visit.user, case_id, visit.origin)
        if found.signed_opinion is not None:
            raise
        attempt = pages.Attempt("sign", str(error), request.form)
        return pages.sign_page(visit, found, attempt), http_status(error)
    flash(DONE["sign"])
    return redirect(url_for("pages.opinion", case_id=case_id))


def place_study(visit: Visit) -> Answer:
    """Put a study of the imaging page into a case that the person names."""
    require_role(visit.user, Role.INTAKE)
    case_id = request.form.get("case_id", "").strip()
    try:
        if not case_id:
            raise InvalidContent("Choose the case that the study belongs to.")
        _join_study(visit, case_id, request.form)
    except RETRYABLE as error:
        return _again(visit, error)
    flash(DONE["join-study"])
    return redirect(url_for("pages.case", case_id=case_id))


def _again(visit: Visit, error: GatewayError) -> tuple[str, int]:
    attempt = pages.Attempt(_form_id("join-study"), str(error), request.form)
    return pages.imaging_page(visit, attempt), http_status(error)
