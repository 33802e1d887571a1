"""Who did what to which case, when, from where: one row in the transaction of the act itself."""

from collections.abc import Iterable
from typing import Any

from gateway.case.access import NO_ORIGIN, Origin, Viewer
from gateway.clock import utc_now
from gateway.store import trail
from gateway.store.database import Session
from gateway.store.trail import Act


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
    """Write one audit row; ``detail`` as in ``Act``."""
    record_all(session, viewer, [Act(action, subject, case_id, detail)], origin)


def record_all(session: Session, viewer: Viewer, acts: Iterable[Act], origin: Origin) -> None:
    """Write one audit row for each."""
    trail.append(session, acts, at=utc_now(), actor=viewer.actor, origin=origin)
