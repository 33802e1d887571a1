"""The skeleton of a DICOM Part 10 file, walked element by element in bounded memory (PS3.5 7, PS3.10 7.1).

pydicom reads a file that ends early without complaint; this walk does not. It visits every element header of the
whole file, pixel data included, proves that each value is there, and keeps only the elements that are asked for.
It never recurses and never holds a value that nobody wants, so no hostile file can exhaust the process.
"""

import struct
from dataclasses import dataclass, field
from typing import BinaryIO, NoReturn

from gateway.errors import NotDicom
from mappings.dicom_source import FileSource, InflatedSource, Source

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

MAX_DEPTH = 64
MAX_ELEMENTS = 10_000_000
MAX_KEPT_BYTES = 64 * 1024
MAX_META_BYTES = 1024 * 1024

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_TRANSFER_SYNTAX_UID = 0x00020010
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_PADDING = b"\0\r\n"


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What the walk kept. ``elements`` are the wanted top-level elements as encoded in the file, one after another.

    ``dataset_offset`` is where the data set begins, after group 0002.
    """

    transfer_syntax_uid: str
    dataset_offset: int
    is_implicit: bool
    is_little: bool
    elements: bytes


def walk_file(file: BinaryIO, wanted: frozenset[int]) -> Skeleton:
    """Walk the whole file. Raises NotDicom, saying where, when it is no DICOM or ends early."""
    return _walk_file(file, wanted, salvage=False)


def salvage_file(file: BinaryIO, wanted: frozenset[int]) -> Skeleton:
    """What stands in the file before the place where it cannot be read further. Raises NotDicom when nothing does."""
    return _walk_file(file, wanted, salvage=True)


def _walk_file(file: BinaryIO, wanted: frozenset[int], salvage: bool) -> Skeleton:
    size = file.seek(0, 2)
    file.seek(_meta_offset(file, size))
    transfer_syntax_uid = _file_meta(file, size)
    offset = file.tell()
    if transfer_syntax_uid == DEFLATED_LITTLE:
        source: Source = InflatedSource(file)
    else:
        source = FileSource(file, size)
    is_little = transfer_syntax_uid != EXPLICIT_BIG
    walk = _Walk(source, transfer_syntax_uid == IMPLICIT_LITTLE, is_little, wanted)
    try:
        walk.run()
    except NotDicom:
        if not salvage:
            raise
    if not walk.visited:
        raise NotDicom(
            f"The file has no data set: it ends at byte {offset}, after the file meta information."
        )
    guessed = IMPLICIT_LITTLE if walk.is_implicit else EXPLICIT_LITTLE
    return Skeleton(transfer_syntax_uid or guessed, offset, walk.is_implicit, is_little, b"".join(walk.kept))


def _meta_offset(file: BinaryIO, size: int) -> int:
    """Where group 0002 begins: after the preamble, or at 0 where the preamble was left out."""
    if size == 0:
        raise NotDicom("The file is empty.")
    file.seek(0)
    start = file.read(132)
    if start[128:] == b"DICM":
        return 132
    if start.startswith(b"\x02\x00") and _is_vr(start[4:6]):
        return 0
    raise NotDicom(
        "This is not a DICOM file: there is neither the mark DICM at byte 128 nor file meta information (PS3.10 7.1)."
    )


def _file_meta(file: BinaryIO, size: int) -> str:
    """Read group 0002 (always explicit VR little endian); returns the Transfer Syntax UID or ''."""
    uid, start = "", file.tell()
    while True:
        at = file.tell()
        if at - start > MAX_META_BYTES:
            raise NotDicom(f"The file meta information has more than {MAX_META_BYTES} bytes.")
        head = file.read(8)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            file.seek(at)
            return uid
        tag, vr, length = _unpack(head, implicit=False, order="<")
        if vr in _LONG_VRS:
            length = int.from_bytes(file.read(4), "little")
        if length > size - file.tell():
            _ends_early(tag, at, length, size - file.tell())
        if tag == _TRANSFER_SYNTAX_UID and length <= MAX_KEPT_BYTES:
            uid = file.read(length).decode("ascii", "replace").strip("\0 ")
        else:
            file.seek(length, 1)


@dataclass(slots=True)
class _Level:
    """A data set, or a sequence (its items) of undefined length, that is open. ``tag`` is the sequence's."""

    is_sequence: bool
    is_implicit: bool
    tag: int = 0


