"""A FHIR bundle through the door: kept, its resources versioned, its case opened or updated (decisions 1 to 4)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from gateway import audit
from gateway.case.access import Origin, Partner
from gateway.clock import utc_now
from gateway.errors import InvalidContent, Issue
from gateway.store import partners, receipts, resources
from gateway.store.database import Session
from gateway.store.ids import new_id
from gateway.store.objects import Spool, Stored, object_key
from gateway.store.resources import NewVersion, Outcome, StoredResource
from gateway.workflow import changes, conditions, place_bundle
from gateway.workflow.by_identifier import by_identifier
from gateway.workflow.normalise import renew_record
from gateway.workflow.references import (
    RELATIVE,
    conditional_identity,
    entries_by_name,
    referenced,
    resolve,
    targets,
    wanted_outside,
)
from gateway.workflow.same_thing import identify
from gateway.workflow.submission import Accepted, Entry, EntryOutcome, Submission
from gateway.workflow.whose import is_another_child
from mappings.fhir_conversion_table import r4_id
from mappings.fhir_elements import copied

if TYPE_CHECKING:
    from gateway.services import Services

Seen = TypeVar("Seen")


def receive_bundle(
    services: Services,
    partner: Partner,
    spool: Spool,
    submission: Submission,
    origin: Origin,
    content_type: str,
) -> Accepted:
    """Keep a bundle whose bytes are in ``spool`` and which was read as ``submission``.

    A transaction is all or nothing: InvalidContent names every reference that leads nowhere. Of other
    types such faults become findings. The same bytes again change nothing and get the same answer.
    """
    stored = services.objects.keep(spool)
    with services.database.transaction() as session:
        return _take(services, session, partner, stored, submission, origin, content_type)


def try_bundle(
    services: Services,
    partner: Partner,
    spool: Spool,
    submission: Submission,
    origin: Origin,
    content_type: str,
    look: Callable[[Session, Accepted], Seen],
) -> Seen:
    """What ``look`` sees of the transaction in which the bundle would be kept, which is then undone.

    The bytes are kept nowhere. Raises what ``receive_bundle`` raises.
    """
    stored = Stored(object_key(spool.sha256), spool.sha256, spool.size_bytes)
    seen: list[Seen] = []
    with suppress(_Undo), services.database.transaction() as session:
        seen.append(
            look(session, _take(services, session, partner, stored, submission, origin, content_type))
        )
        raise _Undo
    return seen[0]


class _Undo(Exception):
    """The transaction was for looking only."""


def _take(
    services: Services,
    session: Session,
    partner: Partner,
    stored: Stored,
    submission: Submission,
    origin: Origin,
    content_type: str,
) -> Accepted:
    partners.lock(session, partner)  # two bundles at once must not open the same case twice
    earlier = None if submission.is_single else receipts.same_bundle(session, partner, stored.sha256)
    if earlier is None or not _still_holds(session, partner, submission, earlier):
        return _keep(services, session, partner, stored, submission, origin, content_type)
    audit.record(
        session,
        partner,
        "bundle-same",
        f"receipt:{earlier.receipt_id}",
        case_id=earlier.case_id,
        origin=origin,
    )
    return _repeat(earlier)


def _still_holds(
    session: Session, partner: Partner, submission: Submission, earlier: receipts.EarlierAnswer
) -> bool:
    """Whether what those bytes said is what is here; else they are the sender's newest word, and are kept anew.

    A message and a document are the same ones again: they say nothing new (FHIR R4 2.4.2, 3.3.1).
    """
    if submission.bundle_type in ("message", "document"):
        return True
    said = {one["reference"]: one["version"] for one in earlier.answer["entries"] if one["version"]}
    return resources.current_versions(session, partner, said) == said


def _keep(
    services: Services,
    session: Session,
    partner: Partner,
    stored: Stored,
    submission: Submission,
    origin: Origin,
    content_type: str,
) -> Accepted:
    now = utc_now()
    receipt = receipts.add(session, partner, stored, origin, content_type, received_at=now)
    submission = conditions.answered(session, partner, changes.applied(session, partner, submission))
    resolved = _resolve(session, partner, submission, services.config.fhir_base)
    _refuse_faulty_transaction(submission, resolved)
    saved = resources.save(session, partner, receipt, [version for _, version in resolved.versions], now)
    outcomes = _outcomes(submission, resolved, saved)
    placer = place_bundle.place_single if submission.is_single else place_bundle.place_bundle
    placed = placer(session, partner, [o.reference for o in saved])
    receipt.case_id = placed.case_ids[0] if placed.case_ids else None
    receipt.answer = _answer(placed.case_ids, placed.opened, outcomes)
    changed = [o.reference for o in saved if o.status == "updated"]
    for case_id in sorted({*placed.case_ids, *place_bundle.touched_cases(session, partner, changed)}):
        renew_record(services, session, case_id)
    audit.record(
        session,
        partner,
        "bundle-received",
        f"receipt:{receipt.id}",
        case_id=receipt.case_id,
        origin=origin,
        entries=len(submission.entries),
        opened=placed.opened,
    )
    return Accepted(receipt.id, placed.case_ids, placed.opened, False, outcomes)


def _refuse_faulty_transaction(submission: Submission, resolved: _Resolved) -> None:
    """All or nothing, and all faults at once (FHIR R4 3.1.0.11.2)."""
    unresolved = [i for issues in resolved.faults.values() for i in issues if i.severity == "error"]
    faults = (*submission.faults, *unresolved)
    if submission.bundle_type == "transaction" and faults:
        raise InvalidContent(f"The transaction has {len(faults)} faults and was not taken.", faults)


@dataclass(frozen=True, slots=True)
class _Resolved:
    """Entries as versions to keep, conditional creates answered by what is here, faults by entry index."""

    versions: list[tuple[Entry, NewVersion]]
    existing: dict[int, str]
    faults: dict[int, list[Issue]]


def _resolve(session: Session, partner: Partner, submission: Submission, server: str) -> _Resolved:
    """Give every kept entry its FHIR id, then point the references at one another."""
    answered = _existing(session, partner, submission.kept)
    existing = {index: stored.reference for index, stored in answered.items()}
    entries = tuple(entry for entry in submission.kept if entry.index not in existing)
    known_keys = {index: (stored.type, stored.identity) for index, stored in answered.items()}
    keys = identify(session, partner, submission.kept, known_keys)
    known_ids = resources.identities(session, partner, keys.values())
    given = {e.index: f"{e.type}/{_fhir_id(e, known_ids.get(keys[e.index]))}" for e in entries}
    names = targets(given | existing, submission.kept)
    contents = {e.index: copied(e.resource) for e in entries}
    found = {e.index: referenced(contents[e.index], submission.place_of(e)) for e in entries}
    known = _known(session, partner, wanted_outside(chain.from_iterable(found.values()), names, server))
    resolved = _Resolved([], existing, {})
    for entry in entries:
        kind, fhir_id = given[entry.index].split("/")
        content = contents[entry.index]
        told = resolve(content, found[entry.index], names, known, server, submission.subject_elsewhere)
        if told:
            resolved.faults[entry.index] = told
        content["id"] = fhir_id
        version = NewVersion(kind, fhir_id, keys[entry.index][1], submission.place_of(entry), content)
        resolved.versions.append((entry, version))
    return resolved


def _existing(session: Session, partner: Partner, entries: tuple[Entry, ...]) -> dict[int, StoredResource]:
    """Conditional creates whose resource is here already keep the earlier one (FHIR R4 3.1.0.8.1).

    Not where it is another child's: the condition matches a number, and the number was given again.
    """
    found = {entry.index: entry.existing for entry in entries if entry.existing}
    stored = {r.reference: r for r in resources.by_reference(session, partner.id, found.values())}
    by_index, own = {entry.index: entry for entry in entries}, entries_by_name(entries)
    return {
        index: stored[reference]
        for index, reference in found.items()
        if not is_another_child(
            session, partner, stored[reference].content, by_index[index].resource or {}, own
        )
    }


def _fhir_id(entry: Entry, known: str | None) -> str:
    named = RELATIVE.match(entry.url) if entry.method == "PUT" else None
    return named[2] if named else known or r4_id(entry.sent_type, new_id())


def _known(session: Session, partner: Partner, wanted: set[str]) -> dict[str, str]:
    """References to the sender's earlier resources: literal ones, and conditional ones by identifier."""
    literal = {reference for reference in wanted if RELATIVE.match(reference)}
    found = {reference: reference for reference in resources.existing(session, partner, literal)}
    conditional = {r: k for r in wanted - literal if (k := conditional_identity(r, "")) is not None}
    matches = by_identifier(session, partner, conditional.values())
    return found | {
        r: here[0].reference if len(here) == 1 else "" for r, k in conditional.items() if (here := matches[k])
    }


