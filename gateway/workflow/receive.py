"""The one door in, shared by FHIR, STOW-RS and C-STORE (decision 2).

Bytes first, row second, answer third: when a function here returns, what came in is on disk,
indexed and audited, and the work that follows from it is enqueued in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from gateway import audit
from gateway.case.access import Origin, Partner
from gateway.case.imaging import InstanceHeader
from gateway.clock import utc_now
from gateway.errors import GatewayError, InstanceMismatch, NotDicom, StudyMismatch
from gateway.store import receipts, studies
from gateway.store.database import Session
from gateway.store.objects import Spool, Stored
from gateway.workflow.durable import Work
from mappings.dicom_to_header import read_header

if TYPE_CHECKING:
    from gateway.services import Services

DICOM_MEDIA_TYPE = "application/dicom"
UNEXPECTED = "Unexpected"


@dataclass(frozen=True, slots=True)
class InstanceReceipt:
    """A stored instance.

    ``status``: new, same (this data set was here) or conflict (another one was here under this UID; both are kept).
    ``fault``: where the file is damaged behind its header, in words for the sender (ADR 18).
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    status: str
    fault: str = ""


def receive_instance(
    services: Services,
    partner: Partner,
    spool: Spool,
    origin: Origin,
    study_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
) -> InstanceReceipt:
    """Store one DICOM Part 10 file whose bytes are in ``spool``.

    Raises NotDicom (with what is wrong), StudyMismatch when the instance is of another study than
    ``study_instance_uid`` and InstanceMismatch when it is another than ``sop_instance_uid`` (of all three the bytes
    are kept as a refused receipt), StoreUnavailable when nothing could be kept.
    """
    now = utc_now()
    try:
        with spool.reader() as file:
            header = read_header(file, partner.assigning_authority)
        _require_announced(header, study_instance_uid, sop_instance_uid)
    except (NotDicom, StudyMismatch, InstanceMismatch) as error:
        keep_refused(services, partner, spool, origin, DICOM_MEDIA_TYPE, error)
        raise
    dataset_sha256 = spool.sha256_from(header.dataset_offset)
    stored = services.objects.keep(spool)
    with services.database.transaction() as session:
        status = _index_instance(services, session, partner, header, stored, dataset_sha256, origin, now)
    return InstanceReceipt(
        header.sop_class_uid,
        header.sop_instance_uid,
        header.study_instance_uid,
        header.series_instance_uid,
        status,
        header.fault,
    )


def _require_announced(
    header: InstanceHeader, study_instance_uid: str | None, sop_instance_uid: str | None
) -> None:
    if study_instance_uid is not None and header.study_instance_uid != study_instance_uid:
        raise StudyMismatch("The instance belongs to another study than the one in the address.")
    if sop_instance_uid is not None and header.sop_instance_uid != sop_instance_uid:
        raise InstanceMismatch("The data set is another instance than the one announced.")


def _index_instance(
    services: Services,
    session: Session,
    partner: Partner,
    header: InstanceHeader,
    stored: Stored,
    dataset_sha256: str,
    origin: Origin,
    now: datetime,
) -> str:
    study = studies.hold_study(session, partner, header, now)
    same = studies.same_instance(session, partner, header, dataset_sha256)
    if same is not None:
        audit.record(session, partner, "instance-same", f"instance:{same}", origin=origin)
        return "same"
    receipt = receipts.add(session, partner, stored, origin, DICOM_MEDIA_TYPE, received_at=now)
    kept = studies.keep_instance(session, study, header, receipt, stored, dataset_sha256, now)
    status = "conflict" if kept.conflict else "new"
    subject = f"instance:{kept.instance_id}"
    audit.record(session, partner, f"instance-{status}", subject, origin=origin, receipt=receipt.id)
    services.jobs.enqueue(session, Work.PLACE_STUDY, kept.study_id)
    return status


def keep_refused(
    services: Services, partner: Partner, spool: Spool, origin: Origin, content_type: str, error: Exception
) -> str:
    """Keep what could not be taken, so that a person can look at it; returns the receipt's id.

    The cause on the trail is the name of the expected error's class, else UNEXPECTED.
    """
    cause = type(error).__name__ if isinstance(error, GatewayError) else UNEXPECTED
    stored = services.objects.keep(spool)
    with services.database.transaction() as session:
        receipt = receipts.add(session, partner, stored, origin, content_type, state=receipts.REFUSED)
        audit.record(session, partner, "refused", f"receipt:{receipt.id}", origin=origin, cause=cause)
        return receipt.id
