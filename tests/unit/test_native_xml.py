"""The Native DICOM Model (PS3.19 A.1) says what the DICOM JSON model says, both ways."""

import json
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydicom.data import get_charset_files, get_testdata_file

from gateway.errors import NotDicom
from mappings import native_xml
from mappings.dicom_nesting import MAX_DEPTH
from mappings.dicom_to_json import PIXEL_TAGS
from mappings.native_xml import NAMESPACE, from_xml, to_xml
from tests.support.dicom_files import real_files
from tests.support.metadata import metadata_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, about odd values


def bulk(path: str) -> str:
    return f"https://gateway.test/bulkdata?of={path}&all"


def json_of(file: Path) -> dict:
    return metadata_of(file.read_bytes(), bulk)


def attributes(xml: bytes) -> dict[str, ElementTree.Element]:
    """By tag, or by tag and private creator."""
    root = ElementTree.fromstring(xml)
    assert root.tag == f"{{{NAMESPACE}}}NativeDicomModel"
    return {one.get("tag") + one.get("privateCreator", ""): one for one in root}


def document(content: str, head: str = "") -> bytes:
    return f'{head}<NativeDicomModel xmlns="{NAMESPACE}">{content}</NativeDicomModel>'.encode()


def name_of(components: str) -> str:
    """Patient's Name of these components."""
    return (
        f'<DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic>{components}</Alphabetic>'
        "</PersonName></DicomAttribute>"
    )


def refusal(xml: bytes) -> str:
    with pytest.raises(NotDicom) as caught:
        from_xml(xml)
    return str(caught.value)


def readable_files() -> list[Path]:
    found = []
    for file in real_files():
        try:
            json_of(file)
        except NotDicom:
            continue
        found.append(file)
    assert len(found) > 50
    return found


def test_every_real_file_comes_back_from_xml_as_it_went_in():
    for file in readable_files():
        before = json_of(file)
        assert from_xml(to_xml(before)) == without_empty_components(before), file


def without_empty_components(found: dict) -> dict:
    """The end of a name like OB^^^^ says nothing (PS3.5 6.2.1.1), and XML has no place for it."""
    text = json.dumps(found)
    return json.loads(
        re.sub(r'": "([^"]*?)\^+"', r'": "\1"', text).replace(', "Value": [{"Alphabetic": ""}]', "")
    )


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "reportsi.dcm", "rtplan.dcm", "test-SR.dcm"]
)
def test_what_dcmtk_writes_is_read_as_the_same_data_set(name):
    file = Path(get_testdata_file(name))
    written = subprocess.run(["dcm2xml", "-nat", file], capture_output=True, check=True, timeout=60).stdout
    theirs, ours = from_xml(written), json_of(file)
    assert theirs.keys() - AFTER_PIXELS == ours.keys() - AFTER_PIXELS
    assert len(theirs) > 20
    for tag in theirs.keys() - AFTER_PIXELS - {"00080005"}:
        assert normal(theirs[tag]) == normal(ours[tag]), tag


AFTER_PIXELS = {f"{tag:08X}" for tag in PIXEL_TAGS} | {"FFFCFFFC"}


def normal(element: dict) -> dict:
    """Numbers as numbers, no space at the end of texts, binary only by its VR: dcmtk leaves it out."""
    if "InlineBinary" in element or "BulkDataURI" in element or element["vr"] == "UN":
        return {"vr": element["vr"]}
    if element["vr"] == "SQ":
        items = [
            {tag: normal(one) for tag, one in item.items() if tag != "00080005"}
            for item in element.get("Value", [])
        ]
        return {"vr": "SQ", "Value": items}
    values = [number(value) for value in element.get("Value", [])]
    return {"vr": element["vr"], "Value": values}


def number(value: object) -> object:
    try:
        return round(float(value), 4)
    except (TypeError, ValueError):
        return value.rstrip() if isinstance(value, str) else value


