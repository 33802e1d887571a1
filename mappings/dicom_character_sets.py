"""Whether the text of a data set can be read in the character sets that it names (PS3.5 6.1, PS3.3 C.12.1.1.2).

pydicom reads on with a guess or replacement characters: another name than the sender's may be shown, and nobody told.
"""

import re
from collections.abc import Iterator

from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from mappings.dicom_values import PYDICOM_ERRORS, raw_element

_TEXT_VRS = frozenset(
    {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}
)  # those that (0008,0005) is for (PS3.5 6.1.2.3)
_SPECIFIC_CHARACTER_SET = 0x00080005
_PATIENT_GROUP = 0x0010
_DEFAULT = re.compile(r"(ISO.?(2022.)?IR.?6)?", re.IGNORECASE)
_LATIN_1 = frozenset({"ISO_IR 100", "ISO 2022 IR 100"})
_ESCAPE = b"\x1b"
_UNREAD = frozenset("\ufffd\x1b")
_MAX_DEPTH = 4
_MOST_TAGS = 3
_UNNAMED, _UNKNOWN, _UNREADABLE, _UTF_8 = range(4)
_WORDS = {
    _UNNAMED: "has letters beyond ASCII, and (0008,0005) names no character set for them",
    _UNKNOWN: "has letters beyond ASCII, and (0008,0005) names a character set that DICOM does not have",
    _UNREADABLE: "cannot be read in the character set that (0008,0005) names",
    _UTF_8: "is UTF-8 by its bytes, and (0008,0005) says ISO_IR 100",
}


def text_fault(ds: Dataset) -> str:
    """What is wrong in words, '' where nothing is. ``ds`` is as pydicom read it, no value of it converted yet.

    Text of ASCII alone is well whatever is declared: there is but one way to read it.
    """
    kinds: dict[int, int] = {}
    for tag, kind in _faulty(ds, [], 0):
        kinds.setdefault(tag, kind)
    if not kinds:
        return ""
    worst = sorted(kinds, key=lambda tag: (tag >> 16 != _PATIENT_GROUP, tag))  # who it is comes first
    alike = [tag for tag in worst if kinds[tag] == kinds[worst[0]]]
    more = f" and {len(alike) - _MOST_TAGS} more" if len(alike) > _MOST_TAGS else ""
    named = ", ".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in alike[:_MOST_TAGS])
    return f"Text may be shown wrongly: {named}{more} {_WORDS[kinds[worst[0]]]}."


def _faulty(ds: Dataset, inherited: list[str], depth: int) -> Iterator[tuple[int, int]]:
    """Tags of text with what is wrong, also of items; an item without a character set has that of what it is in."""
    declared = _declared(ds) or inherited
    for tag in list(ds.keys()):
        raw = raw_element(ds, tag)
        if raw is not None and isinstance(raw.value, bytes) and _vr(raw) in _TEXT_VRS:
            kind = _kind(ds, tag, raw.value, declared)
            if kind is not None:
                yield int(tag), kind
        elif depth < _MAX_DEPTH and (raw is None or _vr(raw) == "SQ"):
            for item in _items(ds, tag):
                yield from _faulty(item, declared, depth + 1)


def _declared(ds: Dataset) -> list[str]:
    raw = raw_element(ds, _SPECIFIC_CHARACTER_SET) if _SPECIFIC_CHARACTER_SET in ds else None
    if raw is None or not isinstance(raw.value, bytes):
        return []
    return [part.strip(" \0") for part in raw.value.decode("latin_1").split("\\")]


def _vr(raw: RawDataElement) -> str:
    return raw.VR or (dictionary_VR(raw.tag) if dictionary_has_tag(raw.tag) else "")


def _items(ds: Dataset, tag: int) -> list[Dataset]:
    try:
        element = ds[tag]
        return list(element.value or ()) if element.VR == "SQ" else []
    except PYDICOM_ERRORS:
        return []


def _kind(ds: Dataset, tag: int, value: bytes, declared: list[str]) -> int | None:
    if value.isascii() and _ESCAPE not in value:
        return None
    if all(_DEFAULT.fullmatch(one) for one in declared):
        return _UNNAMED
    if any(_is_unknown(one) for one in declared):
        return _UNKNOWN
    if _LATIN_1.issuperset(declared):
        return _UTF_8 if _is_utf_8(value) else None
    return None if _UNREAD.isdisjoint(_shown(ds, tag)) else _UNREADABLE


def _shown(ds: Dataset, tag: int) -> str:
    """As pydicom reads it, with a replacement or an escape where it cannot."""
    try:
        value = ds[tag].value
    except PYDICOM_ERRORS:
        return "".join(_UNREAD)
    return "".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value)


def _is_unknown(name: str) -> bool:
    """Not of names that are only misspelt, or are Python's: pydicom knows them."""
    if _DEFAULT.fullmatch(name):
        return False
    try:
        return convert_encodings([name])[0] == default_encoding
    except PYDICOM_ERRORS:
        return True


def _is_utf_8(value: bytes) -> bool:
    """In Latin 1, what makes UTF-8 would be A with a tilde or the like and a sign behind it: in no name."""
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not value.isascii()
