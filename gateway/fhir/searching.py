"""The search interaction (FHIR R4 3.1.0.9): from a request to its searchset."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import Response

from gateway.auth.bearer import require_scope
from gateway.case.access import Partner
from gateway.errors import InvalidContent
from gateway.fhir import answers, chaining, disclosed, found, included, paging, releases, search
from gateway.fhir.included import Included
from gateway.fhir.preferences import handling
from gateway.fhir.search import PAGE, Query
from gateway.fhir.shaping import shaped
from gateway.workflow.disclosure import SEARCH
from gateway.workflow.searchable import searching

if TYPE_CHECKING:
    from gateway.services import Services

Pairs = list[tuple[str, str]]


def search_type(services: Services, partner: Partner, base: str, asked_type: str, pairs: Pairs) -> Response:
    """GET [type], or POST [type]/_search with the parameters of both."""
    type_name, _, _ = releases.addressed(asked_type, "")
    require_scope(partner, type_name, "s")
    answers.require_fhir_answer()
    strict = handling() == "strict"
    asked = chaining.followed(services, partner, type_name, releases.pairs_in_r4(asked_type, pairs), base)
    query = releases.called(asked_type, search.parse(type_name, asked, strict, base))
    if type_name == "Binary" and not any(name == "_id" for name, _ in query.asked):
        raise InvalidContent("Binaries may be large: name those that you want by _id.")
    page, beside = _found(services, partner, query)
    matches = [shaped(one.resource, query.summary, query.elements) for one in page.matches]
    others = [shaped(one.resource, query.summary, ()) for one in beside.resources]
    disclosed.record(
        services,
        partner,
        SEARCH,
        type_name,
        [*page.matches, *beside.resources],
        carried=disclosed.has_opinion([*matches, *others]),
        **({"included": len(beside.resources)} if beside.resources else {}),
    )
    ignored = [f"The parameter '{name[:64]}' was ignored." for name in query.ignored]
    warnings = [] if query.only_total else [*ignored, *beside.left_out]
    links = _links(partner, base, query, page)
    return answers.fhir_answer(answers.searchset(matches, others, page.total, base, links, warnings))


def _found(services: Services, partner: Partner, query: Query) -> tuple[found.Page, Included]:
    after = paging.read_mark(partner, _identity(query), query.page) if query.page else None
    if after is not None and len(after) != len(query.order):
        raise InvalidContent("The page's address belongs to another search; please search again.")
    with searching(services, partner) as session:
        page = found.find(services, session, partner, query, after)
        beside = included.included(services, session, partner, query.includes, page.matches)
    return page, beside


def _identity(query: Query) -> list[object]:
    """What a page's mark is good for: the same terms in the same order."""
    return [query.address, sorted(query.asked), query.order]


def _links(partner: Partner, base: str, query: Query, page: found.Page) -> list[dict[str, str]]:
    """self says what was honoured (3.1.1.3), next is there while there is more."""
    results = [(name, value) for name, value in query.results if name != "_count"]
    if not query.only_total:
        results.append(("_count", str(query.count)))
    asked = [*query.asked, *results]
    own = [*asked, (PAGE, query.page)] if query.page else asked
    links = [{"relation": "self", "url": f"{base}/{query.address}?{urlencode(own)}"}]
    if page.after is not None:
        mark = paging.mark(partner, _identity(query), page.after)
        links.append(
            {"relation": "next", "url": f"{base}/{query.address}?{urlencode([*asked, (PAGE, mark)])}"}
        )
    return links
