"""The DICOM JSON model (PS3.18 Annex F): nothing refused, nothing in the wrong type."""

import json
import random
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from gateway.errors import NotDicom
from mappings import dicom_metadata, dicom_source
from mappings.dicom_layout import open_layout
from mappings.dicom_metadata import MetadataWriter
from mappings.dicom_to_json import select_json
from mappings.native_xml import from_xml, to_xml
from tests.support.dicom_files import encode, make_dataset, make_file, real_files
from tests.support.metadata import metadata_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, about odd values


def bulk(path: str) -> str:
    return f"http://gateway.test/{path}"


def json_of(file: bytes) -> dict:
    return metadata_of(file, bulk)


def test_values_have_the_type_of_their_vr():
    found = json_of(make_file(SliceThickness="1.50", FrameIncrementPointer=[0x00181063], NumberOfFrames="3"))
    assert found["00180050"] == {"vr": "DS", "Value": [1.5]}
    assert found["00280009"] == {"vr": "AT", "Value": ["00181063"]}
    assert found["00280008"] == {"vr": "IS", "Value": [3]}
    assert found["00280010"] == {"vr": "US", "Value": [4]}
    assert found["00080020"] == {"vr": "DA", "Value": ["20261101"]}


def test_empty_values_have_no_value_and_gaps_are_null():
    found = json_of(make_file(StudyID="", ImageType=["ORIGINAL", "", "AXIAL"]))
    assert found["00200010"] == {"vr": "SH"}
    assert found["00080008"] == {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]}


def test_an_element_of_a_vr_that_does_not_exist_is_told_as_its_bytes():
    odd = b"\x09\x00\x10\x00LO\x04\x00ACME\x09\x00\x01\x10ZZ\x02\x00ab"
    file = make_file()
    at = file.index(b"\x10\x00\x10\x00PN")
    assert json_of(file[:at] + odd + file[at:])["00091001"] == {"vr": "UN", "InlineBinary": "YWI="}


def test_an_element_that_pydicom_converts_even_raw_is_told_by_its_tag():
    ds = Dataset()
    ds._dict[BaseTag(0xFFFEE0DD)] = RawDataElement(BaseTag(0xFFFEE0DD), "NONE", 0, None, 0, False, True)
    assert select_json(ds, [0xFFFEE0DD]) == {"FFFEE0DD": {"vr": "UN"}}


def test_a_number_of_a_length_that_no_number_has_is_told_as_the_text_that_it_may_be():
    found = json_of(
        make_file().replace(b"\x28\x00\x10\x00US\x02\x00\x04\x00", b"\x28\x00\x10\x00US\x03\x00abc")
    )
    assert found["00280010"] == {"vr": "US", "Value": ["abc"]}


@pytest.mark.parametrize("cut", [1, 20, 4000])
def test_a_deflated_data_set_that_breaks_off_is_told_as_far_as_it_goes(cut):
    noise = random.Random(1).randbytes(10_000)
    file = encode(make_dataset(ICCProfile=noise, Rows=100, Columns=100), DeflatedExplicitVRLittleEndian)
    assert json_of(file[:-cut])["00100020"] == {"vr": "LO", "Value": ["MRN-1"]}


def test_of_a_deflated_data_set_no_more_is_inflated_than_is_told(monkeypatch):
    file = encode(make_dataset(PixelData=bytes(5_000_000)), DeflatedExplicitVRLittleEndian)
    monkeypatch.setattr(dicom_source, "MAX_INFLATED_BYTES", 200_000)
    monkeypatch.setattr(dicom_metadata, "MAX_HEADER_BYTES", 100_000)
    assert json_of(file)["7FE00010"]["vr"] == "OB"


def test_sequences_are_lists_of_data_sets():
    item = Dataset()
    item.CodeValue = "113100"
    found = json_of(make_file(DeidentificationMethodCodeSequence=Sequence([item, Dataset()])))
    assert found["00120064"] == {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["113100"]}}, {}]}


