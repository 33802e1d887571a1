"""A hospital subscribes, changes its subscription, and ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway import audit
from gateway.case.access import Origin, Partner
from gateway.case.subscription import SubscriptionStatus, Wanted
from gateway.clock import utc_now
from gateway.errors import Conflict, InvalidContent, Issue, VersionMismatch
from gateway.store import partners, subscriptions
from gateway.store.resources import dumps
from gateway.store.tables import SubscriptionRow
from gateway.workflow.notify import send_soon
from gateway.workflow.notify_endpoint import endpoint_fault
from mappings.subscription_request import Refused, wanted_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from gateway.services import Services

SUBSCRIBE, CHANGE, UNSUBSCRIBE = "subscribe", "change-subscription", "unsubscribe"
_GATEWAYS_OWN = frozenset({"id", "status", "error"})
_WANTED_STATUS = frozenset({SubscriptionStatus.REQUESTED, SubscriptionStatus.ACTIVE})


def subscribe(
    services: Services, partner: Partner, resource: dict[str, Any], origin: Origin
) -> SubscriptionRow:
    """Keep a valid R4 Subscription as requested, and have the handshake sent.

    Raises InvalidContent with everything that cannot be had, Conflict when the partner has too many.
    """
    _refuse_status(resource, _WANTED_STATUS)
    asked = _asked(services, partner, resource)
    with services.database.transaction() as session:
        partners.lock(session, partner)
        if len(subscriptions.of_partner(session, partner)) >= subscriptions.MAX_OF_PARTNER:
            raise Conflict(
                f"You have {subscriptions.MAX_OF_PARTNER} Subscriptions, which is the most; delete one first."
            )
        row = subscriptions.add(session, partner, asked, _kept(resource), utc_now())
        send_soon(services, session, row)
        _record(session, partner, SUBSCRIBE, row, origin)
        return row


def change(
    services: Services,
    partner: Partner,
    subscription_id: str,
    resource: dict[str, Any],
    if_match: str,
    origin: Origin,
) -> SubscriptionRow:
    """Replace it; unless it is switched off it is requested anew, and goes on where it was once that is answered.

    ``if_match`` is the entity tag of the version that the change is made for. Raises NotFound, VersionMismatch,
    InvalidContent.
    """
    status = _refuse_status(resource, _WANTED_STATUS | {SubscriptionStatus.OFF})
    asked = _asked(services, partner, resource)
    with services.database.transaction() as session:
        row = subscriptions.own(session, partner, subscription_id, lock=True)
        if if_match and if_match.removeprefix("W/").strip('"') != str(row.version):
            raise VersionMismatch("Another version is here: read it, and change that one.")
        if asked.topic != row.topic:
            raise InvalidContent("A Subscription keeps its topic: create another one.", (_of_topic(),))
        row.content, row.end_at, row.heartbeat_seconds = _kept(resource), asked.end, asked.heartbeat_seconds
        is_off = status == SubscriptionStatus.OFF
        row.status = SubscriptionStatus.OFF if is_off else SubscriptionStatus.REQUESTED
        row.version, row.updated_at = row.version + 1, utc_now()
        send_soon(services, session, row)
        row.failing_since, row.last_error = None, ""
        _record(session, partner, CHANGE, row, origin)
        return row


def unsubscribe(services: Services, partner: Partner, subscription_id: str, origin: Origin) -> None:
    """Nothing is sent any more. Raises NotFound."""
    with services.database.transaction() as session:
        row = subscriptions.own(session, partner, subscription_id, lock=True)
        row.status, row.updated_at = SubscriptionStatus.OFF, utc_now()
        row.deleted_at = row.updated_at
        _record(session, partner, UNSUBSCRIBE, row, origin)


def _asked(services: Services, partner: Partner, resource: dict[str, Any]) -> Wanted:
    try:
        asked = wanted_of(resource, services.config.fhir_base)
    except Refused as refused:
        raise _refusal(refused.issues) from None
    with services.database.reading() as session:
        registration = partners.get(session, partner.id)
    if fault := endpoint_fault(registration, asked.endpoint, services.config.dev):
        words = f"Nothing can be sent to the endpoint: {fault}."
        raise _refusal((Issue("error", "business-rule", words, "Subscription.channel.endpoint"),))
    if asked.end is not None and asked.end <= utc_now():
        raise _refusal((Issue("error", "business-rule", "The end is over already.", "Subscription.end"),))
    return asked


def _refusal(issues: tuple[Issue, ...]) -> InvalidContent:
    return InvalidContent("The Subscription was not taken.", issues)


def _refuse_status(resource: dict[str, Any], allowed: frozenset[SubscriptionStatus]) -> str:
    """A client asks for requested (R4 Subscription.status); active is what it will then be."""
    status = str(resource.get("status"))
    if status not in allowed:
        words = f"The status must be {' or '.join(sorted(allowed))}; the gateway sets it from then on."
        raise _refusal((Issue("error", "business-rule", words, "Subscription.status"),))
    return status


def _of_topic() -> Issue:
    return Issue("error", "business-rule", "A Subscription keeps its topic.", "Subscription.criteria")


def _kept(resource: dict[str, Any]) -> str:
    return dumps({name: value for name, value in resource.items() if name not in _GATEWAYS_OWN})


def _record(session: Session, partner: Partner, action: str, row: SubscriptionRow, origin: Origin) -> None:
    audit.record(session, partner, action, f"subscription:{row.id}", origin=origin, topic=row.topic)
