"""The staff's pages under / and JSON API under /api."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from gateway.web import api_routes, page_routes

if TYPE_CHECKING:
    from gateway.services import Services


def blueprints(services: Services) -> list[Blueprint]:
    """The application that registers them needs a secret key: it signs the CSRF tokens."""
    return [page_routes.blueprint(services), api_routes.blueprint(services)]
