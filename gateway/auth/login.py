"""Staff sign in with login and password, and are known by the secret in their cookie for twelve hours.

Refused sign-ins are counted in the audit trail, over all processes and restarts. Within fifteen minutes at most ten are
taken for one login from one address, fifty for one address and a hundred for one login; then even the right password
waits. A success clears the login's own count, and what is refused while waiting is not counted, so a wait ends.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.auth import passwords
from gateway.auth.record import ANONYMOUS, record
from gateway.case.access import NO_ORIGIN, Origin, Role, User
from gateway.clock import utc_now
from gateway.errors import Conflict, Unauthenticated
from gateway.store import credentials, users

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from gateway.services import Services

SESSION_LIFE = timedelta(hours=12)
WINDOW = timedelta(minutes=15)
MAX_PER_LOGIN_AND_ADDRESS, MAX_PER_ADDRESS, MAX_PER_LOGIN = 10, 50, 100
DEV_LOGIN = "dev"
_WRONG = "Login or password is wrong."


def sign_in(services: Services, login: str, password: str, origin: Origin) -> str:
    """The secret for the cookie. Raises Unauthenticated, with the same words whether or not the login exists."""
    with services.database.reading() as session:
        user, password_hash = _find(session, login) or (None, None)
        subject = user.actor if user else _unknown(login)
        _refuse_when_too_many(session, subject, origin)
    right = passwords.matches(password, password_hash)
    with services.database.transaction() as session:
        if user is None or not right:
            record(session, ANONYMOUS, credentials.SIGN_IN_REFUSED, subject, origin)
        else:
            secret = secrets.token_urlsafe(32)
            users.open_session(session, _session_id(secret), user, utc_now() + SESSION_LIFE)
            record(session, user.actor, credentials.SIGNED_IN, subject, origin)
            return secret
    raise Unauthenticated(_WRONG)


def user_of_session(services: Services, secret: str) -> User | None:
    """The signed-in user; None when the session has ended or the user was disabled."""
    with services.database.reading() as session:
        return users.of_session(session, _session_id(secret))


def sign_out(services: Services, secret: str, origin: Origin = NO_ORIGIN) -> None:
    """End the session; nothing happens when it has ended already."""
    with services.database.transaction() as session:
        user = users.of_session(session, _session_id(secret))
        users.close_session(session, _session_id(secret))
        if user is not None:
            record(session, user.actor, "sign-out", user.actor, origin)


def dev_user(services: Services) -> User:
    """Whoever opens the pages under ``dev``: one user with every role, who has no password."""
    if not services.config.dev:
        raise Unauthenticated("Please sign in.")
    known = _dev_user(services)
    if known is None:
        try:
            with services.database.transaction() as session:
                return users.add(session, DEV_LOGIN, "Developer", passwords.UNUSABLE, frozenset(Role))
        except Conflict:  # another thread or process was first
            known = _dev_user(services)
    if known is None:
        raise Unauthenticated("The development user is disabled.")
    return known


def _find(session: Session, typed: str) -> tuple[User, str] | None:
    login = passwords.normal_login(typed)
    return users.by_login(session, login) if passwords.is_login(login) else None


def _dev_user(services: Services) -> User | None:
    with services.database.reading() as session:
        found = users.by_login(session, DEV_LOGIN)
    return found[0] if found else None


def _session_id(secret: str) -> str:
    return _sha256(secret)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _unknown(login: str) -> str:
    """People type their password where the login belongs, so the trail keeps twelve bits of its hash only.

    They are enough to make an unknown login wait as a known one does, so that waiting tells nothing either.
    """
    return f"user:unknown-{_sha256(passwords.normal_login(login))[:3]}"


def _refuse_when_too_many(session: Session, subject: str, origin: Origin) -> None:
    def refused(**of: str) -> int:
        return credentials.refused_sign_ins(session, utc_now() - WINDOW, **of)

    if (
        refused(subject=subject, address=origin.address) >= MAX_PER_LOGIN_AND_ADDRESS
        or refused(address=origin.address) >= MAX_PER_ADDRESS
        or refused(subject=subject) >= MAX_PER_LOGIN
    ):
        raise Unauthenticated("Too many failed sign-ins; please try again in 15 minutes.")
