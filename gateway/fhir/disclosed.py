"""What an answer carries is on the audit trail before it goes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import g, request

from gateway.case.access import Origin, Partner
from gateway.fhir.served import Served
from gateway.workflow import deliver, disclosure

if TYPE_CHECKING:
    from gateway.services import Services


_OF_THE_OPINION = frozenset({"conclusion", "presentedForm"})


def origin() -> Origin:
    return Origin("fhir", request.remote_addr or "", g.get("request_id", ""))


def record(
    services: Services,
    partner: Partner,
    action: str,
    subject: str,
    found: Iterable[Served],
    *,
    carried: bool = True,
    **detail: int,
) -> None:
    """One row for the request; a report that the answer carries to its hospital is thereby delivered."""
    found = list(found)
    disclosure.record(services, partner, action, subject, origin(), count=len(found), **detail)
    for report in found:
        if report.opinion_id and carried and request.method != "HEAD":
            deliver.record_read(services, partner, report.opinion_id, origin())


def has_opinion(resources: Iterable[Mapping[str, Any]]) -> bool:
    """Whether of a report more is there than that it exists: _summary and _elements may leave the opinion out."""
    return any(_OF_THE_OPINION & resource.keys() for resource in resources)
