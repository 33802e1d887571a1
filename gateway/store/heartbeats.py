"""Which parts of which machines can do work."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gateway.clock import utc_now
from gateway.store.tables import HeartbeatRow

BEAT_SECONDS = 2.0
FRESH_SECONDS = 10.0
DEAD_SECONDS = 60.0
_FORGOTTEN = timedelta(days=1)


def beat(session: Session, part: str, machine: str) -> None:
    session.merge(HeartbeatRow(part=part, machine=machine, at=utc_now()))


def forget(session: Session, parts: Iterable[str], machine: str) -> None:
    """These parts of this machine start anew; machines that were silent for a day are forgotten too."""
    session.execute(
        delete(HeartbeatRow).where(HeartbeatRow.machine == machine, HeartbeatRow.part.in_(list(parts)))
    )
    session.execute(delete(HeartbeatRow).where(HeartbeatRow.at < utc_now() - _FORGOTTEN))


def seconds_since(session: Session) -> dict[str, float]:
    """For each part, how long ago it beat on the machine where it did so last."""
    now = utc_now()
    beats = session.execute(select(HeartbeatRow.part, func.max(HeartbeatRow.at)).group_by(HeartbeatRow.part))
    return {part: (now - at).total_seconds() for part, at in beats}


def latest(session: Session) -> datetime | None:
    """When any part of any machine beat last; None before the first time."""
    return session.scalar(select(func.max(HeartbeatRow.at)))


def living_machines(session: Session, part: str) -> set[str]:
    """The machines whose ``part`` is not known to be dead."""
    since = utc_now() - timedelta(seconds=DEAD_SECONDS)
    living = select(HeartbeatRow.machine).where(HeartbeatRow.part == part, HeartbeatRow.at > since)
    return set(session.scalars(living))
