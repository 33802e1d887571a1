"""Frames -> frames in another transfer syntax, with every bit of every cell. For processes with limits only."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID

from gateway.errors import NotAcceptable
from mappings.dicom_layout import open_layout
from mappings.dicom_structure import EXPLICIT_LITTLE
from mappings.pixel_cells import Pixels, are_values, bits_of
from mappings.pixel_decoding import decode, options
from mappings.pixel_frames import PixelFrames, find_frames
from mappings.pixel_syntaxes import ENCODED, JPEG_2000, JPEG_LS, RLE

_PLUGIN = {RLE: "pylibjpeg", JPEG_LS: "pyjpegls", JPEG_2000: "pylibjpeg"}
_FEWEST_BITS = 2  # of JPEG-LS (ISO 14495-1 C.2.2)


def write_frames(
    source: BinaryIO, sink: BinaryIO, frames: list[int], transfer_syntax: str
) -> dict[str, list[int]]:
    """A job: the frames of a file in that transfer syntax, one after another, and their sizes in bytes.

    No ``frames`` are all of them, decoded, as native pixel data with one size.
    Raises NotAcceptable where a frame cannot be decoded or encoded, NotFound where there is none.
    """
    with open_layout(source) as layout:
        found = find_frames(layout)
        if not frames:
            return {"sizes": [sum(sink.write(content) for content in decoded_whole(found))]}
        return {"sizes": [sink.write(encoded(found, frame, transfer_syntax)) for frame in frames]}


def decoded_whole(frames: PixelFrames) -> Iterator[bytes]:
    """Native pixel data, frame by frame; frames of one bit a pixel follow one another without padding (PS3.5 8.1.1)."""
    numbers = range(1, frames.description.frames + 1)
    if frames.description.bits_allocated == 1:
        bits = np.concatenate([decode(frames, frame)[0].ravel() for frame in numbers])
        yield _little_endian(bits, 1)
    else:
        for frame in numbers:
            yield encoded(frames, frame, EXPLICIT_LITTLE)


def encoded(frames: PixelFrames, frame: int, transfer_syntax: str, precision: int = 0) -> bytes:
    """The frame in EXPLICIT_LITTLE or one of ENCODED, with ``precision`` bits a sample. Raises NotAcceptable.

    Without ``precision`` it is the Bits Stored where nothing stands in the other bits, else the Bits Allocated: what
    stands there is part of the cell (PS3.5 8.1.1), and an image of fewer bits would lose it.
    """
    if transfer_syntax == EXPLICIT_LITTLE and frames.is_native and frames.description.bits_allocated > 1:
        return frames.read_native(frame)
    cells, colours = decode(frames, frame)
    if transfer_syntax == EXPLICIT_LITTLE:
        return _little_endian(cells, frames.description.bits_allocated)
    return _encode(
        frames, cells, colours, transfer_syntax, precision or _precision(frames, cells, transfer_syntax)
    )


def common_precision(frames: PixelFrames, transfer_syntax: str) -> int:
    """The same for every frame of an image; 0 of a single one, whose own is told when it is encoded."""
    count = frames.description.frames
    if count == 1 or transfer_syntax == RLE:
        return 0
    return max(_precision(frames, decode(frames, frame)[0], transfer_syntax) for frame in range(1, count + 1))


def _precision(frames: PixelFrames, cells: Pixels, transfer_syntax: str) -> int:
    bits = bits_of(frames)
    whole_bytes = -(-bits.stored // 8) * 8
    if transfer_syntax == RLE or bits.stored < _FEWEST_BITS or whole_bytes < bits.allocated:
        return bits.allocated
    is_signed = transfer_syntax == JPEG_LS and cells.min() < 0  # which JPEG-LS cannot say
    return bits.allocated if is_signed or not are_values(cells, bits) else bits.stored


def _little_endian(cells: Pixels, bits_allocated: int) -> bytes:
    if bits_allocated == 1:
        return np.packbits(cells.ravel().astype(bool), bitorder="little").tobytes()
    return cells.astype(cells.dtype.newbyteorder("<"), copy=False).tobytes()


def _encode(frames: PixelFrames, cells: Pixels, colours: str, transfer_syntax: str, precision: int) -> bytes:
    described = options(frames) | {
        "planar_configuration": 0,
        "photometric_interpretation": colours,
        "bits_stored": precision,
    }
    try:
        encoder, plugin = get_encoder(UID(transfer_syntax)), _PLUGIN[transfer_syntax]
        return bytes(encoder.encode(cells, encoding_plugin=plugin, **described))
    except Exception as error:
        raise NotAcceptable(
            f"These pixels cannot be encoded as {ENCODED.get(transfer_syntax, transfer_syntax)}."
        ) from error
