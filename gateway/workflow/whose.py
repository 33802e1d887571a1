"""Which child an entry or an earlier resource is about, and whether these are two."""

from collections.abc import Mapping

from gateway.case.access import Partner
from gateway.case.model import Demographics
from gateway.case.patient_match import contradictions, identifiers_differ
from gateway.store import resources
from gateway.store.database import Session
from gateway.workflow.submission import Entry
from mappings.fhir_elements import Resource, identifiers
from mappings.fhir_people import demographics_of
from mappings.fhir_to_case import SUBJECTS, contained_patient, subject_of


def is_another_child(
    session: Session, partner: Partner, earlier: Resource, sent: Resource, own: Mapping[str, Entry]
) -> bool:
    """Whether both tell whom they are about, and these are two children; ``own`` are the bundle's entries by name.

    A known request may correct its child's name and birth date: of requests only numbers of one issuer count.
    """
    known = _child(session, partner, earlier, {})
    told = _child(session, partner, sent, own)
    if known is None or told is None:
        return False
    if sent.get("resourceType") == "ServiceRequest":
        return identifiers_differ(known, told)
    return bool(contradictions(known, told))


def child_told(session: Session, partner: Partner, sent: Resource, own: Mapping[str, Entry]) -> Demographics:
    """Whom an entry says that it is about; nothing of it where it does not say."""
    return _child(session, partner, sent, own) or Demographics()


def _child(
    session: Session, partner: Partner, resource: Resource, own: Mapping[str, Entry]
) -> Demographics | None:
    authority = partner.assigning_authority
    if resource.get("resourceType") == "Patient":
        return demographics_of(resource, authority)
    wanted = subject_of(resource)
    if wanted.startswith("#"):
        inside = contained_patient(resource)
        return demographics_of(inside, authority) if inside else None
    if wanted:
        found = own[wanted].resource if wanted in own else _stored(session, partner, wanted)
        is_patient = found is not None and found.get("resourceType") == "Patient"
        return demographics_of(found, authority) if found and is_patient else None
    logical = [e.get("identifier") for name in SUBJECTS if isinstance(e := resource.get(name), dict)]
    numbers = identifiers(logical, authority)
    return Demographics(identifiers=numbers) if numbers else None


def _stored(session: Session, partner: Partner, reference: str) -> Resource | None:
    found = resources.by_reference(session, partner.id, [reference])
    return found[0].content if found else None
