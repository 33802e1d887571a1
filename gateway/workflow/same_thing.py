"""Which earlier resource of the sender an entry is: the key under which it will be known again.

What the sender says expressly counts: the id of a PUT, a business identifier, an absolute RESTful fullUrl. A
``urn:uuid`` and a bare id name a thing inside their own bundle only, for many senders number every bundle anew or fill
in a template: such a resource is known by its content, and sending it again neither doubles nor replaces anything.

The same identifier does not make the same child. A hospital may give a number to another child, or number documents
from 1 for every patient: an entry that contradicts the resource it would replace becomes a resource of its own. A PUT
is obeyed, and so is the correction of a patient by the request that the case rests on; the case then shows what
changed (case/checks/identity.py).
"""

import re
from collections.abc import Iterable, Mapping

from gateway.case.access import Partner
from gateway.case.model import Demographics
from gateway.case.names import name_words
from gateway.case.patient_match import contradictions, identifiers_differ, same_name
from gateway.store import resources
from gateway.store.database import Session
from gateway.store.ids import bounded
from gateway.workflow.content_key import Key, content_keys, digest
from gateway.workflow.references import IDENTITY_CHARACTERS, RELATIVE, entries_by_name
from gateway.workflow.submission import Entry
from gateway.workflow.whose import child_told, is_another_child
from mappings.fhir_elements import Resource, names, objects, text
from mappings.fhir_people import demographics_of
from mappings.fhir_to_case import subject_of

Keys = dict[int, Key]
Names = Mapping[str, Entry]  # by fullUrl and by Type/id

_IDENTIFIED = frozenset(
    {
        "Patient",
        "RelatedPerson",
        "Practitioner",
        "Organization",
        "ServiceRequest",
        "Task",
        "DocumentReference",
        "DiagnosticReport",
        "ImagingStudy",
        "Consent",
    }
)
"""Types of which an identifier names one thing; an Observation's may be shared by a panel."""
_PEOPLE = frozenset({"Practitioner", "RelatedPerson"})
_RESTFUL = re.compile(r"^https?://[^?#]+/([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}$")


def identify(
    session: Session, partner: Partner, entries: tuple[Entry, ...], answered: Mapping[int, Key]
) -> Keys:
    """The key of every entry, by its index; no two entries of one bundle share one.

    ``answered`` are conditional creates whose resource is here already, with its key: others may refer to them.
    """
    new = tuple(entry for entry in entries if entry.index not in answered)
    keys = dict(answered) | {entry.index: key for entry in new if (key := _express_key(entry)) is not None}
    earlier = _Earlier(session, partner)
    earlier.of(keys.values())
    own = entries_by_name(entries)
    for split in (_split_patients, _split_people, _split_subjects):
        keys |= split(partner, new, keys, own, earlier)
    keys |= content_keys(new, keys, own)
    return _distinct(new, {entry.index: keys[entry.index] for entry in new})


class _Earlier:
    """The sender's current resources by key, read once."""

    def __init__(self, session: Session, partner: Partner) -> None:
        self.session, self._partner = session, partner
        self._found: dict[Key, tuple[str, Resource] | None] = {}

    def by_reference(self, reference: str) -> tuple[Key, Resource] | None:
        """(key, content) of the sender's resource ``Type/id``."""
        found = resources.by_reference(self.session, self._partner.id, [reference])
        return ((found[0].type, found[0].identity), found[0].content) if found else None

    def of(self, keys: Iterable[Key]) -> dict[Key, tuple[str, Resource]]:
        """(reference, content) of those that are there."""
        missing = [key for key in keys if key not in self._found]
        ids = resources.identities(self.session, self._partner, missing)
        references = {key: f"{key[0]}/{fhir_id}" for key, fhir_id in ids.items()}
        stored = {
            r.reference: r.content
            for r in resources.by_reference(self.session, self._partner.id, references.values())
        }
        for key in missing:
            reference = references.get(key, "")
            self._found[key] = (reference, stored[reference]) if reference in stored else None
        return {key: found for key in keys if (found := self._found[key]) is not None}


def _express_key(entry: Entry) -> Key | None:
    """By business identifier, by the id of a PUT, or by an absolute fullUrl; None where only the content tells."""
    resource = entry.resource or {}
    if entry.type in _IDENTIFIED:
        for item in objects(resource.get("identifier")):
            system, value = text(item.get("system")), text(item.get("value"))
            if system and value:
                return entry.type, bounded(f"identifier:{system}|{value}", IDENTITY_CHARACTERS)
    if entry.method == "PUT" and RELATIVE.match(entry.url):
        return entry.type, f"id:{entry.url.split('/')[1]}"
    restful = _RESTFUL.match(entry.full_url)
    if restful and restful[1] in (entry.type, entry.sent_type) and subject_of(resource):
        return entry.type, bounded(f"url:{entry.full_url}", IDENTITY_CHARACTERS)
    return None


