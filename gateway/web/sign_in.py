"""Signing in and out on a page."""

from flask import redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from gateway.auth import login
from gateway.errors import Unauthenticated
from gateway.web.visit import Guest, end_session, safe_next, start_session, visitor


def sign_in_form(guest: Guest) -> Response | str:
    """``next`` is the page that was asked for; whoever is signed in goes on to it at once."""
    target = safe_next(request.args.get("next", "/"))
    if visitor(guest.services) is not None:
        return redirect(target)
    return render_template("sign_in.html", next=target, problem="", login="")


def sign_in(guest: Guest) -> Response | tuple[str, int]:
    """The form's CSRF token is renewed, so that nobody can have planted the one that is used from here on."""
    name, target = request.form.get("login", ""), safe_next(request.form.get("next", "/"))
    try:
        secret = login.sign_in(guest.services, name, request.form.get("password", ""), guest.origin)
    except Unauthenticated as error:
        return render_template("sign_in.html", next=target, problem=str(error), login=name), 401
    session.clear()
    response = redirect(target)
    start_session(guest, response, secret)
    return response


def sign_out(guest: Guest) -> Response:
    session.clear()
    response = redirect(url_for("pages.sign_in_form"))
    end_session(guest, response)
    return response
