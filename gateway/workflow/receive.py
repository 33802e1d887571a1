"""The one door in, shared by FHIR, STOW-RS and C-STORE (decision 2).

Bytes first, row second, answer third: when a function here returns, what came in is on disk,
indexed and audited, and the work that follows from it is enqueued in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from gateway import audit
from gateway.case.access import Origin, Partner
from gateway.case.imaging import InstanceHeader
from gateway.clock import utc_now
from gateway.errors import GatewayError, InstanceMismatch, NotFound, StoreUnavailable, StudyMismatch
from gateway.store import partners, receipts
from gateway.store.ids import new_id
from gateway.store.instance_index import SAME, InstanceIndex
from gateway.store.objects import Noted, Spool, Stored
from gateway.workflow.durable import Work
from mappings.dicom_to_header import read_header

if TYPE_CHECKING:
    from gateway.services import Services

DICOM_MEDIA_TYPE = "application/dicom"
UNEXPECTED = "Unexpected"
_CHUNK_BYTES = 1024 * 1024
_keepers = ThreadPoolExecutor(16, "keeper")  # they wait for the disk


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


@dataclass(frozen=True, slots=True)
class Arrival:
    """A DICOM Part 10 file in a spool, and which study and instance it must be, where that was announced."""

    spool: Spool
    study_instance_uid: str | None = None
    sop_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class _Readable:
    """An arrival whose bytes are kept and whose header could be read."""

    header: InstanceHeader
    stored: Stored
    spool: Spool


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
    arrival = Arrival(spool, study_instance_uid, sop_instance_uid)
    (outcome,) = receive_instances(services, partner, [arrival], origin)
    if isinstance(outcome, GatewayError):
        raise outcome
    return outcome


def receive_instances(
    services: Services, partner: Partner, arrivals: Sequence[Arrival], origin: Origin
) -> list[InstanceReceipt | GatewayError]:
    """Store several files, each as ``receive_instance`` does, with one commit for all; in their order.

    What that would raise stands in the place of the receipt: none fails another. An error that nobody foresaw is
    raised, and then none of them is indexed.
    """
    now = utc_now()
    keeping = _keep(services, arrivals, [_note(partner, arrival, origin, now) for arrival in arrivals])
    read = [_read(partner, arrival, kept) for arrival, kept in zip(arrivals, keeping, strict=True)]
    readable = {at: found for at, found in enumerate(read) if isinstance(found, _Readable)}
    outcomes: dict[int, InstanceReceipt | GatewayError] = {}
    try:
        outcomes |= _index(services, partner, readable, origin, now)
    except StoreUnavailable as error:
        outcomes |= dict.fromkeys(readable, error)
    for at, found in enumerate(read):
        if not isinstance(found, _Readable):
            outcomes[at] = _refused(services, partner, arrivals[at], origin, found)
    return [outcome for _, outcome in sorted(outcomes.items())]


def _keep(services: Services, arrivals: Sequence[Arrival], notes: Sequence[bytes]) -> list[Future[Stored]]:
    """Several at the same time; another thread for one alone would cost more than it saves."""
    noted = zip(arrivals, notes, strict=True)
    if len(arrivals) > 1:
        return [_keepers.submit(services.objects.keep, arrival.spool, note) for arrival, note in noted]
    return [_kept_now(services, arrival, note) for arrival, note in noted]


def _kept_now(services: Services, arrival: Arrival, note: bytes) -> Future[Stored]:
    try:
        return _done(services.objects.keep(arrival.spool, note))
    except StoreUnavailable as error:
        failed: Future[Stored] = Future()
        failed.set_exception(error)
        return failed


def _done(stored: Stored) -> Future[Stored]:
    kept: Future[Stored] = Future()
    kept.set_result(stored)
    return kept


def _read(partner: Partner, arrival: Arrival, kept: Future[Stored]) -> _Readable | GatewayError:
    """The header is read while the disk takes the bytes."""
    try:
        header = _header(partner, arrival)
    except GatewayError as error:
        unkept = kept.exception()
        return unkept if isinstance(unkept, GatewayError) else error
    try:
        return _Readable(header, kept.result(), arrival.spool)
    except GatewayError as error:
        return error


def _header(partner: Partner, arrival: Arrival) -> InstanceHeader:
    with arrival.spool.reader() as file:
        header = read_header(file, partner.assigning_authority)
    if arrival.study_instance_uid not in (None, header.study_instance_uid):
        raise StudyMismatch("The instance belongs to another study than the one in the address.")
    if arrival.sop_instance_uid not in (None, header.sop_instance_uid):
        raise InstanceMismatch("The data set is another instance than the one announced.")
    return header


def _refused(
    services: Services, partner: Partner, arrival: Arrival, origin: Origin, error: GatewayError
) -> GatewayError:
    """Unless nothing could be kept."""
    if isinstance(error, StoreUnavailable):
        return error
    try:
        keep_refused(services, partner, arrival.spool, origin, DICOM_MEDIA_TYPE, error)
    except StoreUnavailable as worse:
        return worse
    return error


def _index(
    services: Services, partner: Partner, readable: Mapping[int, _Readable], origin: Origin, now: datetime
) -> dict[int, InstanceReceipt]:
    if not readable:
        return {}
    is_repeatable = all(one.stored.is_noted for one in readable.values())
    found: dict[int, InstanceReceipt] = {}
    with services.database.transaction(is_repeatable=is_repeatable) as session:
        index = InstanceIndex(session, partner, now, partial(_is_same_data_set, services))
        receipt_of: dict[str, Stored] = {}
        studies_changed = set()
        for at, one in _in_order_of_study(readable):
            receipt_id = new_id()
            indexed = index.add(one, receipt_id)
            detail = {}
            if indexed.status != SAME:
                receipt_of[receipt_id] = one.stored
                studies_changed.add(indexed.study_id)
                detail = {"receipt": receipt_id}
            subject = f"instance:{indexed.instance_id}"
            audit.record(session, partner, f"instance-{indexed.status}", subject, origin=origin, **detail)
            found[at] = _receipt(one.header, indexed.status)
        receipts.add_all(session, partner, receipt_of, origin, DICOM_MEDIA_TYPE, now)
        index.write()
        for study_id in sorted(studies_changed):
            services.jobs.enqueue(session, Work.PLACE_STUDY, study_id, more_may_come=True)
    return found


def _is_same_data_set(services: Services, key: str, offset: int, arrived: _Readable) -> bool:
    """False too where the stored bytes are not there: then these are kept beside them."""
    try:
        stored = services.objects.open(key)
    except NotFound:
        return False
    with stored, arrived.spool.reader() as file:
        stored.seek(offset)
        file.seek(arrived.header.dataset_offset)
        while chunk := stored.read(_CHUNK_BYTES):
            if chunk != file.read(len(chunk)):
                return False
        return not file.read(1)


def _note(partner: Partner, arrival: Arrival, origin: Origin, now: datetime) -> bytes:
    """What ``index_again`` must know of a file, also what was announced: it may have to be refused."""
    announced = [arrival.study_instance_uid, arrival.sop_instance_uid]
    return json.dumps([partner.id, origin.channel, origin.address, now.isoformat(), announced]).encode()


def index_again(services: Services, since: datetime) -> int:
    """Index the files that came since then and that a loss of power took out of the index; how many.

    For each its sender was told that it is kept (Database.transaction, ``is_repeatable``). To be called before anything
    is received.
    """
    return sum(_is_indexed_again(services, noted) for noted in services.objects.noted_since(since))


def _is_indexed_again(services: Services, noted: Noted) -> bool:
    partner_id, channel, address, received_at, announced = json.loads(noted.note)
    sha256 = noted.key.rpartition("/")[2]
    with services.database.reading() as session:
        if receipts.has_sent(session, partner_id, sha256):
            return False
        partner = partners.get(session, partner_id).partner
    with services.objects.open(noted.key) as file, services.objects.spool() as spool:
        while chunk := file.read(_CHUNK_BYTES):
            spool.write(chunk)
        if spool.sha256 != sha256:  # it was cut short, and nobody was told that it is kept
            return False
        stored = Stored(noted.key, sha256, spool.size_bytes)
        arrival, origin = Arrival(spool, *announced), Origin(channel, address)
        _index_stored(services, partner, arrival, stored, origin, datetime.fromisoformat(received_at))
    return True


def _index_stored(
    services: Services,
    partner: Partner,
    arrival: Arrival,
    stored: Stored,
    origin: Origin,
    received_at: datetime,
) -> None:
    found = _read(partner, arrival, _done(stored))
    if isinstance(found, _Readable):
        _index(services, partner, {0: found}, origin, received_at)
    else:
        _refused(services, partner, arrival, origin, found)


def _in_order_of_study(readable: Mapping[int, _Readable]) -> list[tuple[int, _Readable]]:
    """So that two senders of the same studies lock them in the same order."""
    return sorted(readable.items(), key=lambda found: (found[1].header.study_instance_uid, found[0]))


def _receipt(header: InstanceHeader, status: str) -> InstanceReceipt:
    return InstanceReceipt(
        header.sop_class_uid,
        header.sop_instance_uid,
        header.study_instance_uid,
        header.series_instance_uid,
        status,
        header.fault,
    )


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
