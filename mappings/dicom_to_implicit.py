"""A data set in Explicit VR Little Endian -> the same in Implicit VR Little Endian (PS3.5 7.1.2, 7.1.3, A.1, A.2).

Values are copied as their bytes stand, piece by piece; only what says VR and length changes. Sequences and items get
undefined length, since they become shorter. It never recurses.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from gateway.errors import NotDicom

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_CHUNK_BYTES = 1024 * 1024
_MOST_DEPTH = 256


@dataclass(slots=True)
class _Open:
    """A sequence or an item that has begun. ``end`` is None where a delimiter ends it.

    ``is_implicit``: within a value of VR UN and undefined length, which has no VRs already (PS3.5 6.2.2, Note 4).
    """

    is_item: bool
    end: int | None
    is_implicit: bool


def to_implicit(source: BinaryIO, sink: BinaryIO) -> None:
    """``source`` stands at the data set's first byte. Raises NotDicom, saying where, for what cannot be converted."""
    _Conversion(source, sink).run()


class _Conversion:
    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink
        self._at = source.tell()
        self._open: list[_Open] = []

    def run(self) -> None:
        while True:
            self._close_ended()
            head = self._source.read(4)
            if not head and not self._open:
                return
            group, element = struct.unpack("<HH", self._whole(head, 4))
            self._convert(group << 16 | element)

    def _convert(self, tag: int) -> None:
        if tag in (_ITEM, _ITEM_END, _SEQUENCE_END):
            self._convert_mark(tag, *struct.unpack("<I", self._read(4)))
        elif self._is_implicit:
            (length,) = struct.unpack("<I", self._read(4))
            self._write_head(tag, length)
            if length == _UNDEFINED:
                self._begin(_Open(is_item=False, end=None, is_implicit=True))
            else:
                self._copy(length)
        else:
            self._convert_explicit(tag)

    def _convert_explicit(self, tag: int) -> None:
        vr = self._read(2)
        if not (vr.isalpha() and vr.isupper()):
            raise self._fault("has no VR")
        is_long = vr in _LONG_VRS
        (length,) = struct.unpack("<2xI" if is_long else "<H", self._read(6 if is_long else 2))
        if vr == b"SQ":
            self._write_head(tag, _UNDEFINED)
            self._begin(_Open(is_item=False, end=self._end(length), is_implicit=False))
        elif length != _UNDEFINED:
            self._write_head(tag, length)
            self._copy(length)
        elif vr == b"UN":
            self._write_head(tag, _UNDEFINED)
            self._begin(_Open(is_item=False, end=None, is_implicit=True))
        else:
            raise self._fault("is encapsulated")

    def _convert_mark(self, tag: int, length: int) -> None:
        if tag == _ITEM:
            if not self._open or self._open[-1].is_item:
                raise self._fault("is an item outside a sequence")
            self._write_head(_ITEM, _UNDEFINED)
            self._begin(_Open(is_item=True, end=self._end(length), is_implicit=self._is_implicit))
            return
        if (
            not self._open
            or self._open[-1].is_item is not (tag == _ITEM_END)
            or self._open[-1].end is not None
        ):
            raise self._fault("ends what has not begun")
        self._open.pop()
        self._write_head(tag, 0)

    def _close_ended(self) -> None:
        while self._open and self._open[-1].end == self._at:
            self._write_head(_ITEM_END if self._open.pop().is_item else _SEQUENCE_END, 0)

    def _begin(self, opened: _Open) -> None:
        if len(self._open) >= _MOST_DEPTH:
            raise self._fault("is nested too deep")
        self._open.append(opened)

    @property
    def _is_implicit(self) -> bool:
        return bool(self._open) and self._open[-1].is_implicit

    def _end(self, length: int) -> int | None:
        return None if length == _UNDEFINED else self._at + length

    def _write_head(self, tag: int, length: int) -> None:
        self._sink.write(struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length))

    def _copy(self, length: int) -> None:
        while length:
            chunk = self._source.read(min(length, _CHUNK_BYTES))
            if not chunk:
                raise self._fault("ends early")
            self._sink.write(chunk)
            self._at += len(chunk)
            length -= len(chunk)

    def _read(self, count: int) -> bytes:
        return self._whole(self._source.read(count), count)

    def _whole(self, found: bytes, count: int) -> bytes:
        if len(found) < count:
            raise self._fault("ends early")
        self._at += count
        return found

    def _fault(self, what: str) -> NotDicom:
        return NotDicom(f"The element before byte {self._at} {what}.")
