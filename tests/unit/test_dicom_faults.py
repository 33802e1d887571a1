"""Which faults of a file's structure are kept with a warning, and which leave it open whose image it is (ADR 18)."""

import random
import struct
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from gateway.errors import NotDicom
from mappings.dicom_nesting import MAX_DEPTH
from mappings.dicom_to_header import read_header
from tests.support.dicom_files import encode, make_dataset, make_file, real_files

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, about what these tests break

PIXELS = b"\xe0\x7f\x10\x00"
SEQUENCE, ITEM = b"\x99\x00\x01\x10SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\xff\xff\xff\xff"


def fault_of(file: bytes) -> str:
    """What is told of a file that is kept."""
    return read_header(BytesIO(file), "").fault


def remark_on(file: bytes) -> str:
    """What is told of a file whose faults harm no reader."""
    header = read_header(BytesIO(file), "")
    assert header.fault == ""
    return header.remark


def refusal(file: bytes) -> str:
    with pytest.raises(NotDicom) as refused:
        read_header(BytesIO(file), "")
    return str(refused.value)


def real(name: str) -> bytes:
    return Path(get_testdata_file(name)).read_bytes()


def encapsulated(frames: list[bytes], syntax: str = JPEGBaseline8Bit, **attributes: object) -> bytes:
    ds = make_dataset(**attributes)
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].is_undefined_length = True
    return encode(ds, syntax)


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Explicit VR little endian, of a VR with a short length."""
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MR_truncated.dcm", "element (7FE0,0010) needs 8192 bytes from byte 1500 on, and 8130 are there"),
        ("rtplan_truncated.dcm", "element (300A,00B0) needs 976 bytes from byte 1418 on, and 711 are there"),
        ("SC_rgb_jpeg.dcm", "has Implicit VR, and the transfer syntax in (0002,0010) says otherwise"),
        ("chrJapMulti.dcm", "tells of 32 x 32 pixels, and there is no pixel data"),
    ],
)
def test_real_files_with_a_fault_behind_their_header_are_kept_and_told(name, words):
    found = next(path for folder in ("test_files", "charset_files") for path in files_named(folder, name))
    assert words in fault_of(found.read_bytes())


def files_named(folder: str, name: str) -> list[Path]:
    return list((real_files()[0].parent.parent / folder).rglob(name)) or list(
        real_files()[0].parent.parent.parent.rglob(name)
    )


def test_whole_files_have_no_fault():
    told = {}
    for path in real_files():
        try:
            if fault := fault_of(path.read_bytes()):
                told[path.name] = fault
        except NotDicom:
            continue
    assert told.keys() == {"MR_truncated.dcm", "rtplan_truncated.dcm", "SC_rgb_jpeg.dcm"}


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "image_dfl.dcm", "ExplVR_BigEnd.dcm"])
def test_no_cut_through_an_element_goes_unseen(name):
    file = real(name)
    pixels = file.rindex(PIXELS) if PIXELS in file else len(file) // 2
    for length in (len(file) - 40, len(file) - 101, pixels + 20, pixels + 9, pixels + 3):
        assert "ends early" in fault_or_refusal(file[:length]), length


def fault_or_refusal(file: bytes) -> str:
    try:
        return fault_of(file)
    except NotDicom as refused:
        return str(refused)


def test_an_image_that_is_cut_off_between_two_elements_lacks_its_pixels():
    file = make_file()
    assert (
        fault_of(file[: file.rindex(PIXELS)])
        == "The header tells of 4 x 4 pixels, and there is no pixel data."
    )


def test_pixel_data_that_lack_only_their_closing_delimiter_are_kept():
    file = encapsulated([b"\xff\xd8\xff\xd9"])
    assert file.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")
    assert fault_of(file) == ""
    assert "sequence (7FE0,0010) is still open at byte" in fault_of(file[:-8])


@pytest.mark.parametrize("length", [300, 400, 450])
def test_a_file_that_is_broken_before_its_series_is_known_is_refused(length):
    assert "ends early" in refusal(make_file()[:length])


def test_a_file_that_breaks_in_its_patient_is_refused():
    file = make_file()
    patient = file.index(b"\x10\x00\x20\x00LO")
    assert "ends early: element (0010,0020)" in refusal(
        file[: patient + 6] + b"\xfe\xff" + file[patient + 8 :]
    )


def test_a_broken_file_out_of_order_is_refused():
    """Its patient may stand in what cannot be read."""
    file = make_file()
    study = file.index(b"\x20\x00\x0d\x00UI")
    patient, pixels = file.index(b"\x10\x00\x10\x00PN"), file.index(PIXELS)
    out_of_order = file[:patient] + file[study:pixels] + file[patient:study] + file[pixels:]
    assert fault_of(out_of_order) == ""
    assert "ends early" in fault_of(out_of_order[:-3])
    assert "ends early" in refusal(out_of_order[: out_of_order.index(b"Testkind^") + 3])


def test_the_same_element_twice_that_says_the_same_is_no_fault():
    file = make_file()
    patient = file.index(b"\x10\x00\x20\x00LO")
    again = element(0x00100020, b"LO", b"MRN-1 ")
    assert fault_of(file[:patient] + again + file[patient:]) == ""


def test_two_patient_numbers_in_one_file_are_refused():
    file = make_file()
    study = file.index(b"\x20\x00\x0d\x00UI")
    words = refusal(file[:study] + element(0x00100020, b"LO", b"MRN-2 ") + file[study:])
    assert words == "(0010,0020) stands twice in the data set, and says different things."


def test_another_element_twice_is_kept_and_told():
    file = make_file()
    pixels = file.index(PIXELS)
    twice = element(0x00280106, b"US", b"\0\0") + element(0x00280106, b"US", b"\1\0")
    assert fault_of(file[:pixels] + twice + file[pixels:]) == "(0028,0106) stands twice in the data set."


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_too_few_pixels_are_told_and_too_many_are_not(syntax):
    assert fault_of(encode(make_dataset(PixelData=bytes(18)), syntax)) == ""
    words = "The pixel data need 16 bytes by the header, and have 14."
    assert fault_of(encode(make_dataset(PixelData=bytes(14)), syntax)) == words


@pytest.mark.parametrize(
    ("attributes", "needed"),
    [
        ({"NumberOfFrames": 3}, 48),
        ({"BitsAllocated": 16}, 32),
        ({"BitsAllocated": 1}, 2),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, 48),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422"}, 32),
    ],
)
def test_what_pixels_need_is_counted_by_frames_samples_and_bits(attributes, needed):
    assert fault_of(make_file(PixelData=bytes(needed), **attributes)) == ""
    words = f"The pixel data need {needed} bytes by the header, and have {needed - 2}."
    assert fault_of(make_file(PixelData=bytes(needed - 2), **attributes)) == words


def test_compressed_frames_are_counted():
    frame = b"\xff\xd8\xff\xd9"
    assert fault_of(encapsulated([frame] * 3, NumberOfFrames=3)) == ""
    words = "The header tells of 3 frames, and the pixel data have 2 fragments."
    assert fault_of(encapsulated([frame] * 2, RLELossless, NumberOfFrames=3)) == words
    assert fault_of(encapsulated([frame], "1.2.840.10008.1.2.4.102", NumberOfFrames=3)) == ""  # a video


def test_pixels_that_are_encapsulated_or_not_unlike_their_transfer_syntax_are_told():
    frame = encapsulated([b"\xff\xd8\xff\xd9"])
    words = "The pixel data are encapsulated, and their transfer syntax says otherwise."
    assert fault_of(frame.replace(JPEGBaseline8Bit.encode(), b"1.2.840.10008.1.2.1\0\0\0")) == words
    native = make_file().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    assert "are not encapsulated" in fault_of(native)
    assert fault_of(make_file().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.113619.5.2\0\0")) == ""


def test_nesting_behind_the_header_is_kept_and_told_when_it_is_absurd():
    file = make_file(PixelData=None, Rows=None)
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    assert fault_of(file + (SEQUENCE + ITEM) * MAX_DEPTH + closing * MAX_DEPTH) == ""
    assert f"nested deeper than {MAX_DEPTH}" in fault_of(file + (SEQUENCE + ITEM) * 5000)


def nested(depth: int, *, is_implicit: bool = False, mixed: bool = False, tag: int = 0x0040A730) -> bytes:
    """Sequences of defined length in one another, or, where ``mixed``, every second of undefined length."""
    group, number = tag >> 16, tag & 0xFFFF
    content = b""
    for level in range(depth):
        is_undefined = mixed and level % 2
        item_length = 0xFFFFFFFF if is_undefined else len(content)
        item = struct.pack("<HHI", 0xFFFE, 0xE000, item_length) + content
        item += struct.pack("<HHI", 0xFFFE, 0xE00D, 0) * is_undefined
        head = struct.pack("<HH", group, number) + b"SQ\0\0" * (not is_implicit)
        length = 0xFFFFFFFF if is_undefined else len(item)
        content = head + struct.pack("<I", length) + item
        content += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) * is_undefined
    return content


@pytest.mark.parametrize("is_implicit", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("tag", [0x0040A730, 0x00400275])  # of the second the value is kept for the index
@pytest.mark.parametrize("outside", [0, 1, 20])
def test_sequences_of_defined_length_are_told_too_when_they_are_nested_too_deep(
    is_implicit, mixed, tag, outside
):
    syntax = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    file = encode(make_dataset(), syntax)
    pixels = file.index(PIXELS)
    sequence = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"SQ\0\0" * (not is_implicit)
    opening = sequence + b"\xff" * 4 + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closing = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)

    def with_depth(depth: int) -> bytes:
        inside = nested(depth - outside, is_implicit=is_implicit, mixed=mixed)
        return file[:pixels] + opening * outside + inside + closing * outside + file[pixels:]

    if not outside:
        nest = nested(MAX_DEPTH + 1, is_implicit=is_implicit, mixed=mixed, tag=tag)
        assert "nested deeper than 64" in fault_of(file[:pixels] + nest + file[pixels:])
    assert fault_of(with_depth(MAX_DEPTH)) == ""
    assert f"nested deeper than {MAX_DEPTH}" in fault_of(with_depth(MAX_DEPTH + 1))


def test_many_sequences_side_by_side_are_not_deep():
    file = make_file()
    pixels = file.index(PIXELS)
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(nested(3))) + nested(3) for _ in range(100))
    wide = struct.pack("<HH2s2xI", 0x0040, 0xA730, b"SQ", len(items)) + items
    assert fault_of(file[:pixels] + wide + file[pixels:]) == ""


@pytest.mark.parametrize(("depth", "words"), [(62, ""), (63, "nested deeper than 64 in (0040,A730)")])
def test_sequences_without_vr_inside_an_unknown_one_are_counted_too(depth, words):
    file = make_file()
    pixels = file.index(PIXELS)
    inside = nested(depth, is_implicit=True)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inside)) + inside
    unknown = b"\x41\x00\x01\x10UN\0\0\xff\xff\xff\xff" + item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    outer = struct.pack("<HHI", 0xFFFE, 0xE000, len(unknown)) + unknown
    sequence = struct.pack("<HH2s2xI", 0x0040, 0xA730, b"SQ", len(outer)) + outer
    told = fault_of(file[:pixels] + sequence + file[pixels:])
    assert words in told
    assert bool(words) is bool(told)


def test_behind_what_is_nested_too_deep_in_a_defined_length_the_file_is_read_on():
    file = make_file(PixelData=bytes(14))
    pixels = file.index(PIXELS)
    told = fault_of(file[:pixels] + nested(70) + file[pixels:])
    assert told == (
        "Sequences are nested deeper than 64 in (0040,A730). The pixel data need 16 bytes by the header, and have 14."
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_long_sequence_that_makes_no_sense_inside_is_passed_over(seed):
    file, nest = make_file(), bytearray(nested(64))
    chance = random.Random(seed)
    for _ in range(5):
        nest[chance.randrange(12, len(nest))] = chance.randrange(256)
    pixels = file.index(PIXELS)
    assert fault_of(file[:pixels] + nest + file[pixels:]) in (
        "",
        "Sequences are nested deeper than 64 in (0040,A730).",
    )


def with_patient(name: bytes, charset: str | None = None, **attributes: object) -> bytes:
    """A file whose Patient's Name has these bytes."""
    name += b" " * (len(name) % 2)
    ds = make_dataset(PatientName="N" * len(name), **attributes)
    if charset is not None:
        ds.SpecificCharacterSet = charset.split("\\")
    else:
        ds.pop("SpecificCharacterSet", None)
    return encode(ds).replace(b"N" * len(name), name)


