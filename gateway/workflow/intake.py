"""Intake: open the documents, run the checks, let findings open and close, tell what that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway import audit
from gateway.case import checks
from gateway.case.access import SYSTEM_ACTOR
from gateway.case.model import Case, Content, Document, Finding
from gateway.case.status import OPEN, Action, CaseStatus, move
from gateway.clock import utc_now
from gateway.errors import Conflict, NotFound
from gateway.store import cases, examinations, findings
from gateway.store.database import Session
from gateway.store.findings import Reconciled
from gateway.store.tables import CaseRow
from gateway.workflow import notify
from gateway.workflow.documents import bytes_of
from gateway.workflow.examination import problem_of
from gateway.workflow.place_study import place_study, undecided_for
from mappings.checklist_tables import CHECKLISTS

if TYPE_CHECKING:
    from gateway.services import Services

CHANGED = "The case has changed since you looked at it. Read it again before you decide."


def catch_up(services: Services, case_id: str) -> None:
    """Do at once what else the worker would do for the case: nobody decides on what is only half looked at.

    Each step is a transaction of its own and may be done twice, so that the worker may be at it too.
    """
    with services.database.reading() as session:
        waiting = undecided_for(session, cases.row(session, SYSTEM_ACTOR, case_id))
    for study_id in waiting:
        place_study(services, study_id)
    check_case(services, case_id)


def refuse_if_behind(case: Case) -> None:
    """Raises Conflict when the checks find something that is not among the findings that a decision would rest on."""
    known = {found.finding.key for found in case.unresolved_findings}
    if any(findings.key_of(found) not in known for found in found_in(case)):
        raise Conflict(CHANGED)


def found_in(case: Case) -> list[Finding]:
    """What all checks find in the case, with the checklists that are in force."""
    return checks.run(case, CHECKLISTS)


def check_case(services: Services, case_id: str) -> Reconciled:
    """Look at everything of the case again. Done any number of times it has the same result.

    Nothing opens or closes in a case that is closed or declined.
    """
    examine_documents(services, case_id)
    with services.database.transaction() as session:
        row = cases.row(session, SYSTEM_ACTOR, case_id, lock=True)
        if row.status not in OPEN:
            return Reconciled((), ())
        cases.set_record(row, examinations.apply(session, cases.load_record(row.record)))
        case = cases.to_case(session, row)
        changed = findings.reconcile(session, case_id, found_in(case), utc_now())
        for key in changed.opened:
            audit.record(session, SYSTEM_ACTOR, "finding-opened", f"finding:{key}", case_id=case_id)
        for key in changed.closed:
            audit.record(session, SYSTEM_ACTOR, "finding-closed", f"finding:{key}", case_id=case_id)
        if changed.opened or changed.closed:
            row.updated_at = utc_now()
        _answer_enquiries(session, row)
        notify.tell_status(services, session, row)
    return changed


def examine_documents(services: Services, case_id: str) -> None:
    """Open each attachment once; no transaction that writes is open meanwhile, since it may take long."""
    with services.database.reading() as session:
        row = cases.row(session, SYSTEM_ACTOR, case_id)
        documents = cases.load_record(row.record).documents
        wanted = {examinations.key(d): d for d in documents if d.content is Content.PRESENT and d.sha256}
        done = examinations.known(session, set(wanted))
    for key, document in wanted.items():
        if key not in done:
            _examine(services, row.partner_id, document)


def _examine(services: Services, partner_id: str, document: Document) -> None:
    try:
        with services.database.reading() as session:
            content = bytes_of(session, partner_id, document)
    except (NotFound, Conflict):
        return  # replaced since the record was read: the replacement's own check is under way
    problem = problem_of(services.limited, content, document.content_type)
    with services.database.transaction() as session:
        examinations.add(session, *examinations.key(document), problem, utc_now())


def _answer_enquiries(session: Session, row: CaseRow) -> None:
    """Enquiries whose findings have all closed are answered; the case goes back to intake."""
    answered = findings.answer_enquiries(session, row.id, utc_now())
    for enquiry_id in answered:
        audit.record(session, SYSTEM_ACTOR, "enquiry-answered", f"enquiry:{enquiry_id}", case_id=row.id)
    still_open = any(e.answered_at is None for e in findings.enquiries_of_case(session, row.id))
    if answered and not still_open and row.status == CaseStatus.AWAITING_INFORMATION:
        row.status = move(row.status, Action.ANSWER, SYSTEM_ACTOR.roles)
