"""What staff do with a case: accept, ask, assign, decline, waive a finding, decide about held imaging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway import audit
from gateway.case.access import Origin, Role, User, require_role
from gateway.case.status import OPEN, Action, move
from gateway.clock import utc_now
from gateway.errors import Conflict, InvalidContent, NotFound, ReviewBlocked
from gateway.store import cases, findings, studies, users
from gateway.store.database import Session
from gateway.store.tables import CaseRow
from gateway.workflow import intake, notify
from gateway.workflow.durable import Work

if TYPE_CHECKING:
    from gateway.services import Services


@contextmanager
def _acting(services: Services, user: User, case_id: str) -> Iterator[tuple[Session, CaseRow]]:
    """One transaction on one locked case, stamped as changed; subscribers are told where it stands then."""
    with services.database.transaction() as session:
        row = cases.row(session, user, case_id, lock=True)
        yield session, row
        row.updated_at = utc_now()
        notify.tell_status(services, session, row)


def _required(text: str, what: str) -> str:
    if not text.strip():
        raise InvalidContent(f"{what} is missing.")
    return text.strip()


def accept(services: Services, user: User, case_id: str, origin: Origin) -> None:
    """Take the case for review, with everything of it looked at.

    Raises ReviewBlocked while a blocking finding is open, Conflict when more arrives meanwhile.
    """
    require_role(user, Role.INTAKE)
    intake.catch_up(services, case_id)
    with _acting(services, user, case_id) as (session, row):
        status = move(row.status, Action.ACCEPT, user.roles)
        refuse_if_blocked(session, row.id)
        intake.refuse_if_behind(cases.to_case(session, row))
        row.status = status
        audit.record(session, user, Action.ACCEPT, f"case:{row.id}", case_id=row.id, origin=origin)


def refuse_if_blocked(session: Session, case_id: str) -> None:
    """Raises ReviewBlocked naming the open findings that block review."""
    case = findings.of_case(session, case_id)
    blocking = [f.finding.subject for f in case if f.finding.severity == "blocks" and f.state == "open"]
    if blocking:
        raise ReviewBlocked(f"Not possible while these block review: {'; '.join(blocking)}.")


def ask(
    services: Services, user: User, case_id: str, text: str, finding_ids: Sequence[str], origin: Origin
) -> str:
    """Ask the referring hospital. It sees the enquiry as a Task; findings named here answer it by closing."""
    text = _required(text, "The question to the hospital")
    with _acting(services, user, case_id) as (session, row):
        row.status = move(row.status, Action.ASK, user.roles)
        known = {f.id for f in findings.of_case(session, row.id)}
        if not known.issuperset(finding_ids):
            raise NotFound("A finding that the question names is not of this case.")
        enquiry_id = findings.add_enquiry(session, row.id, text, finding_ids, user.name, utc_now())
        audit.record(session, user, Action.ASK, f"enquiry:{enquiry_id}", case_id=row.id, origin=origin)
        notify.tell_question(services, session, row, enquiry_id)
        return enquiry_id


def decline(services: Services, user: User, case_id: str, because: str, origin: Origin) -> None:
    """Refuse the case; the hospital sees the reason."""
    because = _required(because, "The reason for declining")
    with _acting(services, user, case_id) as (session, row):
        row.status = move(row.status, Action.DECLINE, user.roles)
        row.declined_because = because
        audit.record(session, user, Action.DECLINE, f"case:{row.id}", case_id=row.id, origin=origin)


def assign(services: Services, user: User, case_id: str, specialist_id: str, origin: Origin) -> None:
    """Give the case to a specialist, who alone may then write its opinion."""
    with _acting(services, user, case_id) as (session, row):
        status = move(row.status, Action.ASSIGN, user.roles)
        specialist = users.get(session, specialist_id)
        if specialist is None or Role.SPECIALIST not in specialist.roles:
            raise NotFound("No such specialist.")
        row.status, row.assignee_id = status, specialist.id
        audit.record(
            session,
            user,
            Action.ASSIGN,
            f"case:{row.id}",
            case_id=row.id,
            origin=origin,
            assignee=specialist.id,
        )


def close(services: Services, user: User, case_id: str, origin: Origin) -> None:
    """End a delivered case."""
    with _acting(services, user, case_id) as (session, row):
        row.status = move(row.status, Action.CLOSE, user.roles)
        audit.record(session, user, Action.CLOSE, f"case:{row.id}", case_id=row.id, origin=origin)


def waive(
    services: Services, user: User, case_id: str, finding_id: str, because: str, origin: Origin
) -> None:
    """A person decides that review may go on in spite of a finding; the report still declares it."""
    because = _required(because, "The reason for waiving")
    with _acting(services, user, case_id) as (session, row):
        require_role(user, Role.INTAKE)
        _refuse_when_over(row)
        if not findings.waive(session, row.id, finding_id, user.name, because, utc_now()):
            raise Conflict("This finding is not open.")
        audit.record(session, user, "waive", f"finding:{finding_id}", case_id=row.id, origin=origin)


def join_study(
    services: Services, user: User, case_id: str, study_id: str, because: str, origin: Origin
) -> None:
    """A person decides that a waiting, held or refused study belongs to this case (undone by ``part_study``)."""
    because = _required(because, "The reason for joining")
    with _acting(services, user, case_id) as (session, row):
        require_role(user, Role.INTAKE)
        _refuse_when_over(row)
        study = studies.row(session, user, study_id, lock=True)
        if study.partner_id != row.partner_id:
            raise Conflict("The study came from another partner than the case.")
        if study.join_state == studies.JOINED:
            raise Conflict("The study belongs to a case already; take it out of that one first.")
        study.case_id, study.join_state, study.decided_by = row.id, studies.JOINED, user.actor
        study.join_reasons = [because]
        audit.record(session, user, "join-study", f"study:{study.id}", case_id=row.id, origin=origin)
        services.jobs.enqueue(session, Work.CHECK_CASE, row.id)


def part_study(
    services: Services, user: User, case_id: str, study_id: str, because: str, origin: Origin
) -> None:
    """A person decides that a study does not belong to this case; it waits for another, and never joins by itself."""
    because = _required(because, "The reason for taking the study out")
    with _acting(services, user, case_id) as (session, row):
        require_role(user, Role.INTAKE)
        _refuse_when_over(row)
        study = studies.row(session, user, study_id, lock=True)
        if study.case_id != row.id:
            raise NotFound("The study is not of this case.")
        study.case_id, study.join_state, study.decided_by = None, studies.REFUSED, user.actor
        study.join_reasons = [because]
        audit.record(session, user, "part-study", f"study:{study.id}", case_id=row.id, origin=origin)
        services.jobs.enqueue(session, Work.CHECK_CASE, row.id)


def _refuse_when_over(row: CaseRow) -> None:
    if row.status not in OPEN or row.status in ("signed", "delivered"):
        raise Conflict(f"The case is {row.status}: what its opinion rests on is not changed any more.")
