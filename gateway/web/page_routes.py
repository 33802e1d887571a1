"""Which address shows which page, and what holds for all of them."""

from __future__ import annotations

import hashlib
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Blueprint, Response, g, jsonify, make_response, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from gateway.case.access import Role
from gateway.errors import GatewayError, Unauthenticated
from gateway.web import acts, files, format, pages, sign_in, words
from gateway.web.status import http_status
from gateway.web.visit import View, open_to_all, signed_in
from mappings.report_to_document import language_name

if TYPE_CHECKING:
    from gateway.services import Services

LOOKS: tuple[tuple[str, View], ...] = (
    ("/", pages.worklist),
    ("/worklist", pages.worklist_rows),
    ("/imaging", pages.imaging),
    ("/refused", pages.refused),
    ("/cases/<case_id>", pages.case),
    ("/cases/<case_id>/changes", pages.case_changes),
    ("/cases/<case_id>/fetches", pages.case_fetches),
    ("/cases/<case_id>/draft", pages.draft),
    ("/cases/<case_id>/sign", pages.sign),
    ("/cases/<case_id>/opinion", pages.opinion),
    ("/cases/<case_id>/documents/<document_id>", files.document),
    ("/cases/<case_id>/report.html", files.report_html),
    ("/cases/<case_id>/report.pdf", files.report_pdf),
    ("/cases/<case_id>/report.json", files.report_json),
    ("/cases/<case_id>/preview.html", files.preview_html),
)
FORMS: tuple[tuple[str, View], ...] = (
    (f"/cases/<case_id>/<any({', '.join(repr(act) for act in sorted(acts.ACTS))}):action>", acts.act),
    ("/cases/<case_id>/draft", acts.draft),
    ("/cases/<case_id>/sign", acts.sign),
    ("/imaging", acts.place_study),
)
FOR_ALL: tuple[tuple[str, str, View], ...] = (
    ("/sign-in", "GET", sign_in.sign_in_form),
    ("/sign-in", "POST", sign_in.sign_in),
    ("/sign-out", "POST", sign_in.sign_out),
)

_STATIC = Path(__file__).parent / "static"
_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_CSRF = CSRFProtect()


def blueprint(services: Services) -> Blueprint:
    made = Blueprint(
        "pages", __name__, template_folder="templates", static_folder="static", static_url_path="/assets"
    )
    for rule, view in LOOKS:
        made.add_url_rule(rule, view.__name__, signed_in(services, "page", view))
    for rule, view in FORMS:
        made.add_url_rule(rule, f"do_{view.__name__}", signed_in(services, "page", view), methods=["POST"])
    for rule, method, view in FOR_ALL:
        made.add_url_rule(rule, view.__name__, open_to_all(services, "page", view), methods=[method])
    made.record_once(_prepare)
    made.before_request(_CSRF.protect)
    made.after_request(_harden)
    made.context_processor(partial(_context, services))
    made.register_error_handler(GatewayError, _error_page)
    made.register_error_handler(CSRFError, _stale_form)
    made.register_error_handler(BadRequest, _bad_request)
    made.app_errorhandler(404)(partial(_no_such_page, services))
    return made


def _prepare(state: BlueprintSetupState) -> None:
    """CSRF tokens live as long as the browser's session: a long written opinion must not fail for an old form."""
    state.app.config.update(WTF_CSRF_CHECK_DEFAULT=False, WTF_CSRF_TIME_LIMIT=None)
    _CSRF.init_app(state.app)
    state.app.jinja_env.filters.update(
        instant=format.instant,
        sent_date=format.sent_date,
        started=format.started,
        size=format.size,
        language=language_name,
    )


def _context(services: Services) -> dict[str, Any]:
    staff = g.get("staff")
    return {
        "age": format.age,
        "asset": _asset,
        "dev": services.config.dev,
        "is_intake": staff is not None and Role.INTAKE in staff.roles,
        "programme": services.config.programme_name,
        "staff": staff,
        "viewable": files.viewable,
        "waiting": format.waiting,
        "words": words,
    }


@cache
def _asset(name: str) -> str:
    """The address of a static file; it changes with the content, so that a browser may keep it for ever."""
    digest = hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/assets/{name}?v={digest}"


def _harden(response: Response) -> Response:
    """No scripts and styles but our own, no framing, and no copy of a child's record in any cache."""
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    kept = request.endpoint == "pages.static" and "v" in request.args
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if kept else "no-store"
    return response


def _error_page(error: GatewayError) -> WerkzeugResponse | tuple[str, int]:
    if isinstance(error, Unauthenticated):
        return _to_sign_in()
    return render_template("error.html", problem=str(error), status=http_status(error)), http_status(error)


def _bad_request(error: BadRequest) -> tuple[str, int]:
    return render_template("error.html", problem=error.description, status=400), 400


def _no_such_page(services: Services, error: NotFound) -> tuple[str | Response, int]:
    """An address that nobody serves: a page for a person, JSON for a program."""
    accept = request.accept_mimetypes
    if "text/html" in accept.values() and accept.best_match(["application/json", "text/html"]) == "text/html":
        told = {"problem": "There is no page at this address.", "status": 404}
        return render_template("error.html", **_context(services), **told), 404
    return jsonify(error=error.name), 404


def _to_sign_in() -> WerkzeugResponse:
    """Back to the page that was asked for afterwards. htmx does not follow redirects as a browser's page does."""
    fragment = request.headers.get("HX-Request") == "true"
    wanted = request.full_path.rstrip("?") if request.method == "GET" and not fragment else "/"
    target = url_for("pages.sign_in_form") + (f"?{urlencode({'next': wanted})}" if wanted != "/" else "")
    if fragment:
        return make_response("", 401, {"HX-Redirect": target})
    return redirect(target, 303)


def _stale_form(_: CSRFError) -> tuple[str, int]:
    problem = "This form is not of your present session. Go back, load the page again and send it once more."
    return render_template("error.html", problem=problem, status=400), 400
