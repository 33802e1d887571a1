"""Who the child is, and who stands around it: guardians, the physician who asks, the organisation."""

from typing import Any

from gateway.case.model import Demographics, Person
from mappings.fhir_bag import Bag, Sourced
from mappings.fhir_elements import (
    Resource,
    address,
    coded,
    contacts,
    display_name,
    identifiers,
    names,
    objects,
    reference,
    text,
)

_GENDERS = frozenset({"male", "female", "other", "unknown"})


def demographics_of(content: Resource, assigning_authority: str) -> Demographics:
    """Patient: every name form, birth date as sent, administrative gender, identifiers with issuer, deceased."""
    sex = text(content.get("gender"))
    languages = [coded(c.get("language")).text for c in objects(content.get("communication"))]
    return Demographics(
        names=names(content.get("name")),
        birth_date=text(content.get("birthDate")),
        sex=sex if sex in _GENDERS else "",
        identifiers=identifiers(content.get("identifier"), assigning_authority),
        language=next((language for language in languages if language), ""),
        address=address(content.get("address")),
        deceased=_deceased(content),
    )


def _deceased(content: Resource) -> str:
    """Patient.deceased[x]; a date that cannot be read says that the child has died all the same."""
    if content.get("deceasedDateTime"):
        return text(content["deceasedDateTime"]) or "yes"
    return "yes" if content.get("deceasedBoolean") is True else ""


def guardians(bag: Bag, subject: Sourced | None) -> tuple[Person, ...]:
    found = [
        Person(
            display_name(r.content.get("name")),
            " ".join(coded(c).text for c in objects(r.content.get("relationship"))),
            contacts=contacts(r.content.get("telecom")),
            source=r.source,
        )
        for r in bag.of("RelatedPerson")
    ]
    known = {person.name for person in found}
    for contact in objects(subject.content.get("contact")) if subject else []:
        person = Person(
            display_name(contact.get("name")),
            " ".join(coded(c).text for c in objects(contact.get("relationship"))),
            contacts=contacts(contact.get("telecom")),
            source=subject.source if subject else None,
        )
        if person.name not in known:
            known.add(person.name)
            found.append(person)
    return tuple(found)


def physicians(bag: Bag, requests: list[Sourced], subject: Sourced | None) -> tuple[Person, ...]:
    """Who asks: ServiceRequest.requester, else the Composition's author, else the general practitioner."""
    wanted = [(r, r.content.get("requester")) for r in requests]
    if not any(reference(value) for _, value in wanted):
        wanted = [(c, a) for c in bag.of("Composition") for a in objects(c.content.get("author"))]
    if not any(reference(value) for _, value in wanted) and subject is not None:
        wanted = [(subject, g) for g in objects(subject.content.get("generalPractitioner"))]
    people = [_physician(bag, bag.follow(holder, value)) for holder, value in wanted]
    return tuple(dict.fromkeys(person for person in people if person is not None))


def _physician(bag: Bag, found: Sourced | None) -> Person | None:
    """Practitioner, PractitionerRole (with the Practitioner and Organization behind it) or Organization."""
    if found is None:
        return None
    content, own = found.content, contacts(found.content.get("telecom"))
    match found.type:
        case "Practitioner":
            roles = [
                r
                for r in bag.of("PractitionerRole")
                if reference(r.content.get("practitioner")) == found.reference
            ]
            more = [c for role in roles for c in contacts(role.content.get("telecom"))]
            organisations = [_named(bag, role, role.content.get("organization")) for role in roles]
            return Person(
                display_name(content.get("name")),
                "",
                next(iter(organisations), ""),
                (*own, *more),
                found.source,
            )
        case "PractitionerRole":
            person = bag.follow(found, content.get("practitioner"))
            theirs = contacts(person.content.get("telecom")) if person else ()
            name = (
                display_name(person.content.get("name")) if person else _display(content.get("practitioner"))
            )
            role = " ".join(
                coded(c).text for c in objects(content.get("code")) or objects(content.get("specialty"))
            )
            return Person(
                name, role, _named(bag, found, content.get("organization")), (*own, *theirs), found.source
            )
        case "Organization":
            return Person("", "", text(content.get("name")), own, found.source)
        case _:
            return None


def _named(bag: Bag, holder: Sourced, value: Any) -> str:
    found = bag.follow(holder, value)
    return text(found.content.get("name")) if found else _display(value)


def _display(value: Any) -> str:
    return text(value.get("display")) if isinstance(value, dict) else ""


def organisation(bag: Bag, requests: list[Sourced], subject: Sourced | None) -> str:
    for person in physicians(bag, requests, subject):
        if person.organisation:
            return person.organisation
    for composition in bag.of("Composition"):
        if found := _named(bag, composition, composition.content.get("custodian")):
            return found
    return _named(bag, subject, subject.content.get("managingOrganization")) if subject else ""
