"""DICOM JSON becomes a data set that says the same, or is refused with the element that cannot be written."""

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset

from gateway.errors import NotDicom
from mappings import dicom_json
from mappings.dicom_json import parse_json, text_of
from mappings.dicom_nesting import MAX_DEPTH
from mappings.json_to_dicom import Bulk, encode_dataset
from tests.support.dicom_files import real_files
from tests.support.metadata import to_json

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, about odd values


def no_bulk(vr: str, uri: str) -> Bulk:
    raise AssertionError


def bulk(content: bytes) -> Bulk:
    def read() -> Iterator[bytes]:
        yield content

    return Bulk(len(content), read)


def encoded(data_set: dict) -> bytes:
    return b"".join(encode_dataset(data_set, no_bulk))


def dataset_of(content: bytes) -> Dataset:
    return read_dataset(BytesIO(content), is_implicit_VR=False, is_little_endian=True)


def element(tag: str, vr: str, *values: object) -> dict:
    return {tag: {"vr": vr, "Value": list(values)}}


def test_every_real_data_set_comes_back_from_json():
    count = 0
    for path in real_files():
        ds = dcmread(path, force=True)
        before = to_json(ds)
        try:
            content = encoded(json.loads(json.dumps(before)))
        except NotDicom:  # a value that is not of its VR is told as text, which cannot be written again
            continue
        count += 1
        after = to_json(dataset_of(content))
        assert without_charsets(after) == without_charsets(before), path
    assert count > 65


def without_charsets(found: dict) -> str:
    text = json.dumps({tag: one for tag, one in found.items() if tag != "00080005" and tag[:4] != "0002"})
    return text.replace(
        "TmVzdGVkIFNRAA==", "TmVzdGVkIFNR"
    )  # a value of odd length in two files, which is padded


@pytest.mark.parametrize(
    ("vr", "values", "content"),
    [
        ("CS", ["MPG", None, "XR3"], b"MPG\\\\XR3"),
        ("DS", [1.5, "1.50", 3], b"1.5\\1.50\\3"),
        ("IS", [7, "07"], b"7\\07"),
        ("US", [1, 65535], b"\1\0\xff\xff"),
        ("SS", [-1], b"\xff\xff"),
        ("AT", ["00181063"], b"\x18\0\x63\x10"),
        ("FL", [0.5], b"\0\0\0?"),
        ("UI", ["1.2.3"], b"1.2.3\0"),
        ("LT", ["a\\b "], b"a\\b "),
        ("PN", [{"Alphabetic": "A^B", "Phonetic": "C"}, None], b"A^B==C\\ "),
        ("LO", [None], b""),
    ],
)
def test_values_are_written_in_the_form_of_their_vr(vr, values, content):
    written = encoded(element("00091001", vr, *values))
    assert written[:8] == b"\x09\x00\x01\x10" + vr.encode() + len(content).to_bytes(2, "little")
    assert written[8:] == content


def test_numbers_as_text_are_numbers_that_json_does_not_have():
    found = dataset_of(encoded(element("00091001", "FD", "NaN", "inf", "-inf")))[0x00091001].value
    assert str(list(found)) == "[nan, inf, -inf]"


def test_decimals_keep_their_digits_and_a_longer_one_is_rounded_to_what_a_ds_has_room_for():
    (data_set,) = parse_json(b'[{"00180050": {"vr": "DS", "Value": [1.50, 0.1234567890123456789]}}]')
    assert encoded(data_set).endswith(b"1.50\\0.12345678901235 ")
    assert dataset_of(encoded(data_set))[0x00180050].value[1] == pytest.approx(0.123456789012345)


def test_group_lengths_and_file_meta_information_are_left_out():
    assert encoded(element("00100000", "UL", 4) | element("00020010", "UI", "1.2")) == b""


def test_text_is_utf8_and_says_so_in_items_too():
    item = element("00100010", "PN", {"Alphabetic": "Müller"}) | element("00080005", "CS", "ISO_IR 100")
    found = dataset_of(encoded({"00081115": {"vr": "SQ", "Value": [item, {}, None]}}))
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found[0x00081115][0].SpecificCharacterSet == "ISO_IR 192"
    assert found[0x00081115][0].PatientName == "Müller"
    assert len(found[0x00081115].value) == 3
    assert "SpecificCharacterSet" not in dataset_of(encoded(element("00100020", "LO", "ascii")))