@pytest.mark.parametrize(
    ("name", "charset", "words"),
    [
        (b"M\xfcller^A", "ISO_IR 192", "cannot be read in the character set"),
        (b"M\xfcller^A", "ISO_IR 999", "names a character set that DICOM does not have"),
        (b"M\xfcller^A", "Latin X", "names a character set that DICOM does not have"),
        (b"M\xfcller^A", None, "names no character set"),
        (b"M\xfcller^A", "ISO_IR 6", "names no character set"),
        (b"M\xfcller^A", "", "names no character set"),
        ("Müller^A".encode(), "ISO_IR 100", "is UTF-8 by its bytes, and (0008,0005) says ISO_IR 100"),
        (b"Yamada=\x1b$B\xff\xff", "\\ISO 2022 IR 87", "cannot be read in the character set"),
        (b"Yamada=\x1b$Bab\x1b(B", None, "names no character set"),
        (b"A\xff", "GB18030", "cannot be read in the character set"),
    ],
)
def test_a_name_that_may_be_shown_wrongly_is_told(name, charset, words):
    told = fault_of(with_patient(name, charset))
    assert told.startswith("Text may be shown wrongly: (0010,0010) ")
    assert words in told


@pytest.mark.parametrize(
    ("name", "charset"),
    [
        ("Müller^Änne".encode(), "ISO_IR 192"),
        ("Müller^Änne".encode("latin_1"), "ISO_IR 100"),
        ("Müller^Änne".encode("latin_1"), "ISO-IR 100"),
        ("Müller^Änne".encode("latin_1"), "ISO 2022 IR 100"),
        ("ИВАНОВ^ФЁДОР".encode("iso8859_5"), "ISO_IR 144"),
        (b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "\\ISO 2022 IR 87"),
        (b"Plain^Ascii", "ISO_IR 999"),
        (b"Plain^Ascii", None),
    ],
)
def test_a_name_that_is_read_as_it_was_meant_is_no_fault(name, charset):
    assert fault_of(with_patient(name, charset)) == ""


