"""What signing in leaves behind: used client assertions, the gateway's own keys, refused sign-ins."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.clock import utc_now
from gateway.store.tables import AuditRow, OAuthAssertionRow, SigningKeyRow

SIGNED_IN, SIGN_IN_REFUSED = "sign-in", "sign-in-refused"
"""Audit actions: the trail itself says how often a sign-in was refused, in every process alike."""


def use_assertion(session: Session, issuer: str, jti: str, expires_at: datetime) -> bool:
    """Remember a client assertion until it expires; False when it was used before (RFC 7523 3)."""
    session.execute(delete(OAuthAssertionRow).where(OAuthAssertionRow.expires_at < utc_now()))
    try:
        with session.begin_nested():
            session.add(OAuthAssertionRow(issuer=issuer, jti=jti, expires_at=expires_at))
    except IntegrityError:
        return False
    return True


def signing_keys(session: Session) -> list[dict[str, Any]]:
    """The gateway's own private keys as JWK, oldest first."""
    rows = session.scalars(select(SigningKeyRow).order_by(SigningKeyRow.created_at, SigningKeyRow.kid))
    return [row.jwk for row in rows]


def add_first_signing_key(session: Session, kid: str, jwk: dict[str, Any]) -> None:
    """Keep the key unless there is one for its ``alg`` already; of two processes that race, one key stays."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE signing_key IN SHARE ROW EXCLUSIVE MODE"))
    if jwk["alg"] not in [known["alg"] for known in signing_keys(session)]:
        session.add(SigningKeyRow(kid=kid, jwk=jwk, created_at=utc_now()))


def refused_sign_ins(
    session: Session, since: datetime, *, subject: str | None = None, address: str | None = None
) -> int:
    """How many sign-ins were refused, of one subject or from one address, or both.

    Those of a subject before its last success are forgotten.
    """
    if subject is not None:
        since = _last_sign_in(session, since, subject) or since
    query = select(func.count()).where(AuditRow.action == SIGN_IN_REFUSED, AuditRow.at > since)
    if subject is not None:
        query = query.where(AuditRow.subject == subject)
    if address is not None:
        query = query.where(AuditRow.address == address)
    return session.scalar(query) or 0


def _last_sign_in(session: Session, since: datetime, subject: str) -> datetime | None:
    query = select(func.max(AuditRow.at)).where(AuditRow.action == SIGNED_IN, AuditRow.at > since)
    return session.scalar(query.where(AuditRow.subject == subject))
