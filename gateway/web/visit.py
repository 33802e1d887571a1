"""One request of a member of staff: who it is, from where, and that the request is truly theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import g, request
from werkzeug.wrappers import Response

from gateway.auth import login
from gateway.case.access import Origin, User
from gateway.errors import Forbidden, Unauthenticated

if TYPE_CHECKING:
    from gateway.services import Services

SESSION_COOKIE = "gateway_staff"
View = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Visit:
    """What every view is given."""

    services: Services
    user: User
    origin: Origin


@dataclass(frozen=True, slots=True)
class Guest:
    """What the few views are given that anybody may call."""

    services: Services
    origin: Origin


def visitor(services: Services) -> User | None:
    """Whoever the session cookie belongs to; in development, where there is none, the one user with every role."""
    secret = request.cookies.get(SESSION_COOKIE, "")
    user = login.user_of_session(services, secret) if secret else None
    if user is None and services.config.dev:
        return login.dev_user(services)
    return user


def origin(channel: str) -> Origin:
    return Origin(channel, request.remote_addr or "", g.get("request_id", ""))


def signed_in(services: Services, channel: str, view: View) -> View:
    """``view`` with the Visit as its first argument; raises Unauthenticated where nobody is signed in."""

    @wraps(view)
    def visited(*args: Any, **values: Any) -> Any:
        user = visitor(services)
        if user is None:
            raise Unauthenticated("Please sign in.")
        g.staff = user
        return view(Visit(services, user, origin(channel)), *args, **values)

    return visited


def open_to_all(services: Services, channel: str, view: View) -> View:
    """``view`` with a Guest as its first argument."""

    @wraps(view)
    def visited(*args: Any, **values: Any) -> Any:
        return view(Guest(services, origin(channel)), *args, **values)

    return visited


def start_session(guest: Guest, response: Response, secret: str) -> None:
    """Hand the session's secret to the browser: unreadable for scripts, never sent along from another site."""
    secure = guest.services.config.base_url.startswith("https:")
    response.set_cookie(SESSION_COOKIE, secret, httponly=True, samesite="Lax", secure=secure, path="/")


def end_session(guest: Guest, response: Response) -> None:
    secret = request.cookies.get(SESSION_COOKIE, "")
    if secret:
        login.sign_out(guest.services, secret, guest.origin)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="Lax", path="/")


def refuse_other_origins(services: Services) -> None:
    """Raises Forbidden for a browser's request from a page of another site (Fetch 3.1, Origin header).

    A client that is no browser sends neither header, and has no cookie that a stranger could use.
    """
    sent = request.headers.get("Origin")
    own = {_site(url) for url in services.config.origins}
    if (sent is not None and _site(sent) not in own) or request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise Forbidden("This request comes from a page of another site.")


def _site(url: str) -> tuple[str, str]:
    """Scheme and host with port; a port that the scheme means anyway is left out, as browsers do."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower().removesuffix(
        {"http": ":80", "https": ":443"}.get(parts.scheme, " ")
    )


def safe_next(target: str) -> str:
    """``target`` where it is a path of this site, else the worklist (CWE-601)."""
    parts = urlsplit(target)
    inside = target.startswith("/") and not target.startswith("//") and not parts.scheme and not parts.netloc
    return target if inside and "\\" not in target and target.isprintable() else "/"
