"""Cases: found, opened, loaded whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, defer

from gateway.case.access import Partner, Scope, System, Viewer, scope
from gateway.case.model import (
    Case,
    Demographics,
    HeldStudy,
    Identifier,
    Record,
)
from gateway.case.names import plain_words
from gateway.case.status import CaseStatus
from gateway.errors import NotFound
from gateway.store import fetches, findings, opinions, studies
from gateway.store.ids import new_case_id
from gateway.store.tables import (
    CaseRow,
    EnquiryRow,
    OpinionRow,
    PartnerRow,
    StudyRow,
    UserRow,
)

_RECORD = TypeAdapter(Record)


def open_case(session: Session, partner: Partner, service_request: str, now: datetime) -> CaseRow:
    """A new case of a partner in status received."""
    while True:
        case_id = new_case_id()
        row = CaseRow(
            id=case_id,
            search_text=_search_text(case_id, Record()),
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
    """All cases that the viewer may see, last changed first; what is large of them is not loaded."""
    light = visible(viewer).options(defer(CaseRow.record), defer(CaseRow.identity))
    return list(session.scalars(light.order_by(CaseRow.updated_at.desc(), CaseRow.id)))


def changed_at(session: Session, viewer: Viewer, case_id: str) -> datetime:
    """When the case last changed. Raises NotFound."""
    query = visible(viewer).where(CaseRow.id == case_id).with_only_columns(CaseRow.updated_at)
    found = session.scalar(query)
    if found is None:
        raise NotFound(f"No case {case_id} that you may see.")
    return found


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
    case.search_text = _search_text(case.id, record)


def _search_text(case_id: str, record: Record) -> str:
    """What a case is found by: its number and the words of all names of the child."""
    names = record.patient.names if record.patient else ()
    texts = " ".join(" ".join((name.text, name.family, *name.given)) for name in names)
    return " ".join(sorted(search_words(case_id)) + sorted(search_words(texts)))


def search_words(text: str) -> frozenset[str]:
    """Words as people type them who do not have the letters: without case, accents, strokes and ligatures."""
    return plain_words(text.casefold().translate(_PLAIN_LETTERS))


_PLAIN_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "\u0131": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)


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
        fetches=fetches.of_case(session, case.id),
    )
