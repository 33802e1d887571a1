"""What of a Task search the database can answer, so that only cases that may be found are loaded."""

from gateway.case.status import CaseStatus
from gateway.fhir.comparing import token, unescaped
from gateway.fhir.search import Query, Term
from gateway.store.case_search import Narrowing
from mappings.case_to_task import statuses

MAX_OPTIONS = 50
_ENQUIRY_STATUSES = frozenset({"requested", "completed"})


def of_tasks(query: Query) -> Narrowing:
    """Leaves out no case whose Task, or the Task of an enquiry about it, matches the query."""
    codes = _codes(query)
    return Narrowing(
        ids=_ids(query, "_id"),
        service_requests=_ids(query, "focus"),
        patients=_ids(query, "patient") or _ids(query, "subject"),
        statuses=None if codes is None else frozenset(_case_statuses(codes)),
        enquired=codes is not None and bool(codes & _ENQUIRY_STATUSES),
    )


def _term(query: Query, name: str) -> Term | None:
    """The first of the name that can be narrowed by; several are joined by AND, so that one is enough."""
    for term in query.terms:
        if term.name == name and not term.modifier and len(term.options) <= MAX_OPTIONS:
            return term
    return None


def _ids(query: Query, name: str) -> frozenset[str] | None:
    """The last part of an id, a reference or a URL."""
    term = _term(query, name)
    if term is None:
        return None
    if name == "_id":
        return frozenset(token(option)[1] for option in term.options)
    return frozenset(unescaped(option).split("/")[-1] for option in term.options)


def _codes(query: Query) -> frozenset[str] | None:
    term = _term(query, "status")
    found = [token(option)[1] for option in term.options] if term else []
    return frozenset(found) if found and all(found) else None


def _case_statuses(codes: frozenset[str]) -> list[CaseStatus]:
    return [status for status, shown in statuses().items() if shown.task in codes]
