"""A notification of one subscription, with what of the partner's own cases it may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.case.access import Partner
from gateway.case.subscription import Content, Event, NotificationType, Topic
from gateway.clock import utc_now
from gateway.errors import NotFound
from gateway.store import cases, subscriptions
from gateway.store.database import Session
from gateway.store.ids import new_id
from gateway.store.objects import read_bytes
from gateway.store.resources import loads
from gateway.store.tables import SubscriptionRow
from mappings.case_to_task import to_enquiry_task, to_task
from mappings.fhir_datatypes import stamped
from mappings.subscription_notification import Told, to_entry, to_notification, to_status

if TYPE_CHECKING:
    from gateway.services import Services


def told_of(row: SubscriptionRow, content: Content, count: int | None = None) -> Told:
    """How the subscription stands now; ``count`` where another number of events is meant than it has had."""
    status, events = subscriptions.status_at(row, utc_now()), row.events if count is None else count
    return Told(row.id, Topic(row.topic), status, content, events, row.last_error)


def notification(
    services: Services,
    session: Session,
    partner: Partner,
    told: Told,
    kind: NotificationType,
    events: tuple[Event, ...] = (),
) -> dict[str, Any]:
    """Bundle; of full content each focus stands in it once, as it is now."""
    base = services.config.fhir_base
    entries = []
    if told.content is Content.FULL_RESOURCE:
        for focus in dict.fromkeys(event.focus for event in events):
            resource = _resource(services, session, partner, *focus.split("/"))
            entries.append(to_entry(focus, resource, told.topic, base))
    status = to_status(told, kind, new_id(), base, events)
    return to_notification(status, new_id(), utc_now(), entries)


def _resource(
    services: Services, session: Session, partner: Partner, type_name: str, own_id: str
) -> dict[str, Any] | None:
    """As the partner reads it."""
    if type_name == "Task":
        return _task(services, session, partner, own_id)
    for opinion, _ in cases.signed_opinions(session, partner, own_id):
        report: dict[str, Any] = loads(read_bytes(services.objects, opinion.report_key))
        return report
    return None


def _task(services: Services, session: Session, partner: Partner, own_id: str) -> dict[str, Any] | None:
    """Of a case or of an enquiry."""
    base, name = services.config.fhir_base, services.config.programme_name
    row = cases.of_enquiry(session, partner, own_id)
    if row is not None:
        case = cases.to_case(session, row)
        enquiry = next(e for e in case.enquiries if e.id == own_id)
        return stamped(to_enquiry_task(case, enquiry, base, name), enquiry.answered_at or enquiry.asked_at)
    try:
        case = cases.load(session, partner, own_id)
    except NotFound:
        return None
    return stamped(to_task(case, base, name), case.updated_at)
