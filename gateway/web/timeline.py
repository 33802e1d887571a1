"""The audit trail of a case in human words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from gateway.auth.record import OPERATOR
from gateway.case.model import Case
from gateway.web.words import CAUSE, CHANNEL, DID


class Trace(Protocol):
    """One row of the trail."""

    @property
    def at(self) -> datetime: ...
    @property
    def actor(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def detail(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Act:
    """Who did what, and to which item. ``looked`` is true where somebody only looked."""

    at: datetime
    who: str
    did: str
    about: str
    channel: str
    action: str
    subject: str
    looked: bool


def timeline(rows: Iterable[Trace], case: Case, people: Mapping[str, str]) -> list[Act]:
    """``people`` names staff by id."""
    subjects = _subjects(case)
    return [
        Act(
            at=row.at,
            who=_who(row.actor, case, people),
            did=_did(row, people),
            about=_about(row, subjects),
            channel=CHANNEL.get(row.channel, row.channel),
            action=row.action,
            subject=row.subject,
            looked=row.action == "read",
        )
        for row in rows
    ]


def _who(actor: str, case: Case, people: Mapping[str, str]) -> str:
    kind, _, actor_id = actor.partition(":")
    if actor == OPERATOR:
        return "The operator"
    if kind == "user":
        return people.get(actor_id, "A former member of staff")
    return case.partner_name if actor == f"partner:{case.partner_id}" else "The gateway"


def _did(row: Trace, people: Mapping[str, str]) -> str:
    if "assignee" in row.detail:
        return f"assigned the case to {people.get(str(row.detail['assignee']), 'a former member of staff')}"
    if row.action == "read" and not row.subject.startswith("case:"):
        return f"looked at the {row.subject.partition(':')[0]}"
    return DID.get(row.action, row.action.replace("-", " "))


def _about(row: Trace, subjects: Mapping[str, str]) -> str:
    if "cause" in row.detail:
        return CAUSE.get(str(row.detail["cause"]), "")
    return subjects.get(row.subject, "")


def _subjects(case: Case) -> dict[str, str]:
    """Words for the items that the trail names by id only (decision 10)."""
    studies = [*case.studies, *(held.study for held in case.held_studies)]
    announced = {e.study_instance_uid: e.description for e in case.record.expected_studies}
    return (
        {f"finding:{f.id}": f"{f.finding.subject}. {f.finding.text}" for f in case.findings}
        | {f"finding:{f.finding.key}"[:200]: f"{f.finding.subject}. {f.finding.text}" for f in case.findings}
        | {f"enquiry:{e.id}": e.text for e in case.enquiries}
        | {f"study:{s.id}": s.description or "imaging study" for s in studies}
        | {f"document:{d.id}": d.title for d in case.record.documents}
        | {f"fetch:{f.id}": announced.get(f.study_instance_uid) or "imaging study" for f in case.fetches}
        | {f"delivery:{d.id}": CHANNEL.get(d.channel, d.channel) for d in case.deliveries}
    )
