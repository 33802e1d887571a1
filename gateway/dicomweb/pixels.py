"""Retrieve Frames and Pixel Data (PS3.18 10.4, 8.7.3): as stored, decoded, or encoded anew without loss."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import structlog

from gateway.dicomweb import media_types
from gateway.dicomweb.bulkdata import native_pixels
from gateway.dicomweb.encodings import OCTET_STREAM, STORED, Encoding, frame_encodings
from gateway.dicomweb.made import MadeParts
from gateway.dicomweb.payload import Part, Payload, multipart, read_all, single
from gateway.dicomweb.qido_rs import instance_url
from gateway.dicomweb.stored import is_image, opened
from gateway.errors import GatewayError, InvalidContent, NotAcceptable, NotFound
from gateway.store.tables import InstanceRow
from gateway.workflow import images
from mappings.dicom_structure import EXPLICIT_LITTLE
from mappings.pixel_frames import NATIVE, find_frames
from mappings.pixel_syntaxes import ENCODED

if TYPE_CHECKING:
    from gateway.services import Services

MAX_FRAMES_ASKED = 4096
MOST_FRAMES = 100_000
log = structlog.get_logger(__name__)

_LIST = re.compile(r"\d{1,9}(,\d{1,9})*")


def read_frame_list(told: str) -> list[int]:
    """``1,2,5``. Raises InvalidContent."""
    plain = told.replace(" ", "")
    frames = [int(number) for number in plain.split(",")] if _LIST.fullmatch(plain) else []
    if not frames or 0 in frames or len(frames) > MAX_FRAMES_ASKED:
        raise InvalidContent(
            f"Frames are numbers from 1 on, with commas between them, {MAX_FRAMES_ASKED} at most: frames/1,2,3."
        )
    return frames


def frames(services: "Services", row: InstanceRow, wanted: list[int], accept: str, url: str) -> Payload:
    """Each frame is a part; one alone may be the whole body. ``url`` is the instance's.

    Raises NotFound for a frame that is not there, NotAcceptable when it can be had in no encoding that is wanted.
    """
    refusal: GatewayError = NotAcceptable(_refusal(row.transfer_syntax_uid))
    for encoding in frame_encodings(media_types.accepted(accept), row.transfer_syntax_uid):
        if len(wanted) > 1 and not encoding.is_multipart:
            continue
        try:
            parts = _frame_parts(services, row, wanted, encoding, url)
            if encoding.is_multipart:
                return multipart(parts, encoding.media_type)
            return single(next(iter(parts)))
        except NotAcceptable as error:
            refusal = error
    raise refusal


def pixel_data(services: "Services", rows: Sequence[InstanceRow], accept: str, base_url: str) -> Payload:
    """Of each instance that has pixels: uncompressed as one part, compressed a part for each frame (8.7.3.3).

    Raises NotFound where there are none, NotAcceptable.
    """
    found = [row for row in rows if is_image(row)]
    if not found:
        raise NotFound("There is no pixel data.")
    wanted = list(media_types.accepted(accept))
    encodings = list(frame_encodings(wanted, found[0].transfer_syntax_uid))
    if not encodings:
        raise NotAcceptable(_refusal(found[0].transfer_syntax_uid))
    if len(found) == 1 and not encodings[0].is_multipart and (part := _whole(services, found[0], encodings)):
        return single(part)
    several = [one for one in wanted if one.covers(media_types.MULTIPART_RELATED)]
    if not several:
        raise NotAcceptable(f"This is several parts: ask for {media_types.MULTIPART_RELATED}.")
    return _in_parts(services, found, several, base_url)


def _in_parts(
    services: "Services", rows: Sequence[InstanceRow], wanted: list[media_types.MediaType], base_url: str
) -> Payload:
    """What must be decoded is decoded before the answer begins: an instance of which that fails is named in its head.

    Among several such a one is given as stored to who takes octets, and its part says so; otherwise it is missing.
    """
    made, kinds = MadeParts(services.config.data_dir), list[str]()
    try:
        for row in rows:
            encodings = [one for one in frame_encodings(wanted, row.transfer_syntax_uid) if one.is_multipart]
            try:
                kinds.append(_add_first_possible(services, row, encodings, base_url, made, len(rows) > 1))
            except NotAcceptable as error:
                log.info("pixel-data-not-given", instance=row.id, cause=type(error).__name__)
                made.miss(row, error)
        return made.payload(kinds[0] if kinds else OCTET_STREAM, NotFound("There is no pixel data."))
    except BaseException:
        made.close()
        raise


def _add_first_possible(
    services: "Services",
    row: InstanceRow,
    encodings: list[Encoding],
    base_url: str,
    made: MadeParts,
    is_among_others: bool,
) -> str:
    """The media type that it is added in. Raises NotAcceptable where it can be had in none."""
    url = instance_url(base_url, row)
    refusal: GatewayError = NotAcceptable(_refusal(row.transfer_syntax_uid))
    for encoding in encodings:
        try:
            _add(services, row, encoding, url, made)
        except NotAcceptable as error:
            refusal = error
        else:
            return encoding.media_type
    if is_among_others and any(one.media_type == OCTET_STREAM for one in encodings):
        _add(services, row, Encoding(OCTET_STREAM, STORED, is_multipart=True), url, made)
        made.warn(f"Instance {row.sop_instance_uid} is given as it is stored. {refusal}")
        return OCTET_STREAM
    raise refusal


def _add(services: "Services", row: InstanceRow, encoding: Encoding, url: str, made: MadeParts) -> None:
    if encoding.transfer_syntax == EXPLICIT_LITTLE:
        named = _named(OCTET_STREAM, EXPLICIT_LITTLE)
        if row.transfer_syntax_uid in NATIVE:
            made.add([native_pixels(services.objects, row, named, f"{url}/pixeldata")])
            return
        file, [size] = images.encoded_frames(services, row, [], EXPLICIT_LITTLE)
        made.add_file(file, [(size, named, f"{url}/pixeldata")])
        return
    everything = _every_frame(row)
    if _is_read(services, row, everything, encoding.transfer_syntax):
        made.add(_read(services, row, everything, encoding, url))
    else:
        syntax = EXPLICIT_LITTLE if encoding.transfer_syntax == STORED else encoding.transfer_syntax
        file, sizes = images.encoded_frames(services, row, everything, syntax)
        named, places = _named(encoding.media_type, syntax), [f"{url}/frames/{frame}" for frame in everything]
        made.add_file(file, [(size, named, place) for size, place in zip(sizes, places, strict=True)])


def _every_frame(row: InstanceRow) -> list[int]:
    """The header's word: it may tell of two thousand million frames that are not there."""
    if row.frames > MOST_FRAMES:
        raise NotAcceptable(
            f"The instance has {row.frames} frames, more than {MOST_FRAMES}: ask for some of them."
        )
    return list(range(1, row.frames + 1))


