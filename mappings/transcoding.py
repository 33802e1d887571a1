"""A stored file -> the same instance in another transfer syntax (PS3.18 8.7.3.5). What is stored is never altered.

For processes with limits only (workflow/limited.py). Frames go through one at a time.
"""

import struct
from collections.abc import Iterable
from typing import BinaryIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID

from gateway.errors import NotAcceptable
from mappings.dicom_layout import PIXEL_TAGS, Element, StoredLayout, open_layout
from mappings.dicom_structure import EXPLICIT_LITTLE
from mappings.dicom_values import text
from mappings.pixel_cells import bits_of
from mappings.pixel_decoding import decoded_colours
from mappings.pixel_encoding import common_precision, decoded_whole, encoded
from mappings.pixel_frames import PixelFrames, find_frames
from mappings.pixel_syntaxes import RLE

_OFFSET_TABLES = frozenset({0x7FE00001, 0x7FE00002})
_PIXELS = 0x7FE00008  # the first of the tags
_MAX_VALUE_BYTES = 2**32 - 2
_UNDEFINED = b"\xff\xff\xff\xff"
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
_IMPLEMENTATION_CLASS_UID = "2.25.302872214079961481996349282370042220664"
_TOO_LARGE = "The pixel data would be longer than an element may be (PS3.5 7.1.2)."


def transcode(source: BinaryIO, sink: BinaryIO, transfer_syntax: str) -> dict[str, list[int]]:
    """A job: the Part 10 file in EXPLICIT_LITTLE or one of ``pixel_syntaxes.ENCODED``. Raises NotAcceptable."""
    with open_layout(source) as layout:
        elements = [element for element in layout if element.tag & 0xFFFF]
        has_pixels = any(element.tag in PIXEL_TAGS for element in elements)
        frames = find_frames(layout) if has_pixels else None
        before = _parse(
            layout, (one for one in elements if one.tag < _PIXELS and one.tag not in _OFFSET_TABLES)
        )
        after = _parse(layout, (one for one in elements if one.tag >= _PIXELS and one.tag not in PIXEL_TAGS))
        if frames is not None:
            _describe(before, frames, transfer_syntax)
        output = _output(sink)
        try:
            _write_meta(output, before, transfer_syntax)
            write_dataset(output, before)
            if frames is not None:
                _write_pixels(output, frames, transfer_syntax)
            write_dataset(output, after)
        except NotAcceptable:
            raise
        except Exception as error:
            raise NotAcceptable(
                f"The data set cannot be written in transfer syntax {transfer_syntax}."
            ) from error
    return {"sizes": [sink.tell()]}


def _parse(layout: StoredLayout, elements: Iterable[Element]) -> Dataset:
    return layout.parse(b"".join(layout.buffer[one.start : one.end] for one in elements))


def _output(sink: BinaryIO) -> DicomIO:
    output = DicomIO(sink)
    output.is_little_endian, output.is_implicit_VR = True, False
    return output


def _write_meta(output: DicomIO, ds: Dataset, transfer_syntax: str) -> None:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(text(ds, "SOPClassUID"))
    meta.MediaStorageSOPInstanceUID = UID(text(ds, "SOPInstanceUID"))
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = UID(_IMPLEMENTATION_CLASS_UID)
    output.write(bytes(128) + b"DICM")
    write_file_meta_info(output, meta)


def _describe(ds: Dataset, frames: PixelFrames, transfer_syntax: str) -> None:
    """What the decoded or encoded pixels are (PS3.5 8.2, PS3.3 C.7.6.3.1)."""
    if frames.is_native and transfer_syntax == EXPLICIT_LITTLE:
        return
    colours = decoded_colours(frames)
    if colours and colours != frames.description.photometric_interpretation:
        ds.PhotometricInterpretation = colours
    if frames.description.samples > 1:
        ds.PlanarConfiguration = 1 if transfer_syntax == RLE else 0
    if not frames.is_native and "HighBit" in ds:
        ds.HighBit = bits_of(frames).high


def _write_pixels(output: DicomIO, frames: PixelFrames, transfer_syntax: str) -> None:
    tag = struct.pack("<HH", frames.element.tag >> 16, frames.element.tag & 0xFFFF)
    if transfer_syntax != EXPLICIT_LITTLE:
        output.write(tag + b"OB\0\0" + _UNDEFINED)
        _write_encapsulated(output, frames, transfer_syntax)
    elif frames.is_native and frames.layout.is_little:
        _write_as_stored(output, frames, tag)
    else:
        _write_decoded(output, frames, tag)


def _write_as_stored(output: DicomIO, frames: PixelFrames, tag: bytes) -> None:
    """Also where the value is shorter than its description says."""
    start, end = frames.element.value, frames.element.end
    output.write(tag + _vr(frames) + b"\0\0" + (end - start).to_bytes(4, "little"))
    for at in range(start, end, 1024 * 1024):
        output.write(frames.layout.buffer[at : min(at + 1024 * 1024, end)])


def _write_decoded(output: DicomIO, frames: PixelFrames, tag: bytes) -> None:
    output.write(tag + _vr(frames) + b"\0\0" + bytes(4))
    start = output.tell()
    for content in decoded_whole(frames):
        output.write(content)
        if output.tell() - start > _MAX_VALUE_BYTES:
            raise NotAcceptable(_TOO_LARGE)
    if (output.tell() - start) % 2:
        output.write(b"\0")
    end = output.tell()
    output.seek(start - 4)
    output.write((end - start).to_bytes(4, "little"))
    output.seek(end)


def _vr(frames: PixelFrames) -> bytes:
    """Of native pixels in explicit encoding (PS3.5 8.2, A.2)."""
    if frames.element.tag != 0x7FE00010:
        return b"OF" if frames.element.tag == 0x7FE00008 else b"OD"
    if frames.is_native and frames.element.vr in ("OB", "OW"):
        return frames.element.vr.encode()
    return b"OB" if frames.description.bits_allocated <= 8 and not frames.is_native else b"OW"


def _write_encapsulated(output: DicomIO, frames: PixelFrames, transfer_syntax: str) -> None:
    """One fragment a frame, with a Basic Offset Table (PS3.5 A.4)."""
    count = frames.description.frames
    output.write(_ITEM + (4 * count).to_bytes(4, "little"))
    table = output.tell()
    output.write(bytes(4 * count))
    first, offsets = output.tell(), []
    precision = common_precision(frames, transfer_syntax)
    for frame in range(1, count + 1):
        offsets.append(output.tell() - first)
        fragment = encoded(frames, frame, transfer_syntax, precision)
        fragment += b"\0" * (len(fragment) % 2)
        output.write(_ITEM + len(fragment).to_bytes(4, "little") + fragment)
        if output.tell() - first > _MAX_VALUE_BYTES:
            raise NotAcceptable(_TOO_LARGE)
    output.write(_SEQUENCE_END)
    end = output.tell()
    output.seek(table)
    output.write(struct.pack(f"<{count}I", *offsets))
    output.seek(end)
