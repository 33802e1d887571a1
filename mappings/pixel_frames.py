"""Where the frames of an instance's pixel data stand in its file (PS3.5 8.1, A.4). Nothing is decoded here."""

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from gateway.errors import NotAcceptable, NotDicom, NotFound
from mappings.dicom_layout import PIXEL_TAGS, UNDEFINED, Element, Layout, StoredLayout
from mappings.dicom_structure import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from mappings.dicom_values import number, text

NATIVE_LITTLE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE})
NATIVE = NATIVE_LITTLE | {EXPLICIT_BIG}
_VIDEO = tuple(
    f"1.2.840.10008.1.2.4.{last}" for last in (*range(100, 110), "100.1", "101.1", "102.1", "103.1")
)
_END_OF_IMAGE = b"\xff\xd9"
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
SHARED_GROUPS, FRAME_GROUPS = 0x52009229, 0x52009230
_PIXEL_KEYWORDS = (
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
PIXEL_DESCRIPTION = frozenset(tag for keyword in _PIXEL_KEYWORDS if (tag := tag_for_keyword(keyword)))
_MAX_ATTRIBUTE_BYTES = 4 * 1024 * 1024  # of one element

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PixelDescription:
    """The Image Pixel Module's numbers (PS3.3 C.7.6.3). ``bits_allocated`` may be 1."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    photometric_interpretation: str
    frames: int

    @property
    def frame_bits(self) -> int:
        is_subsampled = self.photometric_interpretation in ("YBR_FULL_422", "YBR_PARTIAL_422")
        samples = 2 if is_subsampled else self.samples
        return self.rows * self.columns * samples * self.bits_allocated


def describe(ds: Dataset) -> PixelDescription:
    """Raises NotAcceptable when the data set does not say how its pixels are to be read."""
    rows, columns, bits = (number(ds, name) or 0 for name in ("Rows", "Columns", "BitsAllocated"))
    if rows <= 0 or columns <= 0 or bits <= 0:
        raise NotAcceptable(
            "The instance is no image that can be read: Rows, Columns or Bits Allocated is missing."
        )
    return PixelDescription(
        rows,
        columns,
        number(ds, "SamplesPerPixel") or 1,
        bits,
        text(ds, "PhotometricInterpretation"),
        max(number(ds, "NumberOfFrames") or 1, 1),
    )


@dataclass(frozen=True)
class PixelFrames:
    """The frames of one instance. ``fragments`` are the encapsulated ones, without the Basic Offset Table.

    ``attributes`` are those of the Image Pixel Module that describe pixels, and what else was asked for.
    ``functional_groups`` are the Shared and Per-Frame Functional Groups Sequence, where it has them (C.7.6.16).
    """

    layout: StoredLayout
    element: Element
    attributes: Dataset
    description: PixelDescription
    fragments: tuple[Range, ...]
    extended: tuple[tuple[int, ...], tuple[int, ...]]
    basic_offsets: tuple[int, ...]
    functional_groups: tuple[Element, ...]

    @property
    def is_encapsulated(self) -> bool:
        return self.element.length == UNDEFINED

    @property
    def is_native(self) -> bool:
        return self.layout.transfer_syntax_uid in NATIVE or not self.layout.transfer_syntax_uid

    def ranges(self, frame: int) -> Sequence[Range]:
        """The byte ranges of a frame, counted from 1. Of pixels of one bit the frame may begin inside a byte.

        Raises NotFound past the last frame, NotAcceptable when the file does not tell where the frame is.
        """
        if not 1 <= frame <= self.description.frames:
            raise NotFound(f"The instance has {self.description.frames} frames, and no frame {frame}.")
        return self._fragments_of(frame) if self.is_encapsulated else [self._native(frame)]

    def read(self, frame: int) -> bytes:
        return b"".join(self.layout.buffer[start:end] for start, end in self.ranges(frame))

    def read_native(self, frame: int) -> bytes:
        """A native frame in little endian. Raises NotAcceptable where it is encapsulated all the same."""
        if self.is_encapsulated:
            raise NotAcceptable(
                "The pixel data is encapsulated, and the transfer syntax says that it is not."
            )
        [(start, end)] = self.ranges(frame)
        word = self.word_bytes
        if word == 1:
            return self.layout.buffer[start:end]
        skip = (start - self.element.value) % word  # words are counted from the first frame (PS3.5 7.3)
        whole = start - skip + -(-(end - start + skip) // word) * word
        words = np.frombuffer(self.layout.buffer[start - skip : whole], f"<u{word}")
        return words.byteswap().tobytes()[skip : skip + end - start]

    @property
    def word_bytes(self) -> int:
        """Of what is to be swapped; 1 where nothing is."""
        if self.layout.is_little or self.element.vr == "OB":
            return 1
        return {8: 8, 4: 4}.get(self.description.bits_allocated // 8, 2)

    def _native(self, frame: int) -> Range:
        bits = self.description.frame_bits
        start = self.element.value + (frame - 1) * bits // 8
        end = self.element.value + (frame * bits + 7) // 8
        if end > self.element.end:
            raise NotAcceptable(
                f"The pixel data is shorter than its Rows, Columns and frames say: frame {frame} is not whole."
            )
        return start, end

    def _fragments_of(self, frame: int) -> Sequence[Range]:
        count = self.description.frames
        if count == 1:
            return self.fragments
        if len(self.extended[0]) == count:
            return [self._by_extended(frame)]
        if len(self.basic_offsets) == count and self._by_basic and (found := self._by_basic[frame - 1]):
            return found
        if len(self.fragments) == count:
            return [self.fragments[frame - 1]]
        if frame <= len(self._by_end_of_image):
            return self._by_end_of_image[frame - 1]
        raise NotAcceptable(f"The file does not tell where frame {frame} is.")

    def _by_extended(self, frame: int) -> Range:
        offsets, lengths = self.extended
        first = self.fragments[0][0] if self.fragments else 0
        start = first + offsets[frame - 1]
        length = lengths[frame - 1] if frame <= len(lengths) else 0
        if start + length > self._ends.get(start, -1):
            raise NotAcceptable(f"The Extended Offset Table does not tell where frame {frame} is.")
        return start, start + length

    @cached_property
    def _ends(self) -> dict[int, int]:
        """Of the fragments, by where they begin."""
        return dict(self.fragments)

    @cached_property
    def _by_basic(self) -> list[list[Range]]:
        """The fragments of each frame; none where the table points past them."""
        first = self.fragments[0][0] if self.fragments else 0
        places = [first + offset for offset in self.basic_offsets] + [self.element.end]
        if any(later <= earlier for earlier, later in pairwise(places)):
            return []
        found: list[list[Range]] = [[] for _ in self.basic_offsets]
        for fragment in self.fragments:
            found[bisect_right(places, fragment[0]) - 1].append(fragment)
        return found

    @cached_property
    def _by_end_of_image(self) -> list[list[Range]]:
        """The fragments of each frame: the last has the codestream's end marker among its last bytes."""
        found: list[list[Range]] = [[]]
        for start, end in self.fragments:
            found[-1].append((start, end))
            if _END_OF_IMAGE in self.layout.buffer[max(start, end - 10) : end]:
                found.append([])
        return found if found[-1] else found[:-1]


def find_frames(layout: StoredLayout, also: frozenset[int] = frozenset()) -> PixelFrames:
    """In one walk, with the attributes ``also`` beside those that describe pixels.

    Raises NotAcceptable when the instance has no pixel data, or a video's, whose frames do not stand apart.
    """
    if layout.transfer_syntax_uid in _VIDEO:
        raise NotAcceptable(
            "The instance is a video: its frames do not stand apart. Its pixel data is given whole."
        )
    wanted = PIXEL_DESCRIPTION | also
    kept: list[bytes] = []
    groups: list[Element] = []
    extended: dict[int, tuple[int, ...]] = {}
    for element in layout:
        if element.tag in PIXEL_TAGS:
            return _frames(layout, element, layout.parse(b"".join(kept)), extended, groups)
        if element.tag in wanted and element.end - element.start <= _MAX_ATTRIBUTE_BYTES:
            kept.append(layout.buffer[element.start : element.end])
        elif element.tag in (_EXTENDED_OFFSETS, _EXTENDED_LENGTHS) and element.length % 8 == 0:
            value = layout.buffer[element.value : element.end]
            extended[element.tag] = struct.unpack(f"<{len(value) // 8}Q", value)
        elif element.tag in (SHARED_GROUPS, FRAME_GROUPS):
            groups.append(element)
    raise NotAcceptable("The instance has no pixel data.")


def _frames(
    layout: StoredLayout,
    element: Element,
    attributes: Dataset,
    extended: dict[int, tuple[int, ...]],
    groups: list[Element],
) -> PixelFrames:
    items = list(layout.items(element)) if element.length == UNDEFINED else []
    return PixelFrames(
        layout,
        element,
        attributes,
        describe(attributes),
        tuple((item.start, item.end) for item in items[1:]),
        (extended.get(_EXTENDED_OFFSETS, ()), extended.get(_EXTENDED_LENGTHS, ())),
        _basic_offsets(items[0]) if items else (),
        tuple(groups),
    )


def _basic_offsets(item: Layout) -> tuple[int, ...]:
    table = item.buffer[item.start : item.end]
    if len(table) % 4:
        raise NotDicom("The Basic Offset Table is broken.")
    return struct.unpack(f"<{len(table) // 4}I", table)