def _whole(services: "Services", row: InstanceRow, encodings: list[Encoding]) -> Part | None:
    """A single body of all pixels, where that is wanted and possible."""
    for encoding in encodings:
        if not encoding.is_multipart and encoding.transfer_syntax == EXPLICIT_LITTLE:
            return _decoded_whole(services, row)
        if not encoding.is_multipart and row.frames == 1:
            return next(iter(_frame_parts(services, row, [1], encoding, "")))
    return None


def _decoded_whole(services: "Services", row: InstanceRow) -> Part:
    named = _named(OCTET_STREAM, EXPLICIT_LITTLE)
    if row.transfer_syntax_uid in NATIVE:
        return native_pixels(services.objects, row, named, "")
    file, [size] = images.encoded_frames(services, row, [], EXPLICIT_LITTLE)
    return Part(named, size, partial(read_all, file))


def _refusal(stored: str) -> str:
    written = ", ".join([EXPLICIT_LITTLE, *ENCODED])
    return (
        f"Frames are given as {OCTET_STREAM} or the media type of their encoding, each as a part of multipart/related "
        f"or one alone: with transfer-syntax=* as they are stored ({stored}), or with one of {written}."
    )


def _named(media_type: str, syntax: str) -> str:
    return f"{media_type}; transfer-syntax={syntax}"


def _frame_parts(
    services: "Services", row: InstanceRow, wanted: list[int], encoding: Encoding, url: str
) -> Iterable[Part]:
    if _is_read(services, row, wanted, encoding.transfer_syntax):
        return _read(services, row, wanted, encoding, url)
    syntax = EXPLICIT_LITTLE if encoding.transfer_syntax == STORED else encoding.transfer_syntax
    file, sizes = images.encoded_frames(services, row, wanted, syntax)
    return _of_file(file, sizes, wanted, _named(encoding.media_type, syntax), url)


def _is_read(services: "Services", row: InstanceRow, wanted: list[int], syntax: str) -> bool:
    """Whether the frames stand in the file as they are wanted; those of one bit a pixel may begin inside a byte.

    Raises NotFound and NotAcceptable where one of them is not there.
    """
    if syntax not in (STORED, EXPLICIT_LITTLE):
        return False
    with opened(services.objects, row) as layout:
        found = find_frames(layout)
        for frame in wanted:
            found.ranges(frame)
        if found.is_native and found.description.frame_bits % 8:
            return False
        return syntax == STORED or found.is_native


def _read(
    services: "Services", row: InstanceRow, wanted: list[int], encoding: Encoding, url: str
) -> Iterator[Part]:
    is_stored = encoding.transfer_syntax == STORED
    named = _named(encoding.media_type, row.transfer_syntax_uid if is_stored else EXPLICIT_LITTLE)
    with opened(services.objects, row) as layout:
        found = find_frames(layout)
        for frame in wanted:
            content = found.read(frame) if is_stored else found.read_native(frame)
            yield Part(named, len(content), partial(iter, [content]), f"{url}/frames/{frame}" if url else "")


def _of_file(file: BinaryIO, sizes: list[int], wanted: list[int], named: str, url: str) -> Iterator[Part]:
    with file:
        for frame, size in zip(wanted, sizes, strict=True):
            content = file.read(size)
            yield Part(named, size, partial(iter, [content]), f"{url}/frames/{frame}" if url else "")
