"""Bring the signed report back: push it, or learn that it was fetched; tried again until a person must look."""

from __future__ import annotations

import hashlib
import secrets
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from gateway import audit
from gateway.case.access import NO_ORIGIN, SYSTEM_ACTOR, Origin, Partner, Role, User, Viewer, require_role
from gateway.case.model import DeliveryState, Study
from gateway.case.status import Action, CaseStatus, move
from gateway.clock import utc_now
from gateway.errors import Conflict, GatewayError, NotFound, PeerRefused, StoreUnavailable
from gateway.store import cases, opinions, partners, resources
from gateway.store.objects import read_bytes
from gateway.store.resources import StoredResource
from gateway.workflow.durable import Work
from gateway.workflow.opinion import PORTAL
from mappings.report_to_bundle import to_transaction
from mappings.study_to_imaging_study import to_imaging_study

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from gateway.services import Services
    from gateway.store.partners import Registration
    from gateway.store.tables import CaseRow, DeliveryRow, OpinionRow

log = structlog.get_logger(__name__)

DELIVER_FAILED, DELIVER_DELAYED, RETRY = "deliver-failed", "deliver-delayed", "retry-delivery"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt. ``error`` is safe to show; ``final`` means that trying again is of no use."""

    receipt: str = ""
    error: str = ""
    final: bool = False


def attempt(services: Services, delivery_id: str, last: bool) -> bool:
    """One try; True when the delivery is finished, delivered or failed for good, False when it must be tried again.

    May be repeated at any time: a crash after sending and before recording leads to a second sending, which the
    receiver's conditional create makes harmless. Nothing is sent inside a transaction.
    """
    with services.database.reading() as session:
        if opinions.delivery_row(session, delivery_id).state != DeliveryState.PENDING:
            return True
    outcome = _try(services, delivery_id)
    finished = bool(outcome.receipt) or outcome.final or last
    _record(services, delivery_id, outcome, finished)
    return finished


def _try(services: Services, delivery_id: str) -> Outcome:
    try:
        partner, address, bundle = _parcel(services, delivery_id)
        return Outcome(receipt=services.push(partner, address, bundle))
    except (PeerRefused, NotFound) as error:
        return Outcome(error=str(error), final=True)
    except GatewayError as error:
        return Outcome(error=str(error))
    except Exception as error:  # noqa: BLE001 (edge of a durable step: an unknown fault must not end the tries unseen)
        return Outcome(
            error=f"The report could not be sent; the log tells why under {_logged(error, delivery_id)}."
        )


def _logged(error: Exception, delivery_id: str) -> str:
    """Where an unknown fault came from, under a reference; never its text, which may quote the record."""
    reference = secrets.token_hex(4)
    place = traceback.extract_tb(error.__traceback__)[-1]
    log.error(
        "delivery.fault",
        reference=reference,
        delivery=delivery_id,
        fault=type(error).__name__,
        place=f"{place.name}:{place.lineno}",
    )
    return reference


def _parcel(services: Services, delivery_id: str) -> tuple[Registration, str, bytes]:
    """To whom, where to, and the transaction with the report as it was frozen."""
    with services.database.reading() as session:
        delivery = opinions.delivery_row(session, delivery_id)
        report = resources.loads(_signed_bytes(services, opinions.row(session, delivery.opinion_id)))
        case = cases.load(session, SYSTEM_ACTOR, delivery.case_id)
        partner = partners.get(session, case.partner_id)
        patient = _as_sent(session, case.partner_id, report.get("subject"))
        order = _as_sent(session, case.partner_id, (report.get("basedOn") or [None])[0])
    studies = _imaging(services, report, case.studies)
    bundle = to_transaction(report, patient, order, studies)
    return partner, delivery.address, resources.dumps(bundle).encode()


def _signed_bytes(services: Services, opinion: OpinionRow) -> bytes:
    """Raises StoreUnavailable when the stored bytes are not those that were signed."""
    content = read_bytes(services.objects, opinion.report_key)
    if hashlib.sha256(content).hexdigest() != opinion.report_sha256:
        raise StoreUnavailable("The stored report is not the one that was signed.")
    return content


def _as_sent(session: Session, partner_id: str, reference: dict[str, Any] | None) -> dict[str, Any] | None:
    """The partner's own resource that the report refers to, or None."""
    wanted = (reference or {}).get("reference", "")
    found: list[StoredResource] = resources.by_reference(session, partner_id, [wanted]) if wanted else []
    return found[0].content if found else None


