"""The life of a case: one table says who may move it from where to where."""

from enum import StrEnum

from gateway.errors import TransitionRefused


class CaseStatus(StrEnum):
    RECEIVED = "received"
    AWAITING_INFORMATION = "awaiting-information"
    ACCEPTED = "accepted"
    ASSIGNED = "assigned"
    IN_REVIEW = "in-review"
    SIGNED = "signed"
    DELIVERED = "delivered"
    CLOSED = "closed"
    DECLINED = "declined"


class Action(StrEnum):
    """What a person, or the gateway itself, does to a case."""

    ASK = "ask"
    ANSWER = "answer"
    ACCEPT = "accept"
    DECLINE = "decline"
    ASSIGN = "assign"
    DRAFT = "draft"
    SIGN = "sign"
    DELIVER = "deliver"
    CLOSE = "close"


INTAKE, SPECIALIST, SYSTEM = "intake", "specialist", "system"
_S, _A = CaseStatus, Action

TRANSITIONS: dict[tuple[CaseStatus, Action, str], CaseStatus] = {
    (_S.RECEIVED, _A.ASK, INTAKE): _S.AWAITING_INFORMATION,
    (_S.AWAITING_INFORMATION, _A.ASK, INTAKE): _S.AWAITING_INFORMATION,
    (_S.AWAITING_INFORMATION, _A.ANSWER, SYSTEM): _S.RECEIVED,
    (_S.RECEIVED, _A.ACCEPT, INTAKE): _S.ACCEPTED,
    (_S.AWAITING_INFORMATION, _A.ACCEPT, INTAKE): _S.ACCEPTED,
    (_S.RECEIVED, _A.DECLINE, INTAKE): _S.DECLINED,
    (_S.AWAITING_INFORMATION, _A.DECLINE, INTAKE): _S.DECLINED,
    (_S.ACCEPTED, _A.DECLINE, INTAKE): _S.DECLINED,
    (_S.ACCEPTED, _A.ASK, INTAKE): _S.ACCEPTED,
    (_S.ACCEPTED, _A.ASSIGN, INTAKE): _S.ASSIGNED,
    (_S.ASSIGNED, _A.ASSIGN, INTAKE): _S.ASSIGNED,
    (_S.IN_REVIEW, _A.ASSIGN, INTAKE): _S.ASSIGNED,
    (_S.ASSIGNED, _A.ASK, INTAKE): _S.ASSIGNED,
    (_S.ASSIGNED, _A.ASK, SPECIALIST): _S.ASSIGNED,
    (_S.IN_REVIEW, _A.ASK, INTAKE): _S.IN_REVIEW,
    (_S.IN_REVIEW, _A.ASK, SPECIALIST): _S.IN_REVIEW,
    (_S.ASSIGNED, _A.DRAFT, SPECIALIST): _S.IN_REVIEW,
    (_S.IN_REVIEW, _A.DRAFT, SPECIALIST): _S.IN_REVIEW,
    (_S.IN_REVIEW, _A.SIGN, SPECIALIST): _S.SIGNED,
    (_S.SIGNED, _A.DELIVER, SYSTEM): _S.DELIVERED,
    (_S.DELIVERED, _A.CLOSE, INTAKE): _S.CLOSED,
}

OPEN = frozenset(_S) - {_S.CLOSED, _S.DECLINED}
"""Statuses in which the case still takes new material without a person's decision."""


UNDER_REVIEW = OPEN - {_S.SIGNED, _S.DELIVERED}
"""Statuses in which the opinion is still to be written."""


def move(status: str, action: Action, roles: frozenset[str]) -> CaseStatus:
    """The status after ``action``; raises TransitionRefused with what would be allowed."""
    for role in sorted(roles):
        target = TRANSITIONS.get((CaseStatus(status), action, role))
        if target is not None:
            return target
    allowed = sorted({a for s, a, r in TRANSITIONS if s == status and r in roles})
    may = f"possible now: {', '.join(allowed)}" if allowed else "nothing is possible now for your role"
    raise TransitionRefused(f"A case that is {status} cannot take the act '{action}'; {may}.")


def actions_for(status: str, roles: frozenset[str]) -> frozenset[Action]:
    """The acts that ``roles`` may do to a case in ``status``."""
    return frozenset(a for s, a, r in TRANSITIONS if s == status and r in roles)
