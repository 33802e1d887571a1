"""FHIR R4 resources to the record of a case. Pure; faulty parts read as absent and are never guessed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from gateway.case.model import (
    ClinicalItem,
    CoverNote,
    Demographics,
    ExpectedStudy,
    Fault,
    Name,
    Question,
    Record,
)
from gateway.case.patient_match import contradictions, identifiers_differ, same_name
from mappings.attached_documents import AttachedDocument, attached_documents
from mappings.attached_manifests import attached_studies
from mappings.clinical_items import ITEM_KINDS, to_item
from mappings.fhir_bag import Bag, Sourced
from mappings.fhir_elements import (
    Resource,
    coded,
    has_code,
    identifiers,
    objects,
    reference,
    text,
)
from mappings.fhir_people import demographics_of, guardians, organisation, physicians
from mappings.imaging_study import expected_study
from mappings.record_documents import documents, replaced, sections, standing
from mappings.second_opinion_request import asks_for_second_opinion, specialties

_ABOUT_SOMEBODY = frozenset(
    {*ITEM_KINDS, "DocumentReference", "ImagingStudy", "Media", "Composition", "Consent"}
)
"""Types that a bundle about several children must name the child of."""


def to_record(
    own: Iterable[Sourced],
    beside: Iterable[Sourced],
    assigning_authority: str,
    service_request: str = "",
    faults: tuple[Fault, ...] = (),
    earlier_patients: Iterable[Sourced] = (),
    shared_receipts: frozenset[str] = frozenset(),
) -> Record:
    """The record of one case.

    ``own`` are the case's resources, ``beside`` others of the same partner that they refer to.
    ``assigning_authority`` issues identifiers without a system; ``service_request`` (``Type/id``) is the
    request that opened the case. ``earlier_patients`` are versions of the Patient that contradict the present one.
    What is about another patient is left out of the record and named in ``excluded``, and so is what names none in a
    bundle about several (``shared_receipts`` are the ids of those).
    """
    bag = Bag(own, beside)
    requests = _requests(bag, service_request)
    subject = _subject(bag, requests)
    patients = [p for p in bag.of("Patient") if subject is None or p.reference != subject.reference]
    child = to_demographics(subject, assigning_authority) if subject else None
    attached = list(attached_documents(bag))
    strange = [d.holder.reference for d in attached if _is_of_another(d, child, assigning_authority)]
    nameless = _first_named(bag) if subject is None else ""
    excluded = [
        r
        for r in bag.own
        if r.reference in strange
        or _is_of_another_reference(r, nameless)
        or not _is_about(bag, r, subject, child, assigning_authority, shared_receipts)
    ]
    bag = bag.without(excluded)
    attached = _holding(bag, attached)
    return Record(
        patient=child,
        other_patients=tuple(to_demographics(p, assigning_authority) for p in [*patients, *earlier_patients]),
        excluded=tuple(r.source for r in excluded),
        guardians=guardians(bag, subject),
        physicians=physicians(bag, requests, subject),
        organisation=organisation(bag, requests, subject),
        questions=tuple(_question(request) for request in requests),
        cover_notes=tuple(_cover_notes(bag)),
        items=(*_items(bag), *(item for document in attached for item in document.items())),
        documents=documents(bag),
        sections=(*sections(bag), *(s for document in attached for s in document.sections())),
        expected_studies=_expected_studies(bag, child, assigning_authority),
        faults=faults,
    )


def _items(bag: Bag) -> Iterator[ClinicalItem]:
    return (to_item(r.content, r.source, _medication(bag)) for r in standing(bag, *ITEM_KINDS))


def _is_of_another(document: AttachedDocument, child: Demographics | None, assigning_authority: str) -> bool:
    told = document.demographics(assigning_authority)
    return child is not None and told is not None and bool(contradictions(child, told))


def _holding(bag: Bag, attached: list[AttachedDocument]) -> list[AttachedDocument]:
    """Attached documents of the record that nothing replaces."""
    gone = replaced(bag)
    holders = {
        r.reference for r in standing(bag, "DocumentReference") if r.content.get("status") != "superseded"
    }
    return [d for d in attached if d.holder.reference in holders - gone]


def _expected_studies(
    bag: Bag, child: Demographics | None, assigning_authority: str
) -> tuple[ExpectedStudy, ...]:
    """Of ImagingStudy resources and of manifests that came as documents."""
    named = [expected_study(r, bag, assigning_authority) for r in standing(bag, "ImagingStudy")]
    return (*named, *attached_studies(bag, child, assigning_authority))


def to_demographics(patient: Sourced, assigning_authority: str) -> Demographics:
    """Who a Patient resource says the child is, and where that stands."""
    return replace(demographics_of(patient.content, assigning_authority), source=patient.source)


SUBJECTS = ("subject", "patient", "for", "beneficiary")
"""Elements that say whom a resource is about, the first one counting."""


def subject_of(resource: Resource) -> str:
    """Whom a resource is about, by reference: subject, patient, for or beneficiary."""
    return next((found for found in map(reference, _subject_elements(resource)) if found), "")


def contained_patient(resource: Resource) -> Resource | None:
    """The contained Patient whom a resource is about."""
    return patient_inside(resource, {"reference": subject_of(resource)})


def patient_inside(resource: Resource, element: Resource) -> Resource | None:
    """The contained resource that a Reference of ``resource`` names."""
    wanted = reference(element)
    inside = objects(resource.get("contained")) if wanted.startswith("#") else []
    return next((c for c in inside if f"#{text(c.get('id'))}" == wanted), None)


def _subject_elements(resource: Resource) -> list[Resource]:
    elements = (resource.get(name) for name in SUBJECTS)
    return [element for element in elements if isinstance(element, dict)]


def _first_named(bag: Bag) -> str:
    """The Patient whom the resources of a case without one are about, where it is named only by reference."""
    return next((named for r in bag.own if (named := _outside(r))), "")


def _is_of_another_reference(resource: Sourced, named: str) -> bool:
    """In a case whose Patient was not sent, nothing tells that two references are one child."""
    return bool(named) and _outside(resource) not in ("", named)


def _outside(resource: Sourced) -> str:
    found = subject_of(resource.content)
    return "" if found.startswith("#") else found


def _is_about(
    bag: Bag,
    resource: Sourced,
    subject: Sourced | None,
    child: Demographics | None,
    assigning_authority: str,
    shared_receipts: frozenset[str],
) -> bool:
    """Whether a resource may be shown as the child's: it says so, or says nothing in a bundle about nobody else.

    A subject may be a reference, an identifier (logical reference) or a name alone (FHIR R4 2.3.0).
    """
    if resource.type == "Patient" or subject is None or child is None:
        return True
    elements = _subject_elements(resource.content)
    if not elements:
        return resource.type not in _ABOUT_SOMEBODY or resource.source.receipt_id not in shared_receipts
    element = elements[0]
    told = bag.follow(resource, source_patient_info(resource.content))
    if told is not None and contradictions(child, demographics_of(told.content, assigning_authority)):
        return False
    if wanted := reference(element):
        found = bag.follow(resource, element)
        if found is None or found.container is None:
            outside = subject_of(subject.container.content) if subject.container else ""
            return wanted in (subject.reference, outside) and not _denies(element, child, assigning_authority)
        return not contradictions(child, demographics_of(found.content, assigning_authority))
    if logical := identifiers([element.get("identifier")], assigning_authority):
        return logical[0] in child.identifiers
    return same_name((Name(text(element.get("display"))),), child.names) is not False


def _denies(element: Resource, child: Demographics, assigning_authority: str) -> bool:
    """Whether a Reference to the child has the number of another one beside it (Reference.identifier, R4 2.3.0)."""
    told = Demographics(identifiers=identifiers([element.get("identifier")], assigning_authority))
    return identifiers_differ(child, told)


def _requests(bag: Bag, service_request: str) -> list[Sourced]:
    """The opening request first, then every other second-opinion request of the case."""
    found = [r for r in bag.of("ServiceRequest") if asks_for_second_opinion(r.content)]
    opening = bag.get(service_request)
    if opening is not None:
        found = [opening, *(r for r in found if r.reference != service_request)]
    return found


def _subject(bag: Bag, requests: list[Sourced]) -> Sourced | None:
    """Whose case it is: subject of the request, of the Composition, or the only Patient."""
    for resource in [
        *requests,
        *bag.of("Composition", "DocumentReference", "ImagingStudy", "DiagnosticReport"),
    ]:
        found = bag.follow(resource, resource.content.get("subject"))
        if found is not None and found.type == "Patient":
            return found
    patients = bag.of("Patient")
    return patients[0] if patients else _told_in_documents(bag)


def _told_in_documents(bag: Bag) -> Sourced | None:
    """The Patient inside a document, where documents are about one who is on another server (IHE MHD)."""
    inside = (bag.follow(r, source_patient_info(r.content)) for r in bag.of("DocumentReference"))
    return next((p for p in inside if p is not None and p.type == "Patient"), None)


def source_patient_info(document: Resource) -> Resource:
    """DocumentReference.context.sourcePatientInfo (0..1): whom the source of a document knows it to be about."""
    context = document.get("context")
    told = context.get("sourcePatientInfo") if isinstance(context, dict) else None
    return told if isinstance(told, dict) else {}


def _question(request: Sourced) -> Question:
    """ServiceRequest: notes hold the question; else order details; else the reasons' own words."""
    content = request.content
    reasons = tuple(coded(c) for c in objects(content.get("reasonCode")))
    notes = [text(n.get("text")) for n in objects(content.get("note"))]
    details = [coded(d).text for d in objects(content.get("orderDetail"))]
    words = [w for w in notes if w] or [w for w in details if w] or [r.text for r in reasons if r.text]
    return Question(
        "\n\n".join(words),
        specialties(content),
        reasons,
        text(content.get("priority")),
        request.source,
        text(content.get("status")),
    )


def _cover_notes(bag: Bag) -> Iterator[CoverNote]:
    """SubmissionSets of IHE MHD (List with the code submissionset) that have a title or a note."""
    for submission in (r for r in standing(bag, "List") if has_code(r.content.get("code"), "submissionset")):
        content = submission.content
        title = text(content.get("title"))
        note = "\n\n".join(words for n in objects(content.get("note")) if (words := text(n.get("text"))))
        if title or note:
            yield CoverNote(title, note, text(content.get("date")), submission.source)


def _medication(bag: Bag) -> Callable[[str], Resource | None]:
    def find(wanted: str) -> Resource | None:
        found = bag.get(wanted)
        return found.content if found else None

    return find
