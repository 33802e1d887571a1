"""DICOM JSON model -> data set in Explicit VR Little Endian (PS3.18 Annex F, PS3.5 7.1, A.2).

Written value by value and never held as a whole: bulk data are copied from where they lie. Text is encoded in UTF-8,
as it was in the JSON, and Specific Character Set (0008,0005) says so. What cannot be written as it was said is refused
rather than changed, but for numbers: a DS has room for 16 characters, so a longer one is rounded. Only what is whole
gets the one byte that makes an odd length even.
"""

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any

from pydicom.valuerep import format_number_as_ds

from gateway.errors import NotDicom
from mappings.dicom_nesting import MAX_DEPTH
from mappings.dicom_pixel_size import native_bytes_told
from mappings.dicom_structure import PIXEL_TAGS
from mappings.dicom_to_json import Json

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END = (0xFFFE, 0xE000), struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
_SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
_SPECIFIC_CHARACTER_SET = "00080005"
_UTF8 = {"vr": "CS", "Value": ["ISO_IR 192"]}
_TOO_DEEP = f"Sequences are nested deeper than {MAX_DEPTH}."
_TAG = re.compile("[0-9A-Fa-f]{8}")
_LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_ONE_TEXT_VRS = frozenset({"LT", "ST", "UR", "UT"})  # a backslash is a letter in them, and there is one value
_TEXT_VRS = _ONE_TEXT_VRS | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI"}
_FORMATS = {"FD": "<d", "FL": "<f", "SL": "<i", "SS": "<h", "SV": "<q", "UL": "<I", "US": "<H", "UV": "<Q"}
_WORD_BYTES = {vr: struct.calcsize(form) for vr, form in _FORMATS.items()} | {
    "AT": 4,
    "OD": 8,
    "OF": 4,
    "OL": 4,
    "OV": 8,
    "OW": 2,
}
_NUMBERS_AS_TEXT = {"NaN": float("nan"), "inf": float("inf"), "-inf": float("-inf")}  # F.2.3
_MOST_DIGITS = 20
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


@dataclass(frozen=True, slots=True)
class Bulk:
    """A Value Field that lies somewhere else; ``read`` gives it in pieces."""

    size_bytes: int
    read: Callable[[], Iterator[bytes]]


BulkOf = Callable[[str, str], Bulk | Sequence[Bulk]]
"""The bulk data of a VR and BulkDataURI: a value, or the compressed frames of an image. Raises NotDicom."""


def encode_dataset(data_set: Json, bulk_of: BulkOf) -> Iterator[bytes]:
    """The data set in pieces, without group 0002. Raises NotDicom, naming the element, where it cannot be written."""
    try:
        is_utf8 = _SPECIFIC_CHARACTER_SET in data_set or not _is_ascii(data_set)
    except RecursionError as error:
        raise NotDicom(_TOO_DEEP) from error
    return _encode(data_set | ({_SPECIFIC_CHARACTER_SET: _UTF8} if is_utf8 else {}), bulk_of, 0)


def _is_ascii(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_ascii(one) for one in value.values())
    if isinstance(value, list):
        return all(_is_ascii(one) for one in value)
    return not isinstance(value, str) or value.isascii()


def _encode(data_set: Any, bulk_of: BulkOf, depth: int) -> Iterator[bytes]:
    if not isinstance(data_set, dict):
        raise NotDicom("A data set is not a JSON object (PS3.18 F.2.2).")
    if depth > MAX_DEPTH:
        raise NotDicom(_TOO_DEEP)
    for name in data_set:
        if not _TAG.fullmatch(name) or name != name.upper():  # else one could stand there twice
            raise NotDicom(
                "An attribute of the JSON is not named by eight hexadecimal digits, in capitals (PS3.18 F.2.2)."
            )
    for name, element in sorted(data_set.items(), key=lambda pair: int(pair[0], 16)):
        tag = int(name, 16)
        if tag & 0xFFFF and tag >> 16 not in (0, 2):  # what tells of commands and encoding is no part of it
            needed = native_bytes_told(data_set, tag) if tag in PIXEL_TAGS else None
            yield from _encode_element(tag, element, bulk_of, depth, needed)


