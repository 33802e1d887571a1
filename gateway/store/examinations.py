"""What opening attachments' bytes told, once per bytes and media type."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.case.model import Content, Document, Record
from gateway.store.tables import ExaminationRow


def known(session: Session, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Problems by (SHA-256, media type); an empty problem is a document that opens."""
    rows = session.scalars(
        select(ExaminationRow).where(ExaminationRow.sha256.in_({sha for sha, _ in wanted}))
    )
    found = {(row.sha256, row.content_type): row.problem for row in rows}
    return {key: problem for key, problem in found.items() if key in wanted}


def add(session: Session, sha256: str, content_type: str, problem: str, now: datetime) -> None:
    """Another process may have looked at the same bytes at the same time: the first to say so is kept."""
    row = ExaminationRow(sha256=sha256, content_type=content_type, problem=problem, examined_at=now)
    with suppress(IntegrityError), session.begin_nested():
        session.add(row)


def apply(session: Session, record: Record) -> Record:
    """The record with documents marked undecodable that were found not to open."""
    return marked(record, known(session, {key(d) for d in record.documents if d.sha256}))


def marked(record: Record, problems: dict[tuple[str, str], str]) -> Record:
    """``problems`` as ``known`` gives them."""
    return replace(record, documents=tuple(_marked(d, problems.get(key(d), "")) for d in record.documents))


def key(document: Document) -> tuple[str, str]:
    return document.sha256, document.content_type[:120]


def _marked(document: Document, problem: str) -> Document:
    if not problem or document.content is not Content.PRESENT:
        return document
    return replace(document, content=Content.UNDECODABLE, problem=problem)
