"""Explicit to Implicit VR Little Endian, value for value."""

import struct
from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pynetdicom.dsutils import decode

from gateway.errors import NotDicom
from mappings.dicom_structure import EXPLICIT_LITTLE, find_dataset, walk_file
from mappings.dicom_to_implicit import to_implicit
from tests.support.dicom_files import real_files

BEGIN_SEQUENCE = struct.pack("<HH2s2xI", 0x0040, 0xA730, b"SQ", 0xFFFFFFFF)
FILES = []
for path in real_files():
    with path.open("rb") as opened:
        try:
            skeleton = walk_file(opened, frozenset())
        except NotDicom:
            continue
    if skeleton.transfer_syntax_uid == EXPLICIT_LITTLE and not skeleton.fault:
        FILES.append(path)


def converted(explicit: bytes) -> bytes:
    sink = BytesIO()
    to_implicit(BytesIO(explicit), sink)
    return sink.getvalue()


def values(ds: Dataset) -> list[object]:
    """Tags and undecoded values, items in lists."""
    found: list[object] = []
    for tag in sorted(ds.keys()):
        element = ds.get_item(tag)
        vr = element.VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else "UN")
        is_sequence = vr == "SQ" or isinstance(element.value, Sequence)
        found.append((tag, [values(item) for item in ds[tag].value] if is_sequence else _raw(element.value)))
    return found


def _raw(value: object) -> object:
    """pydicom has decoded Pixel Representation (0028,0103), a number, for its own use."""
    return struct.pack("<H", value) if isinstance(value, int) else value or b""


def encoded(ds: Dataset) -> bytes:
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_dataset(file, ds)
    return file.getvalue()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_value_of_a_real_file_stays(path) -> None:
    with path.open("rb") as file:
        _, offset = find_dataset(file)
    explicit = path.read_bytes()[offset:]
    before = decode(BytesIO(explicit), False, True)
    after = decode(BytesIO(converted(explicit)), True, True)
    assert values(after) == values(before)


def test_sequences_of_each_kind_of_length_stay() -> None:
    for undefined in (False, True):
        inner, item, ds = Dataset(), Dataset(), Dataset()
        inner.CodeValue = "1"
        item.ConceptCodeSequence = [inner, Dataset()]
        ds.ContentSequence = [item, item]
        ds.PatientID = "X"
        ds["ContentSequence"].is_undefined_length = undefined
        item.is_undefined_length_sequence_item = undefined
        after = decode(BytesIO(converted(encoded(ds))), True, True)
        assert after == ds


def test_a_value_of_unknown_vr_and_undefined_length_is_implicit_already() -> None:
    inside = struct.pack("<HHI", 0x0009, 0x1002, 2) + b"AB"
    nested = struct.pack("<HHI", 0xFFFE, 0xE000, len(inside)) + inside
    nested += (
        struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + inside + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    )
    nested += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    unknown = struct.pack("<HH2s2xI", 0x0009, 0x1001, b"UN", 0xFFFFFFFF) + nested
    after = decode(BytesIO(converted(unknown)), True, True)
    items = after[0x00091001].value
    assert [item[0x00091002].value for item in items] == [b"AB", b"AB"]


@pytest.mark.parametrize(
    "explicit",
    [
        b"\x10\x00\x10",
        struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", 10) + b"short",
        struct.pack("<HHI", 0x0010, 0x0010, 4) + b"ABCD",
        struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF),
        struct.pack("<HHI", 0xFFFE, 0xE00D, 0),
        struct.pack("<HHI", 0xFFFE, 0xE000, 0),
        BEGIN_SEQUENCE,
        (
            struct.pack("<HH2s2xI", 0x0040, 0xA730, b"SQ", 0xFFFFFFFF)
            + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        )
        * 5000,
    ],
    ids=["cut-tag", "cut-value", "implicit", "encapsulated", "end", "item", "open", "deep"],
)
def test_what_cannot_be_converted_is_refused(explicit: bytes) -> None:
    with pytest.raises(NotDicom):
        converted(explicit)
