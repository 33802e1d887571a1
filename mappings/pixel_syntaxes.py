"""Which transfer syntaxes are written when asked for. No decoder is imported here."""

RLE, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
ENCODED = {RLE: "RLE Lossless", JPEG_LS: "JPEG-LS Lossless", JPEG_2000: "JPEG 2000 Lossless Only"}
"""Beside Explicit VR Little Endian: nothing that loses anything."""