def test_bulk_data_are_copied_and_padded():
    found = b"".join(
        encode_dataset({"00420011": {"vr": "OB", "BulkDataURI": "x"}}, lambda vr, uri: bulk(b"abc"))
    )
    assert found == b"\x42\0\x11\0OB\0\0\x04\0\0\0abc\0"


PICTURE = (
    element("00280002", "US", 1)
    | element("00280004", "CS", "MONOCHROME2")
    | element("00280010", "US", 3)
    | element("00280011", "US", 5)
    | element("00280100", "US", 8)
)


def pixels_written(count: int, vr: str, *, is_inline: bool, **changed: Any) -> bytes:
    value = {"InlineBinary": base64.b64encode(bytes(count)).decode()} if is_inline else {"BulkDataURI": "x"}
    data_set = PICTURE | changed | {"7FE00010": {"vr": vr} | value}
    return dataset_of(b"".join(encode_dataset(data_set, lambda vr, uri: bulk(bytes(count))))).PixelData


@pytest.mark.parametrize("is_inline", [False, True])
@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_pixel_data_are_as_long_as_the_metadata_say_and_get_at_most_their_one_byte_of_padding(vr, is_inline):
    for count in (15, 16):
        assert len(pixels_written(count, vr, is_inline=is_inline)) == 16
    for count in (1, 13, 14, 17, 18, 32):
        with pytest.raises(NotDicom, match=rf"\(7FE0,0010\) needs 15 bytes by the metadata, and has {count}"):
            pixels_written(count, vr, is_inline=is_inline)


@pytest.mark.parametrize(
    ("changed", "needed"),
    [
        (element("00280100", "US", 16), 30),
        (element("00280100", "US", 1), 2),
        (element("00280008", "IS", 2), 30),
        (element("00280008", "IS", "3"), 45),
        (element("00280002", "US", 3) | element("00280004", "CS", "RGB"), 45),
        (element("00280002", "US", 3) | element("00280004", "CS", "YBR_FULL_422"), 30),
    ],
)
def test_how_long_pixel_data_are_follows_from_what_describes_them(changed, needed):
    assert len(pixels_written(needed, "OW", is_inline=False, **changed)) == needed + needed % 2
    with pytest.raises(NotDicom, match=f"needs {needed} bytes"):
        pixels_written(needed - 1, "OW", is_inline=False, **changed)


def test_pixel_data_of_an_odd_length_that_nothing_describes_are_refused():
    with pytest.raises(NotDicom, match="no whole values"):
        pixels_written(15, "OB", is_inline=False, **{"00280010": {"vr": "US"}})


@pytest.mark.parametrize(
    ("vr", "count"),
    [
        ("OW", 3),
        ("OF", 5),
        ("OF", 6),
        ("OL", 3),
        ("OD", 11),
        ("OD", 12),
        ("OV", 3),
        ("US", 1),
        ("FD", 6),
        ("AT", 2),
    ],
)
def test_binary_values_of_no_whole_words_are_refused(vr, count):
    content = base64.b64encode(bytes(count)).decode()
    with pytest.raises(
        NotDicom, match=rf"\(0009,1001\) has {count} bytes, which are no whole values of its vr {vr}"
    ):
        encoded({"00091001": {"vr": vr, "InlineBinary": content}})
    with pytest.raises(NotDicom, match="no whole values"):
        b"".join(
            encode_dataset({"00091001": {"vr": vr, "BulkDataURI": "x"}}, lambda vr, uri: bulk(bytes(count)))
        )


def test_frames_are_encapsulated_with_their_offsets():
    frames = [bulk(b"one"), bulk(b"second"), bulk(b"3")]
    found = b"".join(encode_dataset({"7FE00010": {"vr": "OW", "BulkDataURI": "x"}}, lambda vr, uri: frames))
    ds = dataset_of(found)
    assert list(generate_frames(ds.PixelData, number_of_frames=3)) == [b"one\0", b"second", b"3\0"]
    assert ds.PixelData[8:20] == b"\0\0\0\0\x0c\0\0\0\x1a\0\0\0"