def _split_patients(
    partner: Partner, entries: tuple[Entry, ...], keys: Keys, own: Names, earlier: _Earlier
) -> Keys:
    """A Patient is the one whom its known request is about; else it must not contradict its earlier namesake."""
    requested = _patients_of_known_requests(partner, entries, keys, own, earlier)
    changed: Keys = {}
    for entry in entries:
        if entry.type != "Patient" or entry.method == "PUT":
            continue
        if entry.index in requested:
            changed[entry.index] = requested[entry.index]
            continue
        key = keys.get(entry.index)
        before = earlier.of([key]).get(key) if key else None
        seen = demographics_of(entry.resource or {}, partner.assigning_authority)
        if key and before and contradictions(demographics_of(before[1], partner.assigning_authority), seen):
            changed[entry.index] = _apart(key, _fingerprint(seen))
    return changed


def _patients_of_known_requests(
    partner: Partner, entries: tuple[Entry, ...], keys: Keys, own: Names, earlier: _Earlier
) -> Keys:
    """Patients of the bundle that a request sent before is about, with the key of that earlier Patient.

    Not where both have identifiers of one issuer that differ: then the order number was used again.
    """
    new = {entry.index for entry in entries}
    requests = [e for e in entries if e.type == "ServiceRequest" and e.index in keys]
    known = earlier.of([keys[e.index] for e in requests])
    found: Keys = {}
    for request in requests:
        before = known.get(keys[request.index])
        patient = own.get(subject_of(request.resource or {}))
        if before is None or patient is None or patient.type != "Patient" or patient.index not in new:
            continue
        reference = subject_of(before[1])
        old = earlier.by_reference(reference)
        if old is None:
            continue
        authority = partner.assigning_authority
        told = demographics_of(patient.resource or {}, authority)
        if not identifiers_differ(demographics_of(old[1], authority), told):
            found[patient.index] = old[0]
    return found


def _split_people(_: Partner, entries: tuple[Entry, ...], keys: Keys, _own: Names, earlier: _Earlier) -> Keys:
    """A staff number or a guardian's identifier that another name came with before is another person's."""
    changed: Keys = {}
    for entry in entries:
        key = keys.get(entry.index)
        if entry.type not in _PEOPLE or entry.method == "PUT" or key is None:
            continue
        before = earlier.of([key]).get(key)
        told = names((entry.resource or {}).get("name"))
        if before is not None and same_name(names(before[1].get("name")), told) is False:
            words = sorted({word for name in told for word in name_words(name)})
            changed[entry.index] = _apart(key, digest(words))
    return changed


def _split_subjects(
    partner: Partner, entries: tuple[Entry, ...], keys: Keys, own: Names, earlier: _Earlier
) -> Keys:
    """A document or a request whose earlier namesake is about another patient is another one."""
    changed: Keys = {}
    for entry in entries:
        key, resource = keys.get(entry.index), entry.resource or {}
        if key is None or entry.type == "Patient" or entry.method == "PUT":
            continue
        before = earlier.of([key]).get(key)
        if before is None:
            continue
        sent = subject_of(resource)
        if not sent or sent.startswith("#"):
            if is_another_child(earlier.session, partner, before[1], resource, own):
                told = child_told(earlier.session, partner, resource, own)
                changed[entry.index] = _apart(key, _fingerprint(told))
            continue
        patient = own.get(sent)
        mark = sent
        if patient is not None:
            patient_key = keys.get(patient.index)
            known = earlier.of([patient_key]).get(patient_key) if patient_key else None
            mark = known[0] if known else (patient_key or ("", digest(patient.resource)))[1]
        if subject_of(before[1]) != mark:
            changed[entry.index] = _apart(key, mark)
    return changed


def _distinct(entries: tuple[Entry, ...], keys: Keys) -> Keys:
    """The second entry of one key in a bundle is known as the second, the same each time it is sent."""
    times: dict[Key, int] = {}
    for entry in entries:
        key = keys[entry.index]
        times[key] = times.get(key, 0) + 1
        if times[key] > 1:
            keys[entry.index] = _apart(key, str(times[key]))
    return keys


def _apart(key: Key, mark: str) -> Key:
    return key[0], bounded(f"{key[1]}~{mark}", IDENTITY_CHARACTERS)


def _fingerprint(patient: Demographics) -> str:
    """Tells children with one identifier apart, the same each time the same child is sent."""
    words = sorted({word for name in patient.names for word in name_words(name)})
    return digest(
        [words, patient.birth_date, patient.sex, [[i.issuer, i.value] for i in patient.identifiers]]
    )