@dataclass
class _Walk:
    source: Source
    is_implicit: bool
    is_little: bool
    wanted: frozenset[int]
    kept: list[bytes] = field(default_factory=list)
    visited: int = 0
    _recording: bytearray | None = None

    def __post_init__(self) -> None:
        self._levels = [_Level(False, self.is_implicit)]
        self._order = "<" if self.is_little else ">"

    def run(self) -> None:
        while (head := self._head()) is not None:
            self.visited += 1
            if self.visited > MAX_ELEMENTS:
                raise NotDicom(f"The file has more than {MAX_ELEMENTS} data elements.")
            if self._levels[-1].is_sequence:
                self._visit_item(head)
            else:
                self._visit_element(head)

    def _head(self) -> bytes | None:
        """The next 8 bytes, or None at the end of the data set."""
        at, head = self.source.at, self.source.read(8)
        if len(head) == 8 and not (len(self._levels) == 1 and head[:4] == b"\0\0\0\0"):
            self._record(head)
            return head
        if len(self._levels) > 1:
            tag = self._levels[-1].tag
            raise NotDicom(f"The file ends early: sequence {_name(tag)} is still open at byte {at}.")
        if head.strip(_PADDING):
            raise NotDicom(
                f"The file ends early: in the middle of an element's tag and length, at byte {at}."
            )
        return None

    def _visit_item(self, head: bytes) -> None:
        tag, _, length = _unpack(head, implicit=True, order=self._order)
        level = self._levels[-1]
        if tag == _SEQUENCE_END:
            self._levels.pop()
            if len(self._levels) == 1:
                self._stop_recording()
        elif tag != _ITEM:
            at = self.source.at - 8
            raise NotDicom(
                f"Sequence {_name(level.tag)} has {_name(tag)} at byte {at} where an item must be."
            )
        elif length == _UNDEFINED:
            self._open(_Level(False, level.is_implicit, level.tag))
        else:
            self._pass(tag, length)

    def _visit_element(self, head: bytes) -> None:
        level = self._levels[-1]
        is_top = len(self._levels) == 1
        if is_top and self.visited == 1:
            self.is_implicit = level.is_implicit = not _is_vr(head[4:6])
        tag, vr, length = _unpack(head, level.is_implicit, self._order)
        if vr in _LONG_VRS:
            more = self._read(tag, 4)
            length = int.from_bytes(more, "little" if self.is_little else "big")
            head += more
        if tag == _ITEM_END and not is_top:
            self._levels.pop()
        elif tag >> 16 == 0xFFFE:
            raise NotDicom(f"{_name(tag)} stands at byte {self.source.at - 8}, outside a sequence.")
        elif length == _UNDEFINED:
            if is_top and tag in self.wanted:
                self._recording = bytearray(head)
            self._open(_Level(True, level.is_implicit or vr == b"UN", tag))
        elif is_top and tag in self.wanted and length <= MAX_KEPT_BYTES:
            self.kept.append(head + self._read(tag, length))
        else:
            self._pass(tag, length)

    def _open(self, level: _Level) -> None:
        self._levels.append(level)
        if len(self._levels) > 2 * MAX_DEPTH:
            raise NotDicom(f"Sequences are nested deeper than {MAX_DEPTH} at byte {self.source.at}.")

    def _read(self, tag: int, count: int) -> bytes:
        at, found = self.source.at, self.source.read(count)
        if len(found) < count:
            _ends_early(tag, at, count, len(found))
        self._record(found)
        return found

    def _pass(self, tag: int, length: int) -> None:
        if self._recording is not None and len(self._recording) + length <= MAX_KEPT_BYTES:
            self._read(tag, length)
            return
        self._recording = None
        at, skipped = self.source.at, self.source.skip(length)
        if skipped < length:
            _ends_early(tag, at, length, skipped)

    def _record(self, found: bytes) -> None:
        if self._recording is not None:
            self._recording += found
            if len(self._recording) > MAX_KEPT_BYTES:
                self._recording = None

    def _stop_recording(self) -> None:
        if self._recording is not None:
            self.kept.append(bytes(self._recording))
            self._recording = None


def _unpack(head: bytes, implicit: bool, order: str) -> tuple[int, bytes, int]:
    """Tag, VR and length; an element without a VR in an explicit data set is implicit, as some writers do."""
    vr = b"" if implicit or not _is_vr(head[4:6]) else head[4:6]
    group, element, length = struct.unpack(f"{order}HH2xH" if vr else f"{order}HHI", head)
    return group << 16 | element, vr, length


def _is_vr(found: bytes) -> bool:
    return len(found) == 2 and all(65 <= letter <= 90 for letter in found)


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _ends_early(tag: int, at: int, needed: int, found: int) -> NoReturn:
    raise NotDicom(
        f"The file ends early: element {_name(tag)} needs {needed} bytes from byte {at} on, and {found} are there."
    )
