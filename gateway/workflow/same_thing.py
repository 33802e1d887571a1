"""The same identifier does not make the same child: when an entry is not what its identity says.

A hospital may give a dead child's number to another, or number documents from 1 for every patient. An
entry that contradicts the resource it would replace becomes a resource of its own; a PUT is the
sender's express word and is obeyed, and the case then shows the contradiction (case/checks/identity.py).
"""

import hashlib
from collections.abc import Mapping

from gateway.case.access import Partner
from gateway.case.model import Demographics
from gateway.case.patient_match import contradictions, name_words
from gateway.store import resources
from gateway.store.database import Session
from gateway.store.ids import bounded
from gateway.workflow.references import IDENTITY_CHARACTERS
from gateway.workflow.submission import Entry
from mappings.fhir_elements import Resource
from mappings.fhir_to_case import demographics_of, subject_of

Keys = dict[int, tuple[str, str]]
KnownIds = Mapping[tuple[str, str], str]


def split_patients(
    session: Session, partner: Partner, entries: tuple[Entry, ...], keys: Keys, known_ids: KnownIds
) -> Keys:
    """New identities for Patients that contradict the earlier Patient of their identifier."""
    earlier = _earlier(session, partner, entries, keys, known_ids, "Patient")
    changed = {}
    for entry in entries:
        before = earlier.get(entry.index)
        if before is None:
            continue
        seen = demographics_of(entry.resource or {}, partner.assigning_authority)
        if contradictions(demographics_of(before, partner.assigning_authority), seen):
            changed[entry.index] = _apart(keys[entry.index], _fingerprint(seen))
    return changed


def split_subjects(
    session: Session, partner: Partner, entries: tuple[Entry, ...], keys: Keys, known_ids: KnownIds
) -> Keys:
    """New identities for resources whose earlier namesake is about another patient."""
    earlier = _earlier(session, partner, entries, keys, known_ids, None)
    patients = _patients(entries, keys, known_ids)
    changed = {}
    for entry in entries:
        before = earlier.get(entry.index)
        if before is None or entry.type == "Patient":
            continue
        sent = subject_of(entry.resource or {})
        subject = patients.get(sent, sent)
        if sent and subject_of(before) != subject:
            changed[entry.index] = _apart(keys[entry.index], subject)
    return changed


def _earlier(
    session: Session,
    partner: Partner,
    entries: tuple[Entry, ...],
    keys: Keys,
    known_ids: KnownIds,
    only_type: str | None,
) -> dict[int, Resource]:
    """The current resource that each entry would replace, by entry index; not for PUT."""
    wanted = {
        entry.index: f"{entry.type}/{known_ids[keys[entry.index]]}"
        for entry in entries
        if keys[entry.index] in known_ids
        and entry.method != "PUT"
        and (entry.type == only_type or (only_type is None and subject_of(entry.resource or {})))
    }
    stored = {r.reference: r for r in resources.by_reference(session, partner.id, wanted.values())}
    return {index: stored[ref].content for index, ref in wanted.items() if ref in stored}


def _patients(entries: tuple[Entry, ...], keys: Keys, known_ids: KnownIds) -> dict[str, str]:
    """Names of the bundle's Patients to the reference they have, or to their identity where they are new."""
    names: dict[str, str] = {}
    for entry in entries:
        if entry.type != "Patient":
            continue
        key = keys[entry.index]
        given = f"Patient/{known_ids[key]}" if key in known_ids else key[1]
        names[entry.full_url] = given
        if entry.resource and entry.resource.get("id"):
            names[f"Patient/{entry.resource['id']}"] = given
    return names


def _apart(key: tuple[str, str], mark: str) -> tuple[str, str]:
    return key[0], bounded(f"{key[1]}~{mark}", IDENTITY_CHARACTERS)


def _fingerprint(patient: Demographics) -> str:
    """Tells children with one identifier apart, the same each time the same child is sent."""
    words = sorted({word for name in patient.names for word in name_words(name)})
    return hashlib.sha256(repr((words, patient.birth_date, patient.sex)).encode()).hexdigest()[:16]
