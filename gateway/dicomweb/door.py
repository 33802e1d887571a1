"""What every DICOMweb service asks of a request, and how it answers."""

import errno
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog
from flask import Response, g, request

from gateway.auth import scopes
from gateway.auth.assertion import registered
from gateway.auth.bearer import authenticate_partner, require_scope
from gateway.case.access import Origin, Partner

if TYPE_CHECKING:
    from gateway.services import Services

MOUNTED_AT = "/dicom-web"
LOOK_SECONDS = 0.1

log = structlog.get_logger(__name__)


def partner_of(services: "Services", interaction: str = "") -> Partner:
    """Who asks. Raises Unauthenticated, or Forbidden where the token does not allow the interaction (c, r, s)."""
    partner = authenticate_partner(services, request.headers, request.remote_addr)
    if interaction:
        require_scope(partner, "ImagingStudy", interaction)
    return partner


def while_permitted(
    services: "Services", partner: Partner, interaction: str, chunks: Iterator[bytes]
) -> Iterator[bytes]:
    """An answer that is under way ends when the operator shuts the partner out, or takes the interaction from it.

    The connection then breaks off before the end, so that no peer takes what has come for the whole. A token that
    expires meanwhile ends nothing: it was valid when it was shown (RFC 6750 3.1).
    """
    looked_at = time.monotonic()
    with ExitStack() as stack:
        if close := getattr(chunks, "close", None):
            stack.callback(close)
        for chunk in chunks:
            if time.monotonic() - looked_at > LOOK_SECONDS:
                now = registered(services, partner.id)
                if now is None or not scopes.allows(now.scopes, "ImagingStudy", interaction):
                    log.warning(
                        "answer-broken-off", partner=partner.id, reason="the partner may not have it any more"
                    )
                    raise ConnectionResetError(errno.ECONNRESET, "the partner may not have it any more")
                looked_at = time.monotonic()
            yield chunk


def origin(channel: str) -> Origin:
    return Origin(channel, request.remote_addr or "", g.get("request_id", ""))


def accept() -> str:
    """The query parameter stands for the header where a peer cannot set that (PS3.18 8.3.3.1)."""
    return request.args.get("accept") or request.headers.get("Accept", "")


def base_url(services: "Services") -> str:
    return f"{services.config.base_url}{MOUNTED_AT}"


def json_answer(body: str, status: int, media_type: str = "application/json") -> Response:
    return Response(body, status, content_type=media_type)
