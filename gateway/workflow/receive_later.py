"""A bundle whose sender did not want to wait: received by the worker, from the bytes that are kept already."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from gateway.case.access import Origin, Partner
from gateway.errors import StoreUnavailable
from gateway.store import partners
from gateway.store.async_requests import DONE, FAILED
from gateway.store.objects import Spool, Stored
from gateway.workflow import receive, respond_async

if TYPE_CHECKING:
    from gateway.services import Services
    from gateway.store.tables import AsyncRequestRow

_CHUNK_BYTES = 1024 * 1024
AnswerLater = Callable[["Services", Partner, "AsyncRequestRow", Spool], str]
"""Receives the bundle in the spool; the answer as JSON. Raises StoreUnavailable."""

log = structlog.get_logger(__name__)


def attempt(services: Services, request_id: str, last: bool) -> bool:
    """One try to receive it; True when it is answered.

    May be repeated at any time: the same bundle again changes nothing.
    """
    row = respond_async.begin(services, request_id)
    if row is None:
        return True
    with services.database.reading() as session:
        registered = partners.get(session, row.partner_id).partner
    partner = Partner(registered.id, registered.name, registered.assigning_authority, tuple(row.scopes))
    try:
        answer = _receive(services, partner, row)
    except StoreUnavailable as error:
        if last:
            _give_up(services, partner, row, error)
        return last
    respond_async.finish(services, request_id, DONE, answer)
    return True


def _receive(services: Services, partner: Partner, row: AsyncRequestRow) -> str:
    with services.objects.spool() as spool:
        with services.objects.open(row.asked["key"]) as kept:
            while chunk := kept.read(_CHUNK_BYTES):
                spool.write(chunk)
        return services.answer_later(services, partner, row, spool)


def _give_up(services: Services, partner: Partner, row: AsyncRequestRow, error: StoreUnavailable) -> None:
    """A person finds it among what was refused; its sender is told to send it again."""
    asked = row.asked
    stored = Stored(asked["key"], asked["sha256"], asked["size_bytes"])
    receive.note_refused(services, partner, stored, Origin("fhir", row.address), asked["content_type"], error)
    respond_async.finish(services, row.id, FAILED)
