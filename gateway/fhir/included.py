"""_include and _revinclude: what matches refer to and what refers to them (FHIR R4 3.1.1.5.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.auth import scopes
from gateway.case.access import Partner
from gateway.case.searching import Form, HasId, HasKey, Key
from gateway.fhir import found, served
from gateway.fhir.search import Include, Query
from gateway.fhir.served import Served
from gateway.store import resources
from gateway.store.database import Session
from mappings.fhir_search_parameters import SearchParameter, resource_types, search_parameters
from mappings.fhir_search_values import references_at

if TYPE_CHECKING:
    from gateway.services import Services

MAX_INCLUDED = 1000
"""Of one answer; what is beyond is left out, and the answer says so."""
MAX_ROUNDS = 5
"""How far ``:iterate`` goes."""


@dataclass(slots=True)
class Included:
    """``left_out`` tells in words what is not there and why."""

    resources: list[Served] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def included(
    services: Services, session: Session, partner: Partner, includes: Iterable[Include], matches: list[Served]
) -> Included:
    """Each resource once, the partner's own only, of types that its token may read."""
    return _Search(services, session, partner).run(tuple(includes), matches)


def by_reference(
    services: Services, session: Session, partner: Partner, wanted: Iterable[str]
) -> list[Served]:
    """The partner's own of those ``Type/id``; what the gateway made of that id goes before what was sent."""
    by_type: dict[str, set[str]] = {}
    for reference in wanted:
        kind, _, fhir_id = reference.partition("/")
        if kind in resource_types() and fhir_id:
            by_type.setdefault(kind, set()).add(fhir_id)
    made = [
        one
        for kind, ids in by_type.items()
        if served.is_made(kind)
        for one in served.made(services, session, partner, kind, [(HasId(frozenset(ids)),)])
        if one.id in ids
    ]
    known = {one.reference for one in made}
    others = [f"{kind}/{fhir_id}" for kind, ids in by_type.items() for fhir_id in ids]
    sent = resources.by_reference(session, partner.id, [r for r in others if r not in known])
    return [*made, *map(served.sent, sent)]


class _Search:
    def __init__(self, services: Services, session: Session, partner: Partner) -> None:
        self._services, self._session, self._partner = services, session, partner
        self._result = Included()
        self._known: set[str] = set()

    def run(self, includes: tuple[Include, ...], matches: list[Served]) -> Included:
        self._known = {match.reference for match in matches}
        newest = matches
        for _ in range(MAX_ROUNDS):
            if not newest or not includes:
                break
            newest = [one for include in includes for one in self._of(include, newest)]
            includes = tuple(include for include in includes if include.iterates)
        return self._result

    def _of(self, include: Include, around: list[Served]) -> list[Served]:
        parameters = list(_parameters(include))
        if include.is_reverse:
            return self._take(self._referring(include, parameters, around))
        wanted = {
            reference
            for one in around
            if one.type == include.type
            for parameter in parameters
            for path in parameter.paths
            for reference in references_at(one.resource, path)
            if _leads_to(reference, parameter, include.target)
        }
        return self._take(by_reference(self._services, self._session, self._partner, wanted - self._known))

    def _referring(
        self, include: Include, parameters: list[SearchParameter], around: list[Served]
    ) -> list[Served]:
        keys = frozenset(
            Key(path.text, Form.REFERENCE, one.reference)
            for one in around
            for parameter in parameters
            if _leads_to(one.reference, parameter, include.target)
            for path in parameter.paths
        )
        if not keys or not self._may_read(include.type):
            return []
        query = Query(include.type, terms=((HasKey(keys),),), count=MAX_INCLUDED + 1, total="none")
        return found.find(self._services, self._session, self._partner, query, None).matches

    def _take(self, candidates: list[Served]) -> list[Served]:
        """Those that are new, allowed and not too many."""
        taken = []
        for one in candidates:
            if one.reference in self._known or not self._may_read(one.type):
                continue
            if len(self._result.resources) >= MAX_INCLUDED:
                self._leave_out(
                    f"More than {MAX_INCLUDED} resources would be included; the others were left out."
                )
                break
            self._known.add(one.reference)
            self._result.resources.append(one)
            taken.append(one)
        return taken

    def _may_read(self, type_name: str) -> bool:
        if scopes.allows(self._partner.scopes, type_name, "r"):
            return True
        self._leave_out(f"The access token does not allow to read {type_name}; none was included.")
        return False

    def _leave_out(self, words: str) -> None:
        if words not in self._result.left_out:
            self._result.left_out.append(words)


def _parameters(include: Include) -> Iterator[SearchParameter]:
    known = search_parameters(include.type)
    if include.parameter != "*":
        yield known[include.parameter]
    else:
        yield from (parameter for parameter in known.values() if parameter.kind == "reference")


def _leads_to(reference: str, parameter: SearchParameter, target: str) -> bool:
    kind = reference.partition("/")[0]
    return kind in (parameter.targets or resource_types()) and kind == (target or kind)
