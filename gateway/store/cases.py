"""Cases: found, opened, loaded whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.case.access import Partner, Scope, System, Viewer, scope
from gateway.case.model import (
    Case,
    DeliveryState,
    Demographics,
    FindingState,
    HeldStudy,
    Identifier,
    Record,
)
from gateway.case.status import CaseStatus
from gateway.errors import NotFound
from gateway.store import findings, opinions, studies
from gateway.store.ids import new_case_id
from gateway.store.tables import (
    CaseRow,
    DeliveryRow,
    EnquiryRow,
    FindingRow,
    OpinionRow,
    PartnerRow,
    StudyRow,
    UserRow,
)

_RECORD = TypeAdapter(Record)


def open_case(session: Session, partner: Partner, service_request: str, now: datetime) -> CaseRow:
    """A new case of a partner in status received."""
    while True:
        row = CaseRow(
            id=new_case_id(),
            partner_id=partner.id,
            status=CaseStatus.RECEIVED,
            service_request=service_request,
            record=dump_record(Record()),
            opened_at=now,
            updated_at=now,
        )
        try:
            with session.begin_nested():
                session.add(row)
            return row
        except IntegrityError:
            continue  # the number was taken: one in a million million


def visible(viewer: Viewer) -> Select[CaseRow]:
    """The cases in the viewer's scope."""
    query = select(CaseRow)
    match scope(viewer):
        case Scope.OWN:
            return query.where(CaseRow.partner_id == viewer.id)
        case Scope.ASSIGNED:
            return query.where(CaseRow.assignee_id == viewer.id)
        case Scope.ALL:
            return query


def row(session: Session, viewer: Viewer, case_id: str, *, lock: bool = False) -> CaseRow:
    """Raises NotFound when there is none that the viewer may see. ``lock`` serialises changes to one case."""
    query = visible(viewer).where(CaseRow.id == case_id)
    found = session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound(f"No case {case_id} that you may see.")
    return found


def by_service_request(session: Session, partner: Partner, service_request: str) -> CaseRow | None:
    return session.scalar(
        select(CaseRow).where(CaseRow.partner_id == partner.id, CaseRow.service_request == service_request)
    )


def every(session: Session, viewer: Viewer) -> list[CaseRow]:
    """All cases that the viewer may see, last changed first."""
    return list(session.scalars(visible(viewer).order_by(CaseRow.updated_at.desc())))


@dataclass(frozen=True, slots=True)
class CaseIdentity:
    """What a case's child and named imaging are recognised by: small, so that all open cases can be compared."""

    case_id: str
    patient: Demographics | None
    study_uids: tuple[str, ...]
    accessions: tuple[Identifier, ...]


@dataclass(frozen=True, slots=True)
class KnownCase:
    """A case and what it is recognised by; ``service_request`` is empty while it has no request."""

    status: str
    service_request: str
    identity: CaseIdentity

    @property
    def id(self) -> str:
        return self.identity.case_id


def known(session: Session, partner: Partner, statuses: Sequence[str]) -> list[KnownCase]:
    """Every case of the partner in one of the statuses, the one opened last first."""
    query = (
        select(CaseRow.status, CaseRow.service_request, CaseRow.identity)
        .where(CaseRow.partner_id == partner.id, CaseRow.status.in_(statuses), CaseRow.identity != "")
        .order_by(CaseRow.opened_at.desc(), CaseRow.id)
    )
    rows = session.execute(query)
    return [KnownCase(status, request, _IDENTITY.validate_json(text)) for status, request, text in rows]


def identity_of(case: CaseRow) -> CaseIdentity:
    return _IDENTITY.validate_json(case.identity) if case.identity else CaseIdentity(case.id, None, (), ())


def set_record(case: CaseRow, record: Record) -> None:
    """Put a normalised record on the case, with what is derived from it."""
    expected = record.expected_studies
    identity = CaseIdentity(
        case.id,
        record.patient,
        tuple(e.study_instance_uid for e in expected if e.study_instance_uid),
        tuple(e.accession for e in expected if e.accession is not None),
    )
    case.record = dump_record(record)
    case.identity = _IDENTITY.dump_json(identity).decode()
    case.patient_name = record.patient.display_name if record.patient else ""


def dump_record(record: Record) -> str:
    return _RECORD.dump_json(record).decode()


_IDENTITY = TypeAdapter(CaseIdentity)


def load_record(text: str) -> Record:
    return _RECORD.validate_json(text)


def load(session: Session, viewer: Viewer, case_id: str) -> Case:
    """The whole case. Raises NotFound."""
    return to_case(session, row(session, viewer, case_id))


