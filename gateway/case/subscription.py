"""What a hospital can be notified of, and how it wants to be (HL7 Subscriptions R5 Backport 1.1.0)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Topic(StrEnum):
    """What events are about."""

    CASE_STATUS = "case-status"
    QUESTION = "question"
    REPORT = "report"


class SubscriptionStatus(StrEnum):
    """R4 subscription-status."""

    REQUESTED = "requested"
    ACTIVE = "active"
    ERROR = "error"
    OFF = "off"


class Content(StrEnum):
    """Backport payload content: how much of a resource a notification holds."""

    EMPTY = "empty"
    ID_ONLY = "id-only"
    FULL_RESOURCE = "full-resource"


class NotificationType(StrEnum):
    """Value set subscription-notification-type."""

    HANDSHAKE = "handshake"
    HEARTBEAT = "heartbeat"
    EVENT = "event-notification"
    QUERY_STATUS = "query-status"
    QUERY_EVENT = "query-event"


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter criterion: the event's value of that name is one of ``values``."""

    name: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscriber asks for.

    ``endpoint`` is its URL, ``headers`` are sent to there and may hold a secret. ``heartbeat_seconds`` 0 is none.
    """

    topic: Topic
    content: Content
    endpoint: str
    media_type: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    filters: tuple[Filter, ...] = ()
    end: datetime | None = None
    heartbeat_seconds: int = 0
    timeout_seconds: int = 30
    max_count: int = 1

    def concerns(self, facts: Mapping[str, str]) -> bool:
        """Whether every filter holds of an event; ``facts`` are its values by the names of filters."""
        return all(facts.get(one.name, "") in one.values for one in self.filters)


@dataclass(frozen=True, slots=True)
class Event:
    """``number`` counts a subscription's events from 1 on; ``focus`` and ``context`` are ``Type/id``, '' for none."""

    number: int
    at: datetime
    focus: str
    context: str
    case_id: str
