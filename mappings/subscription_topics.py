"""The topics that a hospital can subscribe to, by their canonical URLs, and what their events can be filtered by.

R4 has no SubscriptionTopic. A topic is announced by its canonical URL in the CapabilityStatement (Subscriptions R5
Backport 1.1.0, Conformance in FHIR R4), and described as a Basic by the extensions for converting from R5.
"""

from dataclasses import dataclass
from typing import Any

from gateway.case.subscription import Topic
from mappings.fhir_datatypes import coding_of

PUBLISHED = "2026-11-24"
VERSION = "1.0.0"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport"
_TOPIC = "http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic."
_TYPES = "http://hl7.org/fhir/StructureDefinition/"


@dataclass(frozen=True, slots=True)
class TopicDefinition:
    """``filters`` are search parameters of the focus type; ``interaction`` is what an event has done to the focus."""

    topic: Topic
    title: str
    description: str
    trigger: str
    focus_type: str
    interactions: tuple[str, ...]
    filters: tuple[str, ...]
    include: str = ""

    @property
    def url(self) -> str:
        return f"urn:second-opinion:subscription-topic:{self.topic}"


TOPICS = {
    definition.topic: definition
    for definition in (
        TopicDefinition(
            Topic.CASE_STATUS,
            "Case status changed",
            "A case has been opened, or stands elsewhere than before. The focus is its coordination Task.",
            "A case is opened, or Task.businessStatus of its coordination Task has changed.",
            "Task",
            ("create", "update"),
            ("_id", "patient", "focus", "business-status"),
        ),
        TopicDefinition(
            Topic.QUESTION,
            "Question to the referrer",
            "The programme asks the referring hospital. The focus is a Task that is part of the case's Task.",
            "A question is asked.",
            "Task",
            ("create",),
            ("patient", "focus", "part-of"),
            "Task:part-of",
        ),
        TopicDefinition(
            Topic.REPORT,
            "Report available",
            "An opinion is signed. The focus is its DiagnosticReport.",
            "A DiagnosticReport is signed, and can be read.",
            "DiagnosticReport",
            ("create",),
            ("patient", "subject", "based-on"),
        ),
    )
}


def topic_called(canonical: str) -> TopicDefinition | None:
    """The topic of a canonical URL, with or without its version."""
    url, _, version = canonical.partition("|")
    if version not in ("", VERSION):
        return None
    return next((definition for definition in TOPICS.values() if definition.url == url), None)


def topic_id(definition: TopicDefinition) -> str:
    """Id of the Basic."""
    return f"subscription-topic-{definition.topic}"


def to_basic(definition: TopicDefinition) -> dict[str, Any]:
    """A topic as R4 Basic."""
    told = (
        ("url", "valueUri", definition.url),
        ("version", "valueString", VERSION),
        ("title", "valueString", definition.title),
        ("date", "valueDateTime", PUBLISHED),
        ("description", "valueMarkdown", definition.description),
    )
    return {
        "resourceType": "Basic",
        "id": topic_id(definition),
        "extension": [
            *({"url": f"{_TOPIC}{name}", kind: value} for name, kind, value in told),
            _trigger(definition),
            *(_filter(definition, name) for name in definition.filters),
            _shape(definition),
        ],
        "modifierExtension": [{"url": f"{_TOPIC}status", "valueCode": "active"}],
        "code": coding_of("http://hl7.org/fhir/fhir-types", "SubscriptionTopic"),
    }


def _trigger(definition: TopicDefinition) -> dict[str, Any]:
    interactions = [{"url": "supportedInteraction", "valueCode": one} for one in definition.interactions]
    return {
        "url": f"{_TOPIC}resourceTrigger",
        "extension": [
            {"url": "description", "valueMarkdown": definition.trigger},
            {"url": "resource", "valueUri": f"{_TYPES}{definition.focus_type}"},
            *interactions,
        ],
    }


def _filter(definition: TopicDefinition, name: str) -> dict[str, Any]:
    return {
        "url": f"{_TOPIC}canFilterBy",
        "extension": [
            {"url": "resource", "valueUri": f"{_TYPES}{definition.focus_type}"},
            {"url": "filterParameter", "valueString": name},
        ],
    }


def _shape(definition: TopicDefinition) -> dict[str, Any]:
    include = [{"url": "include", "valueString": definition.include}] if definition.include else []
    return {
        "url": f"{_TOPIC}notificationShape",
        "extension": [{"url": "resource", "valueUri": f"{_TYPES}{definition.focus_type}"}, *include],
    }
