"""DICOM data set -> DICOM JSON model (PS3.18 Annex F), without a value ever being refused.

A value that breaks its VR is written as text rather than left out: the reader sees what the file says.
"""

import base64
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import STANDARD_VR, PersonName

from mappings.dicom_layout import PIXEL_TAGS
from mappings.dicom_nesting import MAX_DEPTH
from mappings.dicom_values import PYDICOM_ERRORS, clean, clean_long, name_groups, raw_element

BULK_THRESHOLD_BYTES = 1024
TOO_DEEP = f"has sequences nested deeper than {MAX_DEPTH}"
_SPECIFIC_CHARACTER_SET = 0x00080005
_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_INTEGER_VRS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_DECIMAL_VRS = frozenset({"DS", "FD", "FL"})
_SPELT_VRS = frozenset({"DS", "IS"})
_LONG_TEXT_VRS = frozenset({"LT", "ST", "UC", "UT"})
_INTEGER = re.compile(r"[+-]?\d{1,15}")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NOT_FINITE = {"nan": "NaN", "inf": "inf", "-inf": "-inf"}

BulkUri = Callable[[str], str]
"""The address of the bulk data at a path of tags and item numbers: ``7FE00010``, ``54000100/1/54001010``."""

Json = dict[str, Any]


LeftOut = Callable[[str, str], None]
"""Is told the path of an element whose value cannot be given, and why."""


class _Writing(NamedTuple):
    bulk_uri: BulkUri | None
    left_out: LeftOut
    is_spelt: bool


def select_json(
    dataset: Dataset,
    tags: Iterable[int],
    bulk_uri: BulkUri | None = None,
    left_out: LeftOut = lambda _path, _why: None,
    *,
    is_spelt: bool = False,
) -> Json:
    """Only the elements of ``tags``, without Specific Character Set, which is always ISO_IR 192 (F.2).

    Binary values over 1 KiB and pixel data are BulkDataURI; without ``bulk_uri`` they are left out. With ``is_spelt``,
    DS and IS are texts, as they are written in the file.
    """
    wanted = sorted(tag for tag in tags if tag in dataset and tag != _SPECIFIC_CHARACTER_SET)
    writing = _Writing(bulk_uri, left_out, is_spelt)
    return {f"{tag:08X}": _element(dataset, BaseTag(tag), writing, "", 0) for tag in wanted}


def _dataset(dataset: Dataset, writing: _Writing, path: str, depth: int) -> Json:
    found = {}
    for tag in sorted(dataset.keys()):
        if tag.element == 0:  # group lengths describe the file's encoding, not its content
            continue
        found[f"{tag:08X}"] = _element(dataset, tag, writing, path, depth)
    if f"{_SPECIFIC_CHARACTER_SET:08X}" in found:
        found[f"{_SPECIFIC_CHARACTER_SET:08X}"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return found


def _element(dataset: Dataset, tag: BaseTag, writing: _Writing, path: str, depth: int) -> Json:
    path = f"{path}{tag:08X}"
    try:
        element = dataset[tag]
        vr = element.VR
        if vr == "SQ":
            return _sequence(element, writing, path, depth)
        if vr in _BINARY_VRS or isinstance(element.value, bytes):
            return _binary(tag, vr, element.value, writing.bulk_uri, path)
        as_written = writing.is_spelt and vr in _SPELT_VRS
        return _with_values(vr, [_value("LO" if as_written else vr, one) for one in _values(element)])
    except PYDICOM_ERRORS:
        found = _unreadable(raw_element(dataset, tag))
        if not found.keys() & {"Value", "InlineBinary"}:
            writing.left_out(path, "cannot be read")
        return found


def _sequence(element: DataElement, writing: _Writing, path: str, depth: int) -> Json:
    if depth >= MAX_DEPTH:
        writing.left_out(path, TOO_DEEP)
        return {"vr": "SQ"}
    parts = enumerate(element.value or (), start=1)
    return _with_values("SQ", [_dataset(item, writing, f"{path}/{at}/", depth + 1) for at, item in parts])


def _binary(tag: int, vr: str, value: Any, bulk_uri: BulkUri | None, path: str) -> Json:
    vr = vr if vr in _BINARY_VRS else "UN"
    content = value if isinstance(value, bytes) else b""
    if tag in PIXEL_TAGS or len(content) > BULK_THRESHOLD_BYTES:
        return {"vr": vr, "BulkDataURI": bulk_uri(path)} if bulk_uri else {"vr": vr}
    return {"vr": vr, "InlineBinary": base64.b64encode(content).decode()} if content else {"vr": vr}


def _values(element: DataElement) -> list[Any]:
    value = element.value
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, MultiValue | list) else [value]


def _value(vr: str, value: Any) -> Any:
    if vr == "PN":
        return _person_name(value)
    if vr == "AT":
        return f"{int(value):08X}"
    if value is None:
        return None
    if vr in _INTEGER_VRS:
        return int(value) if _INTEGER.fullmatch(str(value)) else clean(str(value))
    if vr in _DECIMAL_VRS:
        return _decimal(str(value))
    return (clean_long if vr in _LONG_TEXT_VRS else clean)(str(value)) or None


def _decimal(found: str) -> Any:
    """A number where JSON has one for it; F.2.3 gives NaN and infinity as strings."""
    if _DECIMAL.fullmatch(found):
        number = float(found)
        return number if math.isfinite(number) else found
    return _NOT_FINITE.get(found, clean(found) or None)


def _person_name(value: Any) -> Json | None:
    groups = name_groups(value if isinstance(value, PersonName) else PersonName(str(value)))
    labels = ("Alphabetic", "Ideographic", "Phonetic")
    return {label: group for label, group in zip(labels, groups, strict=True) if group} or None


def _with_values(vr: str, values: list[Any]) -> Json:
    return {"vr": vr, "Value": values} if any(value is not None for value in values) else {"vr": vr}


def _unreadable(raw: RawDataElement | None) -> Json:
    """An element that does not convert: its text as it stands, or its bytes where its VR is none of PS3.5 6.2."""
    if raw is None:
        return {"vr": "UN"}
    vr = raw.VR or "UN"
    if vr not in STANDARD_VR:
        return _binary(raw.tag, "UN", raw.value, None, "")
    if raw.value is None or vr in _BINARY_VRS or vr == "SQ":
        return {"vr": vr}
    return _with_values(vr, [clean(part) or None for part in raw.value.decode("latin_1").split("\\")])