def test_a_name_has_its_groups_and_components():
    found = attributes(to_xml(json_of(Path(get_charset_files("chrH31.dcm")[0]))))
    name = found["00100010"][0]
    assert found["00100010"].get("keyword") == "PatientName"
    assert (name.tag, name.get("number")) == (f"{{{NAMESPACE}}}PersonName", "1")
    told = {
        group.tag.rpartition("}")[2]: [(part.tag.rpartition("}")[2], part.text) for part in group]
        for group in name
    }
    assert told["Alphabetic"] == [("FamilyName", "Yamada"), ("GivenName", "Tarou")]
    assert told["Ideographic"] == [("FamilyName", "山田"), ("GivenName", "太郎")]
    assert told["Phonetic"] == [("FamilyName", "やまだ"), ("GivenName", "たろう")]


def test_a_name_of_more_than_five_components_keeps_them():
    name = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B^^^E^F^G"}, None, {"Phonetic": "X"}]}}
    assert from_xml(to_xml(name)) == name


def test_values_are_numbered_and_gaps_are_empty():
    kinds = {"00080008": {"vr": "CS", "Value": ["MPG", None, "XR3"]}}
    assert b'<Value number="1">MPG</Value><Value number="2"></Value><Value number="3">XR3</Value>' in to_xml(
        kinds
    )
    assert from_xml(to_xml(kinds)) == kinds


def test_private_elements_name_their_creator_and_not_their_block():
    private = {
        "00091000": {"vr": "LO", "Value": ["of nobody"]},
        "00110010": {"vr": "LO", "Value": ["ACME 1.0"]},
        "00110011": {"vr": "LO", "Value": ["OTHER"]},
        "00110012": {"vr": "LO", "Value": ["ACME 1.0"]},
        "00111001": {"vr": "SH", "Value": ["a"]},
        "00111101": {"vr": "SH", "Value": ["b"]},
        "00111201": {"vr": "SH", "Value": ["c"]},
    }
    found = attributes(to_xml(private))
    assert found["00110001ACME 1.0"][0].text == "a"
    assert found["00110001OTHER"][0].text == "b"
    assert (
        found["00111201ACME 1.0"][0].text == "c"
    )  # a second block of one creator must not fall into the first
    assert found["00091000"][0].text == "of nobody"
    assert from_xml(to_xml(private)) == private


def test_blocks_are_given_where_the_document_has_no_private_creator_elements():
    found = from_xml(
        document(
            '<DicomAttribute tag="00110001" vr="SH" privateCreator="B"><Value number="1">b</Value></DicomAttribute>'
            '<DicomAttribute tag="00110001" vr="SH" privateCreator="A"><Value number="1">a</Value></DicomAttribute>'
        )
    )
    assert found == {
        "00110010": {"vr": "LO", "Value": ["B"]},
        "00110011": {"vr": "LO", "Value": ["A"]},
        "00111001": {"vr": "SH", "Value": ["b"]},
        "00111101": {"vr": "SH", "Value": ["a"]},
    }


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("form\x0cfeed \x1b escape", "form\ufffdfeed \ufffd escape"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("not a \uffff character", "not a \ufffd character"),
        ("line\r\nline\rline\nline\ttab", "line\r\nline\rline\nline\ttab"),
        ('<a href="x">&amp; ]]> \'', '<a href="x">&amp; ]]> \''),
        ("  kept  ", "  kept  "),
    ],
)
def test_no_character_breaks_the_document(sent, told):
    private = {"vr": "LO", "Value": ["P"]}
    comment = {"00104000": {"vr": "LT", "Value": [sent]}, "00110010": private, "00111001": private}
    assert from_xml(to_xml(comment))["00104000"]["Value"] == [told]
    comment["00110010"] = {"vr": "LO", "Value": [sent]}
    assert from_xml(to_xml(comment))["00111001"] == private


def test_bulk_data_has_its_uri_or_uuid():
    found = {
        "00282000": {"vr": "OB", "BulkDataURI": "urn:uuid:5b0e2b3a-0001-4000-8000-000000000001"},
        "7FE00010": {"vr": "OW", "BulkDataURI": "https://gateway.test/a?b=1&c=2"},
    }
    assert b'<BulkData uuid="5b0e2b3a-0001-4000-8000-000000000001"/>' in to_xml(found)
    assert attributes(to_xml(found))["7FE00010"][0].get("uri") == "https://gateway.test/a?b=1&c=2"
    assert from_xml(to_xml(found)) == found


