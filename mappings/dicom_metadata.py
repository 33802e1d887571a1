"""Stored data sets -> DICOM JSON text (PS3.18 F), fast for many instances of one study.

Slices of a series have the same bytes in most of their elements: each different element is converted once, by
``dicom_to_json``, and its text used again.
"""

import json
from collections.abc import Callable
from typing import NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset

from gateway.errors import NotDicom
from mappings.dicom_layout import PIXEL_TAGS, UNDEFINED, Element, Layout, StoredLayout
from mappings.dicom_to_json import BULK_THRESHOLD_BYTES, TOO_DEEP, Json, select_json

MAX_HEADER_BYTES = 64 * 1024 * 1024
MAX_KEPT_BYTES = 16 * 1024 * 1024
_MAX_CONTEXT_BYTES = 64
_CHARACTER_SET = 0x00080005
_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_UTF_8 = '"00080005":{"vr":"CS","Value":["ISO_IR 192"]}'

BulkUri = Callable[[str], str]


class Written(NamedTuple):
    """One JSON object, and in words each thing that the data set has and it does not; nothing of the record."""

    text: str
    left_out: list[str]


class MetadataWriter:
    """Writes the metadata of one instance after another, and remembers texts for as long as one answer is made.

    ``is_spelt``: DS and IS are texts, as the file has them, which XML keeps and a number of JSON would not.
    """

    def __init__(self, *, is_spelt: bool = False) -> None:
        self._is_spelt = is_spelt
        self._texts: dict[bytes, dict[bytes, str]] = {}
        self._kept_bytes = 0

    def write(self, layout: StoredLayout, bulk_uri: BulkUri) -> Written:
        """Raises NotDicom where the data set cannot be read at all, or its header is too large."""
        elements, left_out = _readable(layout)
        context = b"".join(layout.buffer[one.start : one.end] for one in elements if _is_context(one))
        known = self._known(layout, context)
        found: dict[int, str] = {}
        missing: dict[int, bytes] = {}
        size = 0
        for element in elements:
            tag = element.tag
            if not tag & 0xFFFF:  # group lengths describe the file's encoding, not its content
                continue
            if element.is_deep:
                left_out.append(f"{_name(tag)} {TOO_DEEP}.")
                found[tag] = f'"{tag:08X}":{{"vr":"SQ"}}'
                continue
            if (element.length > BULK_THRESHOLD_BYTES or tag in PIXEL_TAGS) and _is_bulk(element):
                found[tag] = _bulk(element, bulk_uri)
                continue
            size += element.end - element.start
            if size > MAX_HEADER_BYTES:
                raise NotDicom(f"The header has more than {MAX_HEADER_BYTES} bytes.")
            encoded = layout.buffer[element.start : element.end]
            if text := known.get(encoded):
                found[tag] = text
            else:
                missing[tag] = encoded
        if missing:
            dataset = layout.parse(context + b"".join(missing.values()))
            found |= self._converted(dataset, missing, bulk_uri, known, left_out)
        if _CHARACTER_SET in found:
            found[_CHARACTER_SET] = _UTF_8
        return Written("{" + ",".join([found[tag] for tag in sorted(found)]) + "}", left_out)

    def _known(self, layout: Layout, context: bytes) -> dict[bytes, str]:
        """Texts of elements that stood among the same others that decide how to read them."""
        if self._kept_bytes > MAX_KEPT_BYTES:
            self._texts, self._kept_bytes = {}, 0
        return self._texts.setdefault(bytes([layout.is_implicit, layout.is_little]) + context, {})

    def _converted(
        self,
        dataset: Dataset,
        missing: dict[int, bytes],
        bulk_uri: BulkUri,
        known: dict[bytes, str],
        left_out: list[str],
    ) -> dict[int, str]:
        """The texts of those elements; one is not remembered that has bulk data inside, as its address is its own, or
        of which something is left out, as that is to be told each time."""
        own: set[str] = set()

        def uri(path: str) -> str:
            own.add(path[:8])
            return bulk_uri(path)

        def leave_out(path: str, why: str) -> None:
            own.add(path[:8])
            left_out.append(f"{_name(int(path[:8], 16))} {why}.")

        found = {_CHARACTER_SET: _UTF_8} if _CHARACTER_SET in missing else {}
        for name, value in select_json(dataset, missing, uri, leave_out, is_spelt=self._is_spelt).items():
            tag = int(name, 16)
            found[tag] = text = f'"{name}":{_json(value)}'
            if name not in own:
                known[missing[tag]] = text
                self._kept_bytes += len(missing[tag]) + len(text)
        return found


def bulk_paths(layout: StoredLayout) -> list[str]:
    """Of everything that metadata gives by its address. Raises NotDicom."""
    found: list[str] = []

    def remember(path: str) -> str:
        found.append(path)
        return path

    MetadataWriter().write(layout, remember)
    return found


def _readable(layout: Layout) -> tuple[list[Element], list[str]]:
    """The elements up to where the file cannot be read further, and why. Raises NotDicom where that is the first."""
    found: list[Element] = []
    try:
        found.extend(layout)
    except NotDicom as error:
        if not found:
            raise
        return found, [f"What stands behind {_name(found[-1].tag)} cannot be read. {error}"]
    if len({element.tag for element in found}) < len(found):
        return found, ["An element stands twice, and is given once."]
    return found, []


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _is_context(element: Element) -> bool:
    """What decides how other elements are read: character set, pixel description, private creators."""
    tag = element.tag
    if element.length > _MAX_CONTEXT_BYTES:
        return False
    return (
        tag == _CHARACTER_SET or tag >> 16 == 0x0028 or (bool(tag & 0x10000) and 0x10 <= tag & 0xFFFF <= 0xFF)
    )


def _is_bulk(element: Element) -> bool:
    """Pixel data, or binary as far as can be told without the value. Of undefined length is what has items."""
    if element.tag in PIXEL_TAGS:
        return True
    return element.length != UNDEFINED and (element.vr or _usual_vr(element.tag)) in _BINARY_VRS


def _usual_vr(tag: int) -> str:
    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def _bulk(element: Element, bulk_uri: BulkUri) -> str:
    name = f"{element.tag:08X}"
    vr = element.vr or ("OW" if element.tag in PIXEL_TAGS else _usual_vr(element.tag))
    return f'"{name}":{_json({"vr": vr, "BulkDataURI": bulk_uri(name)})}'


def _json(value: Json) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
