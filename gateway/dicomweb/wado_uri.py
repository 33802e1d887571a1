"""WADO-URI (PS3.18 9): one object by query parameters, for older viewers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.dicomweb import wado_rs
from gateway.dicomweb.media_types import DICOM, accepted
from gateway.dicomweb.payload import Payload
from gateway.dicomweb.rendered import Record, rendered
from gateway.dicomweb.rendering_query import MAX_SIDE, Look, read_quality, read_window
from gateway.dicomweb.warning import passed_over
from gateway.errors import InvalidContent, NotAcceptable, NotSupported
from gateway.store.tables import InstanceRow

if TYPE_CHECKING:
    from gateway.services import Services

_NOT_OFFERED = {
    "anonymize": "The gateway does not de-identify what it gives: ask without anonymize.",
    "presentationUID": "The gateway does not apply presentation states: ask without presentationUID.",
}
_NOT_DRAWN = "annotation is not drawn: the image is given without it."
_ONLY_IMAGES = frozenset(
    {"frameNumber", "rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality", "annotation"}
)
_KNOWN = _ONLY_IMAGES | {
    *("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "transferSyntax", "charset"),
}


@dataclass
class UriQuery:
    """``region`` is left, top, right, bottom as parts of the image from 0 to 1; ``rows``, ``columns`` 0 for any."""

    study: str
    series: str
    instance: str
    content_types: str
    transfer_syntax: str
    frame: int = 0
    rows: int = 0
    columns: int = 0
    region: tuple[float, float, float, float] | None = None
    look: Look = field(default_factory=Look)

    @property
    def is_dicom(self) -> bool:
        """Whether the file is wanted most."""
        return any(one.essence == DICOM for one in accepted(self.content_types)[:1])


def read_query(asked: Mapping[str, str], accept: str) -> UriQuery:
    """``accept`` is the header, which counts where no contentType is asked for (8.7.5).

    Raises InvalidContent, and NotSupported for what would change what the answer means.
    """
    if asked.get("requestType", "") != "WADO":
        raise InvalidContent("requestType is WADO (PS3.18 9.1).")
    for name, words in _NOT_OFFERED.items():
        if name in asked:
            raise NotSupported(words)
    study, series, instance = (asked.get(name, "") for name in ("studyUID", "seriesUID", "objectUID"))
    if not (study and series and instance):
        raise InvalidContent("studyUID, seriesUID and objectUID name the object (PS3.18 9.1).")
    content_types = asked.get("contentType") or accept
    query = UriQuery(study, series, instance, content_types, asked.get("transferSyntax", ""))
    _require_fitting(query, asked)
    query.frame = _whole(asked, "frameNumber")
    query.rows, query.columns = _whole(asked, "rows"), _whole(asked, "columns")
    query.region = _region(asked["region"]) if "region" in asked else None
    query.look = _look(asked)
    return query


def _require_fitting(query: UriQuery, asked: Mapping[str, str]) -> None:
    """9.1.2: what is for rendering has no meaning for a DICOM file, and the transfer syntax only for that."""
    is_dicom = query.is_dicom
    unfit = sorted(_ONLY_IMAGES.intersection(asked)) if is_dicom else []
    if unfit:
        raise InvalidContent(f"{', '.join(unfit)} cannot be asked for with contentType {DICOM}.")
    if query.transfer_syntax and not is_dicom:
        raise InvalidContent(f"transferSyntax is asked for with contentType {DICOM} only.")


def retrieve(
    services: "Services", row: InstanceRow, query: UriQuery, record: Record, base_url: str
) -> Payload:
    """Raises NotAcceptable, NotFound, InvalidContent."""
    if query.is_dicom:
        syntax = f"; transfer-syntax={query.transfer_syntax}" if query.transfer_syntax else ""
        payload = wado_rs.retrieve(services, [row], f"{DICOM}{syntax}", base_url)
        record()
        return payload
    query.look.viewport = _viewport(row, query)
    frames = [query.frame] if query.frame else []
    return rendered(services, [row], frames, query.content_types, query.look, record, base_url)


def _look(asked: Mapping[str, str]) -> Look:
    look = Look(warnings=[_NOT_DRAWN] if "annotation" in asked else [])
    look.warnings += [passed_over(name, "resource") for name in asked if name not in _KNOWN]
    if "imageQuality" in asked:
        look.quality = read_quality(asked["imageQuality"], "imageQuality")
    told = [asked.get(name, "") for name in ("windowCenter", "windowWidth")]
    if any(told):
        if not all(told):
            raise InvalidContent("windowCenter and windowWidth come together (PS3.18 9.1.2).")
        look.window = read_window(told[0], told[1], "linear", "windowCenter and windowWidth")
    return look


def _viewport(row: InstanceRow, query: UriQuery) -> tuple[float, ...] | None:
    if not (query.rows or query.columns or query.region):
        return None
    if not row.rows or not row.columns:
        raise NotAcceptable("The object is no image, of which a size or region could be shown.")
    left, top, right, bottom = query.region or (0.0, 0.0, 1.0, 1.0)
    shown = (left * row.columns, top * row.rows, (right - left) * row.columns, (bottom - top) * row.rows)
    if query.rows or query.columns:
        return (query.columns or MAX_SIDE, query.rows or MAX_SIDE, *shown)
    return (max(1, round(shown[2])), max(1, round(shown[3])), *shown)


def _region(told: str) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = (float(part) for part in told.split(","))
    except ValueError:
        left = top = right = bottom = -1.0
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InvalidContent("region is left,top,right,bottom, each from 0 to 1.")
    return left, top, right, bottom


def _whole(asked: Mapping[str, str], name: str) -> int:
    told = asked.get(name, "")
    if name not in asked:
        return 0
    largest = MAX_SIDE if name != "frameNumber" else 2**31 - 1
    if not told.isdecimal() or not told.isascii() or not 1 <= int(told[:12]) <= largest:
        raise InvalidContent(f"{name} is a whole number from 1 to {largest}.")
    return int(told)