def _imaging(services: Services, report: dict[str, Any], studies: Sequence[Study]) -> list[dict[str, Any]]:
    """The studies that the report names, as they are now."""
    named = {reference.get("reference") for reference in report.get("imagingStudy", ())}
    patient = report.get("subject", {}).get("reference", "")
    base = f"{services.config.base_url}/dicom-web"
    return [to_imaging_study(s, patient, base) for s in studies if f"ImagingStudy/{s.id}" in named]


def _record(services: Services, delivery_id: str, outcome: Outcome, finished: bool) -> None:
    with services.database.transaction() as session:
        case_id = opinions.delivery_row(session, delivery_id).case_id
        case = cases.row(session, SYSTEM_ACTOR, case_id, lock=True)
        delivery = opinions.delivery_row(session, delivery_id, lock=True)
        if delivery.state != DeliveryState.PENDING:
            return
        delivery.attempts += 1
        delivery.last_error, delivery.updated_at = outcome.error, utc_now()
        if outcome.receipt:
            _delivered(session, SYSTEM_ACTOR, case, delivery, outcome.receipt, NO_ORIGIN)
            return
        if finished:
            delivery.state = DeliveryState.FAILED
        action = DELIVER_FAILED if finished else DELIVER_DELAYED
        subject = f"delivery:{delivery.id}"
        audit.record(session, SYSTEM_ACTOR, action, subject, case_id=case.id, attempts=delivery.attempts)


def _delivered(
    session: Session, viewer: Viewer, case: CaseRow, delivery: DeliveryRow, receipt: str, origin: Origin
) -> None:
    """The receipt is on the case; a case that another way has delivered already stays as it is."""
    now = utc_now()
    delivery.state, delivery.receipt, delivery.updated_at = DeliveryState.DELIVERED, receipt, now
    if case.status == CaseStatus.SIGNED:
        case.status = move(case.status, Action.DELIVER, SYSTEM_ACTOR.roles)
    case.updated_at = now
    audit.record(
        session,
        viewer,
        Action.DELIVER,
        f"delivery:{delivery.id}",
        case_id=case.id,
        origin=origin,
        delivery_channel=delivery.channel,
        attempts=delivery.attempts,
    )


def record_read(services: Services, partner: Partner, opinion_id: str, origin: Origin) -> None:
    """The hospital fetched the signed report itself: the first fetch is the receipt.

    Raises NotFound for an opinion that is not signed or not of a case of the partner.
    """
    with services.database.reading() as session:
        if _available(session, partner, opinion_id) is None:
            return
    with services.database.transaction() as session:
        case = cases.row(session, partner, opinions.row(session, opinion_id).case_id, lock=True)
        delivery = _available(session, partner, opinion_id)
        if delivery is None:
            return
        receipt = (
            f"Fetched on {utc_now():%Y-%m-%d at %H:%M:%S} UTC from {origin.address or 'an unknown address'}"
        )
        delivery.attempts += 1
        _delivered(session, partner, case, delivery, receipt, origin)


def _available(session: Session, partner: Partner, opinion_id: str) -> DeliveryRow | None:
    """The delivery that waits to be fetched; None when it was fetched before."""
    opinion = opinions.row(session, opinion_id)
    cases.row(session, partner, opinion.case_id)
    if opinion.signed_at is None:
        raise NotFound("No such opinion.")
    rows = opinions.delivery_rows(session, opinion_id)
    waiting = (r for r in rows if r.channel == PORTAL and r.state == DeliveryState.AVAILABLE)
    return next(waiting, None)


def retry(services: Services, user: User, delivery_id: str, origin: Origin) -> None:
    """A person has seen why it failed and has it tried again. Raises Conflict unless the delivery has failed."""
    with services.database.transaction() as session:
        require_role(user, Role.INTAKE)
        case = cases.row(session, user, opinions.delivery_row(session, delivery_id).case_id, lock=True)
        delivery = opinions.delivery_row(session, delivery_id, lock=True)
        if delivery.state != DeliveryState.FAILED:
            raise Conflict(
                f"Only a delivery that has failed can be tried again; this one is {delivery.state}."
            )
        delivery.state = DeliveryState.PENDING
        delivery.updated_at = case.updated_at = utc_now()
        services.jobs.enqueue(session, Work.DELIVER, delivery.id)
        audit.record(session, user, RETRY, f"delivery:{delivery.id}", case_id=case.id, origin=origin)
