"""Draft and sign. Signing freezes the opinion, its report and what the report declares as missing."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from gateway import audit
from gateway.case.access import Origin, User, require_author
from gateway.case.confirmation import fingerprint
from gateway.case.model import Case, DeliveryState, Opinion
from gateway.case.status import Action, move
from gateway.clock import utc_now
from gateway.errors import Conflict, InvalidContent
from gateway.store import cases, opinions, partners
from gateway.store.database import Session
from gateway.store.objects import keep_bytes
from gateway.store.resources import dumps
from gateway.workflow.durable import Work
from gateway.workflow.review import refuse_if_blocked
from mappings.opinion_to_report import report_of, to_diagnostic_report
from mappings.report_to_document import to_html, to_pdf

if TYPE_CHECKING:
    from gateway.services import Services

_CHANGED = "The case has changed since you looked at it. Read it again before you sign."
PORTAL, FHIR_PUSH = "fhir-read", "fhir-push"


def draft(
    services: Services,
    user: User,
    case_id: str,
    findings_text: str,
    conclusion: str,
    recommendations: str,
    origin: Origin,
) -> str:
    """Save the specialist's draft; returns its id. Raises Forbidden unless the case is assigned to the user."""
    with services.database.transaction() as session:
        row = cases.row(session, user, case_id, lock=True)
        require_author(user, row)
        row.status = move(row.status, Action.DRAFT, user.roles)
        now = utc_now()
        saved = opinions.save_draft(session, row.id, user, findings_text, conclusion, recommendations, now)
        row.updated_at = now
        audit.record(session, user, Action.DRAFT, f"opinion:{saved.id}", case_id=row.id, origin=origin)
        return saved.id


def sign(services: Services, user: User, case_id: str, origin: Origin, confirmed: str = "") -> str:
    """Sign the draft: freeze it, make the report, hand it over for delivery; returns the opinion's id.

    ``confirmed`` is the fingerprint (case/confirmation.py) of what the signer was shown, where somebody was shown it.
    Raises ReviewBlocked while a blocking finding is open, InvalidContent when there is no conclusion, Conflict when
    the case is no longer what was confirmed, or changes while the report is made.
    """
    with services.database.reading() as session:
        case, opinion = _ready_to_sign(session, user, case_id)
    seen = fingerprint(case)
    if confirmed and confirmed != seen:
        raise Conflict(_CHANGED)
    now = utc_now()
    frozen = _make_report(services, case, opinion, now)
    with services.database.transaction() as session:
        row = cases.row(session, user, case_id, lock=True)
        case, opinion = _ready_to_sign(session, user, case_id)
        if fingerprint(case) != seen:
            raise Conflict(_CHANGED)
        opinions.freeze(session, opinion.id, frozen, now)
        row.status, row.updated_at = move(row.status, Action.SIGN, user.roles), now
        audit.record(
            session,
            user,
            Action.SIGN,
            f"opinion:{opinion.id}",
            case_id=row.id,
            origin=origin,
            report_sha256=frozen.report_sha256,
        )
        _hand_over(services, session, case, opinion.id, now)
    return opinion.id


def _ready_to_sign(session: Session, user: User, case_id: str) -> tuple[Case, Opinion]:
    """The case and its draft, if this user may sign it now."""
    row = cases.row(session, user, case_id)
    require_author(user, row)
    move(row.status, Action.SIGN, user.roles)
    refuse_if_blocked(session, row.id)
    case = cases.to_case(session, row)
    opinion = case.draft_opinion
    if opinion is None or not opinion.conclusion.strip():
        raise InvalidContent("An opinion needs a conclusion before it can be signed.")
    return case, opinion


def _make_report(
    services: Services, case: Case, opinion: Opinion, signed_at: datetime
) -> opinions.FrozenReport:
    """The report's three forms, stored; takes a second, and therefore no transaction is open meanwhile."""
    report = report_of(case, opinion, signed_at, services.config.programme_name)
    html, pdf = to_html(report).encode(), to_pdf(report)
    resource = to_diagnostic_report(report, services.config.fhir_base, html, pdf)
    stored = keep_bytes(services.objects, [dumps(resource).encode()])
    return opinions.FrozenReport(
        report_key=stored.key,
        report_sha256=stored.sha256,
        html_key=keep_bytes(services.objects, [html]).key,
        pdf_key=keep_bytes(services.objects, [pdf]).key,
    )


def _hand_over(services: Services, session: Session, case: Case, opinion_id: str, now: datetime) -> None:
    """The hospital can fetch the report; where it has a FHIR endpoint it gets it."""
    address = f"/fhir/DiagnosticReport/{opinion_id}"
    opinions.add_delivery(session, case.id, opinion_id, PORTAL, address, DeliveryState.AVAILABLE, now)
    endpoint = partners.get(session, case.partner_id).fhir_endpoint
    if endpoint:
        pending = DeliveryState.PENDING
        delivery_id = opinions.add_delivery(session, case.id, opinion_id, FHIR_PUSH, endpoint, pending, now)
        services.jobs.enqueue(session, Work.DELIVER, delivery_id)
