"""The record of a case, read from the resources that belong to it; any number of times, with the same result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.case.access import SYSTEM_ACTOR
from gateway.case.model import Fault, Source
from gateway.case.patient_match import contradictions
from gateway.clock import utc_now
from gateway.store import cases, examinations, partners, receipts, resources
from gateway.store.database import Session
from gateway.store.resources import StoredResource
from gateway.workflow import notify
from gateway.workflow.durable import Work
from gateway.workflow.place_study import undecided_for
from mappings.fhir_bag import Sourced
from mappings.fhir_elements import objects, references
from mappings.fhir_to_case import (
    to_demographics,
    to_record,
)

if TYPE_CHECKING:
    from gateway.services import Services

_BESIDE = frozenset(
    {
        *("Patient", "RelatedPerson", "Practitioner", "PractitionerRole", "Organization", "Medication"),
        *("Binary", "Bundle", "Endpoint"),
    }
)
_BESIDE_DEPTH = 3


def renew_record(services: Services, session: Session, case_id: str) -> None:
    """Read the record again from the case's resources, and enqueue what depends on it.

    What manifests among the received imaging name stays (see fetch_plan.py).
    """
    row = cases.row(session, SYSTEM_ACTOR, case_id, lock=True)
    authority = partners.get(session, row.partner_id).assigning_authority
    own = resources.of_case(session, case_id)
    beside = _beside(session, row.partner_id, own)
    record = to_record(
        map(sourced, own),
        map(sourced, beside),
        authority,
        row.service_request,
        _faults(session, case_id, own),
        map(sourced, _contradicting(session, row.partner_id, authority, [*own, *beside])),
        receipts.of_several_cases(session, {r.receipt_id for r in own}),
    )
    manifests = [e for e in cases.load_record(row.record).expected_studies if e.source.sop_instance_uid]
    record = replace(record, expected_studies=(*record.expected_studies, *manifests))
    cases.set_record(row, examinations.apply(session, record))
    row.updated_at = utc_now()
    notify.tell_status(services, session, row)
    services.jobs.enqueue(session, Work.CHECK_CASE, case_id)
    for study_id in undecided_for(session, row):
        services.jobs.enqueue(session, Work.PLACE_STUDY, study_id)


def _beside(session: Session, partner_id: str, own: list[StoredResource]) -> list[StoredResource]:
    """Resources of the same partner that the case's own refer to: practitioners, organisations, documents' bytes."""
    have = {r.reference for r in own}
    found: list[StoredResource] = []
    newest = own
    for _ in range(_BESIDE_DEPTH):
        wanted = {r for s in newest for r in _named(s) if r.split("/")[0] in _BESIDE} - have
        newest = resources.by_reference(session, partner_id, wanted)
        have |= {r.reference for r in newest}
        found += newest
        if not newest:
            break
    return found


def _contradicting(
    session: Session, partner_id: str, authority: str, known: list[StoredResource]
) -> list[StoredResource]:
    """Earlier versions of the case's Patients that tell another name, birth date or sex than the present one."""
    found: list[StoredResource] = []
    for patient in (r for r in known if r.type == "Patient"):
        present = to_demographics(sourced(patient), authority)
        versions = resources.earlier_versions(session, partner_id, patient.type, patient.fhir_id)
        found += [v for v in versions if contradictions(present, to_demographics(sourced(v), authority))]
    return found


def _named(stored: StoredResource) -> Iterable[str]:
    content = stored.content
    yield from references(content)
    if stored.type == "DocumentReference":
        for part in objects(content.get("content")):
            attachment = part.get("attachment")
            if isinstance(attachment, dict) and isinstance(attachment.get("url"), str):
                yield attachment["url"]


def _faults(session: Session, case_id: str, own: list[StoredResource]) -> tuple[Fault, ...]:
    """Faults of accepted entries, as long as no later version of the resource has come.

    Information is for the sender, and is no fault of the record.
    """
    current = {(r.receipt_id, r.path) for r in own}
    faults = []
    for receipt in receipts.of_case(session, case_id):
        for index, entry in enumerate((receipt.answer or {}).get("entries", ())):
            path = f"Bundle.entry[{index}].resource"
            if entry["status"] != "refused" and (receipt.id, path) not in current:
                continue
            source = Source(receipt.id, receipt.sha256, path)
            told = [i for i in entry["issues"] if i["severity"] != "information"]
            faults += [Fault(i["text"], i["expression"] or path, source) for i in told]
    return tuple(faults)


def sourced(stored: StoredResource) -> Sourced:
    """A stored resource and where it was read, for the mappings."""
    source = Source(stored.receipt_id, stored.receipt_sha256, stored.path, reference=stored.reference)
    return Sourced(stored.content, source)
