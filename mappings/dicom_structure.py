"""The skeleton of a DICOM Part 10 file, walked element by element in bounded memory (PS3.5 7, PS3.10 7.1).

pydicom reads a file that ends early without complaint; this walk does not. It visits every element header of the
whole file, pixel data included, proves that each value is there, and keeps only the elements that are asked for.
It never recurses and never holds a value that nobody wants, so no hostile file can exhaust the process.

A fault does not always make a file worthless (ADR 18): where the header stands whole before the place of the fault, the
instance can be attributed, and the fault is told beside it.
"""

import struct
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO, NamedTuple, NoReturn

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from gateway.errors import NotDicom
from mappings.dicom_nesting import MAX_DEPTH, least_deep_bytes, may_be_deep, pass_nested
from mappings.dicom_source import FileSource, InflatedSource, Source

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

MAX_ELEMENTS = 10_000_000
MAX_KEPT_BYTES = 64 * 1024
MAX_META_BYTES = 1024 * 1024
MAX_TAGS = 65_536

PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PREFIX = b"DICM"
_MEDIA_SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID = 0x00020003, 0x00020010
_LAST_OF_HEADER = (
    0x0020000E  # Series Instance UID: patient, SOP instance and study stand before it (PS3.5 7.1)
)
_PATIENT = frozenset({0x00100010, 0x00100020})
_STANDARD_ENCODING = "1.2.840.10008.1.2"
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_SHORT_VRS = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
)  # a length of 16 bits (PS3.5 Table 7.1-2)
_TOO_DEEP = f"Sequences are nested deeper than {MAX_DEPTH}"
_PADDING = b"\0\r\n"
_FIRST_UNPLAIN_GROUP = 0x7FE0  # of the pixel data; items and delimiters are in FFFE
_AHEAD_BYTES = 32 * 1024  # as long as most headers
_PLAIN_HEAD, _LENGTH = struct.Struct("<HH2sH"), struct.Struct("<I")
_EXPLICIT_HEAD = {order: struct.Struct(f"{order}HH2xH") for order in "<>"}
_IMPLICIT_HEAD = {order: struct.Struct(f"{order}HHI") for order in "<>"}


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What the walk kept. ``elements`` are the wanted top-level elements as encoded in the file, by tag, in its order.

    ``dataset_offset`` is where the data set begins, after group 0002. ``fault`` says in words where the structure is
    broken, '' where it is whole; ``is_attributable`` is False where that leaves it open whose image it is.
    ``meta`` is what group 0002 says.
    """

    meta: "FileMeta"
    transfer_syntax_uid: str
    dataset_offset: int
    is_implicit: bool
    is_little: bool
    elements: dict[int, bytes]
    pixels: "Pixels | None"
    fault: str
    is_attributable: bool


class FileMeta(NamedTuple):
    """UIDs as group 0002 has them, '' where it does not. ``is_bare``: it begins with DICM, without a preamble."""

    transfer_syntax_uid: str
    sop_instance_uid: str
    is_bare: bool


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pixel Data (7FE0,0010) or its float forms: the length in bytes, or for encapsulated ones the number of items."""

    tag: int
    size_bytes: int | None
    items: int


class _Fault(Exception):
    """The walk cannot go on, in words."""


def find_dataset(file: BinaryIO) -> tuple[str, int]:
    """Transfer Syntax UID, '' where none is told, and where the data set begins; ``file`` stands there then."""
    meta, offset = _find_dataset(file, file.seek(0, 2))
    return meta.transfer_syntax_uid, offset


def _find_dataset(file: BinaryIO, size: int) -> tuple[FileMeta, int]:
    at = file.seek(_meta_offset(file, size))
    uids = _file_meta(file, size)
    meta = FileMeta(
        uids.get(_TRANSFER_SYNTAX_UID, ""), uids.get(_MEDIA_SOP_INSTANCE_UID, ""), at == len(_PREFIX)
    )
    return meta, file.tell()