@pytest.mark.parametrize("name", ["chrH31.dcm", "chrX2.dcm", "chrI2.dcm"])
def test_text_is_utf8_and_says_so(name):
    found = json_of(Path(get_charset_files(name)[0]).read_bytes())
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert not found["00100010"]["Value"][0]["Ideographic"].isascii()


def test_pixel_data_and_large_binary_values_are_addresses():
    found = json_of(make_file(ICCProfile=b"x" * 1026))
    assert found["7FE00010"] == {"vr": "OB", "BulkDataURI": "http://gateway.test/7FE00010"}
    assert found["00282000"] == {"vr": "OB", "BulkDataURI": "http://gateway.test/00282000"}


def test_small_binary_values_are_inline():
    assert json_of(make_file(ICCProfile=b"abcd"))["00282000"] == {"vr": "OB", "InlineBinary": "YWJjZA=="}


def test_binary_values_in_sequences_are_addressed_by_item():
    item = Dataset()
    item.ICCProfile = b"x" * 2000
    found = json_of(make_file(OpticalPathSequence=Sequence([Dataset(), item])))
    address = found["00480105"]["Value"][1]["00282000"]["BulkDataURI"]
    assert address == "http://gateway.test/00480105/2/00282000"


def test_values_that_break_their_vr_are_text():
    file = make_file(SeriesNumber=12345678, SliceThickness="1.23456").replace(b"12345678", b"12three4")
    found = json_of(file.replace(b"1.23456 ", b"one half"))
    assert found["00200011"] == {"vr": "IS", "Value": ["12three4"]}
    assert found["00180050"] == {"vr": "DS", "Value": ["one half"]}


def test_what_json_has_no_number_for_is_text():
    ds = make_dataset(RealWorldValueSlope=float("nan"))
    assert json_of(encode(ds))["00409225"] == {"vr": "FD", "Value": ["NaN"]}


def test_private_elements_are_kept():
    ds = make_dataset()
    ds.private_block(0x0011, "TEST", create=True).add_new(0x01, "LO", "kept")
    assert json_of(encode(ds))["00111001"] == {"vr": "LO", "Value": ["kept"]}


def test_endless_nesting_ends():
    inner = Dataset()
    for _ in range(200):
        outer = Dataset()
        outer.ReferencedImageSequence = Sequence([inner])
        inner = outer
    assert json.dumps(select_json(inner, inner.keys())).count("00081140") == 65


def test_a_header_without_end_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(dicom_metadata, "MAX_HEADER_BYTES", 20_000)
    assert json_of(make_file(PixelData=bytes(90_000), ICCProfile=bytes(90_000)))
    with pytest.raises(NotDicom):
        json_of(make_file(TextValue="x" * 90_000))


def test_tags_are_in_ascending_order():
    found = json_of(make_file())
    assert list(found) == sorted(found)


def test_what_is_no_dicom_is_said_so():
    with pytest.raises(NotDicom):
        json_of(b"\x08\x00\x05\x00CS\xff\xffno" * 3)


def test_every_real_file_becomes_json():
    for path in real_files():
        content = path.read_bytes()
        if content[128:132] == b"DICM":
            assert json_of(content)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "reportsi.dcm", "JPEG2000.dcm"]
)
def test_pydicom_reads_the_json_of_real_files(name):
    path = Path(get_testdata_file(name))
    read = Dataset.from_json(json_of(path.read_bytes()), lambda *_: b"")
    original = dcmread(path)
    missing = {tag for tag in original.keys() - read.keys() if tag.element and tag < 0x7FE00010}
    assert not missing
    assert (read.SOPInstanceUID, read.PatientName) == (original.SOPInstanceUID, original.PatientName)