def test_of_text_that_may_be_shown_wrongly_the_patient_comes_first():
    attributes = dict.fromkeys(("StudyDescription", "SeriesDescription", "InstitutionName"), "X" * 8)
    file = with_patient(b"M\xfcller^A", **attributes).replace(b"X" * 8, b"Sch\xe4del ")
    told = fault_of(file)
    assert told.startswith("Text may be shown wrongly: (0010,0010), (0008,0080), (0008,1030) and 1 more has")


def test_text_of_items_is_looked_at_too():
    other = Dataset()
    other.PatientID = "Y" * 8
    file = encode(make_dataset(OtherPatientIDsSequence=[other])).replace(b"Y" * 8, b"\xc4\xd6\xdc12345")
    assert "(0010,0020)" in fault_of(file.replace(b"ISO_IR 192", b"ISO_IR 6  "))


@pytest.mark.parametrize("vr", [b"QQ", b"ZZ", b"OX"])
def test_a_vr_that_does_not_exist_is_told(vr):
    file = make_file()
    pixels = file.index(PIXELS)
    odd = element(0x00280106, vr, b"1 ")
    words = f"(0028,0106) has the VR {vr.decode()}, which PS3.5 6.2 does not have."
    assert fault_of(file[:pixels] + odd + file[pixels:]) == words


