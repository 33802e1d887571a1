"""Frames -> arrays of pixels. Decoders meet hostile bytes here: for processes with limits (workflow/limited.py)."""

import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, BinaryIO

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.decoders.rle import _rle_decode_segment, _rle_parse_header
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID

from gateway.errors import GatewayError, NotAcceptable
from mappings.dicom_layout import open_layout
from mappings.dicom_structure import EXPLICIT_LITTLE
from mappings.dicom_values import number
from mappings.pixel_frames import PixelFrames, find_frames
from mappings.pixel_syntaxes import ENCODED, JPEG_2000, JPEG_LS, RLE

Pixels = np.ndarray[Any, np.dtype[Any]]

_ENCODING_PLUGIN = {RLE: "pylibjpeg", JPEG_LS: "pyjpegls", JPEG_2000: "pylibjpeg"}
MAX_FRAME_BYTES = 512 * 1024 * 1024
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
PIXEL_DATA = 0x7FE00010
_KINDS = {(8, 0): "u1", (8, 1): "i1", (16, 0): "<u2", (16, 1): "<i2"}
_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", PIXEL_DATA: "PixelData"}


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


def encoded(frames: PixelFrames, frame: int, transfer_syntax: str) -> bytes:
    """The frame in EXPLICIT_LITTLE or one of ENCODED. Raises NotAcceptable."""
    if transfer_syntax == EXPLICIT_LITTLE and frames.is_native and frames.description.bits_allocated > 1:
        return frames.read_native(frame)
    pixels, colours = decode(frames, frame)
    if transfer_syntax == EXPLICIT_LITTLE:
        return _little_endian(pixels, frames.description.bits_allocated)
    return _encode(frames, pixels, colours, transfer_syntax)


def decode(frames: PixelFrames, frame: int, *, as_rgb: bool = False) -> tuple[Pixels, str]:
    """Rows x columns, or rows x columns x 3 of a colour image, and its Photometric Interpretation then.

    Colour that was compressed as YBR comes as RGB; native one as it is, but ``as_rgb``. Raises NotAcceptable where
    it cannot be decoded, NotFound where there is no such frame.
    """
    if frames.description.frame_bits // 8 > MAX_FRAME_BYTES:
        raise NotAcceptable(f"A frame has more than {MAX_FRAME_BYTES} bytes.")
    try:
        return _decode(frames, frame, as_rgb or not frames.is_native)
    except GatewayError:
        raise
    except Exception as error:
        raise NotAcceptable(
            f"Frame {frame} cannot be decoded from transfer syntax {frames.layout.transfer_syntax_uid}. As it is "
            "stored it is given for transfer-syntax=*."
        ) from error


def decoded_colours(frames: PixelFrames) -> str:
    """Photometric Interpretation once frames are decoded, told from the first. Raises NotAcceptable."""
    return frames.description.photometric_interpretation if frames.is_native else decode(frames, 1)[1]


def options(frames: PixelFrames) -> dict[str, Any]:
    """What pydicom's decoders and encoders want to know, of one frame."""
    description, allocated = frames.description, frames.description.bits_allocated
    return {
        "rows": description.rows,
        "columns": description.columns,
        "samples_per_pixel": description.samples,
        "bits_allocated": allocated,
        "bits_stored": min(number(frames.attributes, "BitsStored") or allocated, allocated),
        "number_of_frames": 1,
        "pixel_representation": number(frames.attributes, "PixelRepresentation") or 0,
        "photometric_interpretation": description.photometric_interpretation or "MONOCHROME2",
        "planar_configuration": number(frames.attributes, "PlanarConfiguration") or 0,
        "pixel_keyword": _KEYWORDS[frames.element.tag],
        "pixel_vr": frames.element.vr or "OW",
    }


