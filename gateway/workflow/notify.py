"""What happens to a case, counted for those who have subscribed to it: in the transaction in which it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.case.subscription import Content, SubscriptionStatus, Topic, Wanted
from gateway.clock import utc_now
from gateway.store import cases, subscriptions
from gateway.store.database import Session
from gateway.store.resources import loads
from gateway.store.tables import CaseRow, SubscriptionRow
from gateway.workflow.durable import Work
from mappings.subscription_request import Refused, wanted_of

if TYPE_CHECKING:
    from gateway.services import Services


def tell_status(services: Services, session: Session, case: CaseRow) -> None:
    """An event where the case stands elsewhere than subscribers were last told; any number of times."""
    if case.status != case.told_status:
        case.told_status = case.status
        _tell(services, session, case, Topic.CASE_STATUS, f"Task/{case.id}")


def tell_question(services: Services, session: Session, case: CaseRow, enquiry_id: str) -> None:
    _tell(services, session, case, Topic.QUESTION, f"Task/{enquiry_id}", f"Task/{case.id}")


def tell_report(services: Services, session: Session, case: CaseRow, opinion_id: str) -> None:
    """The report can be read from now on."""
    _tell(services, session, case, Topic.REPORT, f"DiagnosticReport/{opinion_id}", f"Task/{case.id}")


def _tell(
    services: Services, session: Session, case: CaseRow, topic: Topic, focus: str, context: str = ""
) -> None:
    now = utc_now()
    for row in subscriptions.listening(session, case.partner_id, topic, now):
        if _concerns(services, row, case):
            subscriptions.add_event(session, row, focus, context, case.id, now)
            send_soon(services, session, row)


def _concerns(services: Services, row: SubscriptionRow, case: CaseRow) -> bool:
    patient = cases.identity_of(case).patient
    child = (patient.source.reference or "") if patient and patient.source else ""
    facts = {
        "_id": case.id,
        "patient": child,
        "subject": child,
        "focus": case.service_request,
        "based-on": case.service_request,
        "part-of": f"Task/{case.id}",
        "business-status": case.status,
    }
    try:
        return wanted(services, row).concerns(facts)
    except Refused:
        return True


def wanted(services: Services, row: SubscriptionRow) -> Wanted:
    """As it was asked for. Raises Refused where it cannot be had any more."""
    return wanted_of(loads(row.content), services.config.fhir_base)


def content_of(services: Services, row: SubscriptionRow) -> Content:
    """Nothing where it cannot be had any more."""
    try:
        return wanted(services, row).content
    except Refused:
        return Content.EMPTY


def send_soon(services: Services, session: Session, row: SubscriptionRow) -> None:
    """At once also where an earlier failure has put off the next try, which this takes the place of."""
    if row.status not in (SubscriptionStatus.ACTIVE, SubscriptionStatus.REQUESTED):
        return
    if row.failing_since is not None:
        row.round += 1
    services.jobs.enqueue(session, Work.NOTIFY, f"{row.id}/{row.round}")
