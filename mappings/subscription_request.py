"""What a Subscription asks for (R4 Subscription by the profile backport-subscription 1.1.0), and what cannot be had."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from gateway.case.subscription import Content, Filter, Wanted
from gateway.errors import Issue
from mappings.fhir_dates import interval
from mappings.fhir_elements import objects, text
from mappings.subscription_topics import BACKPORT, TOPICS, TopicDefinition, topic_called

MEDIA_TYPES = ("application/fhir+json", "application/fhir+xml", "application/json")
MIN_HEARTBEAT_SECONDS = 60
MAX_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS = 60, 30
MAX_EVENTS, MAX_FULL_RESOURCES = 50, 10
"""In one notification; a report may have some megabytes."""
MAX_HEADERS, MAX_HEADER_CHARACTERS = 20, 4096
MAX_FILTERS = 20
_MAX_INTEGER = 2**31 - 1
_EXTENSION = f"{BACKPORT}/StructureDefinition/backport-"
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}): *([!-~](?:[ -~]*[!-~])?)")
_OWN_HEADERS = re.compile(
    r"host|content-.*|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|accept.*|proxy-.*|cookie",
    re.IGNORECASE,
)
_REFERENCE_TYPES = {"patient": "Patient", "subject": "Patient", "part-of": "Task"}
_RELATIVE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")

Json = dict[str, Any]


class Refused(Exception):
    """Everything that cannot be had, as ``issues``."""

    def __init__(self, issues: list[Issue]) -> None:
        super().__init__()
        self.issues = tuple(issues)


def wanted_of(resource: Json, fhir_base: str) -> Wanted:
    """Of a Subscription that is valid R4; ``fhir_base`` is the gateway's own. Raises Refused."""
    issues = list(_faults(resource))
    definition = topic_called(text(resource.get("criteria")))
    filters: tuple[Filter, ...] = ()
    if definition is None:
        issues.append(_topic_fault())
    else:
        filters = _filters(resource, definition, fhir_base, issues)
    channel = _channel(resource)
    headers = _headers(channel, issues)
    if issues or definition is None:
        raise Refused(issues)
    content = Content(_value(channel.get("_payload"), "payload-content", "valueCode"))
    most = MAX_FULL_RESOURCES if content is Content.FULL_RESOURCE else MAX_EVENTS
    return Wanted(
        topic=definition.topic,
        content=content,
        endpoint=text(channel.get("endpoint")),
        media_type=text(channel.get("payload")),
        headers=headers,
        filters=filters,
        end=end_of(resource),
        heartbeat_seconds=_number(channel, "heartbeat-period", "valueUnsignedInt"),
        timeout_seconds=min(
            _number(channel, "timeout", "valueUnsignedInt") or DEFAULT_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS
        ),
        max_count=min(_number(channel, "max-count", "valuePositiveInt") or most, most),
    )


def end_of(resource: Json) -> datetime | None:
    """Subscription.end."""
    found = interval(text(resource.get("end")))
    return found[0] if found else None


def _channel(resource: Json) -> Json:
    channel = resource.get("channel")
    return channel if isinstance(channel, dict) else {}


def _faults(resource: Json) -> Iterator[Issue]:
    channel = _channel(resource)
    if text(channel.get("type")) != "rest-hook":
        yield _refusal("channel.type", "The only channel is rest-hook.")
    if _extensions(channel.get("_type"), "channel-type"):
        yield _refusal("channel.type", "No other channel than rest-hook is offered (backport-channel-type).")
    if not text(channel.get("endpoint")):
        yield _refusal(
            "channel.endpoint", "A rest-hook needs the URL that notifications are sent to.", "required"
        )
    if text(channel.get("payload")) not in MEDIA_TYPES:
        yield _refusal(
            "channel.payload", f"The payload's media type must be one of {', '.join(MEDIA_TYPES)}."
        )
    contents = _extensions(channel.get("_payload"), "payload-content")
    if [one.get("valueCode") in list(Content) for one in contents] != [True]:
        words = f"The extension {_EXTENSION}payload-content is needed once: {', '.join(Content)}."
        yield _refusal("channel.payload", words, "required")
    if 0 < _number(channel, "heartbeat-period", "valueUnsignedInt") < MIN_HEARTBEAT_SECONDS:
        words = f"A heartbeat period is at least {MIN_HEARTBEAT_SECONDS} seconds."
        yield _refusal("channel.extension", words, "business-rule")


