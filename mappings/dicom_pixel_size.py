"""Whether an image's pixel data can hold what its header says (PS3.3 C.7.6.3, PS3.5 8)."""

from fractions import Fraction
from typing import Any

from pydicom.dataset import Dataset

from mappings.dicom_json import text_of
from mappings.dicom_structure import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Pixels
from mappings.dicom_values import number, text

_BITS_OF_FLOATS = {0x7FE00008: 32, 0x7FE00009: 64}
# Chrominance has fewer samples than luminance in these, and is none the worse for it (PS3.3 C.7.6.3.1.2).
_SAMPLES = {
    "YBR_FULL_422": Fraction(2),
    "YBR_PARTIAL_422": Fraction(2),
    "YBR_PARTIAL_420": Fraction(3, 2),
}

# MPEG and HEVC, JPIP, JPEG 2000 Part 2: frames do not have fragments of their own (PS3.5 A.4.5, A.4.6, A.4.10, A.6).
_STREAMS_OF_SEVERAL_FRAMES = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (92, 93, 94, 95, *range(100, 109)))

# Rows, Columns, Bits Allocated, Samples per Pixel and Number of Frames: in DICOM JSON, with what holds otherwise.
_SIZE_ATTRIBUTES = {"00280010": "", "00280011": "", "00280100": "", "00280002": "1", "00280008": "1"}

_STANDARD = "1.2.840.10008.1.2"
_NATIVE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE, EXPLICIT_BIG})


def pixel_fault(ds: Dataset, pixels: Pixels | None, transfer_syntax_uid: str) -> str:
    """What is wrong in words, '' where nothing is or nothing can be said. Too much is no fault: the rest is padding."""
    rows, columns = number(ds, "Rows"), number(ds, "Columns")
    if not rows or not columns or number(ds, "BitsAllocated") is None or text(ds, "PixelDataProviderURL"):
        return ""
    frames = number(ds, "NumberOfFrames") or 1
    if pixels is None:
        return f"The header tells of {rows} x {columns} pixels, and there is no pixel data."
    is_encapsulated = pixels.size_bytes is None
    if transfer_syntax_uid.startswith(_STANDARD) and is_encapsulated == (transfer_syntax_uid in _NATIVE):
        found = "encapsulated" if is_encapsulated else "not encapsulated"
        return f"The pixel data are {found}, and their transfer syntax says otherwise."
    if pixels.size_bytes is None:
        fragments = max(pixels.items - 1, 0)  # the first item is the Basic Offset Table (PS3.5 A.4)
        if fragments >= (1 if transfer_syntax_uid in _STREAMS_OF_SEVERAL_FRAMES else frames):
            return ""
        return f"The header tells of {frames} frames, and the pixel data have {fragments} fragments."
    needed = native_bytes(
        rows * columns * frames,
        _BITS_OF_FLOATS.get(pixels.tag) or number(ds, "BitsAllocated") or 0,
        number(ds, "SamplesPerPixel") or 1,
        text(ds, "PhotometricInterpretation"),
    )
    if pixels.size_bytes >= needed:
        return ""
    return f"The pixel data need {needed} bytes by the header, and have {pixels.size_bytes}."


def native_bytes(pixel_count: int, bits: int, samples: int, photometric: str) -> int:
    """Of pixel data that are not compressed, without the byte that makes an odd length even."""
    return -(-max(bits, 0) * pixel_count * _SAMPLES.get(photometric, Fraction(samples)) // 8)


def native_bytes_told(data_set: Any, tag: int) -> int | None:
    """How long the pixel data of a DICOM JSON data set must be; None where it does not say."""
    rows, columns, bits, samples, frames = (
        int(told) if (told := text_of(data_set, name) or usual).isdecimal() else 0
        for name, usual in _SIZE_ATTRIBUTES.items()
    )
    bits = _BITS_OF_FLOATS.get(tag, bits)
    if not (rows and columns and bits):
        return None
    return native_bytes(rows * columns * (frames or 1), bits, samples, text_of(data_set, "00280004"))