def _encode_element(
    tag: int, element: Any, bulk_of: BulkOf, depth: int, needed: int | None
) -> Iterator[bytes]:
    """``needed``: how many bytes of pixel data the data set tells of."""
    vr, kind, value = _checked(tag, element)
    if kind == "BulkDataURI":
        yield from _encode_bulk(tag, vr, bulk_of(vr, value), needed)
    elif vr == "SQ":
        yield _head(tag, vr, _UNDEFINED)
        for item in value or ():
            yield struct.pack("<HHI", *_ITEM, _UNDEFINED)
            item = {} if item is None else item
            is_utf8 = isinstance(item, dict) and _SPECIFIC_CHARACTER_SET in item
            yield from _encode(
                item | {_SPECIFIC_CHARACTER_SET: _UTF8} if is_utf8 else item, bulk_of, depth + 1
            )
            yield _ITEM_END
        yield _SEQUENCE_END
    else:
        encoded = _inline(tag, value) if kind == "InlineBinary" else _encode_values(tag, vr, value or [])
        if encoded:
            _require_whole(tag, vr, len(encoded), needed)
        encoded += _padding(vr) * (len(encoded) % 2)
        yield _head(tag, vr, len(encoded)) + encoded


def _checked(tag: int, element: Any) -> tuple[str, str, Any]:
    """VR, which of the three kinds of value, and the value."""
    vr = element.get("vr") if isinstance(element, dict) else None
    if not (
        isinstance(vr, str) and (vr in _TEXT_VRS or vr in _FORMATS or vr in _BINARY_VRS or vr in ("AT", "SQ"))
    ):
        raise NotDicom(f"{_name(tag)} has no vr, or one that PS3.5 6.2 does not have.")
    kinds = [kind for kind in ("Value", "InlineBinary", "BulkDataURI") if kind in element]
    if len(kinds) > 1:
        raise NotDicom(f"{_name(tag)} has {' and '.join(kinds)}; there may be one of them (PS3.18 F.2.2).")
    kind = kinds[0] if kinds else "Value"
    value = element.get(kind)
    is_right = isinstance(value, list | None) if kind == "Value" else isinstance(value, str)
    if not is_right or (kind == "Value" and value and vr in _BINARY_VRS) or (kind != "Value" and vr == "SQ"):
        raise NotDicom(f"{kind} of {_name(tag)} is not what its vr {vr} has (PS3.18 F.2.2).")
    return vr, kind, value


def _head(tag: int, vr: str, length: int) -> bytes:
    group, element = tag >> 16, tag & 0xFFFF
    if vr in _LONG_VRS:
        return struct.pack("<HH2s2xI", group, element, vr.encode(), length)
    if length > 0xFFFE:
        raise NotDicom(f"{_name(tag)} has {length} bytes, and its vr {vr} has room for 65534 (PS3.5 7.1.2).")
    return struct.pack("<HH2sH", group, element, vr.encode(), length)


def _require_whole(tag: int, vr: str, size: int, needed: int | None) -> None:
    """Pixel data are as long as the data set says, and other binary values have whole words (PS3.5 6.2, 8.1.1)."""
    if needed is not None:
        if size not in (needed, needed + needed % 2):
            raise NotDicom(f"{_name(tag)} needs {needed} bytes by the metadata, and has {size}.")
    elif size % (2 if tag in PIXEL_TAGS else 1) or size % _WORD_BYTES.get(vr, 1):
        raise NotDicom(
            f"{_name(tag)} has {size} bytes, which are no whole values of its vr {vr} (PS3.5 6.2)."
        )


def _encode_bulk(tag: int, vr: str, bulk: Bulk | Sequence[Bulk], needed: int | None) -> Iterator[bytes]:
    if not isinstance(bulk, Bulk):
        yield from _encapsulate(tag, bulk)
        return
    _require_whole(tag, vr, bulk.size_bytes, needed)
    size = bulk.size_bytes + bulk.size_bytes % 2
    if size >= _UNDEFINED:
        raise NotDicom(f"The bulk data of {_name(tag)} have 4 GiB or more, which no data element can hold.")
    yield _head(tag, vr, size)
    yield from bulk.read()
    yield _padding(vr) * (bulk.size_bytes % 2)


