"""Entries that change what is here: the version that they are made for (ifMatch), and the patch of a status."""

from collections.abc import Iterable
from dataclasses import replace

from gateway.case.access import Partner
from gateway.errors import Issue, VersionMismatch
from gateway.store import resources
from gateway.store.database import Session
from gateway.store.resources import StoredResource
from gateway.workflow.references import RELATIVE
from gateway.workflow.submission import Entry, Submission


def applied(session: Session, partner: Partner, submission: Submission) -> Submission:
    """The submission with each PATCH as the whole resource that it leaves, to be kept by PUT.

    Raises VersionMismatch where a transaction's ifMatch names another version than the one here (FHIR R4 3.1.0.5); of
    a batch that entry alone is refused.
    """
    wanted = {e.index: _target(e) for e in submission.kept if e.method == "PATCH" or e.if_match}
    if not wanted:
        return submission
    here = {r.reference: r for r in resources.by_reference(session, partner.id, wanted.values())}
    entries = tuple(
        _changed(e, here.get(wanted[e.index])) if e.index in wanted else e for e in submission.entries
    )
    added = [
        i for old, new in zip(submission.entries, entries, strict=True) for i in new.issues[len(old.issues) :]
    ]
    if submission.bundle_type == "transaction":
        if any(issue.code == "conflict" for issue in added):
            raise VersionMismatch("Another version is here: read it, and change that one.", tuple(added))
        return replace(submission, entries=entries, faults=(*submission.faults, *added))
    return replace(submission, entries=tuple(_refused(e, added) for e in entries))


def _target(entry: Entry) -> str:
    named = RELATIVE.match(entry.url)
    return f"{named[1]}/{named[2]}" if named else ""


def _changed(entry: Entry, here: StoredResource | None) -> Entry:
    if entry.if_match and (here is None or entry.if_match.removeprefix("W/").strip('"') != str(here.version)):
        told = "The version that ifMatch names is not the one that is here."
        return _with(entry, Issue("error", "conflict", told, f"{entry.path}.request.ifMatch"))
    if entry.method != "PATCH":
        return entry
    if here is None:
        told = "There is no such document of yours that could be superseded."
        return _with(entry, Issue("error", "not-found", told, f"{entry.path}.request.url"))
    return replace(entry, method="PUT", resource=here.content | {"status": "superseded"})


def _with(entry: Entry, issue: Issue) -> Entry:
    return replace(entry, issues=(*entry.issues, issue))


def _refused(entry: Entry, added: Iterable[Issue]) -> Entry:
    return replace(entry, refused=True) if any(issue in added for issue in entry.issues) else entry
