"""Which case a bundle belongs to: its request's, its child's, or a new one."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.case.access import Partner
from gateway.case.model import Demographics
from gateway.case.patient_match import Verdict, contradictions, match
from gateway.case.status import OPEN, UNDER_REVIEW
from gateway.clock import utc_now
from gateway.errors import Issue, Unattributed
from gateway.store import cases, resources
from gateway.store.database import Session
from gateway.store.resources import StoredResource
from gateway.store.tables import CaseRow
from gateway.workflow.normalise import sourced
from mappings.fhir_elements import references, text
from mappings.fhir_people import demographics_of
from mappings.fhir_to_case import (
    contained_patient,
    patient_inside,
    source_patient_info,
    subject_of,
    to_demographics,
)
from mappings.second_opinion_request import asks_for_second_opinion

_INACTIVE = frozenset({"revoked", "entered-in-error", "completed", "draft"})


@dataclass(frozen=True, slots=True)
class Placed:
    """The cases that a bundle went to; ``opened`` when one of them began with it."""

    case_ids: tuple[str, ...]
    opened: bool


def place_bundle(session: Session, partner: Partner, kept: list[str]) -> Placed:
    """Put a bundle's resources (references ``Type/id``) into the case of its request, or of its child, or a new one.

    Several children in one bundle are several cases: each resource goes to its own subject's.
    """
    stored = resources.by_reference(session, partner.id, kept)
    if not stored:
        return Placed((), False)
    requests = _requests(stored)
    if not requests:
        case, opened = _case_without_request(session, partner, stored)
        resources.put_in_case(session, partner, kept, case.id)
        return Placed((case.id,), opened)
    found: dict[str, CaseRow] = {}
    opened = False
    for request in requests:
        subject = subject_of(request.content)
        if subject.startswith("#"):
            subject = f"{request.reference}{subject}"
        if subject in found and not cases.by_service_request(session, partner, request.reference):
            continue  # a further question about the same child
        case, is_new = _case_of_request(session, partner, request)
        opened = opened or is_new
        found.setdefault(subject, case)
    _distribute(session, partner, stored, found)
    return Placed(tuple(dict.fromkeys(case.id for case in found.values())), opened)


def place_single(session: Session, partner: Partner, kept: list[str]) -> Placed:
    """Put a resource that was sent by itself into the case that it is in, or that it names, or that of its child.

    Raises Unattributed where it names none: nobody would find it in a case of its own.
    """
    stored = resources.by_reference(session, partner.id, kept)
    if stored and stored[0].case_id is not None:
        return Placed((stored[0].case_id,), False)
    if stored and not _names_a_child_or_case(session, partner, stored[0]):
        words = "By itself this tells neither which child nor which case it belongs to, and was not taken."
        remedy = "Send it in a Bundle with what refers to it, or let its subject be a Patient that you sent before."
        raise Unattributed(words, (Issue("error", "business-rule", f"{words} {remedy}", stored[0].path),))
    return place_bundle(session, partner, kept)


def _names_a_child_or_case(session: Session, partner: Partner, resource: StoredResource) -> bool:
    subject = subject_of(resource.content)
    if resource.type == "Patient" or _patient(session, partner, subject) is not None:
        return True
    inside = patient_inside(resource.content, source_patient_info(resource.content))
    if inside is not None or contained_patient(resource.content) is not None:
        return True
    named = (r for r in references(resource.content) if r.startswith("ServiceRequest/"))
    return any(cases.by_service_request(session, partner, request) is not None for request in named)


def _requests(stored: list[StoredResource]) -> list[StoredResource]:
    """Active ServiceRequests that ask for a second opinion, or the only active one of the bundle."""
    active = [
        r for r in stored if r.type == "ServiceRequest" and text(r.content.get("status")) not in _INACTIVE
    ]
    asking = [r for r in active if asks_for_second_opinion(r.content)]
    return asking or (active if len(active) == 1 else [])


def _case_of_request(session: Session, partner: Partner, request: StoredResource) -> tuple[CaseRow, bool]:
    """The request's case, and whether it was opened just now.

    Records may have come before the request: it then takes over the case that its child has without a question.
    """
    row = cases.by_service_request(session, partner, request.reference)
    if row is None and request.case_id is not None:
        row = cases.row(session, partner, request.case_id)
    if row is not None:
        return row, False
    child = _child_of(session, partner, request)
    waiting = [c for c in cases.known(session, partner, sorted(UNDER_REVIEW)) if not c.service_request]
    same = [c for c in waiting if child is not None and _is_same(c.identity.patient, child)]
    if len(same) == 1:
        row = cases.row(session, partner, same[0].id)
        row.service_request = request.reference
        return row, False
    return cases.open_case(session, partner, request.reference, utc_now()), True


def _child_of(session: Session, partner: Partner, request: StoredResource) -> Demographics | None:
    inside = contained_patient(request.content)
    if inside is not None:
        return demographics_of(inside, partner.assigning_authority)
    return _patient(session, partner, subject_of(request.content))


def _patient(session: Session, partner: Partner, reference: str) -> Demographics | None:
    """The Patient of that reference, as the partner sent it."""
    found = resources.by_reference(session, partner.id, [reference])
    is_patient = bool(found) and found[0].type == "Patient"
    return to_demographics(sourced(found[0]), partner.assigning_authority) if is_patient else None


def _told_in_documents(partner: Partner, stored: list[StoredResource]) -> Demographics | None:
    """The child whom documents tell of inside themselves, where none of them contradicts another."""
    inside = [
        p for r in stored if (p := patient_inside(r.content, source_patient_info(r.content))) is not None
    ]
    told = [demographics_of(p, partner.assigning_authority) for p in inside]
    agree = told and not any(contradictions(told[0], other) for other in told[1:])
    return told[0] if agree else None


def _open_case_of(session: Session, partner: Partner, child: Demographics) -> CaseRow | None:
    """The one case under review whose very Patient this is, whatever it says now; else the one of the same child."""
    known = cases.known(session, partner, sorted(UNDER_REVIEW))
    reference = child.source.reference if child.source else ""
    own = [c for c in known if (p := c.identity.patient) and p.source and p.source.reference == reference]
    same = own or [c for c in known if _is_same(c.identity.patient, child)]
    return cases.row(session, partner, same[0].id) if len(same) == 1 else None


def _is_same(known: Demographics | None, child: Demographics) -> bool:
    """The same child by strong evidence and without contradiction."""
    return known is not None and match(known, child).verdict is Verdict.SAME


def _distribute(
    session: Session, partner: Partner, stored: list[StoredResource], found: dict[str, CaseRow]
) -> None:
    """Each resource to the case of the patient it is about; what names no patient to the first case."""
    first = next(iter(found.values()))
    by_case: dict[str, list[str]] = {}
    for resource in stored:
        about = resource.reference if resource.type == "Patient" else subject_of(resource.content)
        case = found.get(about, first)
        by_case.setdefault(case.id, []).append(resource.reference)
    for case_id, members in by_case.items():
        resources.put_in_case(session, partner, members, case_id)


def _case_without_request(
    session: Session, partner: Partner, stored: list[StoredResource]
) -> tuple[CaseRow, bool]:
    """The case that the material names, or that of its child; otherwise a new one, without a question."""
    for named in sorted(
        {r for s in stored for r in references(s.content) if r.startswith("ServiceRequest/")}
    ):
        case = cases.by_service_request(session, partner, named)
        if case is not None:
            return case, False
    subjects = {r.reference for r in stored if r.type == "Patient"} | {
        subject_of(r.content) for r in stored
    } - {""}
    if len(subjects) == 1:
        child = _patient(session, partner, next(iter(subjects))) or _told_in_documents(partner, stored)
        if child is not None and (case := _open_case_of(session, partner, child)) is not None:
            return case, False
    return cases.open_case(session, partner, "", utc_now()), True


def touched_cases(session: Session, partner: Partner, changed: list[str]) -> set[str]:
    """Cases, beside those that a bundle was placed in, which rest on resources that it changed (``Type/id``)."""
    found = {r.case_id for r in resources.by_reference(session, partner.id, changed) if r.case_id is not None}
    patients = {reference for reference in changed if reference.startswith("Patient/")}
    if patients:
        for case in cases.known(session, partner, sorted(OPEN)):
            patient = case.identity.patient
            if patient is not None and patient.source and patient.source.reference in patients:
                found.add(case.id)
    return found
