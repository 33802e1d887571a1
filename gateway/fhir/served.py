"""What a partner may read: its own resources as sent, and those that the gateway makes from its cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.case.access import Partner
from gateway.case.model import Case, Enquiry
from gateway.case.searching import HasId, Term
from gateway.clock import UTC
from gateway.errors import NotFound
from gateway.fhir import narrowing, subscriptions_served
from gateway.store import case_search, cases, resources, studies
from gateway.store.case_search import Narrowing
from gateway.store.database import Session
from gateway.store.objects import read_bytes
from gateway.store.report_search import ReportSearch
from gateway.store.resources import StoredResource, loads
from gateway.store.tables import OpinionRow, StudyRow
from mappings.case_to_task import to_enquiry_task, to_task
from mappings.fhir_datatypes import stamped
from mappings.operation_definitions import operation_definitions
from mappings.own_terminology import code_systems, value_sets
from mappings.search_parameter_resources import search_parameter_resources
from mappings.structure_definitions import structure_definitions
from mappings.study_to_imaging_study import to_imaging_study

if TYPE_CHECKING:
    from gateway.services import Services


@dataclass(frozen=True, slots=True)
class Served:
    """A resource as it goes out. ``opinion_id`` is set on a report that the gateway made."""

    resource: dict[str, Any]
    version: str
    updated_at: datetime
    opinion_id: str = ""

    @property
    def type(self) -> str:
        return str(self.resource["resourceType"])

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}"

    @property
    def id(self) -> str:
        return str(self.resource["id"])


def read(services: Services, session: Session, partner: Partner, type_name: str, fhir_id: str) -> Served:
    """One resource of the partner's own. Raises NotFound."""
    for served in _made(services, session, partner, type_name, fhir_id):
        return served
    return sent(resources.read(session, partner, type_name, fhir_id))


def read_version(
    services: Services, session: Session, partner: Partner, type_name: str, fhir_id: str, number: str
) -> Served:
    """One version (FHIR R4 3.1.0.3). Of what the gateway makes only the present one is kept. Raises NotFound."""
    for served in _made(services, session, partner, type_name, fhir_id):
        if served.version == number:
            return served
        raise NotFound(f"The {type_name} of that id is made by the gateway; earlier versions are not kept.")
    if not (number.isascii() and number.isdecimal()) or len(number) > 9:
        raise NotFound(f"No {type_name} of yours has the id {fhir_id} and that version.")
    return sent(resources.version(session, partner, type_name, fhir_id, int(number)))


def made(
    services: Services, session: Session, partner: Partner, type_name: str, terms: Sequence[Term] = ()
) -> list[Served]:
    """What the gateway makes of a type; it may leave out what the terms do not find."""
    if type_name == "Task":
        return _tasks_of(services, session, partner, narrowing.of_tasks(terms))
    if type_name == "ImagingStudy":
        rows = case_search.narrowed_studies(session, partner, narrowing.of_studies(terms))
        return [_imaging_study(services, session, row) for row in rows]
    if type_name == "DiagnosticReport":
        return reports(services, ReportSearch(session, partner, terms).candidates())
    single = [term[0] for term in terms if len(term) == 1]
    ids = next((c.ids for c in single if isinstance(c, HasId) and not c.is_not), None)
    if ids is None:
        return _made(services, session, partner, type_name, None)
    return [served for one in sorted(ids) for served in _made(services, session, partner, type_name, one)]


def made_ids(session: Session, partner: Partner, type_name: str) -> list[str]:
    """By which ``made`` gives all of a type that was made of the partner's cases, a few at a time."""
    match type_name:
        case "Task":
            return case_search.ids(session, partner)
        case "ImagingStudy":
            return case_search.study_ids(session, partner)
        case "DiagnosticReport":
            return [opinion.id for opinion, _ in cases.signed_opinions(session, partner)]
        case "Subscription":
            found = subscriptions_served.subscription_resources(session, partner, None)
            return [str(resource["id"]) for resource, *_ in found]
    return []


def is_made(type_name: str) -> bool:
    return type_name in _MAKERS


def has_made(services: Services, session: Session, partner: Partner, type_name: str, fhir_id: str) -> bool:
    """Whether the resource of that id is one that the gateway makes."""
    return bool(_made(services, session, partner, type_name, fhir_id))


def task_of(services: Services, session: Session, partner: Partner, case_id: str) -> Served:
    """The coordination Task of a case. Raises NotFound."""
    return _task(services, cases.load(session, partner, case_id))


def sent(stored: StoredResource) -> Served:
    """As sent, with the gateway's id, version and time in Resource.meta."""
    content = stored.content
    given = content.get("meta")
    meta = given if isinstance(given, dict) else {}
    meta = {
        **meta,
        "versionId": str(stored.version),
        "lastUpdated": stored.updated_at.isoformat(timespec="milliseconds"),
    }
    head = {"resourceType": stored.type, "id": stored.fhir_id, "meta": meta}
    rest = {key: value for key, value in content.items() if key not in head}
    return Served({**head, **rest}, str(stored.version), stored.updated_at)


