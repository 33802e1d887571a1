"""A bundle that is received later: the answer that it would have had at once."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

import structlog

from gateway.case.access import Origin, Partner
from gateway.errors import GatewayError, StoreUnavailable
from gateway.fhir import outcome
from gateway.fhir.submitted import Answer, Sending, answer_bundle
from gateway.fhir.submitting import take_spooled
from gateway.store.objects import Spool
from gateway.store.resources import dumps
from mappings.fhir_definitions import Release

if TYPE_CHECKING:
    from gateway.services import Services
    from gateway.store.tables import AsyncRequestRow

log = structlog.get_logger(__name__)


def answer_later(services: Services, partner: Partner, row: AsyncRequestRow, spool: Spool) -> str:
    """As JSON: status, headers, resource and the release of what was sent. Raises StoreUnavailable."""
    origin = Origin("fhir", row.address, row.asked["request_id"])
    sending = Sending(origin, row.asked["is_message"], row.asked["returns"])
    seen = [Release.R4]
    content_type = row.asked["content_type"]
    take = partial(take_spooled, services, partner, spool, content_type, origin, seen.append)
    try:
        answer = answer_bundle(services, partner, sending, take)
    except StoreUnavailable:
        raise
    except GatewayError as error:
        answer = of_error(error)
    except Exception:  # a fault of our own, told as it would have been at once; what was sent is kept
        reference = secrets.token_hex(8)
        log.exception("bundle-failed", reference=reference, request=row.id)
        answer = Answer(outcome.of_unknown(reference), 500)
    return as_text(answer, seen[-1])


def of_error(error: GatewayError) -> Answer:
    return Answer(outcome.of_error(error), outcome.status_of(error)[0])


def as_text(answer: Answer, release: Release = Release.R4) -> str:
    told = {"status": answer.status, "headers": answer.headers, "resource": answer.resource}
    return dumps(told | {"release": release.value})
