"""How the fetching of one study stands: what is here, what could not be had, and why."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UID_CHARACTERS = 64


def is_uid(text: str) -> bool:
    """Whether it may stand in an address that is asked: PS3.5 9.1 but for zeros at the start of components."""
    return len(text) <= _UID_CHARACTERS and bool(_UID.fullmatch(text))


class FetchState(StrEnum):
    """PENDING is queued, under way, or waiting for the next try; FAILED waits for a person."""

    PENDING = "pending"
    COMPLETE = "complete"
    FAILED = "failed"


class Problem(StrEnum):
    """Why something could not be had."""

    NOT_REGISTERED = "not-registered"
    DISABLED = "disabled"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    NOT_THERE = "not-there"
    MISMATCH = "mismatch"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too-large"
    NOT_WANTED = "not-wanted"
    GATEWAY = "gateway"  # a fault of our own, or our own store is away


PROBLEM_WORDS = {
    Problem.NOT_REGISTERED: "The records name no place that is registered for this hospital.",
    Problem.DISABLED: "The hospital is disabled, and nothing is asked of it.",
    Problem.UNREACHABLE: "The hospital's archive could not be reached.",
    Problem.REFUSED: "The hospital's archive refused.",
    Problem.NOT_THERE: "The hospital's archive does not have it.",
    Problem.MISMATCH: "What the hospital's archive gave is not what was asked for.",
    Problem.UNREADABLE: "What the hospital's archive gave is no readable DICOM instance.",
    Problem.TOO_LARGE: "What the hospital's archive gave is larger than the gateway takes.",
    Problem.NOT_WANTED: "No open case needs it any more.",
    Problem.GATEWAY: "The gateway itself failed on it; please have its log looked at.",
}
PASSING = frozenset({Problem.UNREACHABLE, Problem.GATEWAY})
"""May be over at the next try, without anybody doing anything."""


def foremost(problems: Collection[Problem]) -> Problem | None:
    """The one that a person should hear of: what will not pass by itself, in the order of the list."""
    staying = [problem for problem in Problem if problem in problems and problem not in PASSING]
    return next(iter([*staying, *problems]), None)


@dataclass(frozen=True, slots=True)
class InstanceAddress:
    """An instance by what WADO-RS and C-MOVE ask for it."""

    series_instance_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class MissingInstance:
    """An instance that could not be had."""

    sop_instance_uid: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Fetch:
    """One study that the gateway fetches.

    ``expected`` is None until the records or the archive have told how many instances there are; ``here`` counts those
    of them that are stored. ``reason`` is in words, and empty while nothing is wrong. ``next_try_at`` is None while it
    is under way and when it is over.
    """

    id: str
    study_instance_uid: str
    state: FetchState
    expected: int | None
    here: int
    problem: Problem | None
    reason: str
    missing: tuple[MissingInstance, ...]
    tries: int
    next_try_at: datetime | None
    updated_at: datetime