def _made(
    services: Services, session: Session, partner: Partner, type_name: str, fhir_id: str | None
) -> list[Served]:
    maker = _MAKERS.get(type_name)
    return maker(services, session, partner, fhir_id) if maker else []


def _tasks(services: Services, session: Session, partner: Partner, fhir_id: str | None) -> list[Served]:
    """Coordination Tasks (id: the case's) and their sub-Tasks, the enquiries (id: the enquiry's)."""
    if fhir_id is not None:
        return _one_task(services, session, partner, fhir_id)
    return _tasks_of(services, session, partner, Narrowing())


def _tasks_of(services: Services, session: Session, partner: Partner, by: Narrowing) -> list[Served]:
    served = []
    for row in case_search.narrowed(session, partner, by):
        case = cases.to_case(session, row)
        served += [_task(services, case), *(_enquiry(services, case, enquiry) for enquiry in case.enquiries)]
    return served


def _one_task(services: Services, session: Session, partner: Partner, fhir_id: str) -> list[Served]:
    case = _one_case(session, partner, fhir_id)
    if case is not None:
        return [_task(services, case)]
    row = cases.of_enquiry(session, partner, fhir_id)
    found = cases.to_case(session, row) if row is not None else None
    return [_enquiry(services, found, e) for e in found.enquiries if e.id == fhir_id] if found else []


def _one_case(session: Session, partner: Partner, case_id: str) -> Case | None:
    try:
        return cases.load(session, partner, case_id)
    except NotFound:
        return None


def _task(services: Services, case: Case) -> Served:
    return _stamped(to_task(case, services.config.fhir_base, services.config.programme_name), case.updated_at)


def _enquiry(services: Services, case: Case, enquiry: Enquiry) -> Served:
    config = services.config
    return _stamped(
        to_enquiry_task(case, enquiry, config.fhir_base, config.programme_name),
        enquiry.answered_at or enquiry.asked_at,
    )


def _imaging_studies(
    services: Services, session: Session, partner: Partner, fhir_id: str | None
) -> list[Served]:
    conditions = () if fhir_id is None else (StudyRow.id == fhir_id,)
    return [_imaging_study(services, session, row) for row in studies.rows(session, partner, *conditions)]


def _imaging_study(services: Services, session: Session, row: StudyRow) -> Served:
    patient = ""
    if row.case_id is not None and row.join_state == studies.JOINED:
        record = cases.load_record(cases.row(session, Partner(row.partner_id, "", ""), row.case_id).record)
        if record.patient is not None and record.patient.source is not None:
            patient = record.patient.source.reference or ""
    base = services.config.base_url
    return _stamped(to_imaging_study(studies.to_study(row), patient, f"{base}/dicom-web"), row.updated_at)


def _reports(services: Services, session: Session, partner: Partner, fhir_id: str | None) -> list[Served]:
    return reports(services, [o for o, _case in cases.signed_opinions(session, partner, fhir_id)])


def reports(services: Services, signed: Iterable[OpinionRow]) -> list[Served]:
    """Signed reports, byte for byte as they were frozen."""
    return [
        Served(
            loads(read_bytes(services.objects, one.report_key)),
            "1",
            one.signed_at or one.drafted_at,
            one.id,
        )
        for one in signed
    ]


def _stamped(resource: dict[str, Any], updated_at: datetime) -> Served:
    made = stamped(resource, updated_at)
    return Served(made, made["meta"]["versionId"], updated_at)


def _definitions(known: Callable[[], Mapping[str, dict[str, Any]]]) -> _Maker:
    """Definitions are everybody's: what can be searched by, profiles, operations, codes; ``known`` by id."""

    def maker(_services: Services, _session: Session, _partner: Partner, fhir_id: str | None) -> list[Served]:
        found = known().values() if fhir_id is None else filter(None, [known().get(fhir_id)])
        return [_stamped(resource, _published(resource)) for resource in found]

    return maker


def _published(resource: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(resource["date"]).replace(tzinfo=UTC)


def _subscriptions(
    _services: Services, session: Session, partner: Partner, fhir_id: str | None
) -> list[Served]:
    found = subscriptions_served.subscription_resources(session, partner, fhir_id)
    return [Served(resource, str(version), updated_at) for resource, version, updated_at in found]


def _topics(_services: Services, _session: Session, _partner: Partner, fhir_id: str | None) -> list[Served]:
    """The topics that can be subscribed to are everybody's."""
    return [_stamped(*topic) for topic in subscriptions_served.topic_resources(fhir_id)]


_Maker = Callable[["Services", Session, Partner, str | None], list[Served]]
_MAKERS: dict[str, _Maker] = {
    "Task": _tasks,
    "ImagingStudy": _imaging_studies,
    "DiagnosticReport": _reports,
    "SearchParameter": _definitions(search_parameter_resources),
    "StructureDefinition": _definitions(structure_definitions),
    "OperationDefinition": _definitions(operation_definitions),
    "CodeSystem": _definitions(code_systems),
    "ValueSet": _definitions(value_sets),
    "Subscription": _subscriptions,
    "Basic": _topics,
}
