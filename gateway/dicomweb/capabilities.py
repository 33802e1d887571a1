"""Retrieve Capabilities (PS3.18 8.9): every resource that is offered, as a WADL document, made from the routes."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

from flask import Response, current_app, request

from gateway.dicomweb import door, media_types, rendered
from gateway.dicomweb.archive import ZIP
from gateway.dicomweb.encodings import MEDIA_TYPES, OCTET_STREAM
from gateway.dicomweb.media_types import DICOM, DICOM_JSON, DICOM_XML, MULTIPART_RELATED
from gateway.errors import NotAcceptable
from mappings.dicom_structure import EXPLICIT_LITTLE
from mappings.pixel_syntaxes import ENCODED

WADL = "application/vnd.sun.wadl+xml"
JSON = "application/json"
_NAMESPACE = "http://wadl.dev.java.net/2009/02"
_TEMPLATE = re.compile(r"<(?:\w+:)?(\w+)>")
_DOOR = "dicomweb."
_SYNTAXES = ("*", EXPLICIT_LITTLE, *ENCODED)


def _related(*kinds: str) -> tuple[str, ...]:
    return tuple(f'{MULTIPART_RELATED}; type="{kind}"' for kind in kinds)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a method takes and gives: media types, and the parameters of its query."""

    name: str
    answers: tuple[str, ...]
    parameters: tuple[str, ...] = ("accept",)
    takes: tuple[str, ...] = ()
    transfer_syntaxes: tuple[str, ...] = ()


_FRAMES = (OCTET_STREAM, *MEDIA_TYPES)
_IMAGES = (*rendered.OF_IMAGES, *_related(*rendered.OF_IMAGES))
_LOOK = ("accept", "quality", "viewport", "window")
_MATCHING = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_SEARCH = Offer(
    "Search",
    (DICOM_JSON, *_related(DICOM_XML)),
    ("accept", "{attributeID}", "includefield", *_MATCHING, "limit", "offset"),
)
_STORE = Offer(
    "Store", (DICOM_JSON, *_related(DICOM_XML)), takes=(DICOM, *_related(DICOM, DICOM_JSON, DICOM_XML))
)
_INSTANCES = Offer("Retrieve", (*_related(DICOM), DICOM, ZIP), transfer_syntaxes=_SYNTAXES)
_SEVERAL = Offer("Retrieve", (*_related(DICOM), ZIP), transfer_syntaxes=_SYNTAXES)
_METADATA = Offer("RetrieveMetadata", (DICOM_JSON, *_related(DICOM_XML)))
_RENDERED = Offer("RetrieveRendered", (*_IMAGES, *rendered.OF_DOCUMENTS, *rendered.OF_REPORTS), _LOOK)
_THUMBNAIL = Offer("RetrieveThumbnail", (rendered.JPEG, rendered.PNG), _LOOK)
_BULK = Offer("RetrieveBulkdata", _related(OCTET_STREAM))
_PIXELS = Offer("RetrievePixelData", (*_FRAMES, *_related(*_FRAMES)), transfer_syntaxes=_SYNTAXES)
_URI = Offer(
    "RetrieveByUri",
    (*rendered.OF_IMAGES, *rendered.OF_DOCUMENTS, *rendered.OF_REPORTS, DICOM),
    (
        *(
            "requestType",
            "studyUID",
            "seriesUID",
            "objectUID",
            "contentType",
            "transferSyntax",
            "frameNumber",
        ),
        *("rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality"),
    ),
)

OFFERS: dict[str, Offer] = {
    "store": _STORE,
    "store_study": _STORE,
    "search_studies": _SEARCH,
    "search_series": _SEARCH,
    "search_series_of_study": _SEARCH,
    "search_instances": _SEARCH,
    "search_instances_of_study": _SEARCH,
    "search_instances_of_series": _SEARCH,
    "retrieve-study": _SEVERAL,
    "retrieve-series": _SEVERAL,
    "retrieve-instance": _INSTANCES,
    **{f"metadata-{level}": _METADATA for level in ("study", "series", "instance")},
    **{f"rendered-{level}": _RENDERED for level in ("study", "series", "instance")},
    **{f"thumbnail-{level}": _THUMBNAIL for level in ("study", "series", "instance", "frames")},
    **{f"bulkdata-{level}": _BULK for level in ("study", "series", "instance")},
    **{f"pixeldata-{level}": _PIXELS for level in ("study", "series", "instance")},
    "bulk-value": Offer("RetrieveBulkdata", (OCTET_STREAM, *_related(OCTET_STREAM))),
    "frames": _PIXELS,
    "rendered-frames": Offer("RetrieveRendered", _IMAGES, _LOOK),
    "wado-uri": _URI,
}
"""By endpoint. A route that is not here is not told of, which a test forbids."""


