"""The audit trail: appended, read, never changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from gateway.case.access import Origin, Viewer
from gateway.store import cases
from gateway.store.tables import AuditRow

_AUDIT = cast(Table, AuditRow.__table__)


@dataclass(frozen=True, slots=True)
class Act:
    """``detail`` holds own ids, counts and codes only, never record text (decision 10)."""

    action: str
    subject: str
    case_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def append(session: Session, acts: Iterable[Act], *, at: datetime, actor: str, origin: Origin) -> None:
    rows = [
        {
            "at": at,
            "actor": actor,
            "action": act.action,
            "subject": act.subject[:200],
            "case_id": act.case_id,
            "channel": origin.channel,
            "address": origin.address[:255],
            "request_id": origin.request_id,
            "detail": act.detail,
        }
        for act in acts
    ]
    if rows:
        session.connection().execute(_AUDIT.insert(), rows)


def of_case(session: Session, viewer: Viewer, case_id: str) -> list[AuditRow]:
    """Every act on a case, oldest first. Raises NotFound when the viewer may not see it."""
    cases.row(session, viewer, case_id)
    return list(session.scalars(select(AuditRow).where(AuditRow.case_id == case_id).order_by(AuditRow.id)))
