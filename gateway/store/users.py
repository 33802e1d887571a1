"""Staff who sign in, and their sessions."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.case.access import User
from gateway.clock import utc_now
from gateway.errors import Conflict
from gateway.store.ids import new_id
from gateway.store.tables import LoginSessionRow, UserRow


def add(session: Session, login: str, name: str, password_hash: str, roles: frozenset[str]) -> User:
    """Raises Conflict when the login is taken."""
    if session.scalar(select(UserRow).where(UserRow.login == login)) is not None:
        raise Conflict(f"User {login} exists already.")
    row = UserRow(
        id=new_id(),
        login=login,
        name=name,
        password_hash=password_hash,
        roles=sorted(roles),
        created_at=utc_now(),
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:  # somebody else took it this moment
        raise Conflict(f"User {login} exists already.") from error
    return _user(row)


def by_login(session: Session, login: str) -> tuple[User, str] | None:
    """The active user of that login and the password's hash."""
    row = session.scalar(select(UserRow).where(UserRow.login == login, UserRow.disabled_at.is_(None)))
    return (_user(row), row.password_hash) if row else None


def get(session: Session, user_id: str) -> User | None:
    row = session.get(UserRow, user_id)
    return _user(row) if row and row.disabled_at is None else None


def with_role(session: Session, role: str) -> list[User]:
    """Active users who have ``role``, by name."""
    rows = session.scalars(select(UserRow).where(UserRow.disabled_at.is_(None)).order_by(UserRow.name))
    return [_user(row) for row in rows if role in row.roles]


def names(session: Session) -> dict[str, str]:
    """Everybody who ever could sign in, by id: the audit trail names those who have left, too."""
    return {row.id: row.name for row in session.scalars(select(UserRow))}


def open_session(session: Session, session_id: str, user: User, expires_at: datetime) -> None:
    """``session_id`` is the SHA-256 of the cookie's secret."""
    now = utc_now()
    session.execute(delete(LoginSessionRow).where(LoginSessionRow.expires_at < now))
    session.add(LoginSessionRow(id=session_id, user_id=user.id, created_at=now, expires_at=expires_at))


def of_session(session: Session, session_id: str) -> User | None:
    row = session.get(LoginSessionRow, session_id)
    return get(session, row.user_id) if row and row.expires_at > utc_now() else None


def close_session(session: Session, session_id: str) -> None:
    session.execute(delete(LoginSessionRow).where(LoginSessionRow.id == session_id))


def _user(row: UserRow) -> User:
    return User(row.id, row.name, frozenset(row.roles))