def test_an_element_is_the_same_alone_and_among_thousands():
    """Texts are used again for the same bytes: never for what means something else there."""
    latin = make_file(PatientName="M\xfcller", SpecificCharacterSet="ISO_IR 100")
    greek = latin.replace(b"ISO_IR 100", b"ISO_IR 126")
    assert len(greek) == len(latin)
    writer = dicom_metadata.MetadataWriter()
    for content, name in ((latin, "Müller"), (greek, "Mόller"), (latin, "Müller")):
        assert together(writer, content)["00100010"]["Value"] == [{"Alphabetic": name}]
        assert together(writer, content) == json_of(content)


def test_signed_and_unsigned_pixels_are_not_mistaken_for_one_another():
    files = [
        encode(make_dataset(PixelRepresentation=signed, SmallestImagePixelValue=value), "1.2.840.10008.1.2")
        for signed, value in ((0, 65535), (1, -1))
    ]
    writer = dicom_metadata.MetadataWriter()
    assert [together(writer, file)["00280106"] for file in files] == [
        {"vr": "US", "Value": [65535]},
        {"vr": "SS", "Value": [-1]},
    ]


def test_what_is_remembered_does_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(dicom_metadata, "MAX_KEPT_BYTES", 10_000)
    writer = dicom_metadata.MetadataWriter()
    for number in range(50):
        assert together(writer, make_file(InstanceNumber=number))["00200013"]["Value"] == [number]
        assert writer._kept_bytes < 20_000


def together(writer: dicom_metadata.MetadataWriter, content: bytes) -> dict:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        with open_layout(file) as layout:
            return json.loads(writer.write(layout, bulk).text)


def test_leading_white_space_of_long_text_is_kept_and_only_spaces_at_its_end_are_padding():
    ds = make_dataset()
    ds.PatientComments = "\tTab first  "
    ds.ImageComments = "  lead\n\tx\r\n"
    ds.TextValue = "  indented\r\n  text \r\n "
    ds.add_new(0x00400310, "ST", "  lead ")
    ds.add_new(0x00080119, "UC", ["  one", "two  "])
    ds.StudyDescription = "  CT  "
    found = metadata_of(encode(ds), str)
    assert found["00104000"]["Value"] == ["\tTab first"]
    assert found["00204000"]["Value"] == ["  lead\n\tx\r\n"]
    assert found["0040A160"]["Value"] == ["  indented\r\n  text \r\n"]
    assert found["00400310"]["Value"] == ["  lead"]
    assert found["00080119"]["Value"] == ["  one", "two"]
    assert found["00081030"]["Value"] == ["CT"]
    assert from_xml(to_xml(found)) == found


def test_long_text_of_real_files_is_what_dcmtk_tells():
    count = 0
    for path in sorted({*real_files(), *map(Path, get_charset_files("*.dcm"))}):
        told = subprocess.run(["dcm2json", "-q", path], capture_output=True, check=False, timeout=60)
        with suppress(ValueError, NotDicom):
            theirs, ours = json.loads(told.stdout), metadata_of(path.read_bytes(), str)
            assert long_texts(ours) == long_texts(theirs), path.name
            count += 1
    assert count >= 40


def long_texts(data_set: dict[str, Any], path: str = "") -> dict[str, list[str]]:
    """The values of LT, ST, UC and UT, by their paths."""
    found: dict[str, list[str]] = {}
    for tag, element in data_set.items():
        if element["vr"] == "SQ":
            for number, item in enumerate(element.get("Value", ())):
                found |= long_texts(item, f"{path}{tag}/{number}/")
        elif element["vr"] in ("LT", "ST", "UC", "UT"):
            found[path + tag] = [text and text.rstrip(" ") for text in element.get("Value", ())]
    return found


def test_an_element_that_stands_twice_is_given_once_and_told():
    file = make_file()
    pixels = file.index(b"\xe0\x7f\x10\x00")
    again = b"\x28\x00\x06\x01US\x02\0\1\0" * 2
    with tempfile.TemporaryFile() as stored:
        stored.write(file[:pixels] + again + file[pixels:])
        stored.flush()
        with open_layout(stored) as layout:
            assert MetadataWriter().write(layout, bulk).left_out == [
                "An element stands twice, and is given once."
            ]
