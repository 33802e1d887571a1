"""What every DICOMweb service asks of a request, and how it answers."""

from typing import TYPE_CHECKING

from flask import Response, request

from gateway.auth.bearer import authenticate_partner, require_scope
from gateway.case.access import Origin, Partner

if TYPE_CHECKING:
    from gateway.services import Services

MOUNTED_AT = "/dicom-web"


def partner_of(services: "Services", interaction: str = "") -> Partner:
    """Who asks. Raises Unauthenticated, or Forbidden where the token does not allow the interaction (c, r, s)."""
    partner = authenticate_partner(services, request.headers, request.remote_addr)
    if interaction:
        require_scope(partner, "ImagingStudy", interaction)
    return partner


def origin(channel: str) -> Origin:
    return Origin(channel, request.remote_addr or "")


def accept() -> str:
    """The query parameter stands for the header where a peer cannot set that (PS3.18 8.3.3.1)."""
    return request.args.get("accept") or request.headers.get("Accept", "")


def base_url(services: "Services") -> str:
    return f"{services.config.base_url}{MOUNTED_AT}"


def json_answer(body: str, status: int, media_type: str = "application/json") -> Response:
    return Response(body, status, content_type=media_type)