def _topic_fault() -> Issue:
    known = ", ".join(definition.url for definition in TOPICS.values())
    return _refusal(
        "criteria", f"The criteria must be the canonical URL of a topic that is offered: {known}."
    )


def _filters(
    resource: Json, definition: TopicDefinition, fhir_base: str, issues: list[Issue]
) -> tuple[Filter, ...]:
    """Every backport-filter-criteria: they all must hold, of values with commas between them one."""
    filters = []
    for extension in _extensions(resource.get("_criteria"), "filter-criteria"):
        type_name, mark, query = text(extension.get("valueString")).rpartition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        is_known = all(name in definition.filters and value for name, value in pairs)
        if not pairs or not is_known or (mark and type_name != definition.focus_type):
            words = f"{definition.focus_type}?[filter]=[value], with {', '.join(definition.filters)}"
            issues.append(_refusal("criteria.extension", f"The topic's events can be filtered by {words}."))
        filters += [Filter(name, _values(name, value, fhir_base)) for name, value in pairs]
    if len(filters) > MAX_FILTERS:
        issues.append(_refusal("criteria.extension", f"At most {MAX_FILTERS} filters are taken.", "too-long"))
    return tuple(filters)


def _values(name: str, value: str, fhir_base: str) -> frozenset[str]:
    """As events have them: references are ``Type/id``, a token is its code."""
    found = (one.strip() for one in value.split(","))
    if name in ("_id", "business-status"):
        return frozenset(one.rpartition("|")[2] for one in found)
    relative = (one.removeprefix(f"{fhir_base}/") for one in found)
    default = _REFERENCE_TYPES.get(name, "ServiceRequest")
    return frozenset(one if _RELATIVE.fullmatch(one) else f"{default}/{one}" for one in relative)


def _headers(channel: Json, issues: list[Issue]) -> tuple[tuple[str, str], ...]:
    """Subscription.channel.header: sent with every notification, except those that are the gateway's to set."""
    given = channel.get("header")
    sent = [one for one in given if isinstance(one, str)] if isinstance(given, list) else []
    found = [match for one in sent if (match := _HEADER.fullmatch(one))]
    if len(found) < len(sent) or any(_OWN_HEADERS.fullmatch(match[1]) for match in found):
        words = "A header is 'Name: value' in printable ASCII, and none that the gateway sets by itself."
        issues.append(_refusal("channel.header", words))
    if len(sent) > MAX_HEADERS or sum(map(len, sent)) > MAX_HEADER_CHARACTERS:
        words = f"At most {MAX_HEADERS} headers of {MAX_HEADER_CHARACTERS} characters in all are taken."
        issues.append(_refusal("channel.header", words, "too-long"))
    return tuple((match[1], match[2]) for match in found)


def _extensions(element: Any, name: str) -> list[Json]:
    """Those of an element that have the name, after ``backport-``."""
    held = objects(element.get("extension")) if isinstance(element, dict) else []
    return [one for one in held if one.get("url") == f"{_EXTENSION}{name}"]


def _value(element: Any, name: str, kind: str) -> Any:
    return next((one.get(kind) for one in _extensions(element, name)), None)


def _number(channel: Json, name: str, kind: str) -> int:
    """An integer of 31 bits (FHIR R4 2.24.0.1); 0 where there is none."""
    value = _value(channel, name, kind)
    return min(int(value), _MAX_INTEGER) if isinstance(value, int) else 0


def _refusal(path: str, words: str, code: str = "not-supported") -> Issue:
    return Issue("error", code, words, f"Subscription.{path}")
