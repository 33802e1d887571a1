"""How deep the sequences inside a sequence of defined length go (PS3.5 7.5), read forwards, in bounded memory and time.

Nothing else is looked at: where items and elements do not fit together, the rest is passed over.
"""

import struct
from dataclasses import dataclass

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from mappings.dicom_source import Source

MAX_DEPTH = 64
_LEVEL_BYTES = 16  # the head of a sequence and of its item, at least
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_ITEM_BYTES = {True: b"\xfe\xff\x00\xe0", False: b"\xff\xfe\xe0\x00"}  # little endian or not
_OPEN_UNKNOWN = b"UN\0\0\xff\xff\xff\xff"  # what is inside has no VRs (PS3.5 6.2.2)
_LOOKED_AHEAD_BYTES = 1024 * 1024
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)


@dataclass(slots=True)
class _Level:
    """A sequence, or an item of one, that is open up to ``end``; of undefined length up to its delimiter."""

    is_sequence: bool
    is_implicit: bool
    end: int
    is_defined: bool


def least_deep_bytes(depth: int) -> int:
    """The value of a sequence in ``depth`` others, or of an item in as many, is not too deep when it is shorter."""
    return (MAX_DEPTH - depth) * _LEVEL_BYTES


def may_be_deep(
    value: bytes, start: int, end: int, *, is_implicit: bool, is_little: bool, depth: int = 0
) -> bool:
    """Whether there are as many items and sequences between these places as it takes, in one another or not."""
    if end - start < least_deep_bytes(depth):
        return False
    least = MAX_DEPTH - depth
    if value.count(_ITEM_BYTES[is_little], start, end) < least:
        return False
    has_implicit = is_implicit or value.find(_OPEN_UNKNOWN, start, end) >= 0
    return has_implicit or value.count(b"SQ", start, end) >= least


def pass_nested(
    source: Source, length: int, *, is_item: bool, is_implicit: bool, is_little: bool, depth: int
) -> tuple[int, bool]:
    """Reads a sequence of ``length`` bytes that stands in ``depth`` others, or an item in as many.

    How many of its bytes were there, and whether sequences in it are nested deeper than MAX_DEPTH.
    """
    start = source.at
    ahead = source.ahead(length) if length <= _LOOKED_AHEAD_BYTES else b""
    if len(ahead) == length and not may_be_deep(
        ahead, 0, length, is_implicit=is_implicit, is_little=is_little, depth=depth
    ):
        return source.skip(length), False
    top = _Level(not is_item, is_implicit, start + length, True)
    is_deep = _Nesting(source, top, is_little, depth).is_deep()
    source.skip(start + length - source.at)
    return source.at - start, is_deep


class _Nesting:
    def __init__(self, source: Source, top: _Level, is_little: bool, depth: int) -> None:
        order = "<" if is_little else ">"
        self._source, self._end, self._levels = source, top.end, [top]
        self._outside = 2 * depth + top.is_sequence
        self._implicit, self._explicit = struct.Struct(f"{order}HHI"), struct.Struct(f"{order}HH2sH")
        self._length = struct.Struct(f"{order}I")

    @property
    def _depth(self) -> int:
        """How many sequences are open."""
        return (self._outside + len(self._levels)) // 2

    def is_deep(self) -> bool:
        while self._levels:
            level = self._levels[-1]
            if self._source.at >= level.end:
                self._levels.pop()
            elif (head := self._read(8)) is None or not self._visit(level, head):
                return False
            elif self._depth > MAX_DEPTH:
                return True
        return False

    def _read(self, count: int) -> bytes | None:
        found = self._source.read(count) if self._source.at + count <= self._end else b""
        return found if len(found) == count else None

    def _visit(self, level: _Level, head: bytes) -> bool:
        """False where it makes no sense."""
        group, number, length = self._implicit.unpack(head)
        tag = group << 16 | number
        if tag in (_ITEM_END, _SEQUENCE_END):
            self._levels.pop()
            return tag == (_SEQUENCE_END if level.is_sequence else _ITEM_END) and not level.is_defined
        if level.is_sequence:
            return tag == _ITEM and self._open(False, level.is_implicit, length, level.end)
        is_sequence, is_implicit = False, level.is_implicit
        if level.is_implicit:
            is_sequence = dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
        else:
            vr, length = self._explicit.unpack(head)[2:]
            if vr in _LONG_VRS:
                more = self._read(4)
                if more is None:
                    return False
                (length,) = self._length.unpack(more)
            is_sequence, is_implicit = vr == b"SQ", vr == b"UN"
        if is_sequence or length == _UNDEFINED:
            return self._open(True, is_implicit, length, level.end)
        return self._skip(length, level.end)

    def _open(self, is_sequence: bool, is_implicit: bool, length: int, outer_end: int) -> bool:
        is_defined = length != _UNDEFINED
        if is_defined and length < least_deep_bytes(self._depth):
            return self._skip(length, outer_end)
        end = self._source.at + length if is_defined else outer_end
        self._levels.append(_Level(is_sequence, is_implicit, end, is_defined))
        return end <= outer_end

    def _skip(self, length: int, outer_end: int) -> bool:
        return self._source.at + length <= outer_end and self._source.skip(length) == length
