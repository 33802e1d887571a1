"""Retrieve Rendered and Thumbnail (PS3.18 10.4, 8.7.4): images, PDF documents and reports that anybody can open."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import structlog

from gateway.dicomweb import media_types
from gateway.dicomweb.bulkdata import document_part
from gateway.dicomweb.made import MadeParts
from gateway.dicomweb.media_types import MULTIPART_RELATED
from gateway.dicomweb.payload import Part, Payload, single
from gateway.dicomweb.qido_rs import instance_url
from gateway.dicomweb.rendering_query import Look
from gateway.dicomweb.stored import is_image
from gateway.errors import InvalidContent, NotAcceptable
from gateway.store.tables import InstanceRow
from gateway.workflow import images

if TYPE_CHECKING:
    from gateway.services import Services

JPEG, PNG, GIF, PDF, HTML = "image/jpeg", "image/png", "image/gif", "application/pdf", "text/html"
OF_IMAGES, OF_DOCUMENTS, OF_REPORTS = (JPEG, PNG, GIF), (PDF,), (HTML,)
THUMBNAIL_SIDE = 128
MAX_FRAMES = 512
_ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
_REPORTS = "1.2.840.10008.5.1.4.1.1.88."
_SANDBOX = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}

Record = Callable[[], None]
"""Puts the read on the audit trail: while the image is being made, and before it is given."""

log = structlog.get_logger(__name__)


def rendered(
    services: "Services",
    rows: Sequence[InstanceRow],
    frames: list[int],
    accept: str,
    look: Look,
    record: Record,
    base_url: str,
) -> Payload:
    """One image in one body, of several instances the one that stands for them; or all in several parts.

    Without ``frames`` it is the representative frame, or every frame where several parts are wanted of one instance.
    Raises NotAcceptable, NotFound.
    """
    shown = representative(rows)
    offered = _offered(shown)
    for wanted in media_types.accepted(accept):
        is_multipart = wanted.essence == MULTIPART_RELATED
        inner = media_types.parse(wanted.parameter("type") or "*/*") if is_multipart else wanted
        media_type = next((one for one in offered if inner.covers(one)), "")
        if not media_type and is_multipart and len(rows) > 1:
            media_type = next(
                (one for one in (*OF_IMAGES, *OF_DOCUMENTS, *OF_REPORTS) if inner.covers(one)), ""
            )
        if not media_type:
            continue
        if is_multipart:
            record()
            return _in_parts(services, rows, frames, media_type, look, base_url)
        if len(frames) > 1 and media_type != GIF:
            continue
        return _alone(services, shown, frames, media_type, look, record)
    kinds = ", ".join(offered)
    raise NotAcceptable(f"This is rendered as {kinds}; several images are parts of {MULTIPART_RELATED}.")


def thumbnail(
    services: "Services",
    rows: Sequence[InstanceRow],
    frames: list[int],
    accept: str,
    look: Look,
    record: Record,
    _base_url: str,
) -> Payload:
    """A small image of what the rows are of. Raises NotAcceptable, also where there is no image."""
    shown = representative(rows)
    if not is_image(shown):
        raise NotAcceptable("There is no image of which a thumbnail could be made.")
    if look.viewport is None:
        look.viewport = (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 0, 0, 0, 0)
    for wanted in media_types.accepted(accept):
        for media_type in (JPEG, PNG):
            if wanted.covers(media_type):
                return _alone(services, shown, frames[:1], media_type, look, record)
    raise NotAcceptable(f"Thumbnails are given as {JPEG} and {PNG}.")


def representative(rows: Sequence[InstanceRow]) -> InstanceRow:
    """The middle image of the first series that has images; else the first instance."""
    found = [row for row in rows if is_image(row)]
    of_one_series = [row for row in found if row.series_id == found[0].series_id]
    return of_one_series[len(of_one_series) // 2] if of_one_series else rows[0]


def _offered(row: InstanceRow) -> tuple[str, ...]:
    if row.sop_class_uid == _ENCAPSULATED_PDF:
        return OF_DOCUMENTS
    return OF_REPORTS if row.sop_class_uid.startswith(_REPORTS) else OF_IMAGES


def _alone(
    services: "Services", row: InstanceRow, frames: list[int], media_type: str, look: Look, record: Record
) -> Payload:
    if media_type == PDF:
        payload = single(document_part(services.objects, row, PDF))
        record()
        return payload
    with _rendering(services, row, frames, media_type, look) as rendering:
        record()
        [content] = rendering.result()
    payload = single(_part(content, media_type))
    if media_type == HTML:
        return Payload(f"{HTML}; charset=utf-8", payload.size_bytes, payload.chunks, _SANDBOX)
    return payload


def _rendering(
    services: "Services", row: InstanceRow, frames: list[int], media_type: str, look: Look
) -> AbstractContextManager[images.Rendering]:
    if media_type == HTML:
        return images.rendering(services, row, "report")
    return images.rendering(services, row, frames=frames, media_type=media_type, **look.parameters())


def _in_parts(
    services: "Services",
    rows: Sequence[InstanceRow],
    frames: list[int],
    media_type: str,
    look: Look,
    base_url: str,
) -> Payload:
    """Of what is rendered so; what should be and cannot is named in the answer's head. Raises why nothing can."""
    made = MadeParts(services.config.data_dir)
    try:
        for row in rows:
            if media_type not in _offered(row):
                continue
            wanted = frames or (_every_frame(row) if len(rows) == 1 and media_type != GIF else [])
            try:
                _add(services, row, wanted, media_type, look, base_url, made)
            except (NotAcceptable, InvalidContent) as error:
                log.info("instance-not-rendered", instance=row.id, cause=type(error).__name__)
                made.miss(row, error)
        return made.payload(media_type, NotAcceptable(f"Nothing of this is rendered as {media_type}."))
    except BaseException:
        made.close()
        raise


def _every_frame(row: InstanceRow) -> list[int]:
    if row.frames > MAX_FRAMES:
        raise NotAcceptable(f"The instance has {row.frames} frames: name up to {MAX_FRAMES} of them.")
    return list(range(1, row.frames + 1)) if row.frames > 1 else []


def _add(
    services: "Services",
    row: InstanceRow,
    frames: list[int],
    media_type: str,
    look: Look,
    base_url: str,
    made: MadeParts,
) -> None:
    url = instance_url(base_url, row)
    if media_type == PDF:
        made.add([document_part(services.objects, row, PDF, f"{url}/rendered")])
        return
    with _rendering(services, row, frames, media_type, look) as rendering:
        contents = rendering.result()
    places = [f"{url}/frames/{frame}/rendered" for frame in frames if media_type != GIF] or [
        f"{url}/rendered"
    ]
    for content, place in zip(contents, places, strict=True):
        made.add_content(content, media_type, place)


def _part(content: bytes, media_type: str) -> Part:
    return Part(media_type, len(content), partial(iter, [content]))
