"""Where each element of a stored data set stands in its bytes, without reading its value (PS3.5 7).

The file is mapped into memory: of a large one only the pages that are looked at are read.
"""

import mmap
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, NamedTuple

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from gateway.errors import NotDicom
from mappings.dicom_nesting import MAX_DEPTH
from mappings.dicom_source import MAX_INFLATED_BYTES, InflatedSource
from mappings.dicom_structure import DEFLATED_LITTLE, EXPLICIT_BIG, find_dataset

UNDEFINED = 0xFFFFFFFF
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV"}) | frozenset(
    {b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_SHORT_VRS = {
    name.encode(): name
    for name in [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FL",
        "FD",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "TM",
        "UI",
        "UL",
        "US",
    ]
}  # a length of 16 bits (PS3.5 Table 7.1-2)
_CHUNK_BYTES = 1024 * 1024
_MOST_DEPTH = 10_000  # bounds memory

Buffer = mmap.mmap | bytes


class Element(NamedTuple):
    """``vr`` is '' where the encoding has none. ``value`` to ``end`` are its bytes; of one of undefined length
    (``length`` UNDEFINED) with every item and delimiter. ``is_deep``: such ones are nested in it deeper than MAX_DEPTH.
    """

    tag: int
    vr: str
    start: int
    value: int
    length: int
    end: int
    is_deep: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A data set, or an item of one, inside ``buffer``."""

    buffer: Buffer
    start: int
    end: int
    is_implicit: bool
    is_little: bool

    def __iter__(self) -> Iterator[Element]:
        """In the order of the file. Raises NotDicom where it cannot be read further.

        Pixel data that is cut off ends with the file.
        """
        at, heads = self.start, _Heads(self.is_implicit, self.is_little)
        while at + 8 <= self.end:
            tag, vr, value, length = heads.read(self.buffer, at)
            if not tag:  # padding after the last element
                return
            is_deep = False
            if length == UNDEFINED:
                end, is_deep = self._end_of_undefined(tag, vr, value)
            else:
                end = value + length
            if end > self.end:
                if tag not in PIXEL_TAGS or value > self.end:
                    raise NotDicom(f"Element ({tag >> 16:04X},{tag & 0xFFFF:04X}) ends after the file.")
                end = self.end
            yield Element(tag, vr, at, value, length, end, is_deep)
            at = end

    def _end_of_undefined(self, tag: int, vr: str, value: int) -> tuple[int, bool]:
        try:
            return _end_of_undefined(self, value, _Open(True, self.is_implicit or vr == "UN"))
        except NotDicom:
            if tag not in PIXEL_TAGS:
                raise
            return self.end, False

    def find(self, tag: int) -> Element | None:
        return next((element for element in self if element.tag == tag), None)

    def items(self, element: Element) -> "Iterator[Layout]":
        """The items of a sequence; of encapsulated pixel data its fragments."""
        is_implicit = self.is_implicit or (element.vr == "UN" and element.length == UNDEFINED)
        at = element.value
        while at + 8 <= element.end:
            tag, length = _tag_and_length(self.buffer, at, self.is_little)
            if tag != _ITEM:
                return
            end = at + 8 + length
            if length == UNDEFINED:
                inside = Layout(self.buffer, at + 8, element.end, is_implicit, self.is_little)
                end, _ = _end_of_undefined(inside, at + 8, _Open(False, is_implicit))
                yield Layout(self.buffer, at + 8, end - 8, is_implicit, self.is_little)
            else:
                yield Layout(self.buffer, at + 8, min(end, element.end), is_implicit, self.is_little)
            at = end

    def select(self, wanted: frozenset[int], max_bytes: int) -> Dataset:
        """Only the elements of those tags, each of ``max_bytes`` at most, and none from the pixel data on."""
        found = []
        last = max(wanted)
        for element in self:
            if element.tag in PIXEL_TAGS or element.tag > last:
                break
            if element.tag in wanted and element.end - element.start <= max_bytes:
                found.append(self.buffer[element.start : element.end])
        return self.parse(b"".join(found))

    def parse(self, elements: bytes) -> Dataset:
        """Elements in this layout's encoding, read by pydicom. Raises NotDicom where they are nested too deep."""
        try:
            return read_dataset(BytesIO(elements), self.is_implicit, self.is_little)
        except RecursionError as error:
            raise NotDicom("Sequences are nested too deep.") from error


@dataclass(frozen=True, slots=True)
class StoredLayout(Layout):
    """The data set of a Part 10 file."""

    transfer_syntax_uid: str = ""


@contextmanager
def open_layout(file: BinaryIO, inflated_bytes: int = MAX_INFLATED_BYTES) -> Iterator[StoredLayout]:
    """The data set of a file of this machine. Raises NotDicom.

    A deflated one is inflated into a temporary file, up to ``inflated_bytes``, where it is cut off.
    """
    transfer_syntax_uid, start = find_dataset(file)
    if transfer_syntax_uid == DEFLATED_LITTLE:
        with tempfile.TemporaryFile() as inflated:
            source = InflatedSource(file)
            while source.at < inflated_bytes and (
                chunk := source.read(min(_CHUNK_BYTES, inflated_bytes - source.at))
            ):
                inflated.write(chunk)
            inflated.flush()
            with _mapped(inflated) as buffer:
                yield _layout(buffer, 0, transfer_syntax_uid)
    else:
        with _mapped(file) as buffer:
            yield _layout(buffer, start, transfer_syntax_uid)


@contextmanager
def _mapped(file: BinaryIO) -> Iterator[Buffer]:
    try:
        buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise NotDicom("The file has no data set.") from error
    try:
        yield buffer
    finally:
        with suppress(BufferError):  # an array still looks at it, and closes it when it goes
            buffer.close()


def _layout(buffer: Buffer, start: int, transfer_syntax_uid: str) -> StoredLayout:
    is_implicit = not _is_vr(buffer[start + 4 : start + 6])
    is_little = transfer_syntax_uid != EXPLICIT_BIG
    return StoredLayout(buffer, start, len(buffer), is_implicit, is_little, transfer_syntax_uid)


class _Heads:
    """Reads the tag, VR and length of elements."""

    def __init__(self, is_implicit: bool, is_little: bool) -> None:
        order = "<" if is_little else ">"
        self.is_implicit = is_implicit
        self._explicit = struct.Struct(f"{order}HH2sH")
        self._implicit = struct.Struct(f"{order}HHI")
        self._long = struct.Struct(f"{order}I")

    def read(self, buffer: Buffer, at: int) -> tuple[int, str, int, int]:
        """Tag, VR, where the value begins, its length."""
        if self.is_implicit:
            group, number, length = self._implicit.unpack_from(buffer, at)
            return group << 16 | number, "", at + 8, length
        group, number, vr, length = self._explicit.unpack_from(buffer, at)
        if (name := _SHORT_VRS.get(vr)) is not None:
            return group << 16 | number, name, at + 8, length
        if vr in _LONG_VRS:
            if at + 12 > len(buffer):
                raise NotDicom("The file ends in the middle of an element's length.")
            return group << 16 | number, vr.decode(), at + 12, self._long.unpack_from(buffer, at + 8)[0]
        if not _is_vr(vr):  # an element without a VR in an explicit data set is implicit, as some writers do
            return group << 16 | number, "", at + 8, self._long.unpack_from(buffer, at + 4)[0]
        return group << 16 | number, vr.decode(), at + 8, length


def _is_vr(found: bytes) -> bool:
    return len(found) == 2 and found.isalpha() and found.isupper()


def _tag_and_length(buffer: Buffer, at: int, is_little: bool) -> tuple[int, int]:
    group, number, length = struct.unpack_from("<HHI" if is_little else ">HHI", buffer, at)
    return group << 16 | number, length


class _Open(NamedTuple):
    """A sequence, or an item of one, of undefined length."""

    is_sequence: bool
    is_implicit: bool


def _end_of_undefined(layout: Layout, at: int, first: _Open) -> tuple[int, bool]:
    """Where it ends, after its delimiter, and whether what is open in it is nested deeper than MAX_DEPTH."""
    heads = {is_implicit: _Heads(is_implicit, layout.is_little) for is_implicit in (False, True)}
    opened, is_deep = [first], False
    while at + 8 <= layout.end:
        is_sequence, is_implicit = opened[-1]
        tag, length = _tag_and_length(layout.buffer, at, layout.is_little)
        if tag == (_SEQUENCE_END if is_sequence else _ITEM_END):
            at += 8
            opened.pop()
            if not opened:
                return at, is_deep
        elif is_sequence:
            if tag != _ITEM:
                raise NotDicom(f"A sequence has something else than an item at byte {at}.")
            at += 8
            if length == UNDEFINED:
                opened.append(_Open(False, is_implicit))
            else:
                at += length
        else:
            _, vr, at, length = heads[is_implicit].read(layout.buffer, at)
            if length == UNDEFINED:
                opened.append(_Open(True, is_implicit or vr == "UN"))
                is_deep |= len(opened) > 2 * MAX_DEPTH
            else:
                at += length
        if len(opened) > 2 * _MOST_DEPTH:
            raise NotDicom(f"Sequences are nested deeper than {_MOST_DEPTH}.")
    raise NotDicom(f"The file ends inside {'a sequence' if opened[-1].is_sequence else 'an item'}.")
