"""Patient/[id]/$everything: what was sent about a child, and what was made of it (R4 OperationDefinition)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Response, request

from gateway.auth import scopes
from gateway.auth.bearer import require_scope
from gateway.case.access import Partner
from gateway.case.searching import Form, HasKey, Key
from gateway.errors import InvalidContent, NotFound
from gateway.fhir import answers, disclosed, paging, served
from gateway.fhir.compartment import patients_of
from gateway.fhir.history import since_of
from gateway.fhir.included import MAX_INCLUDED, by_reference
from gateway.fhir.search import DEFAULT_COUNT, PAGE, whole_count
from gateway.fhir.served import Served
from gateway.store import resource_search, resources
from gateway.store.database import Session
from gateway.workflow.searchable import searching
from mappings.fhir_search_parameters import resource_types, search_parameters

if TYPE_CHECKING:
    from gateway.services import Services

EVERYTHING = "everything"
_PARAMETERS = frozenset({"_type", "_since", "_count", PAGE, "_format", "_pretty"})
_BINARY = re.compile(r"Binary/[A-Za-z0-9.-]{1,64}")
_MADE, _SENT = 0, 1
_Position = tuple[int, str | int]
"""What the gateway made comes first, by its reference; then what was sent, by its ``pk``."""


@dataclass(frozen=True, slots=True)
class _Asked:
    patient: str
    types: frozenset[str]
    named: str
    count: int
    since: datetime | None

    @property
    def parameters(self) -> list[tuple[str, str]]:
        given = (("_type", self.named), ("_since", self.since.isoformat() if self.since else ""))
        return [*((name, value) for name, value in given if value), ("_count", str(self.count))]

    def wants(self, one: Served) -> bool:
        return one.type in self.types and (self.since is None or one.updated_at >= self.since)


def everything(services: Services, partner: Partner, base: str, fhir_id: str) -> Response:
    """The Patient, the resources of its compartment, and what these refer to. Raises NotFound.

    What belongs to another Patient is not there, whoever refers to it: never the wrong child.
    """
    require_scope(partner, "Patient", "r")
    answers.require_fhir_answer()
    asked = _asked(partner, fhir_id)
    after = _after(partner, asked)
    with searching(services, partner) as session:
        found = _compartment(services, session, partner, asked, after)
        page = found[: asked.count]
        own = [one for _, one in page]
        beside = _referred_to(services, session, partner, asked, own)
    disclosed.record(services, partner, EVERYTHING, asked.patient, [*own, *beside])
    links = _links(partner, base, asked, page[-1][0] if len(found) > asked.count else None)
    matches, others = ([one.resource for one in part] for part in (own, beside))
    return answers.fhir_answer(answers.searchset(matches, others, None, base, links, ()))


def _asked(partner: Partner, fhir_id: str) -> _Asked:
    for name in request.args:
        if name not in _PARAMETERS:
            raise InvalidContent(f"'{name[:64]}': this parameter of $everything is not offered.")
    named = request.args.get("_type", "")
    wanted = frozenset(filter(None, (name.strip() for name in named.split(","))))
    if unknown := wanted - resource_types():
        raise InvalidContent(f"'{min(unknown)[:64]}' is no resource type of FHIR R4.")
    count = whole_count(request.args.get("_count", str(DEFAULT_COUNT)))
    if count == 0:
        raise InvalidContent("_count of $everything is 1 at least.")
    readable = frozenset(
        name for name in wanted or resource_types() if scopes.allows(partner.scopes, name, "r")
    )
    return _Asked(f"Patient/{fhir_id}", readable, named, count, since_of(request.args.get("_since", "")))


def _after(partner: Partner, asked: _Asked) -> _Position:
    sent = request.args.get(PAGE, "")
    if not sent:
        return _MADE, ""
    match paging.read_mark(partner, _identity(asked), sent):
        case (int(stage), str() | int() as last) if isinstance(last, str) is (stage == _MADE):
            return stage, last
    raise InvalidContent("The page's address belongs to another search; please ask again.")


def _identity(asked: _Asked) -> list[object]:
    return [EVERYTHING, asked.patient, sorted(asked.types), asked.since]


def _compartment(
    services: Services, session: Session, partner: Partner, asked: _Asked, after: _Position
) -> list[tuple[_Position, Served]]:
    """One more than is asked for, where there is more."""
    patients = by_reference(services, session, partner, [asked.patient])
    if not patients:
        raise NotFound(f"No {asked.patient} is yours.")
    stage, last = after
    found: list[tuple[_Position, Served]] = []
    if stage == _MADE:
        made = _made(services, session, partner, asked)
        first = [one for one in (*patients, *made) if asked.wants(one)]
        found = [((_MADE, _place(one)), one) for one in first if _place(one) > str(last)]
    missing = asked.count + 1 - len(found)
    if missing > 0:
        pks = resource_search.referring(
            session,
            partner,
            {name: _keys(name, asked.patient) for name in asked.types},
            asked.since,
            int(last) if stage == _SENT else 0,
            missing,
        )
        stored = resources.by_pk(session, partner, pks)
        found += [((_SENT, one.pk), served.sent(one)) for one in stored]
    return found


def _place(one: Served) -> str:
    """The Patient before all."""
    return "0" if one.type == "Patient" else f"1{one.reference}"


def _made(services: Services, session: Session, partner: Partner, asked: _Asked) -> list[Served]:
    found = []
    for name in sorted(filter(served.is_made, asked.types)):
        of_patient = search_parameters(name).get("patient")
        if of_patient is None:
            continue
        term = HasKey(frozenset(Key(path.text, Form.REFERENCE, asked.patient) for path in of_patient.paths))
        candidates = served.made(services, session, partner, name, [(term,)])
        found += [one for one in candidates if asked.patient in patients_of(one)]
    return sorted(found, key=lambda one: one.reference)


def _keys(type_name: str, patient: str) -> frozenset[Key]:
    return frozenset(
        Key(path.text, Form.REFERENCE, patient)
        for parameter in search_parameters(type_name).values()
        if parameter.of_patient
        for path in parameter.paths
    )


def _referred_to(
    services: Services, session: Session, partner: Partner, asked: _Asked, own: Sequence[Served]
) -> list[Served]:
    """Without those that are of another Patient."""
    there = {one.reference for one in own}
    wanted = {reference for one in own for reference in _pointers(one.resource)} - there - {asked.patient}
    found = by_reference(services, session, partner, sorted(wanted)[:MAX_INCLUDED])
    return [one for one in found if one.type in asked.types and patients_of(one) <= {asked.patient}]


def _pointers(value: Any) -> Iterator[str]:
    """References and the addresses of attachments, at any depth."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            for name in ("reference", "url"):
                pointer = item.get(name)
                if isinstance(pointer, str) and (name == "reference" or _BINARY.fullmatch(pointer)):
                    yield pointer.split("/_history/")[0]
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def _links(partner: Partner, base: str, asked: _Asked, after: _Position | None) -> list[dict[str, str]]:
    url = f"{base}/{asked.patient}/$everything"
    sent = request.args.get(PAGE, "")
    own = [*asked.parameters, (PAGE, sent)] if sent else asked.parameters
    links = [{"relation": "self", "url": f"{url}?{urlencode(own)}"}]
    if after is not None:
        mark = paging.mark(partner, _identity(asked), after)
        links.append({"relation": "next", "url": f"{url}?{urlencode([*asked.parameters, (PAGE, mark)])}"})
    return links
