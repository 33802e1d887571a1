"""A case and its enquiries as the hospital follows them: FHIR R4 Tasks, HL7 Clinical Order Workflows 1.0.0-ballot."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from gateway.case.model import Case, CaseFinding, Enquiry, Opinion
from gateway.case.status import CaseStatus
from mappings.fhir_datatypes import (
    CASE_STATUS_SYSTEM,
    FINDING_SYSTEM,
    PARTNER_SYSTEM,
    URI_SYSTEM,
    Element,
    coding_of,
    instant,
    patient_reference,
    present,
)
from mappings.own_profiles import claim
from mappings.plain_text import all_legible

TASK_CODE_SYSTEM = "http://hl7.org/fhir/CodeSystem/task-code"
_PRIORITIES = frozenset({"routine", "urgent", "asap", "stat"})
_REQUESTERS = ("Device", "Organization", "Patient", "Practitioner", "PractitionerRole", "RelatedPerson")
_DEFAULT_PROGRAMME = "Second opinion programme"


@dataclass(frozen=True, slots=True)
class Shown:
    """``task`` is a code of R4 task-status."""

    task: str
    words: str


@cache
def statuses() -> dict[CaseStatus, Shown]:
    """mappings/case_status.yaml; raises ValueError or TypeError where a row is not as wanted."""
    table = yaml.safe_load(Path(__file__).with_name("case_status.yaml").read_text("utf-8"))
    return {CaseStatus(status): Shown(**row) for status, row in table.items()}


def to_task(case: Case, fhir_base: str, programme_name: str = _DEFAULT_PROGRAMME) -> Element:
    """The coordination Task of a case.

    - businessStatus tells where the case stands, statusReason what is waited for or why it was declined.
    - note holds one Annotation per open finding. They are not in output, which is for what the task makes,
      nor in input, which the requester gave.
    - output refers to every signed opinion's DiagnosticReport.
    - focus is left out for a case whose bundle had no ServiceRequest: that is its first finding.
    """
    case = all_legible(case)
    shown = statuses()[CaseStatus(case.status)]
    return present(
        resourceType="Task",
        id=case.id,
        meta=claim("coordination-task") | {"lastUpdated": instant(case.updated_at)},
        identifier=[{"system": f"{fhir_base}/NamingSystem/case", "value": case.id}],
        status=shown.task,
        statusReason=present(text=_status_reason(case)),
        businessStatus=coding_of(CASE_STATUS_SYSTEM, case.status, shown.words, shown.words),
        intent="order",
        priority=_priority(case),
        code=coding_of(TASK_CODE_SYSTEM, "fulfill", "Fulfill the focal request", "Second opinion"),
        focus=_service_request(case),
        for_=patient_reference(case.record.patient),
        authoredOn=instant(case.opened_at),
        lastModified=instant(case.updated_at),
        requester=_hospital(case),
        owner=_programme(fhir_base, programme_name),
        note=[_note(found) for found in case.open_findings],
        output=[_output(opinion) for opinion in case.opinions if opinion.signed_at],
    )


def to_enquiry_task(
    case: Case, enquiry: Enquiry, fhir_base: str, programme_name: str = _DEFAULT_PROGRAMME
) -> Element:
    """An enquiry as a sub-Task that the referring hospital owns; ``input`` names the findings that it is about."""
    case, enquiry = all_legible(case), all_legible(enquiry)
    asked_about = [found for found in case.findings if found.id in enquiry.finding_ids]
    changed_at = enquiry.answered_at or enquiry.asked_at
    return present(
        resourceType="Task",
        id=enquiry.id,
        meta=claim("enquiry-task") | {"lastUpdated": instant(changed_at)},
        partOf=[{"reference": f"Task/{case.id}", "type": "Task"}],
        status="completed" if enquiry.answered_at else "requested",
        intent="order",
        priority=_priority(case),
        code={"text": "Supply missing information for a second opinion"},
        description=enquiry.text,
        focus=_service_request(case),
        for_=patient_reference(case.record.patient),
        authoredOn=instant(enquiry.asked_at),
        lastModified=instant(changed_at),
        requester=_programme(fhir_base, programme_name),
        owner=_hospital(case),
        input=[_input(found) for found in asked_about],
    )


def _status_reason(case: Case) -> str:
    if case.status == CaseStatus.DECLINED:
        return case.declined_because
    if case.open_enquiries:
        return " ".join(enquiry.text for enquiry in case.open_enquiries)
    blocking = "; ".join(found.finding.subject for found in case.blocking_findings)
    return f"Needed before the review can begin: {blocking}" if blocking else ""


def _priority(case: Case) -> str:
    """R4 request-priority; anything else that was sent stays in the ServiceRequest only."""
    priority = case.record.questions[0].priority if case.record.questions else ""
    return priority if priority in _PRIORITIES else ""


def _service_request(case: Case) -> Element:
    return present(reference=case.service_request, type="ServiceRequest") if case.service_request else {}


def _hospital(case: Case) -> Element:
    """The physician who asked, where a resource of a kind that Task.requester allows was sent; else the partner."""
    for physician in case.record.physicians:
        reference = (physician.source.reference or "") if physician.source else ""
        kind = reference.split("/")[0]
        if kind in _REQUESTERS:
            return present(reference=reference, type=kind, display=physician.name)
    return {
        "type": "Organization",
        "identifier": {"system": PARTNER_SYSTEM, "value": case.partner_id},
        "display": case.record.organisation or case.partner_name,
    }


def _programme(fhir_base: str, programme_name: str) -> Element:
    return {
        "type": "Organization",
        "identifier": {"system": URI_SYSTEM, "value": fhir_base},
        "display": programme_name,
    }


def _words_of(found: CaseFinding) -> str:
    return f"{found.finding.subject}: {found.finding.text} {found.finding.remedy}".strip()


def _note(found: CaseFinding) -> Element:
    return {"time": instant(found.opened_at), "text": _words_of(found)}


def _input(found: CaseFinding) -> Element:
    return {"type": coding_of(FINDING_SYSTEM, found.id, text="Finding"), "valueString": _words_of(found)}


def _output(opinion: Opinion) -> Element:
    return {
        "type": {"text": "Second opinion report"},
        "valueReference": {"reference": f"DiagnosticReport/{opinion.id}", "type": "DiagnosticReport"},
    }