def of_enquiry(session: Session, viewer: Viewer, enquiry_id: str) -> CaseRow | None:
    """The case that an enquiry is about, if the viewer may see it."""
    about = select(EnquiryRow.case_id).where(EnquiryRow.id == enquiry_id)
    return session.scalar(visible(viewer).where(CaseRow.id.in_(about)))


def signed_opinions(
    session: Session, viewer: Viewer, opinion_id: str | None = None
) -> list[tuple[OpinionRow, CaseRow]]:
    """Signed opinions of the cases that the viewer may see, oldest first; only the one of that id, if it is given."""
    query = (
        select(OpinionRow, CaseRow)
        .join(CaseRow, CaseRow.id == OpinionRow.case_id)
        .where(
            OpinionRow.signed_at.is_not(None), CaseRow.id.in_(visible(viewer).with_only_columns(CaseRow.id))
        )
        .order_by(OpinionRow.signed_at)
    )
    if opinion_id is not None:
        query = query.where(OpinionRow.id == opinion_id)
    return [(opinion, case) for opinion, case in session.execute(query)]


def to_case(session: Session, case: CaseRow) -> Case:
    partner = session.get_one(PartnerRow, case.partner_id)
    assignee = session.get(UserRow, case.assignee_id) if case.assignee_id else None
    found = studies.rows(session, System(), StudyRow.case_id == case.id)
    joined = sorted((s for s in found if s.join_state == studies.JOINED), key=lambda s: (s.received_at, s.id))
    held = [s for s in found if s.join_state == studies.HELD]
    return Case(
        id=case.id,
        partner_id=case.partner_id,
        partner_name=partner.name,
        status=case.status,
        opened_at=case.opened_at,
        updated_at=case.updated_at,
        record=load_record(case.record),
        service_request=case.service_request,
        assignee_id=case.assignee_id or "",
        assignee_name=assignee.name if assignee else "",
        declined_because=case.declined_because,
        studies=tuple(studies.to_study(s) for s in joined),
        held_studies=tuple(HeldStudy(studies.to_study(s), tuple(s.join_reasons)) for s in held),
        findings=findings.of_case(session, case.id),
        opinions=opinions.of_case(session, case.id),
        enquiries=findings.enquiries_of_case(session, case.id),
        deliveries=opinions.deliveries_of_case(session, case.id),
    )


@dataclass(frozen=True, slots=True)
class WorklistEntry:
    """One line of the worklist."""

    id: str
    patient_name: str
    partner_name: str
    status: str
    assignee_name: str
    open_findings: int
    blocking_findings: int
    found_after_signing: int
    failed_deliveries: int
    opened_at: datetime
    updated_at: datetime


def worklist(session: Session, viewer: Viewer, statuses: Sequence[str] = ()) -> list[WorklistEntry]:
    """The viewer's cases with counts, last changed first; all statuses where none is named."""
    open_count = _count(FindingRow, FindingRow.state == FindingState.OPEN)
    blocking_count = _count(
        FindingRow, FindingRow.state == FindingState.OPEN, FindingRow.severity == "blocks"
    )
    signed_at = (
        select(func.max(OpinionRow.signed_at)).where(OpinionRow.case_id == CaseRow.id).correlate(CaseRow)
    ).scalar_subquery()
    late_count = _count(FindingRow, FindingRow.state == FindingState.OPEN, FindingRow.opened_at > signed_at)
    failed_count = _count(DeliveryRow, DeliveryRow.state == DeliveryState.FAILED)
    query = (
        visible(viewer)
        .join(PartnerRow, PartnerRow.id == CaseRow.partner_id)
        .outerjoin(UserRow, UserRow.id == CaseRow.assignee_id)
        .add_columns(PartnerRow.name, UserRow.name, open_count, blocking_count, late_count, failed_count)
        .order_by(CaseRow.updated_at.desc())
    )
    if statuses:
        query = query.where(CaseRow.status.in_(statuses))
    return [
        WorklistEntry(
            id=case.id,
            patient_name=case.patient_name,
            partner_name=partner,
            status=case.status,
            assignee_name=assignee or "",
            open_findings=open_findings,
            blocking_findings=blocking,
            found_after_signing=late,
            failed_deliveries=failed,
            opened_at=case.opened_at,
            updated_at=case.updated_at,
        )
        for case, partner, assignee, open_findings, blocking, late, failed in session.execute(query)
    ]


def _count(counted: type[FindingRow | DeliveryRow], *conditions: Any) -> Any:
    return (
        select(func.count())
        .select_from(counted)
        .where(counted.case_id == CaseRow.id, *conditions)
        .correlate(CaseRow)
        .scalar_subquery()
    )
