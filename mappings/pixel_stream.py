"""What a compressed image says of itself: which transfer syntax holds it, and how many pixels of what kind.

Read from its markers only; nothing is decoded. Image/jpeg and its relatives are told apart by their content, for one
media type has several transfer syntaxes (PS3.18 Table 8.7.3-5, PS3.5 A.4).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from gateway.errors import NotDicom

_JPEG = "1.2.840.10008.1.2.4."
_SOF_LOSSLESS, _SOF_JPEG_LS = 0xC3, 0xF7
_LOSSY = {0xC0: ("50", "51"), 0xC1: ("51",), 0xC2: ("55", "53")}  # baseline, extended, progressive (retired)
_SOS, _APP0, _APP14, _SIZ, _COD, _CAP = 0xDA, 0xE0, 0xEE, 0x51, 0x52, 0x50
_STANDALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
_MAX_MARKERS = 10_000


@dataclass(frozen=True, slots=True)
class PixelStream:
    """``transfer_syntaxes`` that may hold it, the usual one first. ``photometric`` is the PhotometricInterpretation.

    ``colours`` is RGB or YBR where a JPEG image says by itself which it is of, else ''. It stands from ``start`` to
    ``end`` in the file.
    """

    start: int
    end: int
    transfer_syntaxes: tuple[str, ...]
    rows: int
    columns: int
    samples: int
    bits: int
    is_signed: bool
    photometric: str
    colours: str = ""


def read_stream(file: BinaryIO, start: int, end: int) -> PixelStream:
    """What the JPEG, JPEG-LS, JPEG 2000 or HTJ2K image between these places says. Raises NotDicom."""
    start, end = _codestream(file, start, end)
    file.seek(start)
    try:
        head = file.read(2)
        if head == b"\xff\xd8":
            return _read_jpeg(file, start, end)
        if head == b"\xff\x4f":
            return _read_jpeg_2000(file, start, end)
    except (struct.error, IndexError) as error:
        raise NotDicom("The compressed image ends inside its header.") from error
    raise NotDicom("The compressed image is neither JPEG, JPEG-LS nor JPEG 2000.")


def _codestream(file: BinaryIO, at: int, end: int) -> tuple[int, int]:
    """From where to where: a JP2 file has it in a box, and DICOM holds it alone (PS3.5 A.4.4)."""
    if _at(file, at, 12)[4:8] != b"jP  ":
        return at, end
    while at < end and len(head := _at(file, at, 16)) >= 8:
        length, kind = struct.unpack(">I4s", head[:8])
        inside = 8
        if length == 1 and len(head) == 16:
            length, inside = struct.unpack(">Q", head[8:])[0], 16
        length = length or end - at
        if kind == b"jp2c":
            return at + inside, min(at + length, end)
        if length < 8:
            break
        at += length
    raise NotDicom("The JP2 file has no codestream.")


def _at(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Markers with their segments, up to the one that begins the image's data."""
    for _ in range(_MAX_MARKERS):
        prefix, marker = struct.unpack(">BB", file.read(2))
        while marker == 0xFF:  # fill bytes
            marker = file.read(1)[0]
        if prefix != 0xFF:
            return
        if marker in _STANDALONE:
            continue
        length = struct.unpack(">H", file.read(2))[0]
        segment = file.read(max(length - 2, 0))
        yield marker, segment
        if marker in (_SOS, 0x90):  # 0x90 is JPEG 2000's start of a tile
            return


def _read_jpeg(file: BinaryIO, start: int, end: int) -> PixelStream:
    frame, adobe_transform, is_jfif, scan = None, None, False, b""
    for marker, segment in _segments(file):
        if marker == _APP14 and segment.startswith(b"Adobe"):
            adobe_transform = segment[11]
        elif marker == _APP0 and segment.startswith(b"JFIF\0"):
            is_jfif = True
        elif marker == _SOS:
            scan = segment
        elif (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == _SOF_JPEG_LS:
            frame = marker, segment
    if frame is None or not scan:
        raise NotDicom("The JPEG image has no frame or no scan.")
    kind, segment = frame
    bits, rows, columns, samples = struct.unpack(">BHHB", segment[:6])
    ids = segment[6 : 6 + 3 * samples : 3]
    photometric, colours = "MONOCHROME2", ""
    if samples == 3:
        is_rgb = adobe_transform == 0 or ids == b"RGB" or kind in (_SOF_LOSSLESS, _SOF_JPEG_LS)
        is_subsampled = segment[7] != 0x11
        photometric = "RGB" if is_rgb else "YBR_FULL_422" if is_subsampled else "YBR_FULL"
        if kind in _LOSSY and (is_jfif or adobe_transform is not None or ids == b"RGB"):
            colours = photometric[:3]
    syntaxes = _jpeg_syntaxes(kind, scan)
    return PixelStream(start, end, syntaxes, rows, columns, samples, bits, False, photometric, colours)


def _jpeg_syntaxes(kind: int, scan: bytes) -> tuple[str, ...]:
    selection = scan[-3]  # Ss: the predictor of lossless JPEG, NEAR of JPEG-LS
    if kind == _SOF_LOSSLESS:
        return _syntaxes("70", "57") if selection == 1 else _syntaxes("57")
    if kind == _SOF_JPEG_LS:
        return _syntaxes("80", "81") if selection == 0 else _syntaxes("81")
    if kind not in _LOSSY:
        raise NotDicom(
            "The JPEG image is hierarchical or arithmetically coded; DICOM has no transfer syntax for it."
        )
    return _syntaxes(*_LOSSY[kind])


def _syntaxes(*last: str) -> tuple[str, ...]:
    return tuple(_JPEG + one for one in last)


def _read_jpeg_2000(file: BinaryIO, start: int, end: int) -> PixelStream:
    segments = dict(reversed(list(_segments(file))))
    if _SIZ not in segments or _COD not in segments:
        raise NotDicom("The JPEG 2000 image has no size or no coding style.")
    size, coding = segments[_SIZ], segments[_COD]
    right, bottom, left, top = struct.unpack(">4I", size[2:18])
    samples = struct.unpack(">H", size[34:36])[0]
    depth = size[36]
    is_reversible = coding[9] == 1
    if _CAP in segments:  # HTJ2K (ISO 15444-15)
        found = _syntaxes("201", "202", "203") if is_reversible else _syntaxes("203")
    else:
        found = _syntaxes("90", "91") if is_reversible else _syntaxes("91")
    photometric = "MONOCHROME2"
    if samples == 3:
        photometric = "RGB" if not coding[4] else "YBR_RCT" if is_reversible else "YBR_ICT"
    bits, is_signed = (depth & 0x7F) + 1, bool(depth & 0x80)
    return PixelStream(start, end, found, bottom - top, right - left, samples, bits, is_signed, photometric)