def test_a_garbled_name_is_told_beside_missing_pixels():
    told = fault_of(with_patient(b"M\xfcller^A", PixelData=bytes(14)))
    assert "(0010,0010)" in told
    assert "need 16 bytes" in told


@pytest.mark.parametrize("uid", ["1.02.3.4", "1.2.3.", "1..2", ".1.2", "1.2.00", "01.2"])
@pytest.mark.parametrize(
    "keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"]
)
def test_a_uid_that_breaks_only_how_its_components_are_spelt_is_remarked_on(keyword, uid):
    told = remark_on(encode(make_dataset(**{keyword: uid})))
    assert told.startswith(f"{keyword} (00")
    assert "is kept as it is spelt, which breaks PS3.5 9.1" in told


def test_another_instance_in_the_file_meta_information_is_remarked_on():
    ds = make_dataset(SOPInstanceUID="1.2.3.77")
    file = encode(ds).replace(b"1.2.3.77", b"1.2.3.99", 1)
    assert "names another instance (0002,0003)" in remark_on(file)
    assert read_header(BytesIO(file), "").sop_instance_uid == "1.2.3.77"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_missing_transfer_syntax_is_remarked_on(syntax):
    file = encode(make_dataset(), syntax)
    at = file.index(b"\x02\0\x10\0UI")
    length = int.from_bytes(file[at + 6 : at + 8], "little")
    bare = file[:at] + file[at + 8 + length :]
    assert "has no Transfer Syntax UID (0002,0010)" in remark_on(bare)
    assert read_header(BytesIO(bare), "").transfer_syntax_uid == syntax


