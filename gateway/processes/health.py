"""Is the process alive, and can the gateway do its work?"""

from typing import Any

from flask import Blueprint, Response, jsonify

from gateway.errors import StoreUnavailable
from gateway.services import Services
from gateway.store import heartbeats


def blueprint(services: Services) -> Blueprint:
    """``/healthz`` 200 while the process lives; ``/readyz`` 200 only when what is sent can be kept and worked on."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="alive")

    @routes.get("/readyz")
    def readyz() -> tuple[Response, int]:
        parts = readiness(services)
        ready = all(state == "ready" for state in parts.values())
        return jsonify(status="ready" if ready else "not ready", parts=parts), 200 if ready else 503

    @routes.after_request
    def never_stored(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        return response

    return routes


def readiness(services: Services) -> dict[str, str]:
    """Each part's state in words; "ready" where it can do work."""
    parts = {"web": "ready", "objects": _objects(services)}
    try:
        with services.database.reading() as session:
            ages: dict[str, Any] = heartbeats.seconds_since(session)
    except StoreUnavailable:
        return parts | {"database": "not available", "dimse": "not known", "worker": "not known"}
    return parts | {
        "database": "ready",
        "dimse": _part(max((age for part, age in ages.items() if part.startswith("dimse")), default=None)),
        "worker": _part(ages.get("worker")),
    }


def _objects(services: Services) -> str:
    try:
        services.objects.check()
    except StoreUnavailable:
        return "not writable"
    return "ready"


def _part(age_seconds: float | None) -> str:
    if age_seconds is None:
        return "not started"
    if age_seconds > heartbeats.FRESH_SECONDS:
        return f"silent for {age_seconds:.0f} s"
    return "ready"
