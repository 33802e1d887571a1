"""What a subscriber is told: R4 Bundles and Parameters by the profiles of Subscriptions R5 Backport 1.1.0.

backport-subscription-notification-r4 is a Bundle of type history whose first entry is the Parameters of
backport-subscription-status-r4; each entry has a request and a response (bdl-3, bdl-4).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.case.subscription import Content, Event, NotificationType, SubscriptionStatus, Topic
from mappings.fhir_datatypes import instant
from mappings.subscription_topics import BACKPORT, TOPICS

_PROFILE = f"{BACKPORT}/StructureDefinition/backport-subscription-"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of one subscription, of whatever type; ``count`` is events-since-subscription-start.

    ``error`` says what keeps it from being notified, without what the subscriber's server said.
    """

    subscription_id: str
    topic: Topic
    status: SubscriptionStatus
    content: Content
    count: int
    error: str = ""


def to_status(
    told: Told, kind: NotificationType, own_id: str, fhir_base: str, events: Iterable[Event] = ()
) -> Json:
    """Parameters. Empty content has neither topic nor references (Payloads, Empty)."""
    parameters: list[Json] = [
        {
            "name": "subscription",
            "valueReference": {"reference": f"{fhir_base}/Subscription/{told.subscription_id}"},
        }
    ]
    if told.content is not Content.EMPTY:
        parameters.append({"name": "topic", "valueCanonical": TOPICS[told.topic].url})
    parameters += [
        {"name": "status", "valueCode": told.status},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(told.count)},
        *(_event(event, told.content, fhir_base) for event in events),
    ]
    if told.error:
        parameters.append({"name": "error", "valueCodeableConcept": {"text": told.error}})
    return {
        "resourceType": "Parameters",
        "id": own_id,
        "meta": {"profile": [f"{_PROFILE}status-r4"]},
        "parameter": parameters,
    }


def _event(event: Event, content: Content, fhir_base: str) -> Json:
    parts: list[Json] = [
        {"name": "event-number", "valueString": str(event.number)},
        {"name": "timestamp", "valueInstant": instant(event.at)},
    ]
    if content is not Content.EMPTY:
        parts.append({"name": "focus", "valueReference": {"reference": f"{fhir_base}/{event.focus}"}})
        if event.context:
            context = {"reference": f"{fhir_base}/{event.context}"}
            parts.append({"name": "additional-context", "valueReference": context})
    return {"name": "notification-event", "part": parts}


def to_notification(status: Json, bundle_id: str, at: datetime, entries: Sequence[Json]) -> Json:
    """The Bundle of a status and what goes with it."""
    subscription = str(status["parameter"][0]["valueReference"]["reference"])
    first = {
        "fullUrl": f"urn:uuid:{status['id']}",
        "resource": status,
        "request": {"method": "GET", "url": f"{subscription}/$status"},
        "response": {"status": "200"},
    }
    return {
        "resourceType": "Bundle",
        "id": bundle_id,
        "meta": {"profile": [f"{_PROFILE}notification-r4"]},
        "type": "history",
        "timestamp": instant(at),
        "entry": [first, *entries],
    }


def to_entry(reference: str, resource: Json | None, topic: Topic, fhir_base: str) -> Json:
    """The focus of an event; None where it cannot be had any more (Payloads, Full Resource)."""
    type_name = reference.split("/")[0]
    is_update = "update" in TOPICS[topic].interactions
    entry: Json = {"fullUrl": f"{fhir_base}/{reference}"}
    if resource is None:
        return entry | {"request": {"method": "GET", "url": reference}, "response": {"status": "404"}}
    request = {"method": "PUT", "url": reference} if is_update else {"method": "POST", "url": type_name}
    return entry | {
        "resource": resource,
        "request": request,
        "response": {"status": "200" if is_update else "201"},
    }


def to_searchset(statuses: Sequence[Json], bundle_id: str, at: datetime, link: str) -> Json:
    """The answer of $status: one Parameters for each subscription."""
    bundle: Json = {
        "resourceType": "Bundle",
        "id": bundle_id,
        "type": "searchset",
        "timestamp": instant(at),
        "total": len(statuses),
        "link": [{"relation": "self", "url": link}],
    }
    entries = [
        {"fullUrl": f"urn:uuid:{status['id']}", "resource": status, "search": {"mode": "match"}}
        for status in statuses
    ]
    return bundle | ({"entry": entries} if entries else {})
