"""Whether an image's pixel data can hold what its header says (PS3.3 C.7.6.3, PS3.5 8)."""

from fractions import Fraction

from pydicom.dataset import Dataset

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
    needed = _native_bytes(ds, rows * columns * frames, pixels.tag)
    if pixels.size_bytes >= needed:
        return ""
    return f"The pixel data need {needed} bytes by the header, and have {pixels.size_bytes}."


def _native_bytes(ds: Dataset, pixel_count: int, tag: int) -> int:
    photometric = text(ds, "PhotometricInterpretation")
    samples = _SAMPLES.get(photometric) or number(ds, "SamplesPerPixel") or 1
    bits = _BITS_OF_FLOATS.get(tag) or number(ds, "BitsAllocated") or 0
    return -(-max(bits, 0) * pixel_count * samples // 8)
