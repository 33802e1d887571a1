"""A hospital's server that is notified: it keeps every notification, and can be told to refuse them."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.bundles import wait_for
from tests.support.fhir_receiver import Answer, FhirReceiver

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport"
EXTENSION = f"{BACKPORT}/StructureDefinition/backport-"
TOPIC = "urn:second-opinion:subscription-topic:"

Json = dict[str, Any]


class Subscriber(FhirReceiver):
    """Takes reports as ``FhirReceiver`` does, and notifications with ``status``."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.taken: list[Json] = []
        self.refused: list[Json] = []

    @property
    def hook(self) -> str:
        return f"{self.url.removesuffix('/fhir')}/notifications"

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if not handler.path.startswith("/notifications"):
            super().answer(handler, body)
            return
        read = json.loads(body) if b"<" not in body[:1] else {"xml": body.decode()}
        (self.taken if self.status < 300 else self.refused).append(read)
        self._write(handler, Answer(self.status), b"")

    def of(self, kind: str) -> list[Json]:
        return [one for one in self.taken if "entry" in one and said(one)["type"] == kind]

    def wait_for(self, kind: str, count: int = 1) -> list[Json]:
        wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    def numbers(self) -> list[int]:
        """Of the events in the order in which they came."""
        return [number for one in self.of("event-notification") for number in numbers(one)]


def subscription(topic: str, endpoint: str, content: str = "id-only", **changes: Any) -> Json:
    """A Subscription by the backport profile; ``channel`` in ``changes`` adds to the channel."""
    channel = {
        "type": "rest-hook",
        "endpoint": endpoint,
        "payload": "application/fhir+json",
        "_payload": {"extension": [{"url": f"{EXTENSION}payload-content", "valueCode": content}]},
        "header": ["Authorization: Bearer secret-of-the-hook"],
    } | changes.pop("channel", {})
    return {
        "resourceType": "Subscription",
        "meta": {"profile": [f"{BACKPORT}/StructureDefinition/backport-subscription"]},
        "status": "requested",
        "reason": "The referring physician wants to know",
        "criteria": f"{TOPIC}{topic}",
        "channel": channel,
    } | changes


def filtered_by(*criteria: str) -> Json:
    """The element beside Subscription.criteria."""
    return {"extension": [{"url": f"{EXTENSION}filter-criteria", "valueString": one} for one in criteria]}


def said(bundle: Json) -> Json:
    """What the Parameters of a notification say, by name; what may be there several times is left out."""
    parameters = bundle["entry"][0]["resource"]["parameter"]
    return {parameter["name"]: value for parameter in parameters for value in _values(parameter)}


def _values(parameter: Json) -> list[Any]:
    return [value for name, value in parameter.items() if name.startswith("value")]


def events(bundle: Json) -> list[Json]:
    """The events of a notification, each as its parts by name."""
    return [
        {part["name"]: value for part in event["part"] for name, value in part.items() if name != "name"}
        for event in bundle["entry"][0]["resource"]["parameter"]
        if event["name"] == "notification-event"
    ]


def numbers(bundle: Json) -> list[int]:
    return [int(event["event-number"]) for event in events(bundle)]


def foci(bundle: Json) -> list[str]:
    """``Type/id`` of each event's focus."""
    return ["/".join(event["focus"]["reference"].split("/")[-2:]) for event in events(bundle)]
