"""From what was received to one Case: which bundle and which study belongs to which case, and the record.

Everything here can be run again: it reads stored resources and headers and writes the same result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway import audit
from gateway.case.access import SYSTEM_ACTOR, Partner
from gateway.case.model import Demographics, Fault, Identifier, Source
from gateway.case.patient_match import Match, Verdict, contradictions, match
from gateway.case.status import OPEN, UNDER_REVIEW
from gateway.clock import utc_now
from gateway.store import cases, examinations, partners, receipts, resources, studies
from gateway.store.cases import CaseIdentity, KnownCase
from gateway.store.database import Session
from gateway.store.resources import StoredResource
from gateway.store.tables import CaseRow, StudyRow
from gateway.workflow.durable import Work
from mappings.fhir_bag import Sourced
from mappings.fhir_elements import objects, references, text
from mappings.fhir_to_case import (
    contained_patient,
    demographics_of,
    subject_of,
    to_demographics,
    to_record,
)
from mappings.second_opinion_request import asks_for_second_opinion

if TYPE_CHECKING:
    from gateway.services import Services

_BESIDE = frozenset(
    {"Patient", "RelatedPerson", "Practitioner", "PractitionerRole", "Organization", "Medication", "Binary"}
)
_BESIDE_DEPTH = 3
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
        child = _patient(session, partner, next(iter(subjects)))
        if child is not None and (case := _open_case_of(session, partner, child)) is not None:
            return case, False
    return cases.open_case(session, partner, "", utc_now()), True


def _child_of(session: Session, partner: Partner, request: StoredResource) -> Demographics | None:
    inside = contained_patient(request.content)
    if inside is not None:
        return demographics_of(inside, partner.assigning_authority)
    return _patient(session, partner, subject_of(request.content))


def _patient(session: Session, partner: Partner, reference: str) -> Demographics | None:
    """The Patient of that reference, as the partner sent it."""
    found = resources.by_reference(session, partner.id, [reference])
    is_patient = bool(found) and found[0].type == "Patient"
    return to_demographics(_sourced(found[0]), partner.assigning_authority) if is_patient else None


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


def renew_record(services: Services, session: Session, case_id: str) -> None:
    """Read the record again from the case's resources, and enqueue what depends on it."""
    row = cases.row(session, SYSTEM_ACTOR, case_id, lock=True)
    authority = partners.get(session, row.partner_id).assigning_authority
    own = resources.of_case(session, case_id)
    beside = _beside(session, row.partner_id, own)
    record = to_record(
        map(_sourced, own),
        map(_sourced, beside),
        authority,
        row.service_request,
        _faults(session, case_id, own),
        map(_sourced, _contradicting(session, row.partner_id, authority, [*own, *beside])),
        receipts.of_several_cases(session, {r.receipt_id for r in own}),
    )
    cases.set_record(row, examinations.apply(session, record))
    row.updated_at = utc_now()
    services.jobs.enqueue(session, Work.CHECK_CASE, case_id)
    for study_id in undecided_for(session, row):
        services.jobs.enqueue(session, Work.PLACE_STUDY, study_id)


def undecided_for(session: Session, row: CaseRow) -> list[str]:
    """Ids of undecided studies that are held for the case, or may be of its child."""
    identity = cases.identity_of(row)
    return [
        study.id
        for study in studies.undecided(session, row.partner_id)
        if study.case_id == row.id or _match(identity, study).verdict is not Verdict.DIFFERENT
    ]


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
        present = to_demographics(_sourced(patient), authority)
        versions = resources.earlier_versions(session, partner_id, patient.type, patient.fhir_id)
        found += [v for v in versions if contradictions(present, to_demographics(_sourced(v), authority))]
    return found


def _named(stored: StoredResource) -> Iterable[str]:
    content = stored.content
    yield from references(content)
    if stored.type == "DocumentReference":
        for part in objects(content.get("content")):
            attachment = part.get("attachment")
            if isinstance(attachment, dict) and isinstance(attachment.get("url"), str):
                yield attachment["url"]


