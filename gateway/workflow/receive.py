"""The one door in, shared by FHIR, STOW-RS and C-STORE (decision 2).

Bytes first, row second, answer third: when a function here returns, what came in is on disk,
indexed and audited, and the work that follows from it is enqueued in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from gateway import audit
from gateway.case.access import Origin, Partner
from gateway.case.imaging import InstanceHeader
from gateway.clock import utc_now
from gateway.errors import GatewayError, InstanceMismatch, NotFound, StoreUnavailable, StudyMismatch
from gateway.store import receipts
from gateway.store.ids import new_id
from gateway.store.instance_index import SAME, InstanceIndex
from gateway.store.objects import Note, Spool, Stored
from gateway.store.trail import Act
from gateway.workflow.durable import Work
from mappings.dicom_to_header import read_header

if TYPE_CHECKING:
    from gateway.services import Services

DICOM_MEDIA_TYPE = "application/dicom"
UNEXPECTED, REFUSED = "Unexpected", "refused"
_CHUNK_BYTES = 1024 * 1024
_keepers = ThreadPoolExecutor(16, "keeper")  # they wait for the disk


@dataclass(frozen=True, slots=True)
class InstanceReceipt:
    """A stored instance.

    ``status``: new, same (this data set was here) or conflict (another one was here under this UID; both are kept).
    ``fault``: where the file is damaged behind its header or may be shown wrongly, in words for the sender, and
    ``remark``: what breaks a rule and harms no reader (ADR 18).
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    status: str
    fault: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A DICOM Part 10 file in a spool, and which study and instance it must be, where that was announced."""

    spool: Spool
    study_instance_uid: str | None = None
    sop_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """An arrival whose bytes are kept and whose header could be read; its row is still to come."""

    header: InstanceHeader
    stored: Stored


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
    arrival = Arrival(spool, study_instance_uid, sop_instance_uid)
    kept = keep_instance(services, partner, arrival, origin, now)
    return index_kept(services, partner, {0: kept}, origin, now)[0]


def receive_instances(
    services: Services, partner: Partner, arrivals: Sequence[Arrival], origin: Origin
) -> list[InstanceReceipt | GatewayError]:
    """Store several files, each as ``receive_instance`` does, with one commit for all; in their order.

    What that would raise stands in the place of the receipt: none fails another. An error that nobody foresaw is
    raised, and then none of them is indexed.
    """
    now = utc_now()
    outcomes: dict[int, InstanceReceipt | GatewayError] = {}
    kept: dict[int, Kept] = {}
    keeping = [_keepers.submit(keep_instance, services, partner, one, origin, now) for one in arrivals]
    for at, future in enumerate(keeping):
        try:
            kept[at] = future.result()
        except GatewayError as error:
            outcomes[at] = error
    try:
        outcomes |= index_kept(services, partner, kept, origin, now)
    except StoreUnavailable as error:
        outcomes |= dict.fromkeys(kept, error)
    return [outcome for _, outcome in sorted(outcomes.items())]


def keep_instance(
    services: Services, partner: Partner, arrival: Arrival, origin: Origin, now: datetime
) -> Kept:
    """Keep the bytes of one file; its row is for ``index_kept``. Raises what ``receive_instance`` does.

    The header is read while the disk takes the bytes.
    """
    arrival.spool.start_sync()
    try:
        header = _header(partner, arrival)
    except GatewayError as error:
        keep_refused(services, partner, arrival.spool, origin, DICOM_MEDIA_TYPE, error)
        raise
    return Kept(header, services.objects.keep(arrival.spool, _note(partner, origin, now)))


def _header(partner: Partner, arrival: Arrival) -> InstanceHeader:
    with arrival.spool.reader() as file:
        header = read_header(file, partner.assigning_authority)
    if arrival.study_instance_uid not in (None, header.study_instance_uid):
        raise StudyMismatch("The instance belongs to another study than the one in the address.")
    if arrival.sop_instance_uid not in (None, header.sop_instance_uid):
        raise InstanceMismatch("The data set is another instance than the one announced.")
    return header


def index_kept(
    services: Services, partner: Partner, kept: Mapping[int, Kept], origin: Origin, now: datetime
) -> dict[int, InstanceReceipt]:
    """Index them in one transaction; the receipts by their keys. Raises StoreUnavailable."""
    if not kept:
        return {}
    is_repeatable = all(one.stored.is_noted for one in kept.values())
    found: dict[int, InstanceReceipt] = {}
    with services.database.transaction(is_repeatable=is_repeatable) as session:
        ordered = _in_order_of_study(kept)
        headers = [one.header for _, one in ordered]
        index = InstanceIndex(session, partner, now, headers, partial(_is_same_data_set, services))
        acts = []
        receipt_of: dict[str, Stored] = {}
        studies_changed = set()
        for at, one in ordered:
            receipt_id = new_id()
            indexed = index.add(one, receipt_id)
            detail = {}
            if indexed.status != SAME:
                receipt_of[receipt_id] = one.stored
                studies_changed.add(indexed.study_id)
                detail = {"receipt": receipt_id}
            subject = f"instance:{indexed.instance_id}"
            acts.append(Act(f"instance-{indexed.status}", subject, detail=detail))
            found[at] = _receipt(one.header, indexed.status)
        receipts.add_all(session, partner, receipt_of, origin, DICOM_MEDIA_TYPE, now)
        index.write()
        audit.record_all(session, partner, acts, origin)
        for study_id in sorted(studies_changed):
            services.jobs.enqueue(session, Work.PLACE_STUDY, study_id, more_may_come=True)
    return found


def _is_same_data_set(services: Services, key: str, offset: int, arrived: Kept) -> bool:
    """False too where the stored bytes are not there: then these are kept beside them."""
    try:
        stored = services.objects.open(key)
    except NotFound:
        return False
    with stored, services.objects.open(arrived.stored.key) as file:
        stored.seek(offset)
        file.seek(arrived.header.dataset_offset)
        while chunk := stored.read(_CHUNK_BYTES):
            if chunk != file.read(len(chunk)):
                return False
        return not file.read(1)


def _note(partner: Partner, origin: Origin, now: datetime) -> Note:
    """What workflow/index_again.py must know of a file."""
    return Note(_whence(partner.id, origin), now)


@lru_cache(256)
def _whence(partner_id: str, origin: Origin) -> bytes:
    whence = [partner_id, origin.channel, origin.address]
    return json.dumps(whence, separators=(",", ":")).encode()


def _in_order_of_study(kept: Mapping[int, Kept]) -> list[tuple[int, Kept]]:
    """So that two senders of the same studies lock them in the same order."""
    return sorted(kept.items(), key=lambda found: (found[1].header.study_instance_uid, found[0]))


def _receipt(header: InstanceHeader, status: str) -> InstanceReceipt:
    return InstanceReceipt(
        header.sop_class_uid,
        header.sop_instance_uid,
        header.study_instance_uid,
        header.series_instance_uid,
        status,
        header.fault,
        header.remark,
    )


def record_refusal(services: Services, partner: Partner, origin: Origin, error: GatewayError) -> None:
    """Of what a partner may not send: it has it still, and is told so."""
    with services.database.transaction() as session:
        cause = type(error).__name__
        audit.record(session, partner, REFUSED, f"partner:{partner.id}", origin=origin, cause=cause)


def keep_refused(
    services: Services, partner: Partner, spool: Spool, origin: Origin, content_type: str, error: Exception
) -> str:
    """Keep what could not be taken, so that a person can look at it; returns the receipt's id.

    The cause on the trail is the name of the expected error's class, else UNEXPECTED.
    """
    return note_refused(services, partner, services.objects.keep(spool), origin, content_type, error)


def note_refused(
    services: Services, partner: Partner, stored: Stored, origin: Origin, content_type: str, error: Exception
) -> str:
    """``keep_refused`` of bytes that are kept already."""
    cause = type(error).__name__ if isinstance(error, GatewayError) else UNEXPECTED
    with services.database.transaction() as session:
        receipt = receipts.add(session, partner, stored, origin, content_type, state=receipts.REFUSED)
        audit.record(session, partner, REFUSED, f"receipt:{receipt.id}", origin=origin, cause=cause)
        return receipt.id
