"""Storage commitment (PS3.4 Annex J): a sender may delete what is committed, so that is looked at byte by byte.

The outcome is reported on the association of the request while that lasts, else by the worker on one to the registered
application entity, again and again until the peer takes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from gateway import audit
from gateway.case.access import NO_ORIGIN, SYSTEM_ACTOR, Origin, Partner
from gateway.clock import utc_now
from gateway.errors import Conflict, GatewayError, NotFound
from gateway.store import commitments, partners
from gateway.workflow.durable import Work
from mappings.storage_commitment import (
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    CommitmentRequest,
    Failure,
    Reason,
    Reference,
    to_event,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from gateway.services import Services
    from gateway.store.partners import ApplicationEntity
    from gateway.store.tables import CommitmentRow

HOLD_SECONDS = 30.0  # for the association of the request; the worker's third try comes after it
COMMIT, REPORT, UNDELIVERED, RETRY = "commit-storage", "report-commitment", "commitment-undelivered", "retry"
_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")  # Explicit, Implicit VR Little Endian
_CHUNK_BYTES = 1024 * 1024
_INSTANCES_AT_ONCE = 1000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """What is reported: N-EVENT-REPORT of ``type`` with ``information``."""

    type: int
    information: Dataset
    committed: int
    failed: int


def request(
    services: Services, partner: Partner, ae_title: str, asked: CommitmentRequest, origin: Origin
) -> str:
    """Take a request on; returns its id. From now on it is reported, whatever happens.

    The same request again is reported again. Another one under a Transaction UID that is in use fails as a whole.
    """
    references = [(one.sop_class_uid, one.sop_instance_uid) for one in asked.references]
    with services.database.transaction() as session:
        known = commitments.of_transaction(session, partner, asked.transaction_uid)
        held_until = utc_now() + timedelta(seconds=HOLD_SECONDS)
        if (
            known is not None
            and known.ae_title == ae_title
            and known.references == [list(one) for one in references]
        ):
            row = known
            row.state, row.held_until, row.updated_at = commitments.WAITING, held_until, utc_now()
        else:
            row = commitments.add(
                session,
                partner,
                ae_title,
                asked.transaction_uid,
                references,
                is_duplicate=known is not None,
                held_until=held_until,
            )
        subject = f"commitment:{row.id}"
        audit.record(session, partner, COMMIT, subject, origin=origin, instances=len(references))
        services.jobs.enqueue(session, Work.REPORT_COMMITMENT, row.id)
        return row.id


def examine(services: Services, commitment_id: str, go_on: Callable[[], bool] = lambda: True) -> Event | None:
    """What is committed and what is not, and why; None when it was told not to ``go_on``. Raises StoreUnavailable."""
    with services.database.reading() as session:
        row = commitments.get(session, commitment_id)
    asked = [Reference(*reference) for reference in row.references]
    failures: list[Failure] = []
    for first in range(0, len(asked), _INSTANCES_AT_ONCE):
        failures += _failures(services, row, asked[first : first + _INSTANCES_AT_ONCE], go_on)
        if not go_on():
            return None
    failed = {failure.reference for failure in failures}
    committed = [reference for reference in asked if reference not in failed]
    event_type, information = to_event(row.transaction_uid, committed, failures, services.config.ae_title)
    return Event(event_type, information, len(committed), len(failures))


def _failures(
    services: Services, row: CommitmentRow, asked: list[Reference], go_on: Callable[[], bool]
) -> list[Failure]:
    if row.is_duplicate:
        return [Failure(reference, Reason.DUPLICATE_TRANSACTION_UID) for reference in asked]
    with services.database.reading() as session:
        kept = commitments.instances(session, row.partner_id, [one.sop_instance_uid for one in asked])
    failures = []
    for reference in asked:
        if not go_on():
            break
        reason = _reason(services, reference, kept.get(reference.sop_instance_uid, []))
        if reason is not None:
            failures.append(Failure(reference, reason))
    return failures


def _reason(services: Services, reference: Reference, kept: list[Any]) -> Reason | None:
    """None where it is kept whole: of several data sets under one UID each must be."""
    if not kept:
        return Reason.NO_SUCH_INSTANCE
    if all(row.sop_class_uid != reference.sop_class_uid for row in kept):
        return Reason.CLASS_CONFLICT
    if all(_is_whole(services, row) for row in kept):
        return None
    return Reason.PROCESSING_FAILURE


def _is_whole(services: Services, row: Any) -> bool:
    """Read to the end: the sender will delete its own copy."""
    found, size = hashlib.sha256(), 0
    try:
        with services.objects.open(row.object_key) as file:
            while chunk := file.read(_CHUNK_BYTES):
                found.update(chunk)
                size += len(chunk)
    except NotFound:
        size = -1
    if size == row.size_bytes and found.hexdigest() == row.sha256:
        return True
    log.error("stored-object-damaged", instance=row.id, object=row.object_key)
    return False


def attempt(services: Services, commitment_id: str, last: bool) -> bool:
    """One try to report on an association of our own; True when it is reported or given up.

    May be repeated at any time: a peer that is told twice has been told the same.
    """
    with services.database.reading() as session:
        row = commitments.get(session, commitment_id)
    if row.state != commitments.WAITING:
        return True
    if row.held_until is not None and row.held_until > utc_now() and not last:
        return False
    error, final = _report(services, row)
    if error and (final or last):
        _record(services, commitment_id, commitments.UNDELIVERED, error)
        return True
    _record(services, commitment_id, commitments.WAITING if error else commitments.REPORTED, error)
    return not error


def _report(services: Services, row: CommitmentRow) -> tuple[str, bool]:
    """Why it could not be reported, '' when it was; and whether trying again is of no use."""
    try:
        entity = _entity(services, row)
        event = examine(services, row.id)
        if event is None:
            return "It was not examined.", False
        with services.call(entity, [(SOP_CLASS_UID, _SYNTAXES)], provided=(SOP_CLASS_UID,)) as scu:
            answer = scu.report_event(SOP_CLASS_UID, SOP_INSTANCE_UID, event.type, event.information)
        if answer.is_success or answer.is_warning:
            return "", True
        return f"The peer answered with status {answer.status:04X}.", False
    except (Conflict, NotFound) as error:
        return str(error), True
    except GatewayError as error:
        return str(error), False


def _entity(services: Services, row: CommitmentRow) -> ApplicationEntity:
    """As registered now: what was corrected since holds. Raises Conflict where it can be called no more."""
    with services.database.reading() as session:
        partner = partners.get(session, row.partner_id)
    if partner.disabled:
        raise Conflict("The hospital is disabled, and is sent nothing.")
    found = next((ae for ae in partner.application_entities if ae.ae_title == row.ae_title), None)
    if found is None or not found.host:
        raise Conflict(f"No host and port are registered for the AE {row.ae_title}.")
    return found


def record_reported(services: Services, commitment_id: str) -> None:
    """The peer has taken the report on the association of its request."""
    _record(services, commitment_id, commitments.REPORTED, "")


def leave_to_worker(services: Services, commitment_id: str) -> None:
    """The association of the request could not be used for the report, or not any more."""
    with services.database.transaction() as session:
        commitments.get(session, commitment_id, lock=True).held_until = None


def _record(services: Services, commitment_id: str, state: str, error: str) -> None:
    with services.database.transaction() as session:
        row = commitments.get(session, commitment_id, lock=True)
        if row.state != commitments.WAITING:
            return
        row.attempts += 1
        row.state, row.last_error, row.updated_at = state, error, utc_now()
        if state != commitments.WAITING:
            action = REPORT if state == commitments.REPORTED else UNDELIVERED
            subject = f"commitment:{row.id}"
            audit.record(session, SYSTEM_ACTOR, action, subject, origin=NO_ORIGIN, attempts=row.attempts)


def retry(services: Services, commitment_id: str) -> None:
    """An operator has put right what kept it from being reported. Raises NotFound, Conflict unless it was given up."""
    with services.database.transaction() as session:
        row = commitments.get(session, commitment_id, lock=True)
        if row.state != commitments.UNDELIVERED:
            raise Conflict(
                f"Only a commitment that could not be delivered can be tried again; this one is {row.state}."
            )
        row.state, row.held_until, row.updated_at = commitments.WAITING, None, utc_now()
        services.jobs.enqueue(session, Work.REPORT_COMMITMENT, row.id)
        audit.record(session, SYSTEM_ACTOR, RETRY, f"commitment:{row.id}")