def _sourced(stored: StoredResource) -> Sourced:
    source = Source(stored.receipt_id, stored.receipt_sha256, stored.path, reference=stored.reference)
    return Sourced(stored.content, source)


def _faults(session: Session, case_id: str, own: list[StoredResource]) -> tuple[Fault, ...]:
    """Faults of accepted entries, as long as no later version of the resource has come."""
    current = {(r.receipt_id, r.path) for r in own}
    faults = []
    for receipt in receipts.of_case(session, case_id):
        for index, entry in enumerate((receipt.answer or {}).get("entries", ())):
            path = f"Bundle.entry[{index}].resource"
            if entry["status"] != "refused" and (receipt.id, path) not in current:
                continue
            source = Source(receipt.id, receipt.sha256, path)
            faults += [Fault(i["text"], i["expression"] or path, source) for i in entry["issues"]]
    return tuple(faults)


def place_study(services: Services, study_id: str) -> None:
    """Find the case of a study and join it when the evidence allows; otherwise it waits, or is held for a person."""
    with services.database.transaction() as session:
        study = studies.row(session, SYSTEM_ACTOR, study_id, lock=True)
        before = study.case_id
        if not study.decided_by and study.join_state != studies.JOINED:
            _place(session, study)
        for case_id in sorted({found for found in (before, study.case_id) if found is not None}):
            services.jobs.enqueue(session, Work.CHECK_CASE, case_id)


def _place(session: Session, study: StudyRow) -> None:
    partner = partners.get(session, study.partner_id).partner
    known = [(c, _match(c.identity, study)) for c in cases.known(session, partner, sorted(OPEN))]
    before = (study.case_id, study.join_state)
    same = _closest([(c, m) for c, m in known if m.verdict is Verdict.SAME], study)
    doubtful = [(c, m) for c, m in known if m.verdict in (Verdict.CONTRADICTED, Verdict.POSSIBLE)]
    if len(same) == 1:
        _set_place(study, studies.JOINED, same[0][0].id, same[0][1].reasons)
    elif same:
        _set_place(study, studies.HELD, same[0][0].id, ("more than one open case of this child",))
    elif doubtful:
        doubtful.sort(key=lambda found: found[1].verdict is not Verdict.CONTRADICTED)
        _set_place(study, studies.HELD, doubtful[0][0].id, doubtful[0][1].reasons)
    else:
        _set_place(study, studies.WAITING, None, ("no open case is about this child",))
    if (study.case_id, study.join_state) != before:
        case_id = study.case_id or before[0]
        audit.record(session, SYSTEM_ACTOR, f"study-{study.join_state}", f"study:{study.id}", case_id=case_id)


def _closest(same: list[tuple[KnownCase, Match]], study: StudyRow) -> list[tuple[KnownCase, Match]]:
    """Of a child's several cases those that name the study; of those the ones whose opinion is still to be written."""
    naming = [(c, m) for c, m in same if _ways_named(c.identity, study)] or same
    return [(c, m) for c, m in naming if c.status in UNDER_REVIEW] or naming


def _set_place(study: StudyRow, state: str, case_id: str | None, reasons: tuple[str, ...]) -> None:
    study.join_state, study.case_id, study.join_reasons = state, case_id, list(reasons)


def _match(case: CaseIdentity, study: StudyRow) -> Match:
    """Every identity inside the study must agree with the case's child; the worst verdict counts."""
    known = case.patient or Demographics()
    named = _ways_named(case, study)
    matches = [match(known, patient, named) for patient in studies.patients_of(study)]
    worst = [Verdict.CONTRADICTED, Verdict.DIFFERENT, Verdict.POSSIBLE, Verdict.SAME]
    return min(matches, key=lambda m: worst.index(m.verdict))


def _ways_named(case: CaseIdentity, study: StudyRow) -> list[str]:
    ways = []
    if study.study_instance_uid in case.study_uids:
        ways.append("the referral names this study")
    if (
        study.accession_number
        and Identifier(study.accession_number, study.accession_issuer) in case.accessions
    ):
        ways.append("the referral names this accession number")
    return ways
