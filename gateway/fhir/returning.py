"""What is told of a resource that was kept, as ``Prefer: return=`` asks (FHIR R4 3.1.0.1.9)."""

from gateway.auth import scopes
from gateway.case.access import Partner
from gateway.errors import Issue
from gateway.fhir import served
from gateway.fhir.preferences import preferences
from gateway.fhir.served import Served
from gateway.store import resources
from gateway.store.database import Session
from gateway.workflow.submission import EntryOutcome

MINIMAL, REPRESENTATION, OUTCOME = "minimal", "representation", "operationoutcome"
_DONE = {"created": "It was created.", "updated": "It was updated.", "unchanged": "It is here already."}


def preferred() -> str:
    """One of the three; empty where nothing that is known is asked."""
    asked = preferences().get("return", "").casefold()
    return asked if asked in (MINIMAL, REPRESENTATION, OUTCOME) else ""


def kept(session: Session, partner: Partner, entry: EntryOutcome) -> Served:
    """The version that an entry made, else what was there."""
    kind, fhir_id = entry.reference.split("/")
    if entry.version:
        return served.sent(resources.version(session, partner, kind, fhir_id, entry.version))
    return served.sent(resources.read(session, partner, kind, fhir_id))


def may_tell(partner: Partner, entry: EntryOutcome) -> bool:
    """What was there before is not told to a token that may not read."""
    return entry.version != 0 or scopes.allows(partner.scopes, entry.reference.split("/")[0], "r")


def done(entry: EntryOutcome) -> Issue:
    return Issue("information", "informational", _DONE[entry.status])
