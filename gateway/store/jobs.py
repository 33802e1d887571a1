"""How often durable work of a kind has begun for a subject."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.store.tables import JobRow


def times_begun(session: Session, name: str, subject: str) -> int:
    return session.scalar(select(JobRow.begun).where(JobRow.name == name, JobRow.subject == subject)) or 0


def begin(session: Session, name: str, subject: str) -> None:
    """Count a beginning; to be committed before the subject's state is read."""
    row = session.get(JobRow, (name, subject), with_for_update=True)
    if row is None:
        session.add(JobRow(name=name, subject=subject, begun=1))
    else:
        row.begun += 1
    session.flush()
