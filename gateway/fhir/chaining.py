"""Chained parameters of one step (FHIR R4 3.1.1.4.5), as ``patient.identifier`` and ``author.family`` of IHE MHD."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.auth.bearer import require_scope
from gateway.case.access import Partner
from gateway.errors import InvalidContent
from gateway.fhir import found, search, terms
from gateway.workflow.searchable import searching
from mappings.fhir_search_parameters import search_parameters

if TYPE_CHECKING:
    from gateway.services import Services

_NOTHING = ("_id", "~")  # no id is written so (datatypes, id)


def followed(
    services: Services, partner: Partner, type_name: str, pairs: list[tuple[str, str]], base: str
) -> list[tuple[str, str]]:
    """The same search without chains: each is followed to the partner's own resources that it means.

    Raises InvalidContent on a chain that is not offered, and when it means more than can be asked for at once.
    """
    return [
        _followed(services, partner, type_name, name, value, base) if "." in name else (name, value)
        for name, value in pairs
    ]


def _followed(
    services: Services, partner: Partner, type_name: str, name: str, value: str, base: str
) -> tuple[str, str]:
    link, _, asked = name.partition(".")
    head, _, only = link.partition(":")
    parameter = search_parameters(type_name).get(head)
    types = sorted({only} if only else parameter.targets) if parameter else []
    reached = [t for t in types if asked.partition(":")[0] in search_parameters(t)]
    if parameter is None or parameter.kind != "reference" or "." in asked or not reached:
        raise terms.not_offered(name)
    references = [r for t in reached for r in _matching(services, partner, t, asked, value, base)]
    if len(references) > terms.MAX_OPTIONS:
        raise InvalidContent(
            f"'{name[:64]}' means more than {terms.MAX_OPTIONS} resources; please ask in parts."
        )
    return (head, ",".join(references)) if references else _NOTHING


def _matching(
    services: Services, partner: Partner, type_name: str, asked: str, value: str, base: str
) -> list[str]:
    require_scope(partner, type_name, "s")
    query = search.parse(type_name, [(asked, value), ("_count", str(terms.MAX_OPTIONS + 1))], True, base)
    with searching(services, partner) as session:
        page = found.find(services, session, partner, query, None)
    return [f"{type_name}/{one.id}" for one in page.matches]
