"""Which transfer syntaxes are written when asked for, and what those that are read do. No decoder is imported here."""

RLE, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
ENCODED = {RLE: "RLE Lossless", JPEG_LS: "JPEG-LS Lossless", JPEG_2000: "JPEG 2000 Lossless Only"}
"""Beside Explicit VR Little Endian: nothing that loses anything."""

_JPEG = "1.2.840.10008.1.2.4."
JPEG_LOSSY = frozenset(f"{_JPEG}{last}" for last in (50, 51, 53, 55))
"""JPEG by cosine transform: processes 1, 2 and 4, and of the retired ones 6 and 8, 10 and 12 (PS3.5 8.2.1)."""
JPEG_LOSSLESS = frozenset(f"{_JPEG}{last}" for last in (57, 70))
LOSSY = JPEG_LOSSY | frozenset(f"{_JPEG}{last}" for last in (81, 91, 93, 203))
"""Of which samples are near those that were encoded, and no bit has a meaning of its own."""