def walk_file(file: BinaryIO, wanted: frozenset[int]) -> Skeleton:
    """Walk the whole file, or as far as it can be walked.

    Raises NotDicom, saying where, when it is no DICOM, has no data set, or is larger than the limits.
    """
    size = file.seek(0, 2)
    meta, offset = _find_dataset(file, size)
    transfer_syntax_uid = meta.transfer_syntax_uid
    if transfer_syntax_uid == DEFLATED_LITTLE:
        source: Source = InflatedSource(file)
    else:
        source = FileSource(file, size)
    is_little = transfer_syntax_uid != EXPLICIT_BIG
    walk = _Walk(source, transfer_syntax_uid == IMPLICIT_LITTLE, is_little, wanted)
    walk.run()
    if not walk.visited:
        raise NotDicom(
            walk.fault
            or f"The file has no data set: it ends at byte {offset}, after the file meta information."
        )
    guessed = IMPLICIT_LITTLE if walk.is_implicit else EXPLICIT_LITTLE
    declared = transfer_syntax_uid or guessed
    return Skeleton(
        meta=meta,
        transfer_syntax_uid=declared,
        dataset_offset=offset,
        is_implicit=walk.is_implicit,
        is_little=is_little,
        elements=walk.kept,
        pixels=walk.pixels,
        fault=walk.fault or _misdeclared(declared, walk.is_implicit),
        is_attributable=walk.is_attributable,
    )


def _misdeclared(transfer_syntax_uid: str, is_implicit: bool) -> str:
    """Of private transfer syntaxes nobody knows what they say."""
    is_standard = transfer_syntax_uid.startswith(_STANDARD_ENCODING)
    if not is_standard or is_implicit == (transfer_syntax_uid == IMPLICIT_LITTLE):
        return ""
    found = "Implicit" if is_implicit else "Explicit"
    return f"The data set has {found} VR, and the transfer syntax in (0002,0010) says otherwise."


def _meta_offset(file: BinaryIO, size: int) -> int:
    """Where group 0002 begins: after preamble and DICM, or at 0 or after DICM where the preamble was left out."""
    if size == 0:
        raise NotDicom("The file is empty.")
    file.seek(0)
    start = file.read(132)
    if start[128:] == _PREFIX:
        return 132
    for at in (0, len(_PREFIX)):
        if (
            start[:at] == _PREFIX[:at]
            and start[at : at + 2] == b"\x02\x00"
            and _is_vr(start[at + 4 : at + 6])
        ):
            return at
    raise NotDicom(
        "This is not a DICOM file: there is neither the mark DICM at byte 128 nor file meta information (PS3.10 7.1)."
    )


