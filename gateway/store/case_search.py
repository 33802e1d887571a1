"""Cases and studies narrowed down by the database, before any is loaded whole."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, false, or_, select
from sqlalchemy.orm import Session

from gateway.case.access import Viewer
from gateway.store import studies
from gateway.store.cases import visible
from gateway.store.tables import CaseRow, EnquiryRow, StudyRow


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What a case must have one of, each None where anything will do. Ids are FHIR ids, without the type.

    ``ids`` are of the case or of one of its enquiries. With ``enquired`` a case also counts whose own status is none
    of ``statuses`` and about which something was asked.
    """

    ids: frozenset[str] | None = None
    service_requests: frozenset[str] | None = None
    patients: frozenset[str] | None = None
    statuses: frozenset[str] | None = None
    enquired: bool = False


def narrowed(session: Session, viewer: Viewer, by: Narrowing) -> list[CaseRow]:
    """Every case that the viewer may see and that may be wanted, last changed first; some that are not may be there."""
    return list(
        session.scalars(
            visible(viewer).where(*_conditions(by)).order_by(CaseRow.updated_at.desc(), CaseRow.id)
        )
    )


def ids(session: Session, viewer: Viewer) -> list[str]:
    """Of every case that the viewer may see."""
    return list(session.scalars(visible(viewer).with_only_columns(CaseRow.id).order_by(CaseRow.id)))


def study_ids(session: Session, viewer: Viewer) -> list[str]:
    """Of every study that the viewer may see."""
    return list(session.scalars(studies.visible(viewer).with_only_columns(StudyRow.id).order_by(StudyRow.id)))


@dataclass(frozen=True, slots=True)
class StudyNarrowing:
    """What a study must have one of, each None where anything will do.

    ``identifiers`` are Study Instance UIDs or accession numbers, ``patients`` FHIR ids of the Patient of its case.
    """

    ids: frozenset[str] | None = None
    identifiers: frozenset[str] | None = None
    patients: frozenset[str] | None = None


def narrowed_studies(session: Session, viewer: Viewer, by: StudyNarrowing) -> list[StudyRow]:
    """Every study that the viewer may see and that may be wanted; some that are not may be there."""
    found: list[ColumnElement[bool]] = []
    if by.ids is not None:
        found.append(StudyRow.id.in_(by.ids))
    if by.identifiers is not None:
        uid, accession = StudyRow.study_instance_uid, StudyRow.accession_number
        found.append(or_(uid.in_(by.identifiers), accession.in_(by.identifiers)))
    if by.patients is not None:
        of_patients = visible(viewer).where(*_conditions(Narrowing(patients=by.patients)))
        found.append(StudyRow.case_id.in_(of_patients.with_only_columns(CaseRow.id)))
    return studies.rows(session, viewer, *found)


def _conditions(by: Narrowing) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if by.ids is not None:
        asked = select(EnquiryRow.case_id).where(EnquiryRow.id.in_(by.ids))
        found.append(or_(CaseRow.id.in_(by.ids), CaseRow.id.in_(asked)))
    if by.service_requests is not None:
        found.append(
            CaseRow.service_request.in_({f"ServiceRequest/{fhir_id}" for fhir_id in by.service_requests})
        )
    if by.patients is not None:
        named = (
            CaseRow.identity.contains(f'"Patient/{fhir_id}"', autoescape=True) for fhir_id in by.patients
        )
        found.append(or_(false(), *named))
    if by.statuses is not None:
        own = CaseRow.status.in_(by.statuses)
        found.append(or_(own, CaseRow.id.in_(select(EnquiryRow.case_id))) if by.enquired else own)
    return found