def test_numbers_keep_how_they_are_written():
    found = from_xml(
        document(
            '<DicomAttribute tag="00180050" vr="DS"><Value number="1">1.50</Value><Value number="2">2.5</Value>'
            '</DicomAttribute><DicomAttribute tag="00200013" vr="IS"><Value number="1">007</Value></DicomAttribute>'
            '<DicomAttribute tag="00189073" vr="FD"><Value number="1">1.50</Value><Value number="2">NaN</Value>'
            "</DicomAttribute>"
        )
    )
    assert found["00180050"]["Value"] == ["1.50", 2.5]
    assert found["00200013"]["Value"] == ["007"]
    assert found["00189073"]["Value"] == [1.5, "NaN"]


def test_a_document_may_be_indented_without_namespace_or_vr_and_in_another_encoding():
    xml = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<NativeDicomModel>\n  <DicomAttribute tag="00100020">\n'
        '    <Value number="2">b</Value>\n    <Value number="1">ä</Value>\n  </DicomAttribute>\n</NativeDicomModel>\n'
    )
    assert from_xml(xml.encode("latin-1")) == {"00100020": {"vr": "LO", "Value": ["ä", "b"]}}


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (b"", "not well-formed, in line 1"),
        (b"<NativeDicomModel>", "not well-formed"),
        (document("", "<!DOCTYPE a SYSTEM 'http://127.0.0.1/x'>"), "document type or entities"),
        (document("&x;", "<!DOCTYPE a [<!ENTITY x 'y'>]>"), "document type or entities"),
        (b'<?xml version="1.0" encoding="EBCDIC-X"?><a/>', "encoding that cannot be read"),
        (b"<html/>", "begins with 'html'"),
        (document("<Attribute/>"), "'Attribute' has no place in 'NativeDicomModel'"),
        (document('<DicomAttribute tag="PatientID"/>'), "eight hexadecimal digits"),
        (document('<DicomAttribute tag="00100020" vr="nix"/>'), "has the VR 'nix'"),
        (document('<DicomAttribute tag="00100020" vr="LO"/>' * 2), "(0010,0020) stands twice"),
        (document('<DicomAttribute tag="00100020" vr="LO"><Item/></DicomAttribute>'), "'Item' has no place"),
        (
            document(
                '<DicomAttribute tag="00100020" vr="LO"><Value number="1"/><Value number="3"/></DicomAttribute>'
            ),
            "not numbered",
        ),
        (
            document(
                '<DicomAttribute tag="00100020" vr="LO"><Value number="999999999999"/></DicomAttribute>'
            ),
            "not numbered",
        ),
        (
            document(
                '<DicomAttribute tag="00100010" vr="PN">'
                "<PersonName><Alphabetic/><Alphabetic/></PersonName></DicomAttribute>"
            ),
            "'Alphabetic' has no place",
        ),
        (document(name_of("<FamilyName>M\u00fc=x</FamilyName>")), "FamilyName has = or ^"),
        (document(name_of("<FamilyName>A^B</FamilyName>")), "FamilyName has = or ^"),
        (document(name_of("<NameSuffix>A^B=C</NameSuffix>")), "NameSuffix has = or ^"),
    ],
)
def test_what_is_no_native_dicom_model_is_refused_in_words(xml, words):
    assert words in refusal(xml)


def test_nesting_is_limited():
    def nested(depth: int) -> bytes:
        head, tail = '<DicomAttribute tag="0040A730" vr="SQ"><Item number="1">', "</Item></DicomAttribute>"
        return document(head * depth + tail * depth)

    found = from_xml(nested(MAX_DEPTH))
    assert from_xml(to_xml(found)) == found
    assert "nested deeper" in refusal(nested(100_000))


def test_size_and_number_are_limited(monkeypatch):
    monkeypatch.setattr(native_xml, "MAX_XML_BYTES", 1000)
    assert "more than 1000 bytes" in refusal(document(" " * 1000))
    monkeypatch.setattr(native_xml, "MAX_XML_ELEMENTS", 3)
    assert "more than 3 elements" in refusal(document("<DicomAttribute/>" * 4))
