"""The interactions read and vread (FHIR R4 3.1.0.2, 3.1.0.3)."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from flask import Response, request

from gateway.auth.bearer import require_scope
from gateway.case.access import Partner
from gateway.errors import InvalidContent, NotFound
from gateway.fhir import answers, disclosed, search, served
from gateway.fhir.served import Served
from gateway.fhir.shaping import shaped
from gateway.workflow.disclosure import READ

if TYPE_CHECKING:
    from gateway.services import Services

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}"
_MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}( *;[ -~]{{0,500}})?")  # RFC 9110 8.3.1


def read(
    services: Services, partner: Partner, base: str, type_name: str, fhir_id: str, version: str | None = None
) -> Response:
    """The present version, or the one that is named. A Binary is its bytes unless FHIR is asked for."""
    require_scope(partner, type_name, "r")
    wanted = search.parse(type_name, _of_shape(), strict=False, base=base)
    with services.database.reading() as session:
        if version is None:
            found = served.read(services, session, partner, type_name, fhir_id)
        else:
            found = served.read_version(services, session, partner, type_name, fhir_id, version)
    native = type_name == "Binary" and not answers.wants_fhir()
    if not native:
        answers.require_fhir_answer()
    unchanged = answers.not_modified(found)
    resource = shaped(found.resource, wanted.summary, wanted.elements)
    carried = unchanged is None and disclosed.has_opinion([resource])
    disclosed.record(services, partner, READ, _subject(found, version), [found], carried=carried)
    if unchanged is not None:
        return unchanged
    return _native(found) if native else answers.of_served(found, base, resource)


def _of_shape() -> list[tuple[str, str]]:
    """_summary and _elements hold for a read too (3.1.0.2); count is for searches only."""
    asked = [
        (name, value) for name, value in request.args.items(multi=True) if name in ("_summary", "_elements")
    ]
    if ("_summary", "count") in asked:
        raise InvalidContent("_summary=count is for searches.")
    return asked


def _subject(found: Served, version: str | None) -> str:
    return found.reference if version is None else f"{found.reference}/_history/{found.version}"


def _native(found: Served) -> Response:
    """The bytes themselves, unless FHIR is asked for (FHIR R4 2.24.5); no browser runs them as the gateway's page."""
    try:
        body = base64.b64decode(str(found.resource.get("data") or ""))
    except ValueError as error:
        raise NotFound("The Binary's data is no base64; read it as FHIR JSON.") from error
    answer = Response(body, headers=answers.version_headers(found))
    sent = str(found.resource.get("contentType"))
    answer.content_type = sent if _MEDIA_TYPE.fullmatch(sent) else "application/octet-stream"
    answer.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    answer.headers["Content-Disposition"] = "attachment"
    answer.headers["Cache-Control"] = "no-store"
    return answer
