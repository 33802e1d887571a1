"""The pre-flight of a bundle: what would become of it, and what the checks would find; nothing of it is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.case.access import SYSTEM_ACTOR, Origin, Partner
from gateway.case.model import Case, Content, Finding
from gateway.errors import Conflict, NotFound
from gateway.store import cases, examinations
from gateway.store.database import Session
from gateway.store.objects import Spool
from gateway.workflow.documents import bytes_of
from gateway.workflow.examination import problem_of
from gateway.workflow.intake import found_in
from gateway.workflow.receive_bundle import try_bundle
from gateway.workflow.submission import Accepted, Submission

if TYPE_CHECKING:
    from gateway.services import Services

_Problems = dict[tuple[str, str], str]
_Unopened = dict[tuple[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Checked:
    """What the answer to the submission would be, and the findings of the cases that it would go to."""

    accepted: Accepted
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A case as it would be; which of its documents open is ``known``, or told by their ``unopened`` bytes."""

    case: Case
    known: _Problems
    unopened: _Unopened


def check_bundle(
    services: Services,
    partner: Partner,
    spool: Spool,
    submission: Submission,
    origin: Origin,
    content_type: str,
) -> Checked:
    """Raises what ``receive_bundle`` raises."""

    def look(session: Session, accepted: Accepted) -> tuple[Accepted, list[_Seen]]:
        return accepted, [_case_of(session, case_id) for case_id in accepted.case_ids]

    accepted, seen = try_bundle(services, partner, spool, submission, origin, content_type, look)
    found = [finding for one in seen for finding in _findings(services, one)]
    return Checked(accepted, tuple(found))


def _case_of(session: Session, case_id: str) -> _Seen:
    case = cases.load(session, SYSTEM_ACTOR, case_id)
    wanted = {
        examinations.key(d): d for d in case.record.documents if d.content is Content.PRESENT and d.sha256
    }
    known = examinations.known(session, set(wanted))
    unopened: _Unopened = {}
    for key, document in wanted.items():
        if key not in known:
            try:
                unopened[key] = bytes_of(session, case.partner_id, document)
            except (NotFound, Conflict):
                continue
    return _Seen(case, known, unopened)


def _findings(services: Services, seen: _Seen) -> list[Finding]:
    """Documents are opened now that no transaction is open: it may take long."""
    told = {key: problem_of(services.limited, content, key[1]) for key, content in seen.unopened.items()}
    record = examinations.marked(seen.case.record, seen.known | told)
    return found_in(replace(seen.case, record=record))
