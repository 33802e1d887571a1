"""How often durable work of a kind has begun for a subject."""

from typing import cast

from sqlalchemy import Table, bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.store.tables import JobRow

_JOB = cast(Table, JobRow.__table__)
_BEGUN = (
    select(_JOB.c.begun)
    .where(_JOB.c.name == bindparam("job"), _JOB.c.subject == bindparam("of"))
    .with_for_update(read=True)
)


def times_begun(session: Session, name: str, subject: str) -> int:
    """How often so far; no beginning is counted before the caller's transaction has ended.

    Without that lock (PostgreSQL FOR SHARE; SQLite has one writer anyway) work could begin, read the
    state without the caller's uncommitted change, and be what the caller's change is coalesced with.
    """
    found = _begun(session, name, subject)
    if found is not None:
        return found
    try:
        with session.begin_nested():
            session.add(JobRow(name=name, subject=subject, begun=0))
    except IntegrityError:
        pass  # another transaction was first, and has committed
    return _begun(session, name, subject) or 0


def _begun(session: Session, name: str, subject: str) -> int | None:
    found: int | None = session.connection().scalar(_BEGUN, {"job": name, "of": subject})
    return found


def begin(session: Session, name: str, subject: str) -> None:
    """Count a beginning; to be committed before the subject's state is read."""
    row = session.get(JobRow, (name, subject), with_for_update=True)
    if row is None:
        session.add(JobRow(name=name, subject=subject, begun=1))
    else:
        row.begun += 1
    session.flush()