@dataclass(frozen=True, slots=True)
class Resource:
    path: str
    methods: tuple[tuple[str, Offer], ...]

    @property
    def templates(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)


def answer_options() -> Response | None:
    """OPTIONS of any resource tells of all; every other method goes on."""
    if request.method != "OPTIONS":
        return None
    base_url = f"{request.url_root.rstrip('/')}{door.MOUNTED_AT}/"
    for wanted in media_types.accepted(request.headers.get("Accept", "")):
        if wanted.covers(WADL) or wanted.essence == "application/xml":
            return _answer(wadl(resources(), base_url), WADL)
        if wanted.covers(JSON):
            return _answer(as_json(resources()), JSON)
    raise NotAcceptable(f"Capabilities are told as {WADL} or {JSON}.")


def _answer(body: str, media_type: str) -> Response:
    allowed = sorted(
        {method for resource in resources() for method, _ in resource.methods} | {"HEAD", "OPTIONS"}
    )
    answer = Response(body, content_type=media_type)
    answer.headers["Allow"] = ", ".join(allowed)
    return answer


def resources() -> list[Resource]:
    """From the routes of the door, in the order of their paths."""
    found: dict[str, list[tuple[str, Offer]]] = {}
    for rule in current_app.url_map.iter_rules():
        endpoint = rule.endpoint.removeprefix(_DOOR)
        if not rule.endpoint.startswith(_DOOR) or endpoint not in OFFERS:
            continue
        path = _TEMPLATE.sub(r"{\1}", rule.rule).split("/", 2)[2]
        methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        found.setdefault(path, []).extend((method, OFFERS[endpoint]) for method in methods)
    return [Resource(path, tuple(methods)) for path, methods in sorted(found.items())]


def wadl(found: Iterable[Resource], base_url: str) -> str:
    body = "".join(line for resource in found for line in _wadl_resource(resource))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<application xmlns="{_NAMESPACE}" '
        f'xmlns:xsd="http://www.w3.org/2001/XMLSchema"><resources base={quoteattr(base_url)}>{body}</resources>'
        "</application>\n"
    )


def _wadl_resource(resource: Resource) -> Iterator[str]:
    yield f"<resource path={quoteattr(resource.path)}>"
    yield from (f'<param name="{name}" style="template" required="true"/>' for name in resource.templates)
    for method, offer in resource.methods:
        yield f'<method name="{method}" id={quoteattr(offer.name)}><request>'
        yield from (f'<param name={quoteattr(name)} style="query"/>' for name in offer.parameters)
        if offer.transfer_syntaxes:
            options = "".join(f'<option value="{syntax}"/>' for syntax in offer.transfer_syntaxes)
            yield f'<param name="transfer-syntax" style="header" type="xsd:string">{options}</param>'
        yield from (f"<representation mediaType={quoteattr(kind)}/>" for kind in offer.takes)
        yield "</request><response>"
        yield from (f"<representation mediaType={quoteattr(kind)}/>" for kind in offer.answers)
        yield "</response></method>"
    yield "</resource>"


def as_json(found: Iterable[Resource]) -> str:
    """The same as JSON: a resource has its path, and its methods with their media types and parameters."""
    return json.dumps({"resources": [_json_resource(resource) for resource in found]}, indent=2)


def _json_resource(resource: Resource) -> dict[str, Any]:
    methods = [
        {
            "method": method,
            "transaction": offer.name,
            "parameters": list(offer.parameters),
            "takes": list(offer.takes),
            "answers": list(offer.answers),
            "transferSyntaxes": list(offer.transfer_syntaxes),
        }
        for method, offer in resource.methods
    ]
    return {"path": resource.path, "methods": methods}
