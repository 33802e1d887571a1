"""The audit trail: appended, read, never changed."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from gateway.case.access import Viewer
from gateway.store import cases
from gateway.store.tables import AuditRow

_AUDIT = cast(Table, AuditRow.__table__)


def append(
    session: Session,
    *,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    case_id: str | None,
    channel: str,
    address: str,
    detail: dict[str, Any],
) -> None:
    row = {
        "at": at,
        "actor": actor,
        "action": action,
        "subject": subject[:200],
        "case_id": case_id,
        "channel": channel,
        "address": address[:255],
        "detail": detail,
    }
    session.connection().execute(_AUDIT.insert(), row)


def of_case(session: Session, viewer: Viewer, case_id: str) -> list[AuditRow]:
    """Every act on a case, oldest first. Raises NotFound when the viewer may not see it."""
    cases.row(session, viewer, case_id)
    return list(session.scalars(select(AuditRow).where(AuditRow.case_id == case_id).order_by(AuditRow.id)))
