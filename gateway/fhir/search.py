"""A search as it is asked (FHIR R4 3.1.1): which parameters limit it, and how the answer is wanted."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gateway.case.searching import Term
from gateway.errors import InvalidContent, Issue
from gateway.fhir import terms
from gateway.store.resource_search import ARRIVAL, Sort
from mappings.fhir_search_parameters import SearchParameter, resource_types, search_parameters

DEFAULT_COUNT, MAX_COUNT = 50, 500
MAX_SORTS = 3
PAGE = "_page"
"""The parameter of a next link: where the page begins."""
SUMMARIES = ("true", "text", "data", "count", "false")
TOTALS = ("none", "estimate", "accurate")
_PASSED_OVER = frozenset({"_format", "_pretty"})
_RESULT_PARAMETERS = frozenset({"_include", "_revinclude"})
RESULTS = ("_count", "_sort", "_summary", "_elements", "_total", "_include", "_revinclude")


@dataclass(frozen=True, slots=True)
class Include:
    """``_include`` or, ``is_reverse``, ``_revinclude``: ``Type:parameter[:target]``; ``parameter`` may be ``*``.

    ``iterates``: also of what is included itself (3.1.1.5.3).
    """

    type: str
    parameter: str
    target: str
    is_reverse: bool
    iterates: bool


@dataclass(frozen=True, slots=True)
class Query:
    """``asked`` is what limits the search, as sent; ``ignored`` what is not honoured, which the answer says.

    ``called`` is the type that was asked for where another release names it so; the search is for R4's.
    """

    type: str
    asked: tuple[tuple[str, str], ...] = ()
    terms: tuple[Term, ...] = ()
    order: tuple[Sort, ...] = ARRIVAL
    count: int = DEFAULT_COUNT
    page: str = ""
    summary: str = "false"
    elements: frozenset[str] = frozenset()
    total: str = "accurate"
    includes: tuple[Include, ...] = ()
    results: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = field(default=())
    called: str = ""

    @property
    def address(self) -> str:
        return self.called or self.type

    @property
    def only_total(self) -> bool:
        return self.summary == "count" or self.count == 0


def parse(type_name: str, pairs: Iterable[tuple[str, str]], strict: bool, base: str) -> Query:
    """Raises InvalidContent on a malformed value, a modifier or a chain that is not offered (3.1.1.3: never ignored).

    Under ``Prefer: handling=strict`` on an unknown parameter too. ``base`` is the gateway's own FHIR base.
    """
    known = search_parameters(type_name)
    query = Query(type_name)
    for name, value in pairs:
        head = _head(name)
        if head in known:
            query = _limited(query, known[head], name, value, base)
        elif name in _READERS or head in _RESULT_PARAMETERS:
            query = _as_wanted(query, name, value)
        elif name != head:
            raise terms.not_offered(name)
        elif name not in _PASSED_OVER:
            query = _without(query, name)
    if query.ignored and strict:
        issues = tuple(
            Issue("error", "not-supported", f"Unknown search parameter '{name[:64]}'.")
            for name in query.ignored
        )
        raise InvalidContent("The search has parameters that are not known here.", issues)
    if query.elements and query.summary not in ("false", "count"):
        raise InvalidContent("_summary and _elements cannot be asked for together (3.1.1.5.9).")
    return query


def _head(name: str) -> str:
    return re.split("[:.]", name)[0]


def _without(query: Query, name: str) -> Query:
    return replace(query, ignored=(*query.ignored, name))


def _limited(query: Query, parameter: SearchParameter, name: str, value: str, base: str) -> Query:
    _, colon, modifier = name.partition(":")
    if "." in name or (colon and not modifier):
        raise terms.not_offered(name)
    if not value:
        return _without(query, name)
    asked = terms.term(parameter, modifier, value, base)
    return replace(query, asked=(*query.asked, (name, value)), terms=(*query.terms, asked))


def _as_wanted(query: Query, name: str, value: str) -> Query:
    """A parameter of how the answer is wanted."""
    head, _, modifier = name.partition(":")
    if head in _RESULT_PARAMETERS:
        if modifier not in ("", "iterate"):
            raise terms.not_offered(name)
        all_of_type = f"{query.type}:*" if value == "*" and head == "_include" else value
        found = _include(all_of_type, head == "_revinclude", modifier == "iterate")
        query = replace(query, includes=(*query.includes, found))
    else:
        query = _READERS[name](query, value)
    return query if name == PAGE else replace(query, results=(*query.results, (name, value)))


def whole_count(value: str) -> int:
    """_count, MAX_COUNT at most. Raises InvalidContent."""
    if not (value.isascii() and value.isdecimal()) or len(value) > 9:
        raise InvalidContent("_count must be a whole number.")
    return min(int(value), MAX_COUNT)


def _count(query: Query, value: str) -> Query:
    return replace(query, count=whole_count(value))


def _page(query: Query, value: str) -> Query:
    return replace(query, page=value)


def _summary(query: Query, value: str) -> Query:
    if value not in SUMMARIES:
        raise InvalidContent(f"_summary is one of {', '.join(SUMMARIES)}.")
    return replace(query, summary=value)


def _total(query: Query, value: str) -> Query:
    if value not in TOTALS:
        raise InvalidContent(f"_total is one of {', '.join(TOTALS)}.")
    return replace(query, total=value)


def _elements(query: Query, value: str) -> Query:
    named = frozenset(name.strip() for name in value.split(","))
    if not all(re.fullmatch(r"([A-Z]\w*\.)?\w{1,64}", name, re.ASCII) for name in named):
        raise InvalidContent("_elements are names of elements at the top of a resource, with commas between.")
    own = (name.split(".") for name in named)
    return replace(
        query, elements=query.elements | {parts[-1] for parts in own if parts[0] in (query.type, parts[-1])}
    )


def _sort(query: Query, value: str) -> Query:
    """What cannot be sorted by is reported, as any parameter that is not honoured (3.1.1.5.1)."""
    wanted = [name.strip() for name in value.split(",")]
    if len(wanted) > MAX_SORTS:
        raise InvalidContent(f"_sort names at most {MAX_SORTS} parameters.")
    sorts = []
    for name in wanted:
        sort = _sorted_by(query.type, name.removeprefix("-"), name.startswith("-"))
        if sort is None:
            query = _without(query, f"_sort={name}")
        else:
            sorts.append(sort)
    return replace(query, order=(*sorts, *ARRIVAL))


def _sorted_by(type_name: str, name: str, is_descending: bool) -> Sort | None:
    columns = {"_id": "id", "_lastUpdated": "updated"}
    if name in columns:
        return Sort(columns[name], is_descending=is_descending)
    parameter = search_parameters(type_name).get(name)
    by = {"date": "date", "string": "text", "uri": "text"}.get(parameter.kind) if parameter else None
    if parameter is None or by is None:
        return None
    return Sort(by, frozenset(path.text for path in parameter.paths), is_descending)


def _include(value: str, is_reverse: bool, iterates: bool) -> Include:
    parts = value.split(":")
    if not 2 <= len(parts) <= 3 or any(t not in resource_types() for t in (parts[0], *parts[2:])):
        raise InvalidContent("An include is Type:parameter or Type:parameter:Type.")
    parameter = search_parameters(parts[0]).get(parts[1])
    if parts[1] != "*" and (parameter is None or parameter.kind != "reference"):
        raise InvalidContent(f"'{value[:64]}': there is no such parameter of the kind reference.")
    return Include(parts[0], parts[1], parts[2] if len(parts) == 3 else "", is_reverse, iterates)


_READERS = {
    "_count": _count,
    PAGE: _page,
    "_summary": _summary,
    "_total": _total,
    "_elements": _elements,
    "_sort": _sort,
}
