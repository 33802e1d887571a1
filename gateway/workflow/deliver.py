"""Bring the signed report back: push it, or learn that it was fetched; tried again until a person must look."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway import audit
from gateway.case.access import NO_ORIGIN, SYSTEM_ACTOR, Origin, Partner, Role, User, Viewer, require_role
from gateway.case.model import DeliveryState
from gateway.case.status import Action, CaseStatus, move
from gateway.clock import utc_now
from gateway.errors import Conflict, GatewayError, NotFound, PeerRefused, StoreUnavailable
from gateway.store import cases, opinions, partners
from gateway.store.objects import read_bytes
from gateway.workflow import notify
from gateway.workflow.durable import Work
from gateway.workflow.faults import log_fault
from gateway.workflow.opinion import PORTAL

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from gateway.services import Services
    from gateway.store.partners import Registration
    from gateway.store.tables import CaseRow, DeliveryRow, OpinionRow

DELIVER_FAILED, DELIVER_DELAYED, RETRY = "deliver-failed", "deliver-delayed", "retry"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt at ``address``, which is empty where nothing could be sent.

    ``error`` is safe to show; ``final`` means that trying again is of no use.
    """

    address: str = ""
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
    """Sent to where the hospital is registered now, with the token for there: what was corrected since holds."""
    address = ""
    try:
        partner, bundle = _parcel(services, delivery_id)
        address = partner.fhir_endpoint
        return Outcome(address, receipt=services.push(partner, address, bundle))
    except (PeerRefused, NotFound, Conflict) as error:
        return Outcome(address, error=str(error), final=True)
    except GatewayError as error:
        return Outcome(address, error=str(error))
    except Exception as error:  # noqa: BLE001 (edge of a durable step: an unknown fault must not end the tries unseen)
        reference = log_fault("delivery.fault", error, delivery=delivery_id)
        said = f"The report could not be sent; the log tells why under {reference}."
        return Outcome(address, error=said)


def _parcel(services: Services, delivery_id: str) -> tuple[Registration, bytes]:
    """To whom, and what was frozen at signing: what the hospital has sent since changes nothing of it.

    Raises Conflict when the hospital's registration has no place for it any more.
    """
    with services.database.reading() as session:
        delivery = opinions.delivery_row(session, delivery_id)
        signed = opinions.row(session, delivery.opinion_id)
        partner = partners.get(session, cases.row(session, SYSTEM_ACTOR, delivery.case_id).partner_id)
    if partner.disabled:
        raise Conflict("The hospital is disabled, and is sent nothing.")
    if not partner.fhir_endpoint:
        raise Conflict("No FHIR endpoint is registered for the hospital any more.")
    return partner, _signed_bytes(services, signed)


def _signed_bytes(services: Services, opinion: OpinionRow) -> bytes:
    """Raises StoreUnavailable when the stored bytes are not those that were made at signing."""
    content = read_bytes(services.objects, opinion.parcel_key)
    if hashlib.sha256(content).hexdigest() != opinion.parcel_sha256:
        raise StoreUnavailable("The stored report is not the one that was signed.")
    return content


def _record(services: Services, delivery_id: str, outcome: Outcome, finished: bool) -> None:
    with services.database.transaction() as session:
        case_id = opinions.delivery_row(session, delivery_id).case_id
        case = cases.row(session, SYSTEM_ACTOR, case_id, lock=True)
        delivery = opinions.delivery_row(session, delivery_id, lock=True)
        if delivery.state != DeliveryState.PENDING:
            return
        delivery.attempts += 1
        delivery.address = outcome.address or delivery.address
        delivery.last_error, delivery.updated_at = outcome.error, utc_now()
        if outcome.receipt:
            _delivered(session, SYSTEM_ACTOR, case, delivery, outcome.receipt, NO_ORIGIN)
            notify.tell_status(services, session, case)
            return
        if finished:
            delivery.state, case.updated_at = DeliveryState.FAILED, delivery.updated_at
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
        notify.tell_status(services, session, case)


def _available(session: Session, partner: Partner, opinion_id: str) -> DeliveryRow | None:
    """The delivery that waits to be fetched; None when it was fetched before."""
    opinion = opinions.row(session, opinion_id)
    cases.row(session, partner, opinion.case_id)
    if opinion.signed_at is None:
        raise NotFound("No such opinion.")
    rows = opinions.delivery_rows(session, opinion_id)
    waiting = (r for r in rows if r.channel == PORTAL and r.state == DeliveryState.AVAILABLE)
    return next(waiting, None)


def retry(services: Services, user: User, case_id: str, delivery_id: str, origin: Origin) -> None:
    """A person has seen why it failed and has it tried again, as often as a new one would be.

    Raises NotFound for a delivery of another case, Conflict unless it has failed.
    """
    with services.database.transaction() as session:
        require_role(user, Role.INTAKE)
        case = cases.row(session, user, case_id, lock=True)
        delivery = opinions.delivery_row(session, delivery_id, lock=True)
        if delivery.case_id != case.id:
            raise NotFound("No such delivery.")
        if delivery.state != DeliveryState.FAILED:
            raise Conflict(
                f"Only a delivery that has failed can be tried again; this one is {delivery.state}."
            )
        delivery.state = DeliveryState.PENDING
        delivery.updated_at = case.updated_at = utc_now()
        services.jobs.enqueue(session, Work.DELIVER, delivery.id)
        audit.record(session, user, RETRY, f"delivery:{delivery.id}", case_id=case.id, origin=origin)
