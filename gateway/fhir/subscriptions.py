"""Subscriptions in topics (HL7 Subscriptions R5 Backport 1.1.0, rest-hook): create, update, delete, operations.

They are read and searched as any other resource (served.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from gateway.auth.bearer import authenticate_partner, require_scope
from gateway.case.access import Partner
from gateway.case.subscription import Content, NotificationType, SubscriptionStatus, Topic
from gateway.clock import utc_now
from gateway.errors import InvalidContent, Issue, NotFound, NotSupported
from gateway.fhir import answers, disclosed, returning, served, submitting
from gateway.fhir.subscriptions_served import to_resource
from gateway.fhir.validation import faults
from gateway.store import subscriptions
from gateway.store.ids import new_id
from gateway.workflow import deliver, disclosure, notify_subscribe
from gateway.workflow.notify import content_of
from gateway.workflow.notify_content import notification, told_of
from mappings.fhir_definitions import Release
from mappings.fhir_elements import objects, text
from mappings.subscription_notification import to_searchset, to_status
from mappings.subscription_request import MAX_EVENTS, MAX_FULL_RESOURCES
from mappings.subscription_topics import TOPICS, topic_called

if TYPE_CHECKING:
    from gateway.services import Services
    from gateway.store.tables import SubscriptionRow

MAX_BYTES = 256 * 1024
_TYPE = "Subscription"

Parameters = dict[str, list[str]]
"""Values of an operation's parameters by their names."""


def offer_subscriptions(door: Blueprint, services: Services, base: str) -> None:
    """The interactions of Subscription that other types do not have."""

    @door.post("/Subscription")
    def create_subscription() -> Response:
        return _create(services, _partner(services, "c"), base)

    @door.put("/Subscription/<fhir_id>")
    def update_subscription(fhir_id: str) -> Response:
        return _update(services, _partner(services, "u"), base, fhir_id)

    @door.delete("/Subscription/<fhir_id>")
    def delete_subscription(fhir_id: str) -> Response:
        notify_subscribe.unsubscribe(services, _partner(services, "d"), fhir_id, disclosed.origin())
        return Response(status=204)

    @door.route("/Subscription/$status", methods=["GET", "POST"])
    def status_of_all() -> Response:
        partner = _partner(services, "r")
        return _status(services, partner, base, _parameters(services), None)

    @door.route("/Subscription/<fhir_id>/$status", methods=["GET", "POST"])
    def status_of_one(fhir_id: str) -> Response:
        partner = _partner(services, "r")
        return _status(services, partner, base, {}, fhir_id)

    @door.route("/Subscription/<fhir_id>/$events", methods=["GET", "POST"])
    def events_of_one(fhir_id: str) -> Response:
        return _events(services, _partner(services, "r"), fhir_id, _parameters(services))


def _partner(services: Services, interaction: str) -> Partner:
    partner = authenticate_partner(services, request.headers, request.remote_addr)
    require_scope(partner, _TYPE, interaction)
    answers.require_fhir_answer()
    return partner


def _create(services: Services, partner: Partner, base: str) -> Response:
    """201 with Location (FHIR R4 3.1.0.8)."""
    resource = _sent(services, partner)
    row = notify_subscribe.subscribe(services, partner, resource, disclosed.origin())
    return _answer(row, base, 201)


def _update(services: Services, partner: Partner, base: str, fhir_id: str) -> Response:
    """200; an id that is not there is not made (3.1.0.4.1)."""
    resource = _sent(services, partner)
    if resource.get("id") != fhir_id:
        raise _invalid("The resource's id differs from the address's.", "Subscription.id")
    try:
        row = notify_subscribe.change(
            services, partner, fhir_id, resource, request.headers.get("If-Match", ""), disclosed.origin()
        )
    except NotFound as error:
        raise NotSupported("No Subscription of yours has that id; create one by POST.") from error
    return _answer(row, base, 200)


def _answer(row: SubscriptionRow, base: str, status: int) -> Response:
    made = served.Served(to_resource(row), str(row.version), row.updated_at)
    headers = {"Location": answers.location_of(made, base), **answers.version_headers(made)}
    if returning.preferred() == returning.MINIMAL:
        return Response(status=status, headers=headers)
    return answers.fhir_answer(made.resource, status, headers)


