"""The web application: its edges, and what holds for every answer."""

import re
import secrets
from collections.abc import Callable

import structlog
from flask import Flask, Response, g, jsonify, request
from markupsafe import escape
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway.admission import CheckedRequest, refuse_nul, refuse_other_hosts
from gateway.config import MIB, Config
from gateway.processes import health
from gateway.services import Services, secret_key

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_MAX_FORM_BYTES = 2 * MIB  # the doors that take files have limits of their own
_HSTS = "max-age=31536000"


def create_app(services: Services) -> Flask:
    """The WSGI application of one process. An answer may set a security header of its own; none is replaced."""
    app = Flask("gateway", static_folder=None, template_folder=None)
    app.request_class = CheckedRequest
    config = services.config
    app.config.update(
        SECRET_KEY=secret_key(config),
        SESSION_COOKIE_NAME="gateway",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=_is_https(config),
        MAX_CONTENT_LENGTH=_MAX_FORM_BYTES,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider has it, the base class not
    app.before_request(_name_request)
    app.before_request(refuse_other_hosts(config.host_names))
    app.before_request(refuse_nul)
    app.after_request(_name_answer)
    app.after_request(_secure(config))
    app.register_error_handler(HTTPException, _refuse)
    app.register_error_handler(Exception, _fail)
    _register_edges(app, services)
    if config.proxies:
        count = config.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    return app


def _register_edges(app: Flask, services: Services) -> None:
    from gateway.auth import routes as auth
    from gateway.dicomweb import routes as dicomweb
    from gateway.fhir import routes as fhir
    from gateway.web import routes as web

    app.register_blueprint(health.blueprint(services))
    app.register_blueprint(auth.blueprint(services))
    app.register_blueprint(fhir.blueprint(services), url_prefix="/fhir")
    app.register_blueprint(dicomweb.blueprint(services), url_prefix="/dicom-web")
    for pages in web.blueprints(services):
        app.register_blueprint(pages)


def _is_https(config: Config) -> bool:
    return config.base_url.startswith("https:")


def _name_request() -> None:
    """The peer's X-Request-ID when it is a harmless word, else one of ours; every log line of the request has it."""
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _name_answer(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    return response


def _secure(config: Config) -> Callable[[Response], Response]:
    headers = _SECURITY_HEADERS | ({"Strict-Transport-Security": _HSTS} if _is_https(config) else {})

    def add(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    return add


def _refuse(error: HTTPException) -> Response | HTTPException:
    """werkzeug's own answers, such as 404 and 405, as JSON where a program asks."""
    if error.response is not None or _wants_html():
        return error
    answer = jsonify(error=error.name)
    answer.status_code = error.code or 500
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            answer.headers[name] = value
    return answer


def _fail(error: Exception) -> tuple[Response, int]:
    """What nobody expected: logged with a reference, which is all that the peer sees (decision 8)."""
    reference = g.get("request_id") or secrets.token_hex(8)
    log.error("unexpected-error", reference=reference, endpoint=request.endpoint, exc_info=error)
    if _wants_html():
        said = f"<!doctype html><title>Error</title><h1>Something went wrong</h1><p>Reference: {escape(reference)}</p>"
        return Response(said, mimetype="text/html"), 500
    return jsonify(error="internal error", reference=reference), 500


def _wants_html() -> bool:
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return best == "text/html" and "text/html" in request.headers.get("Accept", "")
