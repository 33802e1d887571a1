"""FHIR R4 messaging (2.4): the response message to a message, and ``$process-message``.

The response is the same each time the same message comes: its ids follow from the message's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from gateway.clock import utc_now
from gateway.errors import InvalidContent, Issue, NotSupported
from gateway.fhir import outcome
from gateway.fhir.served import Served
from gateway.fhir.validation import faults
from mappings.fhir_elements import Resource, objects, text

OK, TRANSIENT, FATAL = "ok", "transient-error", "fatal-error"
_ANSWERS = UUID("5d8c1f1e-6a3c-4a53-9f0b-2f6f3f2f6d0a")


@dataclass(frozen=True, slots=True)
class Sender:
    """The gateway as the source of a response message. ``base`` is its FHIR base."""

    name: str
    base: str


@dataclass(frozen=True, slots=True)
class Header:
    """What of a message its response repeats: MessageHeader.id (else its fullUrl's uuid), event and source."""

    id: str
    event: Resource
    endpoint: str


def message_of(content: Resource) -> Resource:
    """The message that ``$process-message`` is called with: a Bundle, or Parameters with ``content``.

    Raises InvalidContent for anything else, NotSupported when the answer is wanted elsewhere (``async``).
    """
    if content.get("resourceType") == "Parameters":
        given = {text(p.get("name")): p for p in objects(content.get("parameter"))}
        require_synchronous(given.get("async", {}).get("valueBoolean") is True)
        inside = given.get("content", {}).get("resource")
        content = inside if isinstance(inside, dict) else {}
    if content.get("resourceType") == "Bundle" and content.get("type") != "message":
        words = "A Bundle of the type message was expected. Other bundles are sent to the base."
        raise InvalidContent(words, (Issue("error", "invalid", words, "Bundle.type"),))
    return content


def require_synchronous(is_async: bool) -> None:
    if is_async:
        raise NotSupported("A message is answered in the same exchange: async=true is not offered.")


def header_of(content: Any) -> Header | None:
    """Of a message whose first entry is a MessageHeader; None: there is nothing that a response could name."""
    entries = objects(content.get("entry")) if isinstance(content, dict) else []
    if not entries or content.get("type") != "message":
        return None
    header = entries[0].get("resource")
    if not isinstance(header, dict) or header.get("resourceType") != "MessageHeader":
        return None
    named = text(header.get("id")) or text(entries[0].get("fullUrl")).rsplit("/", 1)[-1].removeprefix(
        "urn:uuid:"
    )
    source = header.get("source")
    event = {k: v for k, v in header.items() if k in ("eventCoding", "eventUri")}
    made = Header(named, event, text(source.get("endpoint")) if isinstance(source, dict) else "")
    return made if not _is_faulty(made) else None


def accepted(
    header: Header, sender: Sender, partner_id: str, tasks: Iterable[Served], issues: Iterable[Issue]
) -> Resource:
    """The message was taken: the coordination Task of each of its cases is the response's focus."""
    found = list(tasks)
    entries = [{"fullUrl": f"{sender.base}/Task/{t.id}", "resource": t.resource} for t in found]
    told = outcome.of_issues(issues) if (issues := tuple(issues)) else None
    return _response(header, OK, sender, f"{partner_id}|{header.id}|{[t.id for t in found]}", told, entries)


def refused(header: Header, sender: Sender, partner_id: str, told: Resource, http_status: int) -> Resource:
    """The message was not taken: for good, or until it is sent again (2.4.2)."""
    code = TRANSIENT if http_status >= 500 else FATAL
    return _response(header, code, sender, f"{partner_id}|{header.id}|{code}", told, [])


def _response(
    header: Header, code: str, sender: Sender, seed: str, told: Resource | None, entries: list[Resource]
) -> Resource:
    own, details = uuid5(_ANSWERS, seed), uuid5(_ANSWERS, f"{seed}|details")
    response: Resource = {"identifier": header.id, "code": code}
    if told is not None:
        response["details"] = {"reference": f"urn:uuid:{details}"}
        entries = [*entries, {"fullUrl": f"urn:uuid:{details}", "resource": told}]
    made: Resource = {"resourceType": "MessageHeader", "id": str(own), **header.event}
    if header.endpoint:
        made["destination"] = [{"endpoint": header.endpoint}]
    made["source"] = {"name": sender.name, "endpoint": f"{sender.base}/$process-message"}
    made["response"] = response
    if focus := [{"reference": e["fullUrl"]} for e in entries if e["resource"]["resourceType"] == "Task"]:
        made["focus"] = focus
    return {
        "resourceType": "Bundle",
        "id": str(uuid5(_ANSWERS, f"{seed}|bundle")),
        "type": "message",
        "timestamp": utc_now().isoformat(timespec="milliseconds"),
        "entry": [{"fullUrl": f"urn:uuid:{own}", "resource": made}, *entries],
    }


def _is_faulty(header: Header) -> bool:
    """Whether a response that repeats these elements would be no valid MessageHeader."""
    made = {
        "resourceType": "MessageHeader",
        **header.event,
        "source": {"endpoint": header.endpoint or "urn:none"},
        "response": {"identifier": header.id, "code": OK},
    }
    return not header.id or any(i.severity == "error" for i in faults(made, "MessageHeader"))
