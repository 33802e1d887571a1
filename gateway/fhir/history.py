"""The history interaction of a resource and of a type (FHIR R4 3.1.0.12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Response, request

from gateway.auth.bearer import require_scope
from gateway.case.access import Partner
from gateway.case.searching import EPOCH, HasId, microseconds
from gateway.errors import InvalidContent
from gateway.fhir import answers, disclosed, paging, served
from gateway.fhir.search import DEFAULT_COUNT, PAGE, whole_count
from gateway.fhir.served import Served
from gateway.store import resources
from gateway.store.database import Session
from mappings.fhir_dates import interval

if TYPE_CHECKING:
    from gateway.services import Services

HISTORY = "history"
_MADE = 0
"""Stands for the ``pk`` of what the gateway made: it comes after what was sent at the same moment, by its id."""


@dataclass(frozen=True, slots=True)
class _Asked:
    type: str
    fhir_id: str | None
    count: int
    since: datetime | None
    page: str

    @property
    def path(self) -> str:
        return f"{self.type}/{self.fhir_id}" if self.fhir_id is not None else self.type

    @property
    def parameters(self) -> list[tuple[str, str]]:
        since = [("_since", self.since.isoformat())] if self.since else []
        return [*since, ("_count", str(self.count))]


_Position = tuple[int, int, str]
"""When, ``pk``, and of what the gateway made the id: much of it is made at one moment."""


def history(services: Services, partner: Partner, base: str, type_name: str, fhir_id: str | None) -> Response:
    """The partner's own versions, the newest first. Raises NotFound where it never had the resource.

    The history of a type is a search by its scope (SMART 2.2.0, Scopes for requesting FHIR Resources).
    """
    require_scope(partner, type_name, "s" if fhir_id is None else "r")
    answers.require_fhir_answer()
    asked = _asked(type_name, fhir_id)
    after = _after(partner, asked)
    with services.database.reading() as session:
        versions = _versions(services, session, partner, asked, after)
        total = _total(services, session, partner, asked)
        if not total and fhir_id is not None:
            served.read(services, session, partner, type_name, fhir_id)  # raises NotFound
    page = versions[: asked.count]
    disclosed.record(services, partner, HISTORY, asked.path, [one for _, one in page])
    links = _links(partner, base, asked, page, has_more=len(versions) > asked.count)
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "history", "total": total, "link": links}
    if page:
        bundle["entry"] = [_entry(one, base) for _, one in page]
    return answers.fhir_answer(bundle)


def _asked(type_name: str, fhir_id: str | None) -> _Asked:
    count = whole_count(request.args.get("_count", str(DEFAULT_COUNT)))
    since = since_of(request.args.get("_since", ""))
    if "_at" in request.args:
        raise InvalidContent("_at is not offered; ask by _since.")
    return _Asked(type_name, fhir_id, count, since, request.args.get(PAGE, ""))


def since_of(sent: str) -> datetime | None:
    """Raises InvalidContent on what is no moment."""
    moment = interval(sent.replace(" ", "+"))
    if sent and moment is None:
        raise InvalidContent("_since is a moment such as 2026-05-04T12:00:00Z.")
    return moment[0] if moment else None


def _after(partner: Partner, asked: _Asked) -> _Position | None:
    if not asked.page:
        return None
    match paging.read_mark(partner, _identity(asked), asked.page):
        case (int(at), int(pk), str(fhir_id)):
            return at, pk, fhir_id
    raise InvalidContent("The page's address belongs to another search; please ask again.")


def _identity(asked: _Asked) -> list[object]:
    return [HISTORY, asked.path, asked.since]


def _versions(
    services: Services, session: Session, partner: Partner, asked: _Asked, after: _Position | None
) -> list[tuple[_Position, Served]]:
    """One more than is asked for, where there is more."""
    before = (EPOCH + timedelta(microseconds=after[0]), after[1]) if after else None
    sent = resources.history(
        session, partner, asked.type, asked.fhir_id, asked.since, before, asked.count + 1
    )
    found = [((microseconds(one.updated_at), one.pk, ""), served.sent(one)) for one in sent]
    made = [
        ((microseconds(one.updated_at), _MADE, one.id), one)
        for one in _made(services, session, partner, asked)
    ]
    later = [(position, one) for position, one in made if after is None or position < after]
    return sorted([*found, *later], key=lambda one: one[0], reverse=True)


def _made(services: Services, session: Session, partner: Partner, asked: _Asked) -> list[Served]:
    """Of what the gateway makes only the present version is there."""
    if not served.is_made(asked.type):
        return []
    terms = [] if asked.fhir_id is None else [(HasId(frozenset({asked.fhir_id})),)]
    found = served.made(services, session, partner, asked.type, terms)
    own = [one for one in found if asked.fhir_id in (None, one.id)]
    return [one for one in own if asked.since is None or one.updated_at >= asked.since]


def _total(services: Services, session: Session, partner: Partner, asked: _Asked) -> int:
    sent = resources.count_versions(session, partner, asked.type, asked.fhir_id, asked.since)
    return sent + len(_made(services, session, partner, asked))


def _links(
    partner: Partner,
    base: str,
    asked: _Asked,
    page: Sequence[tuple[_Position, Served]],
    *,
    has_more: bool,
) -> list[dict[str, str]]:
    url = f"{base}/{asked.path}/_history"
    own = [*asked.parameters, (PAGE, asked.page)] if asked.page else asked.parameters
    links = [{"relation": "self", "url": f"{url}?{urlencode(own)}"}]
    if has_more and page:
        mark = paging.mark(partner, _identity(asked), page[-1][0])
        links.append({"relation": "next", "url": f"{url}?{urlencode([*asked.parameters, (PAGE, mark)])}"})
    return links


def _entry(one: Served, base: str) -> dict[str, Any]:
    """What the sender's request came to: the first version was created, each later one an update."""
    is_first = one.version == "1"
    return {
        "fullUrl": f"{base}/{one.reference}",
        "resource": one.resource,
        "request": {"method": "POST", "url": one.type}
        if is_first
        else {"method": "PUT", "url": one.reference},
        "response": {
            "status": "201 Created" if is_first else "200 OK",
            "location": f"{base}/{one.reference}/_history/{one.version}",
            "etag": f'W/"{one.version}"',
            "lastModified": one.resource["meta"]["lastUpdated"]
            if "lastUpdated" in one.resource.get("meta", {})
            else one.updated_at.isoformat(timespec="milliseconds"),
        },
    }
