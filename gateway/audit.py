"""Who did what to which case, when, from where: one row in the transaction of the act itself."""

from typing import Any

from gateway.case.access import NO_ORIGIN, Origin, Viewer
from gateway.clock import utc_now
from gateway.store import trail
from gateway.store.database import Session


def record(
    session: Session,
    viewer: Viewer,
    action: str,
    subject: str,
    *,
    case_id: str | None = None,
    origin: Origin = NO_ORIGIN,
    **detail: Any,
) -> None:
    """Write one audit row. ``detail`` holds own ids, counts and codes only, never record text (decision 10)."""
    trail.append(
        session,
        at=utc_now(),
        actor=viewer.actor,
        action=action,
        subject=subject,
        case_id=case_id,
        channel=origin.channel,
        address=origin.address,
        detail=detail,
    )
