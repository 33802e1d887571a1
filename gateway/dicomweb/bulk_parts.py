"""Bulk data parts of a store request, found by the BulkDataURI of its metadata (PS3.18 8.6.1.2.2, 10.5.1.4)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from gateway.dicomweb import media_types
from gateway.dicomweb.media_types import MediaType
from gateway.errors import NotDicom, UnsupportedMediaType
from gateway.multipart import Part
from gateway.store.objects import Spool
from mappings.dicom_json import text_of
from mappings.json_to_dicom import Bulk, BulkOf
from mappings.pixel_stream import PixelStream, read_stream

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_PIXEL_DATA = "7FE00010"
_RLE = "1.2.840.10008.1.2.5"
_MPEG = "1.2.840.10008.1.2.4."
_STREAMS = frozenset(f"image/{kind}" for kind in ("jpeg", "jls", "jp2", "jpx", "j2c", "jph", "jphc"))
# Their content is not looked at: the first transfer syntax, unless the part names another of them.
_OTHER_COMPRESSED = {
    "image/dicom-rle": (_RLE,),
    "video/mpeg": tuple(_MPEG + one for one in ("100", "101")),
    "video/mpeg2": tuple(_MPEG + one for one in ("100", "101")),
    "video/mp4": tuple(_MPEG + one for one in ("102", "103", "104", "105", "106", "107", "108")),
}
_TEXT_VRS = frozenset({"LT", "ST", "UC", "UR", "UT"})
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Assembly:
    """What a data set is written with: its attributes, completed, its transfer syntax and its bulk data."""

    data_set: dict[str, Any]
    transfer_syntax_uid: str
    bulk_of: BulkOf


@dataclass(frozen=True, slots=True)
class _BulkPart:
    """It lies from ``start`` to ``end`` in the spool of all."""

    number: int
    sent: MediaType
    start: int
    end: int


class BulkParts:
    """All in one spool, for an open file of each would be too many. A location may have several: frames, in order."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._found: dict[str, list[_BulkPart]] = {}
        self._used: set[str] = set()

    def keep(self, part: Part) -> None:
        """Raises StoreUnavailable."""
        start = self._spool.size_bytes
        with part.spool.reader() as file:
            while chunk := file.read(_CHUNK_BYTES):
                self._spool.write(chunk)
        sent = media_types.parse(part.content_type)
        found = _BulkPart(part.number, sent, start, self._spool.size_bytes)
        self._found.setdefault(part.headers.get("content-location", ""), []).append(found)

    def unused(self) -> list[int]:
        """The numbers of parts that no metadata was written with."""
        idle = (parts for location, parts in self._found.items() if location not in self._used)
        return sorted(part.number for parts in idle for part in parts)

    def assemble(self, data_set: dict[str, Any]) -> Assembly:
        """Raises NotDicom where bulk data is missing or contradicts the metadata, UnsupportedMediaType."""
        pixel_uri = _bulk_data_uri(data_set, _PIXEL_DATA)
        charset = text_of(data_set, "00080005")
        frames: Sequence[Bulk] = ()
        syntax, completed = EXPLICIT_LITTLE, data_set
        if pixel_uri and _is_compressed(parts := self._of(pixel_uri)):
            syntax, completed, frames = self._compressed(parts, data_set)

        def bulk_of(vr: str, uri: str) -> Bulk | Sequence[Bulk]:
            if frames and uri == pixel_uri:
                return frames
            if vr in _TEXT_VRS and charset not in ("", "ISO_IR 6", "ISO_IR 192"):
                raise NotDicom("Text is sent as bulk data in another character set than UTF-8, ISO_IR 192.")
            return self._frames(uri, data_set) if uri == pixel_uri else self._single(uri)

        return Assembly(completed, syntax, bulk_of)

    def _of(self, uri: str) -> list[_BulkPart]:
        """Parts of that location, or of frames below it: uri/frames/1, uri/frames/2 and so on."""
        if uri in self._found:
            self._used.add(uri)
            return self._found[uri]
        frames: list[_BulkPart] = []
        while parts := self._found.get(location := f"{uri}/frames/{len(frames) + 1}"):
            self._used.add(location)
            frames += parts[:1]
        if not frames:
            raise NotDicom(
                "The metadata has a BulkDataURI of which there is no part with that Content-Location."
            )
        return frames

    def _frames(self, uri: str, data_set: dict[str, Any]) -> Bulk:
        """Uncompressed frames follow one another without a gap (PS3.5 8.1.1); one part may have them all."""
        parts = self._of(uri)
        if len(parts) == 1:
            return self._single(uri)
        _require_frames(len(parts), data_set, is_video=False)
        if len({part.end - part.start for part in parts}) > 1:
            raise NotDicom("The frames of the pixel data are of several lengths.")
        frames = [self._bulk(part.start, part.end) for part in parts]
        return Bulk(
            sum(frame.size_bytes for frame in frames),
            lambda: chain.from_iterable(frame.read() for frame in frames),
        )

    def _single(self, uri: str) -> Bulk:
        parts = self._of(uri)
        if len(parts) > 1:
            raise NotDicom("Several parts have the Content-Location of one value.")
        return self._bulk(parts[0].start, parts[0].end)

    def _bulk(self, start: int, end: int) -> Bulk:
        return Bulk(end - start, partial(_chunks, self._spool, start, end))

    def _compressed(
        self, parts: list[_BulkPart], data_set: dict[str, Any]
    ) -> tuple[str, dict[str, Any], list[Bulk]]:
        sent = parts[0].sent
        named = sent.parameter("transfer-syntax")
        if sent.essence in _OTHER_COMPRESSED or named == _RLE:
            _require_frames(len(parts), data_set, is_video=sent.essence.startswith("video/"))
            syntax = _chosen(named, [_OTHER_COMPRESSED.get(sent.essence, (_RLE,))])
            return syntax, data_set, [self._bulk(part.start, part.end) for part in parts]
        if sent.essence not in _STREAMS | {media_types.OCTET_STREAM}:
            raise UnsupportedMediaType(f"Pixel data are not taken as {_shown(sent.essence)}.")
        with self._spool.reader() as file:
            streams = [read_stream(file, part.start, part.end) for part in parts]
        _require_frames(len(parts), data_set, is_video=False)
        syntax = _chosen(named, [stream.transfer_syntaxes for stream in streams])
        return syntax, _completed(data_set, streams[0]), [self._bulk(one.start, one.end) for one in streams]


