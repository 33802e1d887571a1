"""What an export holds: a partner's resources as they were sent, and what the gateway makes of its cases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from gateway.case.searching import Found, HasId, Term, all_hold
from gateway.errors import InvalidContent
from gateway.fhir import search, served
from gateway.fhir.compartment import patients_of
from gateway.fhir.included import by_reference
from gateway.fhir.served import Served
from gateway.store import resources
from gateway.store.resources import dumps
from gateway.workflow.export import Export, Line
from mappings.fhir_elements import objects, text
from mappings.fhir_search_parameters import resource_types
from mappings.fhir_search_values import search_values

if TYPE_CHECKING:
    from gateway.services import Services

LEEWAY = timedelta(minutes=1)
"""What the gateway makes was changed a moment before the change could be read: what may be of then is told again."""
_PAGE = 500
_AT_ONCE_CHARACTERS = 4 * 1024 * 1024
_MADE_AT_ONCE = 50
_BINARY = re.compile(r"Binary/[A-Za-z0-9.-]{1,64}")


def exported(services: Services, export: Export) -> Iterator[Line]:
    """Type by type; of what was sent the version that was current at ``until``, of what is made the present one."""
    base = services.config.fhir_base
    filters = Filters(export.filters, base)
    with services.database.reading() as session:
        of_partner = resources.types_of(session, export.partner)
    for type_name in export.types:
        sent = _sent(services, export, type_name) if type_name in of_partner else ()
        for one in chain(sent, _made(services, export, type_name)):
            if filters.admit(one) and (not export.of_patients or _is_of_patients(services, export, one)):
                yield Line(type_name, dumps(_with_addresses(one.resource, base)), one.opinion_id)


class Filters:
    """The searches of ``_typeFilter``, by "or" for each type. Raises InvalidContent on one that is none."""

    def __init__(self, queries: Sequence[str], base: str) -> None:
        self._terms: dict[str, list[tuple[Term, ...]]] = {}
        for query in queries:
            type_name, _, parameters = query.partition("?")
            if type_name not in resource_types():
                raise InvalidContent("_typeFilter: a search such as Observation?status=final was expected.")
            asked = search.parse(type_name, parse_qsl(parameters, keep_blank_values=True), True, base)
            if asked.results or asked.page or not asked.terms:
                raise InvalidContent("_typeFilter limits what is exported; it says nothing of how it comes.")
            self._terms.setdefault(type_name, []).append(asked.terms)

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self._terms)

    def admit(self, one: Served) -> bool:
        options = self._terms.get(one.type)
        if options is None:
            return True
        read = Found(one.id, one.updated_at, search_values(one.type, one.resource))
        return any(all_hold(terms, read) for terms in options)


def _sent(services: Services, export: Export, type_name: str) -> Iterator[Served]:
    after = ""
    while True:
        with services.database.reading() as session:
            page = resources.as_of(
                session, export.partner, type_name, export.until, export.since, after, _PAGE
            )
        for pks in _portions(page):
            with services.database.reading() as session:
                stored = resources.by_pk(session, export.partner, pks)
            yield from map(served.sent, stored)
        if len(page) < _PAGE:
            return
        after = page[-1][0]


def _portions(page: Sequence[tuple[str, int, int]]) -> Iterator[list[int]]:
    """So many that they have room in memory: documents may be large."""
    portion: list[int] = []
    characters = 0
    for _, pk, length in page:
        if portion and characters + length > _AT_ONCE_CHARACTERS:
            yield portion
            portion, characters = [], 0
        portion.append(pk)
        characters += length
    if portion:
        yield portion


def _made(services: Services, export: Export, type_name: str) -> Iterator[Served]:
    with services.database.reading() as session:
        ids = served.made_ids(session, export.partner, type_name)
    for first in range(0, len(ids), _MADE_AT_ONCE):
        wanted = HasId(frozenset(ids[first : first + _MADE_AT_ONCE]))
        with services.database.reading() as session:
            made = served.made(services, session, export.partner, type_name, [(wanted,)])
        for one in made:
            if export.since is None or one.updated_at > export.since - LEEWAY:
                yield one


def _is_of_patients(services: Services, export: Export, one: Served) -> bool:
    """In a Patient's compartment, and where Patients are named, in that of no other."""
    found = patients_of(one)
    if one.type == "Provenance":
        found |= _patients_of_targets(services, export, one)
    return bool(found) and (not export.patients or found <= export.patients)


def _patients_of_targets(services: Services, export: Export, one: Served) -> frozenset[str]:
    """Provenance is about a child when its target is (Bulk Data Access 2.0.0, Export, Query Parameters)."""
    targets = [text(target.get("reference")) for target in objects(one.resource.get("target"))]
    with services.database.reading() as session:
        found = by_reference(services, session, export.partner, targets)
    return frozenset().union(*map(patients_of, found))


def _with_addresses(resource: dict[str, Any], base: str) -> dict[str, Any]:
    """Attachment.url of a Binary is absolute (Bulk Data Access 2.0.0, Attachments); ``resource`` stays as it is."""

    def addressed(value: Any) -> Any:
        if isinstance(value, list):
            return [addressed(item) for item in value]
        if not isinstance(value, dict):
            return value
        made = {name: addressed(item) for name, item in value.items()}
        url = made.get("url")
        if isinstance(url, str) and _BINARY.fullmatch(url):
            made["url"] = f"{base}/{url}"
        return made

    found: dict[str, Any] = addressed(resource)
    return found
