"""Retrieve Bulkdata (PS3.18 10.4, 8.7.3): the value at a path of tags and item numbers, as metadata names it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from gateway.dicomweb import media_types
from gateway.dicomweb.encodings import ANY, OCTET_STREAM
from gateway.dicomweb.made import MadeParts
from gateway.dicomweb.media_types import MULTIPART_RELATED
from gateway.dicomweb.payload import CHUNK_BYTES, Part, Payload, multipart, single
from gateway.dicomweb.qido_rs import instance_url
from gateway.dicomweb.stored import opened
from gateway.errors import NotAcceptable, NotFound
from gateway.store.objects import ObjectStore
from gateway.store.tables import InstanceRow
from mappings.dicom_layout import UNDEFINED, Element, Layout
from mappings.dicom_metadata import bulk_paths
from mappings.pixel_frames import find_frames

if TYPE_CHECKING:
    from gateway.services import Services

_PATH = re.compile(r"[0-9A-Fa-f]{8}(/\d{1,6}/[0-9A-Fa-f]{8}){0,64}")
_RANGE = re.compile(r"bytes=(\d{0,30})-(\d{0,30})", re.IGNORECASE)
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_DOCUMENT, _DOCUMENT_LENGTH = 0x00420011, 0x00420015
_NOTHING = "There is no value at this address."


@dataclass(frozen=True, slots=True)
class Value:
    """Where a value stands in the instance; in big endian its words are turned."""

    path: str
    start: int
    end: int
    word_bytes: int


def bulk_value(services: "Services", row: InstanceRow, path: str, accept: str, wanted_range: str) -> Payload:
    """One value as it is stored, in little endian. A ``wanted_range`` (RFC 9110 14.2) of a single body is heeded.

    Raises NotFound, NotAcceptable.
    """
    with opened(services.objects, row) as layout:
        value = _find(layout, path)
    part = _part(services.objects, row, value)
    for wanted in media_types.accepted(accept):
        if wanted.covers(OCTET_STREAM):
            return _ranged(services.objects, row, value, wanted_range) or single(part)
        if wanted.covers(MULTIPART_RELATED) and wanted.parameter("type").lower() in (*ANY, OCTET_STREAM):
            return multipart([part], OCTET_STREAM)
    raise NotAcceptable(f"Bulk data is given as {OCTET_STREAM}, alone or in {MULTIPART_RELATED}.")


def all_bulk_values(services: "Services", rows: Sequence[InstanceRow], accept: str, base_url: str) -> Payload:
    """Every value that metadata gives by its address but pixel data, which has a resource of its own."""
    for wanted in media_types.accepted(accept):
        if wanted.covers(MULTIPART_RELATED) and wanted.parameter("type").lower() in (*ANY, OCTET_STREAM):
            return _all_in_parts(services, rows, base_url)
    raise NotAcceptable(f'Bulk data of instances is given as {MULTIPART_RELATED}; type="{OCTET_STREAM}".')


def document_part(objects: ObjectStore, row: InstanceRow, media_type: str, location: str = "") -> Part:
    """An Encapsulated Document (0042,0011), of its Encapsulated Document Length (0042,0015). Raises NotAcceptable."""
    with opened(objects, row) as layout:
        element, told = layout.find(_DOCUMENT), layout.find(_DOCUMENT_LENGTH)
        if element is None or element.length == UNDEFINED:
            raise NotAcceptable("The instance has no document.")
        size = element.end - element.value
        if told is not None and told.end - told.value == 4:
            length = layout.buffer[told.value : told.end]
            size = min(size, int.from_bytes(length, "little" if layout.is_little else "big") or size)
    value = Value("00420011", element.value, element.value + size, 1)
    return Part(media_type, size, partial(_read, objects, row, value), location)


def native_pixels(objects: ObjectStore, row: InstanceRow, named: str, location: str) -> Part:
    """The whole pixel data of an instance that is not compressed. Raises NotAcceptable."""
    with opened(objects, row) as layout:
        found = find_frames(layout)
    value = Value("", found.element.value, found.element.end, found.word_bytes)
    return Part(named, value.end - value.start, partial(_read, objects, row, value), location)


def is_pixel_data(path: str) -> bool:
    return path.upper() in ("7FE00008", "7FE00009", "7FE00010")


def _all_in_parts(services: "Services", rows: Sequence[InstanceRow], base_url: str) -> Payload:
    """Where the values stand is looked up before the answer begins: a damaged instance is named in its head."""
    objects, made = services.objects, MadeParts(services.config.data_dir)
    for row in rows:
        url = instance_url(base_url, row)
        try:
            with opened(objects, row) as layout:
                values = [_find(layout, path) for path in bulk_paths(layout) if not is_pixel_data(path)]
        except NotAcceptable as error:
            made.miss(row, error)
        else:
            for value in values:
                made.add([_part(objects, row, value, f"{url}/bulkdata/{value.path}")])
    return made.payload(OCTET_STREAM, NotFound("There is no bulk data beside pixel data."))


def _part(objects: ObjectStore, row: InstanceRow, value: Value, location: str = "") -> Part:
    return Part(OCTET_STREAM, value.end - value.start, partial(_read, objects, row, value), location)


def _ranged(objects: ObjectStore, row: InstanceRow, value: Value, wanted: str) -> Payload | None:
    """None where no range is wanted that is heeded: then the whole is given (RFC 9110 14.2).

    Raises RequestedRangeNotSatisfiable, which is 416.
    """
    found, size = _RANGE.fullmatch(wanted.strip()), value.end - value.start
    if found is None or not (found[1] or found[2]):
        return None
    first = int(found[1]) if found[1] else max(size - int(found[2]), 0)
    last = min(int(found[2]), size - 1) if found[1] and found[2] else size - 1
    if found[1] and found[2] and int(found[2]) < int(found[1]):
        return None  # no range at all
    if last < first:
        raise RequestedRangeNotSatisfiable(size)
    headers = {"Content-Range": f"bytes {first}-{last}/{size}"}
    return Payload(
        OCTET_STREAM, last + 1 - first, _read_from(objects, row, value, first, last + 1), headers, 206
    )


def _read_from(objects: ObjectStore, row: InstanceRow, value: Value, first: int, end: int) -> Iterator[bytes]:
    """Whole words are read, of which the range is cut."""
    word = value.word_bytes
    start = value.start + first - first % word
    words = Value(value.path, start, min(value.start + -(-end // word) * word, value.end), word)
    skip, left = first % word, end - first
    for chunk in _read(objects, row, words):
        wanted = chunk[skip : skip + left]
        yield wanted
        skip, left = 0, left - len(wanted)


def _read(objects: ObjectStore, row: InstanceRow, value: Value) -> Iterator[bytes]:
    with opened(objects, row) as layout:
        for at in range(value.start, value.end, CHUNK_BYTES):
            chunk = layout.buffer[at : min(at + CHUNK_BYTES, value.end)]
            yield chunk if value.word_bytes == 1 else _turned(chunk, value.word_bytes)


def _turned(chunk: bytes, word_bytes: int) -> bytes:
    whole = len(chunk) - len(chunk) % word_bytes
    return np.frombuffer(chunk[:whole], f"<u{word_bytes}").byteswap().tobytes() + chunk[whole:]


def _find(layout: Layout, path: str) -> Value:
    """Raises NotFound, also for a sequence, which has items and no value of its own."""
    if not _PATH.fullmatch(path):
        raise NotFound(_NOTHING)
    steps = path.split("/")
    for tag, item in zip(steps[0:-1:2], steps[1::2], strict=True):
        layout = _item(layout, int(tag, 16), int(item))
    element = layout.find(int(steps[-1], 16))
    if element is None or element.vr == "SQ" or element.length == UNDEFINED:
        raise NotFound(_NOTHING)
    word = 1 if layout.is_little else _WORDS.get(element.vr, 1)
    return Value(path, element.value, element.end, word)


def _item(layout: Layout, tag: int, wanted: int) -> Layout:
    element: Element | None = layout.find(tag)
    if element is not None and (element.vr in ("SQ", "UN", "")):
        for place, item in enumerate(layout.items(element), start=1):
            if place == wanted:
                return item
    raise NotFound(_NOTHING)