def _bulk_data_uri(data_set: dict[str, Any], tag: str) -> str:
    element = data_set.get(tag)
    uri = element.get("BulkDataURI") if isinstance(element, dict) else None
    return uri if isinstance(uri, str) else ""


def _is_compressed(parts: list[_BulkPart]) -> bool:
    """Uncompressed pixel data are application/octet-stream (10.5.1.4), unless a transfer syntax says otherwise."""
    sent = parts[0].sent
    if sent.essence in ("", media_types.OCTET_STREAM):
        return sent.parameter("transfer-syntax") not in ("", "*", EXPLICIT_LITTLE, "1.2.840.10008.1.2")
    return True


def _shown(essence: str) -> str:
    return essence[:60] if essence.isascii() and essence.isprintable() else "that media type"


def _chosen(named: str, allowed: Sequence[tuple[str, ...]]) -> str:
    """The named transfer syntax, else the usual one, if it can hold every frame."""
    choices = (named,) if named not in ("", "*") else allowed[0]
    for syntax in choices:
        if all(syntax in one for one in allowed):
            return syntax
    raise NotDicom(
        "The compressed pixel data are not of the transfer syntax that is named, or frames are of several."
    )


def _require_frames(count: int, data_set: dict[str, Any], *, is_video: bool) -> None:
    told = text_of(data_set, "00280008") or "1"
    if not is_video and told != str(count):
        raise NotDicom(f"There are {count} frames, and NumberOfFrames (0028,0008) says otherwise.")


def _require_colours(data_set: dict[str, Any], stream: PixelStream) -> None:
    """RGB and YBR are told apart by nothing else when the image is shown (PS3.5 8.2.1)."""
    photometric = text_of(data_set, "00280004")
    is_colour = photometric.startswith(("RGB", "YBR"))
    if photometric and (
        is_colour != (stream.samples == 3) or (stream.colours and stream.colours != photometric[:3])
    ):
        raise NotDicom(
            "PhotometricInterpretation (0028,0004) of the metadata differs from the compressed image, which is "
            f"{stream.photometric}."
        )


def _completed(data_set: dict[str, Any], stream: PixelStream) -> dict[str, Any]:
    """With the Image Pixel Description Macro, which may be left out (10.5.2); what is there must agree."""
    told: dict[str, tuple[str, Any]] = {
        "00280002": ("US", stream.samples),
        "00280004": ("CS", stream.photometric),
        "00280010": ("US", stream.rows),
        "00280011": ("US", stream.columns),
        "00280100": ("US", 8 if stream.bits <= 8 else 16),
        "00280101": ("US", stream.bits),
        "00280102": ("US", stream.bits - 1),
        "00280103": ("US", int(stream.is_signed)),
    }
    if stream.samples > 1:
        told["00280006"] = ("US", 0)
    for tag in ("00280002", "00280010", "00280011"):
        if (found := text_of(data_set, tag)) and found != str(told[tag][1]):
            raise NotDicom(f"({tag[:4]},{tag[4:]}) of the metadata differs from the compressed image.")
    if (bits := text_of(data_set, "00280100")).isdecimal() and int(bits) < stream.bits:
        raise NotDicom(
            f"(0028,0100) of the metadata has no room for the {stream.bits} bits of the compressed image."
        )
    _require_colours(data_set, stream)
    missing = {
        tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in told.items() if not text_of(data_set, tag)
    }
    return data_set | missing


def _chunks(spool: Spool, start: int, end: int) -> Iterator[bytes]:
    with spool.reader() as file:
        file.seek(start)
        left = end - start
        while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk
