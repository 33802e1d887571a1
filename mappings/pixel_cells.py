"""Pixel cells, and the sample values that stand in some of their bits (PS3.5 8.1.1).

Bits that are not used for the value may hold something else: overlay planes, in older images (PS3.3 C.9.2). What is
decoded or encoded anew keeps every bit of a cell; what is shown is the value.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from mappings.dicom_values import number
from mappings.pixel_frames import PixelFrames
from mappings.pixel_stream import read_stream
from mappings.pixel_syntaxes import LOSSY, RLE

Pixels = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class SampleBits:
    """Bits Allocated, Bits Stored and High Bit; the value is from ``high`` down to ``high - stored + 1``."""

    allocated: int
    stored: int
    high: int

    @property
    def are_lowest(self) -> bool:
        return self.high == self.stored - 1


def bits_of(frames: PixelFrames) -> SampleBits:
    """As they are told; where High Bit is no place for Bits Stored, the value has the lowest bits.

    It has them too where a compressed image has fewer bits than High Bit says: what the image says holds (PS3.5 8.2).
    """
    allocated = frames.description.bits_allocated
    stored, high = number(frames.attributes, "BitsStored") or allocated, number(frames.attributes, "HighBit")
    stored = min(stored, allocated)
    if high is None or not stored - 1 <= high < allocated:
        high = stored - 1
    is_compressed = not frames.is_native and frames.layout.transfer_syntax_uid != RLE
    if is_compressed and high > stored - 1 and high >= stream_bits(frames.read(1)):
        high = stored - 1
    return SampleBits(allocated, stored, high)


def stream_bits(encoded_frame: bytes) -> int:
    """Bits a sample, as a JPEG, JPEG-LS or JPEG 2000 image says itself. Raises NotDicom."""
    return read_stream(BytesIO(encoded_frame), 0, len(encoded_frame)).bits


def are_values(cells: Pixels, bits: SampleBits) -> bool:
    """Whether nothing but the value stands in any cell: the bits above are zeros, or copies of the sign."""
    if not bits.are_lowest:
        return False
    if bits.stored == bits.allocated or cells.dtype.kind not in "iu" or not cells.size:
        return True
    is_signed = cells.dtype.kind == "i"
    lowest, highest = (
        (-(2 ** (bits.stored - 1)), 2 ** (bits.stored - 1)) if is_signed else (0, 2**bits.stored)
    )
    return bool(cells.min() >= lowest and cells.max() < highest)


def values_of(frames: PixelFrames, cells: Pixels) -> Pixels:
    """The sample values that stand in the cells. Those of lossy compression may be a little above their bits."""
    bits = bits_of(frames)
    is_lossy = frames.layout.transfer_syntax_uid in LOSSY and bits.are_lowest
    if cells.dtype.kind not in "iu" or bits.allocated == 1 or is_lossy or are_values(cells, bits):
        return cells
    return extracted(cells, bits.stored, bits.high)


def extracted(cells: Pixels, stored: int, high: int) -> Pixels:
    """The bits from ``high`` down, as numbers of the cells' type: with their sign, where that has one."""
    size = 8 * cells.dtype.itemsize
    found: Pixels = np.left_shift(cells, size - 1 - high)
    return np.right_shift(found, size - stored, out=found)