def _encapsulate(tag: int, frames: Sequence[Bulk]) -> Iterator[bytes]:
    """One fragment for each frame, with a Basic Offset Table where there are several (PS3.5 A.4)."""
    sizes = [frame.size_bytes + frame.size_bytes % 2 for frame in frames]
    offsets = [0, *accumulate(8 + size for size in sizes[:-1])]
    if max(sizes, default=0) >= _UNDEFINED:
        raise NotDicom("A compressed frame has 4 GiB or more, which no fragment can hold.")
    table = struct.pack(f"<{len(offsets)}I", *offsets) if len(sizes) > 1 and offsets[-1] < _UNDEFINED else b""
    yield _head(tag, "OB", _UNDEFINED)
    yield struct.pack("<HHI", *_ITEM, len(table)) + table
    for frame, size in zip(frames, sizes, strict=True):
        yield struct.pack("<HHI", *_ITEM, size)
        yield from frame.read()
        yield b"\0" * (frame.size_bytes % 2)
    yield _SEQUENCE_END


def _inline(tag: int, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotDicom(f"InlineBinary of {_name(tag)} is not base64 (PS3.18 F.2.7).") from error


def _encode_values(tag: int, vr: str, values: list[Any]) -> bytes:
    try:
        if vr == "AT":
            return b"".join(_tag(value) for value in values)
        if vr in _FORMATS:
            return b"".join(struct.pack(_FORMATS[vr], _number(vr, value)) for value in values)
        return "\\".join(_text(vr, value) for value in _as_one(vr, values)).encode()
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
        raise NotDicom(f"A value of {_name(tag)} is not what its vr {vr} can hold (PS3.18 F.2.3).") from error


def _as_one(vr: str, values: list[Any]) -> list[Any]:
    if vr in _ONE_TEXT_VRS and len(values) > 1:
        raise ValueError
    return values


def _tag(value: Any) -> bytes:
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise ValueError
    return struct.pack("<HH", int(value[:4], 16), int(value[4:], 16))


def _number(vr: str, value: Any) -> Any:
    if vr not in ("FD", "FL"):
        return _integer(value)
    if isinstance(value, str):
        return _NUMBERS_AS_TEXT[value]
    if not math.isfinite(float(value)):  # 1E+400 is a number in JSON
        raise ValueError
    return float(value)


def _integer(value: Any) -> int:
    """A short exponent can write a number of a billion digits, which int would work out."""
    if isinstance(value, bool) or (isinstance(value, Decimal) and value.adjusted() > _MOST_DIGITS):
        raise ValueError
    if not isinstance(value, str) and value != int(value):
        raise ValueError
    return int(value)


def _text(vr: str, value: Any) -> str:
    if value is None:
        return ""
    if vr == "PN":
        return _name_text(value)
    if vr in ("DS", "IS") and not isinstance(value, str):
        return _number_text(vr, value)
    if not isinstance(value, str) or ("\\" in value and vr not in _ONE_TEXT_VRS):
        raise ValueError
    return value


def _number_text(vr: str, value: Any) -> str:
    if isinstance(value, bool):
        raise ValueError
    found = str(_integer(value)) if vr == "IS" else str(value)
    return found if len(found) <= 16 else format_number_as_ds(float(value))


def _name_text(value: Any) -> str:
    """The component groups by = (PS3.5 6.2.1); a plain text is taken for what it is."""
    if isinstance(value, str):
        found = value
    elif (
        isinstance(value, dict)
        and value.keys() <= set(_NAME_GROUPS)
        and all(isinstance(group, str) and "=" not in group for group in value.values())
    ):
        found = "=".join(value.get(group, "") for group in _NAME_GROUPS).rstrip("=")
    else:
        raise ValueError
    if "\\" in found:
        raise ValueError
    return found


def _padding(vr: str) -> bytes:
    return b" " if vr in _TEXT_VRS and vr != "UI" else b"\0"


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
