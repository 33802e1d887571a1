"""Draft and sign. Signing freezes the opinion, its report and what the report declares as missing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway import audit
from gateway.case.access import Origin, User, require_author
from gateway.case.confirmation import fingerprint
from gateway.case.model import Case, DeliveryState, Opinion, Source
from gateway.case.status import Action, move
from gateway.clock import utc_now
from gateway.errors import Conflict, InvalidContent
from gateway.store import cases, opinions, partners, resources
from gateway.store.database import Session
from gateway.store.objects import keep_bytes
from gateway.store.tables import CaseRow
from gateway.workflow import intake, notify
from gateway.workflow.durable import Work
from gateway.workflow.review import refuse_if_blocked
from mappings.fhir_elements import objects, reference
from mappings.opinion_to_report import report_of, to_diagnostic_report
from mappings.report_to_bundle import to_transaction
from mappings.report_to_document import to_html, to_pdf
from mappings.study_to_imaging_study import to_imaging_study

if TYPE_CHECKING:
    from gateway.services import Services

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
        notify.tell_status(services, session, row)
        return saved.id


def sign(services: Services, user: User, case_id: str, confirmed: str, origin: Origin) -> str:
    """Sign the draft: freeze it, make the report, hand it over for delivery; returns the opinion's id.

    ``confirmed`` is the fingerprint (case/confirmation.py) of what the signer was shown.
    Raises ReviewBlocked while a blocking finding is open, InvalidContent when there is no conclusion, Conflict when
    the case is no longer what was confirmed, or changes while the report is made.
    """
    with services.database.reading() as session:
        _require_signer(session, user, case_id)
    intake.catch_up(services, case_id)
    with services.database.reading() as session:
        reviewed = _ready_to_sign(session, user, case_id)
    if confirmed != fingerprint(reviewed.case):
        raise Conflict(intake.CHANGED)
    now = utc_now()
    frozen = _make_report(services, reviewed, now)
    with services.database.transaction() as session:
        row = cases.row(session, user, case_id, lock=True)
        if _ready_to_sign(session, user, case_id).seal != reviewed.seal:
            raise Conflict(intake.CHANGED)
        opinion_id = reviewed.opinion.id
        opinions.freeze(session, opinion_id, frozen, now)
        row.status, row.updated_at = move(row.status, Action.SIGN, user.roles), now
        audit.record(
            session,
            user,
            Action.SIGN,
            f"opinion:{opinion_id}",
            case_id=row.id,
            origin=origin,
            report_sha256=frozen.report_sha256,
        )
        notify.tell_status(services, session, row)
        notify.tell_report(services, session, row, opinion_id)
        _hand_over(services, session, reviewed.case, opinion_id, now)
    return opinion_id


@dataclass(frozen=True, slots=True)
class _Reviewed:
    """What is signed: the case with its draft, and the Patient and ServiceRequest that it was read from."""

    case: Case
    opinion: Opinion
    patient: dict[str, Any] | None
    service_request: dict[str, Any] | None

    @property
    def seal(self) -> tuple[object, ...]:
        """Differs as soon as anything differs that the report or the parcel is made of."""
        return fingerprint(self.case), self.patient, self.service_request


def _ready_to_sign(session: Session, user: User, case_id: str) -> _Reviewed:
    """The case and its draft, if this user may sign it now."""
    row = _require_signer(session, user, case_id)
    refuse_if_blocked(session, row.id)
    case = cases.to_case(session, row)
    intake.refuse_if_behind(case)
    opinion = case.draft_opinion
    if opinion is None or not opinion.conclusion.strip():
        raise InvalidContent("An opinion needs a conclusion before it can be signed.")
    patient, record = case.record.patient, case.record
    asked = next((q.source for q in record.questions if q.source.reference == case.service_request), None)
    return _Reviewed(
        case,
        opinion,
        _as_reviewed(session, case, patient.source if patient else None),
        _as_reviewed(session, case, asked),
    )


def _require_signer(session: Session, user: User, case_id: str) -> CaseRow:
    row = cases.row(session, user, case_id)
    require_author(user, row)
    move(row.status, Action.SIGN, user.roles)
    return row


def _as_reviewed(session: Session, case: Case, source: Source | None) -> dict[str, Any] | None:
    """The resource as it was when the record was read from it; a later version may tell of another child."""
    found = resources.at_source(session, case.partner_id, source) if source else None
    return found.content if found else None


def _make_report(services: Services, reviewed: _Reviewed, signed_at: datetime) -> opinions.FrozenReport:
    """The report's three forms and the parcel, stored; takes a second, and no transaction is open meanwhile."""
    report = report_of(reviewed.case, reviewed.opinion, signed_at, services.config.programme_name)
    html, pdf = to_html(report).encode(), to_pdf(report)
    resource = to_diagnostic_report(report, services.config.fhir_base, html, pdf)
    signed = resources.dumps(resource).encode()
    parcel = _parcel(services, reviewed, resources.loads(signed))
    return opinions.FrozenReport(
        report_key=_kept(services, signed),
        report_subject=reference(resource.get("subject")),
        report_based_on=next(map(reference, objects(resource.get("basedOn"))), ""),
        report_sha256=hashlib.sha256(signed).hexdigest(),
        html_key=_kept(services, html),
        pdf_key=_kept(services, pdf),
        parcel_key=_kept(services, parcel),
        parcel_sha256=hashlib.sha256(parcel).hexdigest(),
    )


def _parcel(services: Services, reviewed: _Reviewed, report: dict[str, Any]) -> bytes:
    """The transaction for the hospital's own server: the report, and what it refers to as it was reviewed."""
    subject = report.get("subject", {}).get("reference", "")
    base = f"{services.config.base_url}/dicom-web"
    studies = [to_imaging_study(study, subject, base) for study in reviewed.case.studies]
    bundle = to_transaction(report, reviewed.patient, reviewed.service_request, studies)
    return resources.dumps(bundle).encode()


def _kept(services: Services, content: bytes) -> str:
    return keep_bytes(services.objects, [content]).key


def _hand_over(services: Services, session: Session, case: Case, opinion_id: str, now: datetime) -> None:
    """The hospital can fetch the report; where it has a FHIR endpoint it gets it."""
    address = f"/fhir/DiagnosticReport/{opinion_id}"
    opinions.add_delivery(session, case.id, opinion_id, PORTAL, address, DeliveryState.AVAILABLE, now)
    endpoint = partners.get(session, case.partner_id).fhir_endpoint
    if endpoint:
        pending = DeliveryState.PENDING
        delivery_id = opinions.add_delivery(session, case.id, opinion_id, FHIR_PUSH, endpoint, pending, now)
        services.jobs.enqueue(session, Work.DELIVER, delivery_id)
