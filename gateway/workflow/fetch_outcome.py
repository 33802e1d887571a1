"""What one try to fetch a study has come to, from all the places that were asked."""

from dataclasses import dataclass, field

from gateway.case.fetching import PASSING, InstanceAddress, MissingInstance, Problem, foremost
from gateway.errors import (
    GatewayError,
    InstanceMismatch,
    NotDicom,
    NotFound,
    PeerRefused,
    PeerUnreachable,
    StudyMismatch,
    TooLarge,
)

SETTLED = frozenset({Problem.MISMATCH, Problem.UNREADABLE, Problem.TOO_LARGE})
"""Not asked for again in this round: the archive would give the same."""
_CAUSES: tuple[tuple[type[GatewayError], Problem], ...] = (
    (NotFound, Problem.NOT_THERE),
    (PeerRefused, Problem.REFUSED),
    (PeerUnreachable, Problem.UNREACHABLE),
    (StudyMismatch, Problem.MISMATCH),
    (InstanceMismatch, Problem.MISMATCH),
    (NotDicom, Problem.UNREADABLE),
    (TooLarge, Problem.TOO_LARGE),
)


def _problem_of(error: Exception) -> Problem:
    return next((problem for kind, problem in _CAUSES if isinstance(error, kind)), Problem.GATEWAY)


def _weight(problem: Problem | None) -> int:
    """Of two places that both lack an instance: where it may still be had counts most, then that one gave another."""
    if problem is None:
        return 0
    return 3 if problem in PASSING else 2 if problem in SETTLED else 1


@dataclass(slots=True)
class Outcome:
    """``wanted`` is every instance, as far as it is known; ``trouble`` what is wrong with all that did not come."""

    wanted: dict[str, InstanceAddress] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    trouble: set[Problem] = field(default_factory=set)
    reasons: dict[Problem, str] = field(default_factory=dict)

    def note(self, error: Exception, address: InstanceAddress | None = None) -> None:
        """Of one instance, or of a whole place."""
        problem = _problem_of(error)
        self.reasons.setdefault(problem, str(error) if isinstance(error, GatewayError) else "")
        if address is None:
            self.trouble.add(problem)
        elif _weight(problem) > _weight(self.problems.get(address.sop_instance_uid)):
            self.problems[address.sop_instance_uid] = problem

    def missing(self, stored: set[str]) -> list[MissingInstance]:
        otherwise = foremost(self.trouble) or Problem.NOT_THERE
        absent = (uid for uid in self.wanted if uid not in stored)
        return [MissingInstance(uid, self.problems.get(uid, otherwise)) for uid in absent]
