"""What a partner may read: its own resources as sent, and those that the gateway makes from its cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.case.access import Partner
from gateway.case.model import Case, Enquiry
from gateway.errors import NotFound
from gateway.store import case_search, cases, resources, studies
from gateway.store.case_search import Narrowing
from gateway.store.database import Session
from gateway.store.objects import read_bytes
from gateway.store.resources import StoredResource, loads
from gateway.store.tables import StudyRow
from mappings.case_to_task import to_enquiry_task, to_task
from mappings.study_to_imaging_study import to_imaging_study

if TYPE_CHECKING:
    from gateway.services import Services

READABLE = (
    "Task",
    "ServiceRequest",
    "Patient",
    "ImagingStudy",
    "DocumentReference",
    "Binary",
    "DiagnosticReport",
)
"""Types that can be read and searched."""


@dataclass(frozen=True, slots=True)
class Served:
    """A resource as it goes out. ``opinion_id`` is set on a report that the gateway made."""

    resource: dict[str, Any]
    version: str
    updated_at: datetime
    opinion_id: str = ""

    @property
    def id(self) -> str:
        return str(self.resource["id"])


def read(services: Services, session: Session, partner: Partner, type_name: str, fhir_id: str) -> Served:
    """One resource of the partner's own. Raises NotFound."""
    for served in _made(services, session, partner, type_name, fhir_id):
        return served
    return _sent(resources.read(session, partner, type_name, fhir_id))


def every(
    services: Services, session: Session, partner: Partner, type_name: str, tasks: Narrowing | None = None
) -> list[Served]:
    """All current resources of a type, what was sent first; of Tasks that are made, those of the cases wanted."""
    sent = [_sent(stored) for stored in resources.of_type(session, partner, type_name)]
    if type_name == "Task" and tasks is not None:
        return [*sent, *_tasks_of(services, session, partner, tasks)]
    return [*sent, *_made(services, session, partner, type_name, None)]


def task_of(services: Services, session: Session, partner: Partner, case_id: str) -> Served:
    """The coordination Task of a case. Raises NotFound."""
    return _task(services, cases.load(session, partner, case_id))


def _sent(stored: StoredResource) -> Served:
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
    """Signed reports, byte for byte as they were frozen."""
    served = []
    for opinion, _case in cases.signed_opinions(session, partner, fhir_id):
        resource = loads(read_bytes(services.objects, opinion.report_key))
        served.append(Served(resource, "1", opinion.signed_at or opinion.drafted_at, opinion.id))
    return served


def _stamped(resource: dict[str, Any], updated_at: datetime) -> Served:
    """The version of a made resource is the millisecond of its last change."""
    version = str(int(updated_at.timestamp() * 1000))
    meta = {
        **resource.get("meta", {}),
        "versionId": version,
        "lastUpdated": updated_at.isoformat(timespec="milliseconds"),
    }
    return Served({**resource, "meta": meta}, version, updated_at)


_Maker = Callable[["Services", Session, Partner, str | None], list[Served]]
_MAKERS: dict[str, _Maker] = {"Task": _tasks, "ImagingStudy": _imaging_studies, "DiagnosticReport": _reports}
