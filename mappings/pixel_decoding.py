"""Frames -> arrays of pixel cells. Decoders meet hostile bytes: for processes with limits (workflow/limited.py)."""

import zlib
from itertools import pairwise
from typing import Any

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.decoders.rle import _rle_decode_segment, _rle_parse_header
from pydicom.uid import UID, JPEGExtended12Bit

from gateway.errors import GatewayError, NotAcceptable
from mappings.dicom_structure import EXPLICIT_LITTLE
from mappings.dicom_values import number
from mappings.pixel_cells import Pixels, extracted, stream_bits
from mappings.pixel_frames import PixelFrames
from mappings.pixel_jpeg import BITS as TWELVE_BITS
from mappings.pixel_jpeg import decode_12_bits
from mappings.pixel_syntaxes import JPEG_LOSSLESS, JPEG_LOSSY, RLE

MAX_FRAME_BYTES = 512 * 1024 * 1024
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
PIXEL_DATA = 0x7FE00010
_SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")
_KINDS = {(8, 0): "u1", (8, 1): "i1", (16, 0): "<u2", (16, 1): "<i2"}
_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", PIXEL_DATA: "PixelData"}


def decode(frames: PixelFrames, frame: int, *, as_rgb: bool = False) -> tuple[Pixels, str]:
    """Rows x columns, or rows x columns x 3 of a colour image, and its Photometric Interpretation then.

    Cells with every bit of them, of the type that Pixel Representation says; of compressed samples the bits above
    those of the image repeat the sign. YBR of JPEG comes as RGB, other YBR as it is, but ``as_rgb``, and always with a
    sample of each kind a pixel. Raises NotAcceptable where it cannot be decoded, NotFound where there is no such frame.
    """
    if frames.description.frame_bits // 8 > MAX_FRAME_BYTES:
        raise NotAcceptable(f"A frame has more than {MAX_FRAME_BYTES} bytes.")
    try:
        cells, colours = _decode(frames, frame, as_rgb)
    except GatewayError:
        raise
    except Exception as error:
        raise NotAcceptable(
            f"Frame {frame} cannot be decoded from transfer syntax {frames.layout.transfer_syntax_uid}. As it is "
            "stored it is given for transfer-syntax=*."
        ) from error
    return cells, "YBR_FULL" if colours in _SUBSAMPLED else colours


def decoded_colours(frames: PixelFrames) -> str:
    """Photometric Interpretation once frames are decoded, told from the first. Raises NotAcceptable."""
    described = frames.description.photometric_interpretation
    return described if frames.is_native and described not in _SUBSAMPLED else decode(frames, 1)[1]


def options(frames: PixelFrames) -> dict[str, Any]:
    """What pydicom's decoders and encoders want to know, of one frame in which every bit counts."""
    description, allocated = frames.description, frames.description.bits_allocated
    return {
        "rows": description.rows,
        "columns": description.columns,
        "samples_per_pixel": description.samples,
        "bits_allocated": allocated,
        "bits_stored": allocated,
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
    if syntax in JPEG_LOSSY | JPEG_LOSSLESS:
        return _of_jpeg(frames, syntax, frames.read(frame), as_rgb)
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
    found = np.frombuffer(frames.layout.buffer, kind, description.rows * description.columns, start)
    return found.reshape(description.rows, description.columns)


def _of_jpeg(frames: PixelFrames, syntax: str, encoded_frame: bytes, as_rgb: bool) -> tuple[Pixels, str]:
    """What the image says of its bits holds, whatever the header says (PS3.5 8.2.1)."""
    bits, content = stream_bits(encoded_frame), encapsulate([encoded_frame])
    is_lossy = syntax in JPEG_LOSSY
    if is_lossy and bits == TWELVE_BITS:
        cells, colours = decode_12_bits(frames, encoded_frame), frames.description.photometric_interpretation
    elif is_lossy:  # of the retired processes too, which pydicom does not know by their names
        cells, colours = _by_pydicom(frames, JPEGExtended12Bit, content, as_rgb=True, bits=bits)
    else:
        cells, colours = _by_pydicom(frames, syntax, content, as_rgb, bits=bits)
    if number(frames.attributes, "PixelRepresentation") == 1:
        signed = cells.view(cells.dtype.str.replace("u", "i"))
        cells = extracted(signed, bits, bits - 1) if bits < 8 * cells.dtype.itemsize else signed
    return cells, colours


def _by_pydicom(
    frames: PixelFrames, syntax: str, content: bytes, as_rgb: bool, bits: int = 0
) -> tuple[Pixels, str]:
    """``bits`` a sample, where they are not all that are allocated."""
    described = options(frames) | {"correct_unused_bits": False} | ({"bits_stored": bits} if bits else {})
    array, found = get_decoder(UID(syntax)).as_array(content, index=0, raw=not as_rgb, **described)
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
