"""The audit rows of who was let in and who was not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.case.access import Origin
from gateway.clock import utc_now
from gateway.store import trail

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

ANONYMOUS, OPERATOR = "anonymous", "user:operator"
"""Actors that are no Viewer: somebody who was refused, and whoever works at the command line."""
COMMAND = Origin("command")


def record(session: Session, actor: str, action: str, subject: str, origin: Origin, **detail: Any) -> None:
    """Write one audit row, in the transaction of the act itself; ``detail`` as in ``Act``."""
    trail.append(
        session,
        [trail.Act(action, subject, detail=detail)],
        at=utc_now(),
        actor=actor,
        origin=origin,
    )
