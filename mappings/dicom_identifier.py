"""Identifiers of C-FIND (PS3.4 C.4.1.1.3): the keys of a request, and the attributes that answer them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from mappings.dicom_answer_character_sets import pieces_of, true_character_sets
from mappings.dicom_to_json import Json
from mappings.dicom_values import PYDICOM_ERRORS, clean, texts

_SPECIFIC_CHARACTER_SET = 0x00080005
_NO_KEYS = frozenset({_SPECIFIC_CHARACTER_SET, 0x00080052, 0x00080053})  # and Query/Retrieve Level, View
_SPELT = frozenset({"DS", "IS"})
_BY_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # PS3.5 6.1.2.3


@dataclass(frozen=True, slots=True)
class AskedKey:
    """A key attribute. ``value`` is '' where all match; several values are divided by a backslash.

    ``keyword`` is '' for what PS3.6 does not know. A sequence has the keys of its one item instead of a value.
    """

    tag: int
    keyword: str
    value: str
    items: tuple["AskedKey", ...] = ()


def asked_keys(identifier: Dataset) -> list[AskedKey]:
    return [_asked(element) for element in identifier if _is_key(element)]


def _is_key(element: DataElement) -> bool:
    """Group lengths and private creators say how the rest is encoded."""
    return element.tag not in _NO_KEYS and element.tag.element != 0 and not element.tag.is_private_creator


def _asked(element: DataElement) -> AskedKey:
    tag, keyword = int(element.tag), keyword_for_tag(element.tag)
    if element.VR == "SQ":
        items = [asked_keys(item) for item in element.value or ()]
        return AskedKey(tag, keyword, "", tuple(items[0]) if items else ())
    value = element.value
    values = value if isinstance(value, MultiValue | list) else [value]
    return AskedKey(tag, keyword, "\\".join(clean(str(one)) for one in values if one is not None))


def answer(match: Json, asked: Sequence[AskedKey], always: Json, character_sets: Sequence[str]) -> Dataset:
    """The attributes that were asked for, and ``always``; without a value where the match has none.

    ``character_sets`` are those of the request: the answer is in them where they can hold it, else in UTF-8.
    """
    ds = Dataset()
    for key in asked:
        _add(ds, key.tag, _answering(match.get(f"{key.tag:08X}"), key))
    for tag, element in always.items():
        _add(ds, int(tag, 16), element)
    chosen = true_character_sets(character_sets, set(_pieces(ds)))
    if chosen:
        ds.SpecificCharacterSet = chosen[0] if len(chosen) == 1 else list(chosen)
    return ds


def _answering(element: Json | None, key: AskedKey) -> Json:
    if element is None:
        return {"vr": _vr(key)}
    if not key.items:
        return element
    items = [_chosen(item, key.items) for item in element.get("Value", ()) if _matches(item, key.items)]
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def _vr(key: AskedKey) -> str:
    """One, where PS3.6 leaves a choice: OW of OB or OW, US of US or SS."""
    *_, last = choices = dictionary_VR(key.tag).split(" or ") if key.keyword else ["UN"]
    return last if last == "OW" else choices[0]


def _chosen(item: Json, asked: Sequence[AskedKey]) -> Json:
    return {f"{key.tag:08X}": _answering(item.get(f"{key.tag:08X}"), key) for key in asked}


def _matches(item: Json, asked: Iterable[AskedKey]) -> bool:
    """Only the items that match are answered (C.2.2.2.6)."""
    return all(
        any(
            _pattern(key.value).fullmatch(str(value))
            for value in item.get(f"{key.tag:08X}", {}).get("Value", ())
        )
        for key in asked
        if key.value.strip("*")
    )


def _pattern(value: str) -> re.Pattern[str]:
    pieces = (re.escape(piece) for piece in re.split(r"([*?])", value))
    return re.compile("".join({r"\*": ".*", r"\?": "."}.get(piece, piece) for piece in pieces), re.DOTALL)


def _add(ds: Dataset, tag: int, element: Json) -> None:
    """A value that its VR cannot hold is left out."""
    try:
        ds.add(_element(tag, element))
    except PYDICOM_ERRORS:
        ds.add(DataElement(tag, element["vr"], None))


def _element(tag: int, element: Json) -> DataElement:
    """Numbers that come as texts are written as they are spelt."""
    values = element.get("Value", ())
    if element["vr"] == "SQ":
        return DataElement(tag, "SQ", [_item(item) for item in values])
    if element["vr"] in _SPELT and any(isinstance(value, str) for value in values):
        return DataElement(
            tag, element["vr"], "\\".join("" if value is None else str(value) for value in values)
        )
    return Dataset.from_json({f"{tag:08X}": element})[tag]


def _item(item: Json) -> Dataset:
    ds = Dataset()
    for tag, element in item.items():
        _add(ds, int(tag, 16), element)
    return ds


def _pieces(ds: Dataset) -> Iterator[str]:
    for element in ds.iterall():
        if element.VR in _BY_CHARACTER_SET:
            values: Any = element.value
            for value in values if isinstance(values, MultiValue | list) else [values]:
                yield from pieces_of(element.VR, str(value)) if value is not None else ()


def character_sets(identifier: Dataset) -> list[str]:
    """Specific Character Set (0008,0005) of a request, [] where it is absent."""
    return texts(identifier, "SpecificCharacterSet")
