"""$export of a partner's own data, asked for (Bulk Data Access 2.0.0, Bulk Data Kick-off Request)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from flask import Response, request

from gateway.auth import scopes
from gateway.case.access import Partner
from gateway.errors import Forbidden, InvalidContent, Issue
from gateway.fhir import answers, async_requests, disclosed, outcome, preferences, submitting
from gateway.fhir.compartment import types_of_compartment
from gateway.fhir.export_content import Filters
from gateway.fhir.history import since_of
from gateway.store import resources
from gateway.store.async_requests import EXPORT
from gateway.store.resources import dumps
from gateway.workflow import respond_async
from gateway.workflow.durable import Work
from mappings.fhir_elements import Resource, objects, text
from mappings.fhir_search_parameters import resource_types

if TYPE_CHECKING:
    from gateway.services import Services

FORMATS = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
MAX_PATIENTS = 1000
_NEXT_FILTER = re.compile(r",(?=[A-Z][A-Za-z]+\?)")
_LEFT_OUT = "Binary"  # DocumentReference leads to it by its absolute address
_PASSED_OVER = frozenset({"_format", "_pretty"})
_VALUES = ("valueString", "valueInstant", "valueCode", "valueUri", "valueDateTime")
Pairs = list[tuple[str, str]]


@dataclass(slots=True)
class _Asked:
    """``faults`` refuse the request; under ``Prefer: handling=lenient`` they are told in the export instead."""

    is_lenient: bool
    of_patients: bool
    faults: list[Issue] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    filters: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    since: datetime | None = None

    def leave_out(self, words: str) -> None:
        self.faults.append(Issue("warning" if self.is_lenient else "error", "not-supported", words))


def kick_off(services: Services, partner: Partner, base: str, *, of_patients: bool) -> Response:
    """202 with the address of its status. Raises InvalidContent with every fault, Forbidden, TooManyRequests."""
    if not preferences.wants_async():
        raise InvalidContent("$export is answered later only: send the header Prefer: respond-async.")
    answers.require_fhir_answer()
    asked = _Asked(preferences.handling() == "lenient", of_patients)
    for name, value in _parameters(services):
        _read(asked, name, value)
    _limit(services, partner, base, asked)
    types = _types(partner, asked)
    if asked.faults and not asked.is_lenient:
        raise InvalidContent("The export was not begun.", tuple(asked.faults))
    work = {
        "types": types,
        "since": asked.since.isoformat() if asked.since else "",
        "of_patients": of_patients,
        "patients": sorted(set(asked.patients)),
        "filters": asked.filters,
        "notes": [dumps(outcome.of_issues([issue])) for issue in asked.faults],
    }
    url = f"{base}{request.path.removeprefix('/fhir')}"
    if request.method == "GET" and request.query_string:
        url = f"{url}?{request.query_string.decode('ascii', 'replace')}"
    origin = disclosed.origin()
    return async_requests.accepted(
        base, respond_async.ask(services, partner, Work.EXPORT, EXPORT, url, work, origin)
    )


def _parameters(services: Services) -> Pairs:
    """Of the address, and of the Parameters of a POST."""
    pairs = [pair for pair in request.args.items(multi=True) if pair[0] != "patient"]
    if request.method == "POST":
        return [*pairs, *_of_body(submitting.parameters(services))]
    if "patient" in request.args:
        raise InvalidContent("The parameter patient is for $export by POST.")
    return pairs


def _of_body(parameters: Resource) -> Iterable[tuple[str, str]]:
    for parameter in objects(parameters.get("parameter")):
        reference = next(iter(objects(parameter.get("valueReference"))), {})
        values = [text(parameter.get(name)) for name in _VALUES]
        yield text(parameter.get("name")), text(reference.get("reference")) or "".join(values)


def _read(asked: _Asked, name: str, value: str) -> None:
    match name:
        case "_outputFormat":
            if value.replace(" ", "+") not in FORMATS:
                raise InvalidContent("Of _outputFormat application/fhir+ndjson is written only.")
        case "_since":
            asked.since = since_of(value)
        case "_type":
            asked.types += filter(None, (one.strip() for one in value.split(",")))
        case "_typeFilter":
            asked.filters += filter(None, _NEXT_FILTER.split(value))
        case "patient":
            asked.patients.append(value)
        case _ if name not in _PASSED_OVER:
            asked.leave_out(f"The parameter '{name[:64]}' of $export is not offered.")


def _limit(services: Services, partner: Partner, base: str, asked: _Asked) -> None:
    """What is named must be there: an export that is of less than was meant would be taken for whole."""
    filtered = Filters(asked.filters, base).types
    if asked.types and (beside := filtered.difference(asked.types)):
        raise InvalidContent(f"_typeFilter names {min(beside)}, and _type does not.")
    if not asked.patients:
        return
    if not asked.of_patients or len(asked.patients) > MAX_PATIENTS:
        raise InvalidContent(f"Up to {MAX_PATIENTS} patients can be named, for Patient/$export.")
    with services.database.reading() as session:
        known = resources.existing(
            session, partner, (one for one in asked.patients if one.startswith("Patient/"))
        )
    if unknown := len(set(asked.patients) - known):
        raise InvalidContent(f"{unknown} of the patients are not yours, or no references as Patient/[id].")


def _types(partner: Partner, asked: _Asked) -> list[str]:
    """What the token may read and search, of what was asked or of all. Raises Forbidden where it may do so of none."""
    offered = (types_of_compartment() if asked.of_patients else resource_types()) - {_LEFT_OUT}
    for name in asked.types:
        if name not in offered:
            where = "a Patient's compartment" if asked.of_patients else "exports"
            asked.leave_out(f"'{name[:64]}' is no type of what is in {where}.")
    wanted = offered.intersection(asked.types) if asked.types else offered
    readable = {name for name in wanted if _may_export(partner, name)}
    refused = sorted(wanted - readable) if asked.types else []
    if (refused and not asked.is_lenient) or (wanted and not readable):
        named = ", ".join(refused) or "anything"
        raise Forbidden(f"The access token does not allow to read and search {named[:500]}.")
    for name in refused:
        asked.leave_out(f"The access token does not allow to read and search {name}.")
    return sorted(readable)


def _may_export(partner: Partner, type_name: str) -> bool:
    return all(scopes.allows(partner.scopes, type_name, right) for right in "rs")
