"""Instances whose bytes are kept and whose row did not come, because the gateway ended in between (ADR 25, 27)."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from io import BufferedReader
from typing import TYPE_CHECKING, cast

import structlog

from gateway.case.access import Origin, Partner
from gateway.errors import NotFound, StoreUnavailable
from gateway.store import partners, receipts
from gateway.store.objects import Noted, Stored
from gateway.workflow.receive import DICOM_MEDIA_TYPE, Kept, index_kept, keep_refused
from mappings.dicom_to_header import read_header

if TYPE_CHECKING:
    from gateway.services import Services

_CHUNK_BYTES = 1024 * 1024

log = structlog.get_logger(__name__)


def index_left_behind(services: Services) -> None:
    """Index what a process had told a sender to be kept and had not indexed yet.

    Other processes may be receiving meanwhile: what two of them index is told the second time as the same.
    """
    found = 0
    for noted in services.objects.left_behind():
        if not _is_kept(services, noted):
            continue  # nobody was told so; it may be just about to be kept
        found += _is_taken_again(services, noted)
        noted.path.unlink(missing_ok=True)
    if found:
        log.warning("indexed-what-was-left-behind", instances=found)


def index_again(services: Services, since: datetime) -> int:
    """Index the files that came since then and that a loss of power took out of the index; how many.

    For each its sender was told that it is kept (Database.transaction, ``is_repeatable``). To be called before anything
    is received.
    """
    return sum(_is_taken_again(services, noted) for noted in services.objects.noted_since(since))


def _is_kept(services: Services, noted: Noted) -> bool:
    try:
        services.objects.open(noted.key).close()
    except NotFound:
        return False
    return True


def _is_taken_again(services: Services, noted: Noted) -> bool:
    """What cannot be indexed is put among the refused files, for a person to look at: its sender was told otherwise."""
    partner_id, channel, address = json.loads(noted.note.text)
    with services.database.reading() as session:
        if receipts.has_sent(session, partner_id, noted.key.rpartition("/")[2]):
            return False
        partner = partners.get(session, partner_id).partner
    origin = Origin(channel, address)
    try:
        return _is_indexed_again(services, noted, partner, origin)
    except StoreUnavailable:
        raise
    except Exception as error:  # the gateway must start all the same
        log.error("indexing-failed", partner=partner.id, key=noted.key, exc_info=error)
        with services.objects.open(noted.key) as file, services.objects.spool() as spool:
            while chunk := file.read(_CHUNK_BYTES):
                spool.write(chunk)
            keep_refused(services, partner, spool, origin, DICOM_MEDIA_TYPE, error)
        return True


def _is_indexed_again(services: Services, noted: Noted, partner: Partner, origin: Origin) -> bool:
    sha256 = noted.key.rpartition("/")[2]
    try:
        file = services.objects.open(noted.key)
    except NotFound:  # nobody was told that it is kept
        return False
    with file:
        found = hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()
        if found != sha256:  # it was cut short; nor here
            return False
        size_bytes = file.tell()
        file.seek(0)
        kept = Kept(read_header(file, partner.assigning_authority), Stored(noted.key, sha256, size_bytes))
    index_kept(services, partner, {0: kept}, origin, noted.note.arrived_at)
    return True
