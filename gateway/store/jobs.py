"""How often durable work of a kind has begun for a subject."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.store.tables import JobRow


def times_begun(session: Session, name: str, subject: str) -> int:
    """How often so far; no beginning is counted before the caller's transaction has ended.

    Without that lock (PostgreSQL FOR SHARE; SQLite has one writer anyway) work could begin, read the
    state without the caller's uncommitted change, and be what the caller's change is coalesced with.
    """
    begun = select(JobRow.begun).where(JobRow.name == name, JobRow.subject == subject)
    found = session.scalar(begun.with_for_update(read=True))
    if found is not None:
        return found
    try:
        with session.begin_nested():
            session.add(JobRow(name=name, subject=subject, begun=0))
    except IntegrityError:
        pass  # another transaction was first, and has committed
    return session.scalar(begun.with_for_update(read=True)) or 0


def begin(session: Session, name: str, subject: str) -> None:
    """Count a beginning; to be committed before the subject's state is read."""
    row = session.get(JobRow, (name, subject), with_for_update=True)
    if row is None:
        session.add(JobRow(name=name, subject=subject, begun=1))
    else:
        row.begun += 1
    session.flush()