def _decode(frames: PixelFrames, frame: int, as_rgb: bool) -> tuple[Pixels, str]:
    description, syntax = frames.description, frames.layout.transfer_syntax_uid
    colours = description.photometric_interpretation
    if syntax == _DEFLATED_FRAMES:
        return _inflated(frames, frames.read(frame)), colours
    if description.bits_allocated == 1 and frames.is_native:
        skip = (frame - 1) * description.frame_bits % 8  # frames follow one another without padding
        return _bits(frames, frames.read_native(frame), skip), colours
    if description.bits_allocated == 1 and syntax == RLE:
        return _bits(frames, _rle_segments(frames.read(frame)), 0), colours
    if frames.is_native and (pixels := _as_they_stand(frames, frame)) is not None:
        return pixels, colours
    if frames.is_native:
        return _by_pydicom(frames, EXPLICIT_LITTLE, frames.read_native(frame), as_rgb)
    return _by_pydicom(frames, syntax, encapsulate([frames.read(frame)]), as_rgb)


def _as_they_stand(frames: PixelFrames, frame: int) -> Pixels | None:
    """Grey pixels of whole bytes in little endian, without a copy; None where they are something else."""
    description = frames.description
    kind = _KINDS.get((description.bits_allocated, number(frames.attributes, "PixelRepresentation") or 0))
    if (
        kind is None
        or description.samples != 1
        or not frames.layout.is_little
        or frames.element.tag != PIXEL_DATA
    ):
        return None
    [(start, _)] = frames.ranges(frame)
    count = description.rows * description.columns
    found = np.frombuffer(frames.layout.buffer, kind, count, start)
    bits = number(frames.attributes, "BitsStored") or description.bits_allocated
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if kind[-2] == "i" else (0, 2**bits)
    if found.min() < lowest or found.max() >= highest:  # something stands in the bits that are not used
        return None
    return found.reshape(description.rows, description.columns)


def _by_pydicom(frames: PixelFrames, syntax: str, content: bytes, as_rgb: bool) -> tuple[Pixels, str]:
    array, found = get_decoder(UID(syntax)).as_array(content, index=0, raw=not as_rgb, **options(frames))
    return array, str(found["photometric_interpretation"])


def _inflated(frames: PixelFrames, encoded_frame: bytes) -> Pixels:
    """Deflated Image Frame Compression (PS3.5 A.4.13): each frame is a stream of its own, of native pixels."""
    size = (frames.description.frame_bits + 7) // 8
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(encoded_frame, size)
    if frames.description.bits_allocated == 1:
        return _bits(frames, inflated, 0)
    return _by_pydicom(frames, EXPLICIT_LITTLE, inflated, as_rgb=False)[0]


def _rle_segments(encoded_frame: bytes) -> bytes:
    offsets = [*_rle_parse_header(encoded_frame[:64]), len(encoded_frame)]
    return b"".join(bytes(_rle_decode_segment(encoded_frame[start:end])) for start, end in pairwise(offsets))


def _bits(frames: PixelFrames, packed: bytes, skip: int) -> Pixels:
    """Pixels of one bit, the first in the least significant bit (PS3.5 8.1.1)."""
    count = frames.description.frame_bits
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")[skip : skip + count]
    return bits.reshape(frames.description.rows, frames.description.columns)


def _little_endian(pixels: Pixels, bits_allocated: int) -> bytes:
    if bits_allocated == 1:
        return np.packbits(pixels.ravel().astype(bool), bitorder="little").tobytes()
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def _encode(frames: PixelFrames, pixels: Pixels, colours: str, transfer_syntax: str) -> bytes:
    described = options(frames) | {"planar_configuration": 0, "photometric_interpretation": colours}
    try:
        encoder, plugin = get_encoder(UID(transfer_syntax)), _ENCODING_PLUGIN[transfer_syntax]
        return bytes(encoder.encode(pixels, encoding_plugin=plugin, **described))
    except Exception as error:
        raise NotAcceptable(
            f"These pixels cannot be encoded as {ENCODED.get(transfer_syntax, transfer_syntax)}."
        ) from error
