"""Draft and sign. Signing freezes the opinion, its report and what the report declares as missing."""

from gateway import audit
from gateway.case.access import Origin, User, require_author
from gateway.case.confirmation import fingerprint
from gateway.case.model import DeliveryState
from gateway.case.status import Action, move
from gateway.clock import utc_now
from gateway.errors import Conflict, InvalidContent
from gateway.services import Services
from gateway.store import cases, opinions, partners
from gateway.store.objects import keep_bytes
from gateway.store.resources import dumps
from gateway.workflow.durable import Work
from gateway.workflow.review import refuse_if_blocked
from mappings.opinion_to_report import report_of, to_diagnostic_report
from mappings.report_to_document import to_html, to_pdf

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
    the case is no longer what was confirmed.
    """
    with services.database.transaction() as session:
        row = cases.row(session, user, case_id, lock=True)
        require_author(user, row)
        status = move(row.status, Action.SIGN, user.roles)
        refuse_if_blocked(session, row.id)
        case = cases.to_case(session, row)
        opinion = case.draft_opinion
        if opinion is None or not opinion.conclusion.strip():
            raise InvalidContent("An opinion needs a conclusion before it can be signed.")
        if confirmed and confirmed != fingerprint(case):
            raise Conflict("The case has changed since you looked at it. Read it again before you sign.")
        now = utc_now()
        report = report_of(case, opinion, now, services.config.programme_name)
        html, pdf = to_html(report).encode(), to_pdf(report)
        resource = to_diagnostic_report(report, services.config.fhir_base, html, pdf)
        content = dumps(resource).encode()
        stored = keep_bytes(services.objects, [content])
        opinions.freeze(
            session,
            opinion.id,
            opinions.FrozenReport(
                report_key=stored.key,
                report_sha256=stored.sha256,
                html_key=keep_bytes(services.objects, [html]).key,
                pdf_key=keep_bytes(services.objects, [pdf]).key,
            ),
            now,
        )
        row.status, row.updated_at = status, now
        audit.record(
            session,
            user,
            Action.SIGN,
            f"opinion:{opinion.id}",
            case_id=row.id,
            origin=origin,
            report_sha256=stored.sha256,
        )
        opinions.add_delivery(
            session,
            row.id,
            opinion.id,
            PORTAL,
            f"/fhir/DiagnosticReport/{opinion.id}",
            DeliveryState.AVAILABLE,
            now,
        )
        endpoint = partners.get(session, row.partner_id).fhir_endpoint
        if endpoint:
            delivery_id = opinions.add_delivery(
                session, row.id, opinion.id, FHIR_PUSH, endpoint, DeliveryState.PENDING, now
            )
            services.jobs.enqueue(session, Work.DELIVER, delivery_id)
        return opinion.id
