"""A partner's Subscriptions as they are read, and the topics that there are."""

from datetime import datetime
from typing import Any

from gateway.case.access import Partner
from gateway.clock import UTC, utc_now
from gateway.store import subscriptions
from gateway.store.database import Session
from gateway.store.resources import loads
from gateway.store.tables import SubscriptionRow
from mappings.subscription_topics import PUBLISHED, TOPICS, to_basic, topic_id


def subscription_resources(
    session: Session, partner: Partner, fhir_id: str | None
) -> list[tuple[dict[str, Any], int, datetime]]:
    """Each with its version and when that was made."""
    rows = subscriptions.of_partner(session, partner, fhir_id)
    return [(to_resource(row), row.version, row.updated_at) for row in rows]


def to_resource(row: SubscriptionRow) -> dict[str, Any]:
    """As it was sent, with what the gateway says of it: status, and error as long as something fails."""
    sent = loads(row.content)
    given = sent.pop("meta", None)
    meta = {
        **(given if isinstance(given, dict) else {}),
        "versionId": str(row.version),
        "lastUpdated": row.updated_at.isoformat(timespec="milliseconds"),
    }
    error = {"error": row.last_error} if row.last_error else {}
    status = subscriptions.status_at(row, utc_now())
    return {"resourceType": "Subscription", "id": row.id, "meta": meta, **sent, "status": status, **error}


def topic_resources(fhir_id: str | None) -> list[tuple[dict[str, Any], datetime]]:
    """The topics as Basics, which are everybody's."""
    published = datetime.fromisoformat(PUBLISHED).replace(tzinfo=UTC)
    found = [one for one in TOPICS.values() if fhir_id is None or topic_id(one) == fhir_id]
    return [(to_basic(one), published) for one in found]