def _sent(services: Services, partner: Partner) -> dict[str, Any]:
    """A valid R4 Subscription to a topic whose focus the partner may read. Raises InvalidContent with every fault."""
    resource, release = submitting.sent_resource(services, MAX_BYTES)
    if resource.get("resourceType") != _TYPE:
        raise _invalid("A Subscription was expected, and another resource was sent.", "Subscription")
    if release not in (Release.R4, Release.R4B):
        raise _invalid(f"A Subscription of FHIR {release} is not taken; send one of R4 or R4B.", _TYPE)
    found = [issue for issue in faults(resource, _TYPE, release) if issue.severity == "error"]
    if found:
        raise InvalidContent("The Subscription is not valid.", tuple(found))
    if definition := topic_called(text(resource.get("criteria"))):
        require_scope(partner, definition.focus_type, "r")
    return resource


def _parameters(services: Services) -> Parameters:
    """Of the address, and of a Parameters resource that is posted (FHIR R4 3.2.0.4)."""
    found: Parameters = {name: request.args.getlist(name) for name in request.args}
    if request.method == "POST" and request.headers.get("Content-Type"):
        resource, _ = submitting.sent_resource(services, MAX_BYTES)
        for parameter in objects(resource.get("parameter")):
            values = [text(value) for name, value in parameter.items() if name.startswith("value")]
            found.setdefault(text(parameter.get("name")), []).extend(values)
    return found


def _status(
    services: Services, partner: Partner, base: str, asked: Parameters, fhir_id: str | None
) -> Response:
    """One Parameters for each of the partner's Subscriptions that are asked for."""
    ids = {fhir_id} if fhir_id else {one for value in asked.get("id", []) for one in value.split(",")}
    states = {one for value in asked.get("status", []) for one in value.split(",")}
    if unknown := states - set(SubscriptionStatus):
        raise _invalid(f"A status is one of {', '.join(SubscriptionStatus)}.", f"status={min(unknown)[:20]}")
    with services.database.reading() as session:
        rows = subscriptions.of_partner(session, partner, fhir_id)
    if fhir_id and not rows:
        raise NotFound("No Subscription of yours has that id.")
    told = [told_of(row, content_of(services, row)) for row in rows if not ids or row.id in ids]
    kept = [one for one in told if not states or one.status in states]
    statuses = [to_status(one, NotificationType.QUERY_STATUS, new_id(), base) for one in kept]
    disclosure.record(
        services, partner, disclosure.READ, f"{_TYPE}/$status", disclosed.origin(), count=len(kept)
    )
    link = f"{base}/{_TYPE}/{f'{fhir_id}/' if fhir_id else ''}$status"
    return answers.fhir_answer(to_searchset(statuses, new_id(), utc_now(), link))


def _events(services: Services, partner: Partner, fhir_id: str, asked: Parameters) -> Response:
    """Events by number, as a notification; no more at once than one may hold: the last one's number tells."""
    with services.database.reading() as session:
        row = subscriptions.own(session, partner, fhir_id)
        content = _content(asked, content_of(services, row))
        if content is Content.FULL_RESOURCE:
            require_scope(partner, TOPICS[Topic(row.topic)].focus_type, "r")
        since, until = _number(asked, "eventsSinceNumber", 1), _number(asked, "eventsUntilNumber", row.events)
        most = MAX_FULL_RESOURCES if content is Content.FULL_RESOURCE else MAX_EVENTS
        found = subscriptions.events(session, row, since, until, most)
        bundle = notification(
            services, session, partner, told_of(row, content), NotificationType.QUERY_EVENT, found
        )
    subject = f"{_TYPE}/{fhir_id}/$events"
    disclosure.record(
        services, partner, disclosure.READ, subject, disclosed.origin(), count=len(found), content=content
    )
    if content is Content.FULL_RESOURCE:
        for kind, _, own_id in (event.focus.partition("/") for event in found):
            if kind == "DiagnosticReport":
                deliver.record_read(services, partner, own_id, disclosed.origin())
    return answers.fhir_answer(bundle)


def _content(asked: Parameters, own: Content) -> Content:
    """As it is asked for (OperationDefinition backport-subscription-events, content), else the Subscription's own."""
    named = asked.get("content", [""])[0]
    if not named:
        return own
    if named not in list(Content):
        raise _invalid(f"The content is one of {', '.join(Content)}.", "content")
    return Content(named)


def _number(asked: Parameters, name: str, default: int) -> int:
    value = asked.get(name, [""])[0]
    if not value:
        return default
    if not (value.isascii() and value.isdecimal()) or len(value) > 9:
        raise _invalid(f"{name} must be a whole number.", name)
    return int(value)


def _invalid(words: str, expression: str) -> InvalidContent:
    return InvalidContent(words, (Issue("error", "invalid", words, expression),))
