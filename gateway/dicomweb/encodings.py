"""In which media type and transfer syntax something stored is given (PS3.18 8.7.3)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.dicomweb.media_types import DICOM, MULTIPART_RELATED, MediaType
from mappings.dicom_structure import EXPLICIT_LITTLE
from mappings.pixel_frames import NATIVE_LITTLE
from mappings.pixel_syntaxes import ENCODED

OCTET_STREAM = "application/octet-stream"
ANY = ("", "*/*")
ANY_APPLICATION = "application/*"
STORED = "*"

_JPEG = "1.2.840.10008.1.2.4."
MEDIA_TYPES = {
    "image/jpeg": (f"{_JPEG}70", f"{_JPEG}50", f"{_JPEG}51", f"{_JPEG}57"),
    "image/dicom-rle": ("1.2.840.10008.1.2.5",),
    "image/x-dicom-rle": ("1.2.840.10008.1.2.5",),
    "image/jls": (f"{_JPEG}80", f"{_JPEG}81"),
    "image/x-jls": (f"{_JPEG}80", f"{_JPEG}81"),
    "image/jp2": (f"{_JPEG}90", f"{_JPEG}91"),
    "image/jpx": (f"{_JPEG}92", f"{_JPEG}93"),
    "image/jphc": (f"{_JPEG}201", f"{_JPEG}202", f"{_JPEG}203"),
    "image/jxl": (f"{_JPEG}110", f"{_JPEG}111", f"{_JPEG}112"),
    "video/mpeg": (f"{_JPEG}100", f"{_JPEG}101", f"{_JPEG}100.1", f"{_JPEG}101.1"),
    "video/mp4": (
        *(f"{_JPEG}{last}" for last in (102, 103, 104, 105, 106)),
        *(f"{_JPEG}{last}.1" for last in (102, 103, 104, 105, 106)),
    ),
    "video/H265": (f"{_JPEG}107", f"{_JPEG}108"),
}
"""Of compressed bulk data (Table 8.7.3-5), the default transfer syntax first; of RLE and JPEG-LS by two names."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """``transfer_syntax`` is EXPLICIT_LITTLE, one of ENCODED, or STORED. Several parts need ``is_multipart``."""

    media_type: str
    transfer_syntax: str
    is_multipart: bool


def instance_encodings(wanted: Iterable[MediaType], stored: frozenset[str]) -> Iterator[Encoding]:
    """How instances may be given, the most wanted first; without a transfer syntax it is Explicit VR Little Endian.

    ``stored`` are those in which they are stored (8.7.3.5.2).
    """
    for one in wanted:
        syntax = _instance_syntax(one.parameter("transfer-syntax"), stored)
        if not syntax:
            continue
        if one.essence in (DICOM, ANY_APPLICATION):
            yield Encoding(DICOM, syntax, is_multipart=False)
        elif one.covers(MULTIPART_RELATED, DICOM) and one.parameter("type").lower() in (*ANY, DICOM):
            yield Encoding(DICOM, syntax, is_multipart=True)


def _instance_syntax(told: str, stored: frozenset[str]) -> str:
    if told == STORED or stored == {told}:
        return STORED
    told = told or EXPLICIT_LITTLE
    return told if told == EXPLICIT_LITTLE or told in ENCODED else ""


def frame_encodings(wanted: Iterable[MediaType], stored: str) -> Iterator[Encoding]:
    """How frames may be given, the most wanted first; ``stored`` is the transfer syntax of the instance."""
    for one in wanted:
        is_multipart = one.covers(MULTIPART_RELATED)
        media_type = one.parameter("type").lower() if is_multipart else one.essence
        for encoding in _frames_as(media_type, one.parameter("transfer-syntax"), stored, is_multipart):
            if not one.refuses(encoding.media_type):
                yield encoding


def _frames_as(media_type: str, told: str, stored: str, is_multipart: bool) -> Iterator[Encoding]:
    if media_type.endswith("/*") and media_type not in ANY:
        for one in _of_kind(media_type, stored):
            yield from _frames_as(one, told, stored, is_multipart)
        return
    if media_type in (*ANY, OCTET_STREAM):
        syntax = _frame_syntax(told, stored)
        if syntax:
            named = (
                stored_media_type(stored) if syntax == STORED and media_type != OCTET_STREAM else OCTET_STREAM
            )
            yield Encoding(named, syntax, is_multipart)
        if media_type != OCTET_STREAM and not told:  # rather as it is than not at all
            yield Encoding(stored_media_type(stored), STORED, is_multipart)
        return
    allowed = next((known for name, known in MEDIA_TYPES.items() if name.lower() == media_type), ())
    if not allowed or (told and told != STORED and told not in allowed):
        return
    if stored in allowed and told in ("", STORED, stored):
        yield Encoding(media_type, STORED, is_multipart)
    elif (told or allowed[0]) in ENCODED:
        yield Encoding(media_type, told or allowed[0], is_multipart)


def _frame_syntax(told: str, stored: str) -> str:
    if told == STORED or (told == stored and stored not in NATIVE_LITTLE):
        return STORED
    return _instance_syntax(told, frozenset())


def _of_kind(media_range: str, stored: str) -> list[str]:
    """The media types of a range such as image/*, that of what is stored first: a range is none itself."""
    kinds = (stored_media_type(stored), OCTET_STREAM, *MEDIA_TYPES)
    found = (name.lower() for name in kinds if name.lower().startswith(media_range.rstrip("*")))
    return list(dict.fromkeys(found))


def stored_media_type(syntax: str) -> str:
    """The media type of frames as they are stored."""
    return next((name for name, known in MEDIA_TYPES.items() if syntax in known), OCTET_STREAM)