def test_a_file_that_begins_with_dicm_is_taken_and_remarked_on():
    file = make_file()
    assert "begins with DICM" in remark_on(file[128:])
    header = read_header(BytesIO(file[128:]), "")
    assert file[128:][header.dataset_offset :] == file[read_header(BytesIO(file), "").dataset_offset :]
    assert remark_on(file) == remark_on(file[132:]) == ""


def test_nesting_in_the_header_is_refused_when_it_is_absurd():
    file = make_file()
    study = file.index(b"\x20\x00\x0d\x00UI")
    nest = b"\x10\x00\x02\x10SQ\0\0\xff\xff\xff\xff" + ITEM
    assert "nested deeper" in refusal(file[:study] + nest * 5000 + file[study:])


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (b"\x99", "in the middle of an element's tag and length"),
        (b"\xfe\xff\x0d\xe0\0\0\0\0", "(FFFE,E00D) stands at byte"),
        (SEQUENCE + b"\x99\x00\x01\x10UN\0\0", "where an item must be"),
        (b"\x99\x00\x02\x10UT\0\0\xff\xff\xff\xff", "sequence (0099,1002) is still open"),
        (b"\x99\x00\x02\x10UN\0\0\xff\xff\xff\x7f", "needs 2147483647 bytes"),
    ],
)
def test_what_cannot_be_read_behind_the_pixels_is_kept_and_told(tail, words):
    file = make_file()
    assert words in fault_of(file + element(0xFFFCFFFC, b"OB", b"") + tail) or words in fault_of(file + tail)


@pytest.mark.parametrize(
    "harmless",
    [
        lambda file: file[132:],
        lambda file: file + bytes(1000),
        lambda file: file.replace(b"\x02\0\0\0UL\x04\0", b"\x02\0\0\0UL\x04\0\xff\xff\xff\x7f"[:8]),
        lambda file: file[:140] + b"\xff\xff\xff\x7f" + file[144:],
        lambda file: file.replace(b"CS\x02\x00CT", b"CS\x03\x00CT "),
        lambda file: file.replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00US"),
    ],
    ids=["no preamble", "padding", "same", "group length", "odd length", "nothing"],
)
def test_what_every_reader_reads_alike_is_no_fault(harmless):
    assert fault_of(harmless(make_file())) == ""


def test_explicit_vr_that_is_declared_implicit_is_told():
    file = make_file().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0")
    assert "has Explicit VR, and the transfer syntax" in fault_of(file)
    assert fault_of(encode(make_dataset(), ImplicitVRLittleEndian)) == ""


def test_a_deflated_data_set_that_breaks_off_is_told_or_refused_by_how_far_it_reads():
    ds = make_dataset(PixelData=bytes(range(256)) * 400, Rows=320, Columns=320)
    file = encode(ds, DeflatedExplicitVRLittleEndian)
    start = len(file) - len(deflated_part(file))
    assert "its deflated data set stops in the middle" in fault_of(file[:-20])
    assert "stops in the middle" in refusal(file[: start + 10])
    assert "cannot be inflated" in refusal(file[:start] + b"\xff" * 100)


def deflated_part(file: bytes) -> bytes:
    at = file.index(b"2.25.") if b"2.25." in file else 132
    for start in range(at, len(file)):
        try:
            zlib.decompressobj(-zlib.MAX_WBITS).decompress(file[start:], 4)
            if zlib.decompress(file[start:], -zlib.MAX_WBITS)[:4] == b"\x08\x00\x16\x00":
                return file[start:]
        except zlib.error:
            continue
    raise AssertionError
