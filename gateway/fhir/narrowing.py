"""What the database can answer of a search of Tasks or ImagingStudies, so that not all cases and studies are loaded."""

from collections.abc import Iterable

from gateway.case.searching import Form, HasId, HasKey, Term
from gateway.case.status import CaseStatus
from gateway.store.case_search import Narrowing, StudyNarrowing
from mappings.case_to_task import statuses

MAX_OPTIONS = 50
_OID = "urn:oid:"
_ENQUIRY_STATUSES = frozenset({"requested", "completed"})


def of_tasks(terms: Iterable[Term]) -> Narrowing:
    """Leaves out no case whose Task, or the Task of an enquiry about it, matches the terms."""
    ids, keyed = _single(terms)
    parents = _ids(keyed, "partOf", "Task/")
    codes = _values(keyed, "status", Form.CODE)
    return Narrowing(
        ids=parents if parents is not None else _few(ids),
        service_requests=_ids(keyed, "focus", "ServiceRequest/"),
        patients=_ids(keyed, "for", "Patient/"),
        statuses=None if codes is None else frozenset(_case_statuses(codes)),
        enquired=codes is not None and bool(codes & _ENQUIRY_STATUSES),
    )


def of_studies(terms: Iterable[Term]) -> StudyNarrowing:
    """Leaves out no study whose ImagingStudy matches the terms."""
    ids, keyed = _single(terms)
    values = _values(keyed, "identifier", Form.CODE) or _values(keyed, "identifier", Form.SYSTEM_AND_CODE)
    sent = [value.rpartition("|")[2] for value in values or ()]
    is_of_uids = bool(sent) and len(sent) <= MAX_OPTIONS and all(value.startswith(_OID) for value in sent)
    return StudyNarrowing(
        ids=_few(ids),
        identifiers=frozenset((*sent, *(v.removeprefix(_OID) for v in sent))) if is_of_uids else None,
        patients=_ids(keyed, "subject", "Patient/"),
    )


def _single(terms: Iterable[Term]) -> tuple[list[frozenset[str]], list[HasKey]]:
    """Ids and keys of which a term asks for any and for nothing else."""
    single = [term[0] for term in terms if len(term) == 1]
    ids = [condition.ids for condition in single if isinstance(condition, HasId) and not condition.is_not]
    return ids, [condition for condition in single if isinstance(condition, HasKey) and not condition.is_not]


def _few(ids: list[frozenset[str]]) -> frozenset[str] | None:
    return next((found for found in ids if len(found) <= MAX_OPTIONS), None)


def _values(keyed: list[HasKey], path: str, form: Form) -> frozenset[str] | None:
    """Of the first term that asks for the path and nothing else; several are joined by AND, so one is enough."""
    for condition in keyed:
        if all(key.path == path and key.form is form for key in condition.keys):
            return frozenset(key.value for key in condition.keys)
    return None


def _ids(keyed: list[HasKey], path: str, start: str) -> frozenset[str] | None:
    """FHIR ids of references of that type; those of other types lead to no case."""
    found = _values(keyed, path, Form.REFERENCE)
    own = [value.removeprefix(start) for value in found or () if value.startswith(start)]
    return frozenset(own) if found is not None and len(own) <= MAX_OPTIONS else None


def _case_statuses(codes: frozenset[str]) -> list[CaseStatus]:
    return [status for status, shown in statuses().items() if shown.task in codes]