def _outcomes(submission: Submission, resolved: _Resolved, saved: list[Outcome]) -> tuple[EntryOutcome, ...]:
    kept = {entry.index: outcome for (entry, _), outcome in zip(resolved.versions, saved, strict=True)}
    return tuple(_outcome(entry, kept.get(entry.index), resolved) for entry in submission.entries)


def _outcome(entry: Entry, kept: Outcome | None, resolved: _Resolved) -> EntryOutcome:
    issues = (*entry.issues, *_as_warnings(resolved.faults.get(entry.index, [])))
    if kept is not None:
        return EntryOutcome(kept.status, kept.reference, kept.version, kept.updated_at.isoformat(), issues)
    existing = resolved.existing.get(entry.index, "")
    return EntryOutcome("unchanged" if existing else "refused", existing, issues=issues)


def _as_warnings(issues: list[Issue]) -> list[Issue]:
    return [Issue("warning", issue.code, issue.text, issue.expression) for issue in issues]


def _answer(case_ids: tuple[str, ...], opened: bool, outcomes: tuple[EntryOutcome, ...]) -> dict[str, object]:
    return {
        "case_ids": list(case_ids),
        "opened": opened,
        "entries": [asdict(outcome) for outcome in outcomes],
    }


def _repeat(earlier: receipts.EarlierAnswer) -> Accepted:
    entries = tuple(
        EntryOutcome(**{**entry, "issues": tuple(Issue(**issue) for issue in entry["issues"])})
        for entry in earlier.answer["entries"]
    )
    return Accepted(earlier.receipt_id, tuple(earlier.answer["case_ids"]), False, True, entries)