@pytest.mark.parametrize(
    ("data_set", "words"),
    [
        (element("00280010", "US", 65536), "(0028,0010)"),
        (element("00280010", "US", 1.5), "(0028,0010)"),
        (element("00280010", "US", True), "(0028,0010)"),
        (element("00200013", "IS", 1.5), "(0020,0013)"),
        (element("00209000", "AT", "x"), "(0020,9000)"),
        (element("00104000", "LT", "one", "two"), "(0010,4000)"),
        (element("00100010", "PN", {"Alphabetisch": "A"}), "(0010,0010)"),
        (element("00100010", "PN", "A\\B"), "(0010,0010)"),
        (element("00100010", "PN", 5), "(0010,0010)"),
        (element("00100010", "PN", {"Alphabetic": "Smith=Evil^Other"}), "(0010,0010)"),
        (element("00100010", "PN", {"Phonetic": "a=b"}), "(0010,0010)"),
        (element("00100020", "LO", "x" * 65535), "65534"),
        (element("7FE00010", "OB", 1), "Value of (7FE0,0010)"),
        ({"00100020": {"vr": "LO", "Value": "text"}}, "Value of (0010,0020)"),
        ({"00100020": {"vr": "LO", "Value": ["a"], "BulkDataURI": "x"}}, "Value and BulkDataURI"),
        ({"00100020": ["LO"]}, "(0010,0020) has no vr"),
        ({"00081115": {"vr": "SQ", "Value": ["text"]}}, "not a JSON object"),
        ({"00081115": {"vr": "SQ", "BulkDataURI": "x"}}, "BulkDataURI of (0008,1115)"),
        (element("0020000d", "UI", "1.2") | element("0020000D", "UI", "1.3"), "in capitals"),
    ],
)
def test_what_cannot_be_written_as_it_was_said_is_refused_by_its_element(data_set, words):
    with pytest.raises(NotDicom) as refused:
        encoded(data_set)
    assert words in str(refused.value)


def test_nesting_is_limited():
    nested: dict = {}
    for _ in range(MAX_DEPTH + 1):
        nested = {"00081115": {"vr": "SQ", "Value": [nested]}}
    with pytest.raises(NotDicom, match="nested deeper"):
        encoded(nested)


@pytest.mark.parametrize("vr", ["IS", "US", "SV", "UV", "FD", "FL"])
def test_a_number_of_a_billion_digits_is_refused_and_not_worked_out(vr):
    (data_set,) = parse_json(b'[{"00091001":{"vr":"%s","Value":[1E+1000000000]}}]' % vr.encode())
    with pytest.raises(NotDicom, match="0009,1001"):
        encoded(data_set)


@pytest.mark.parametrize("depth", [100, 300, 450, 700, 900])
def test_lists_in_lists_are_refused_however_deep(depth):
    content = b'[{"00100020":{"vr":"LO","Value":' + b"[" * depth + b"]" * depth + b"}}]"
    with pytest.raises(NotDicom):
        b"".join(encoded(data_set) for data_set in parse_json(content))


def test_a_single_data_set_may_stand_without_its_list():
    assert parse_json(b'{"00100020": {"vr": "LO"}}') == [{"00100020": {"vr": "LO"}}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON"),
        (b"nix", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[NaN]", "has NaN, which is no JSON"),
        (b"[-Infinity]", "has -Infinity, which is no JSON"),
        (b"[" * 5000, "nested too deep"),
        (b"[1e99999999999999999999]", "exponent is beyond every VR"),
        (b'[{"a":1,"a":2}]', "says something twice"),
    ],
)
def test_what_is_no_json_is_refused_in_words(content, words):
    with pytest.raises(NotDicom, match=words):
        parse_json(content)


def test_the_number_of_objects_is_limited(monkeypatch):
    monkeypatch.setattr(dicom_json, "MAX_JSON_OBJECTS", 3)
    with pytest.raises(NotDicom, match="more than 3 objects"):
        parse_json(b"[{},{},{}]")


def test_text_of_an_attribute_is_read_whatever_it_is():
    assert text_of(element("00080018", "UI", "1.2"), "00080018") == "1.2"
    for odd in (None, [], {}, {"00080018": 1}, {"00080018": {"Value": 1}}, {"00080018": {"Value": [None]}}):
        assert text_of(odd, "00080018") == ""