def _file_meta(file: BinaryIO, size: int) -> dict[int, str]:
    """Read group 0002 (always explicit VR little endian); the UIDs of it that matter here."""
    uids, start = dict[int, str](), file.tell()
    while True:
        at = file.tell()
        if at - start > MAX_META_BYTES:
            raise NotDicom(f"The file meta information has more than {MAX_META_BYTES} bytes.")
        head = file.read(8)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            file.seek(at)
            return uids
        tag, vr, length = _unpack(head, implicit=False, order="<")
        if vr in _LONG_VRS:
            length = int.from_bytes(file.read(4), "little")
        if length > size - file.tell():
            raise NotDicom(_early_end(tag, at, length, size - file.tell()))
        if tag in (_TRANSFER_SYNTAX_UID, _MEDIA_SOP_INSTANCE_UID) and length <= MAX_KEPT_BYTES:
            uids[tag] = file.read(length).decode("ascii", "replace").strip("\0 ")
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
    kept: dict[int, bytes] = field(default_factory=dict)
    visited: int = 0
    pixels: Pixels | None = None
    fault: str = ""
    is_attributable: bool = True
    _recording: bytearray | None = None

    def __post_init__(self) -> None:
        self._levels = [_Level(False, self.is_implicit)]
        self._order = "<" if self.is_little else ">"
        self._top, self._seen = -1, set[int]()
        self._is_in_order, self._is_past_header = True, False
        self._is_plain = self.is_little and not self.is_implicit

    def run(self) -> None:
        try:
            while (head := self._next()) is not None:
                self.visited += 1
                if self.visited > MAX_ELEMENTS:
                    raise NotDicom(f"The file has more than {MAX_ELEMENTS} data elements.")
                if self._levels[-1].is_sequence:
                    self._visit_item(head)
                else:
                    self._visit_element(head)
        except _Fault as fault:
            self.fault = str(fault)
            self.is_attributable &= self._has_header()

    def _next(self) -> bytes | None:
        if self._is_plain and len(self._levels) == 1:
            self._is_plain = False
            self._visit_plain(self.source.ahead(_AHEAD_BYTES))
        return self._head()

    def _visit_plain(self, ahead: bytes) -> None:
        """The elements of a well-formed header in one go: top level, explicit VR little endian, ascending, of a
        length that is told and in ``ahead``. Stops before the first that needs more care, and before the pixel data.
        """
        at, top, size, found = 0, max(self._top, 0), len(ahead), []
        unpack, wanted, kept = _PLAIN_HEAD.unpack_from, self.wanted, self.kept
        while at < size - 12:
            group, element, vr, length = unpack(ahead, at)
            tag, value = group << 16 | element, at + 8
            if vr in _LONG_VRS:
                (length,), value = _LENGTH.unpack_from(ahead, value), at + 12
            elif vr not in _SHORT_VRS:
                break
            until = value + length
            if tag <= top or group >= _FIRST_UNPLAIN_GROUP or until > size:
                break
            if vr == b"SQ" and may_be_deep(ahead, value, until, is_implicit=False, is_little=True):
                break
            if tag in wanted and length <= MAX_KEPT_BYTES:
                kept[tag] = ahead[at:until]
            found.append(tag)
            at, top = until, tag
        self._seen.update(found[: MAX_TAGS - len(self._seen)])
        self.visited += len(found)
        self._top = top if found else self._top
        self._is_past_header |= self._is_in_order and self._top > _LAST_OF_HEADER
        if at:
            self.is_implicit = self._levels[0].is_implicit = False
            self.source.skip(at)

    def _has_header(self) -> bool:
        """Whether what cannot be read comes after patient and UIDs; out of order, the patient must have been seen."""
        return self._is_past_header and (self._is_in_order or not _PATIENT.isdisjoint(self.kept))

    def _head(self) -> bytes | None:
        """The next 8 bytes, or None at the end of the data set."""
        at, head = self.source.at, self.source.read(8)
        if len(head) == 8 and not (len(self._levels) == 1 and head[:4] == b"\0\0\0\0"):
            self._record(head)
            return head
        if self.source.broken:
            raise _Fault(self.source.broken)
        if len(self._levels) > 1:
            tag = self._levels[-1].tag
            raise _Fault(f"The file ends early: sequence {_name(tag)} is still open at byte {at}.")
        if head.strip(_PADDING):
            raise _Fault(f"The file ends early: in the middle of an element's tag and length, at byte {at}.")
        return None

    def _visit_item(self, head: bytes) -> None:
        tag, _, length = _unpack(head, implicit=True, order=self._order)
        level = self._levels[-1]
        if tag == _SEQUENCE_END:
            self._levels.pop()
            if len(self._levels) == 1:
                self._stop_recording(level.tag)
                self._is_plain = self.is_little and not self._levels[0].is_implicit
            return
        if tag != _ITEM:
            at = self.source.at - 8
            raise _Fault(f"Sequence {_name(level.tag)} has {_name(tag)} at byte {at} where an item must be.")
        if self.pixels is not None and self.pixels.tag == level.tag and len(self._levels) == 2:
            self.pixels = Pixels(level.tag, None, self.pixels.items + 1)
        if length == _UNDEFINED:
            self._open(_Level(False, level.is_implicit, level.tag))
        elif self._may_be_deep(length) and level.tag not in PIXEL_TAGS:
            self._look_into(tag, length, is_item=True)
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
        elif vr not in _SHORT_VRS and vr:
            self.fault = (
                self.fault or f"{_name(tag)} has the VR {vr.decode()}, which PS3.5 6.2 does not have."
            )
        if tag == _ITEM_END and not is_top:
            self._levels.pop()
            return
        if tag >> 16 == 0xFFFE:
            raise _Fault(f"{_name(tag)} stands at byte {self.source.at - 8}, outside a sequence.")
        if is_top:
            self._begin(tag, length)
        if length == _UNDEFINED:
            if is_top and tag in self.wanted:
                self._recording = bytearray(head)
            self._open(_Level(True, level.is_implicit or vr == b"UN", tag))
        else:
            self._visit_value(tag, vr, head, length)

    def _visit_value(self, tag: int, vr: bytes, head: bytes, length: int) -> None:
        """Of a length that is told."""
        is_kept = len(self._levels) == 1 and tag in self.wanted and length <= MAX_KEPT_BYTES
        if is_kept:
            self._recording = bytearray(head)
        if self._may_be_deep(length) and _is_sequence(tag, vr):
            self._look_into(tag, length, is_item=False)
            self._is_plain = self.is_little and not self._levels[0].is_implicit
        else:
            self._pass(tag, length)
        if is_kept:
            self._stop_recording(tag)

    def _may_be_deep(self, length: int) -> bool:
        return length >= least_deep_bytes(len(self._levels) // 2)

    def _look_into(self, tag: int, length: int, *, is_item: bool) -> None:
        """A sequence or an item of defined length: of what is inside only how deep it is nested can do harm."""
        at, source = self.source.at, self.source
        if self._recording is not None and len(self._recording) + length <= MAX_KEPT_BYTES:
            source = FileSource(BytesIO(self._read(tag, length)), length)
        else:
            self._recording = None
        level = self._levels[-1]
        passed, is_deep = pass_nested(
            source,
            length,
            is_item=is_item,
            is_implicit=level.is_implicit,
            is_little=self.is_little,
            depth=len(self._levels) // 2,
        )
        if passed < length:
            self._ends_early(tag, at, length, passed)
        if is_deep:
            self.fault = self.fault or f"{_TOO_DEEP} in {_name(level.tag if is_item else tag)}."

    def _begin(self, tag: int, length: int) -> None:
        """A top-level element; ascending by tag, each once (PS3.5 7.1)."""
        if tag <= self._top:
            self._is_in_order = False
            if tag in self._seen and tag not in self.wanted:
                self.fault = self.fault or f"{_name(tag)} stands twice in the data set."
        if len(self._seen) < MAX_TAGS:
            self._seen.add(tag)
        self._top = tag
        self._is_past_header |= self._is_in_order and tag > _LAST_OF_HEADER
        if tag in PIXEL_TAGS:
            self.pixels = Pixels(tag, None if length == _UNDEFINED else length, 0)

    def _keep(self, tag: int, encoded: bytes) -> None:
        if self.kept.setdefault(tag, encoded) != encoded:
            self.is_attributable = False
            self.fault = f"{_name(tag)} stands twice in the data set, and says different things."

    def _open(self, level: _Level) -> None:
        self._levels.append(level)
        if len(self._levels) > 2 * MAX_DEPTH + 1:
            raise _Fault(f"{_TOO_DEEP} at byte {self.source.at}.")

    def _read(self, tag: int, count: int) -> bytes:
        at, found = self.source.at, self.source.read(count)
        if len(found) < count:
            self._ends_early(tag, at, count, len(found))
        self._record(found)
        return found

    def _pass(self, tag: int, length: int) -> None:
        if self._recording is not None and len(self._recording) + length <= MAX_KEPT_BYTES:
            self._read(tag, length)
            return
        self._recording = None
        at, skipped = self.source.at, self.source.skip(length)
        if skipped < length:
            self._ends_early(tag, at, length, skipped)

    def _ends_early(self, tag: int, at: int, needed: int, found: int) -> NoReturn:
        raise _Fault(self.source.broken or _early_end(tag, at, needed, found))

    def _record(self, found: bytes) -> None:
        if self._recording is not None:
            self._recording += found
            if len(self._recording) > MAX_KEPT_BYTES:
                self._recording = None

    def _stop_recording(self, tag: int) -> None:
        if self._recording is not None:
            self._keep(tag, bytes(self._recording))
            self._recording = None


def _unpack(head: bytes, implicit: bool, order: str) -> tuple[int, bytes, int]:
    """Tag, VR and length; an element without a VR in an explicit data set is implicit, as some writers do."""
    if implicit or not _is_vr(head[4:6]):
        group, element, length = _IMPLICIT_HEAD[order].unpack(head)
        return group << 16 | element, b"", length
    group, element, length = _EXPLICIT_HEAD[order].unpack(head)
    return group << 16 | element, head[4:6], length


def _is_vr(found: bytes) -> bool:
    return len(found) == 2 and found.isalpha() and found.isupper()


def _is_sequence(tag: int, vr: bytes) -> bool:
    return vr == b"SQ" or (not vr and dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ")


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _early_end(tag: int, at: int, needed: int, found: int) -> str:
    return f"The file ends early: element {_name(tag)} needs {needed} bytes from byte {at} on, and {found} are there."
