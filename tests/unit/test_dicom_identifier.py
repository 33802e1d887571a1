"""Identifiers of C-FIND: which keys a request has, and what answers them whatever was stored."""

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from mappings.dicom_identifier import AskedKey, answer, asked_keys, character_sets


def asked(*keywords: str) -> list[AskedKey]:
    ds = Dataset()
    for keyword in keywords:
        setattr(ds, keyword, None)
    return asked_keys(ds)


def test_what_says_how_the_rest_is_encoded_is_no_key():
    ds = Dataset()
    ds.SpecificCharacterSet, ds.QueryRetrieveLevel = ["", "ISO 2022 IR 87"], "STUDY"
    ds.private_block(0x0009, "ACME", create=True).add_new(1, "LO", "x")
    ds.PatientID = "1"
    ds.ModalitiesInStudy = ["CT", "PT"]
    keys = [(key.keyword, key.value) for key in asked_keys(ds)]
    assert keys == [("ModalitiesInStudy", "CT\\PT"), ("", "x"), ("PatientID", "1")]
    assert character_sets(ds) == ["", "ISO 2022 IR 87"]


@pytest.mark.parametrize(
    "keyword",
    ["SmallestImagePixelValue", "PixelData", "RedPaletteColorLookupTableData", "Rows", "PatientName"],
)
def test_a_key_without_a_value_is_answered_empty_in_every_encoding(keyword):
    ds = answer({}, asked(keyword), {}, [])
    assert ds[keyword].is_empty
    assert encode(ds, True, True)
    assert encode(ds, False, True)


def test_a_value_that_its_vr_cannot_hold_is_left_out_and_others_are_answered():
    match = {
        "00200013": {"vr": "IS", "Value": ["1.5x"]},
        "00280010": {"vr": "US", "Value": ["many"]},
        "00080020": {"vr": "DA", "Value": ["2026.11.01"]},
    }
    ds = answer(match, asked("InstanceNumber", "Rows", "StudyDate"), {}, [])
    assert ds["InstanceNumber"].is_empty
    assert ds["Rows"].is_empty
    assert ds.StudyDate == "2026.11.01"
    assert encode(ds, False, True)


@pytest.mark.parametrize(
    ("character_set", "name", "answered"),
    [
        ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ", "ISO_IR 13"),
        ("ISO_IR 13", "山田^太郎", "ISO_IR 192"),
        ("ISO_IR 13", "ﾔﾏﾀﾞ1", "ISO_IR 192"),
        ("ISO_IR 100", "Nowák^Řehoř", "ISO_IR 192"),
        ("ISO_IR 101", "Nowák^Řehoř", "ISO_IR 101"),
        ("", "Müller", "ISO_IR 192"),
        ("ISO_IR 6", "Müller", "ISO_IR 192"),
        ("ISO 2022 IR 6", "Müller", "ISO_IR 192"),
        ("ISO 2022 IR 87", "山田^太郎", "ISO_IR 192"),
        ("ISO_IR 13", "A~B", "ISO_IR 192"),
        ("GBK", "王^小東", "GBK"),
        ("nonsense", "Müller", "ISO_IR 192"),
    ],
)
def test_the_character_set_of_the_request_is_kept_where_it_holds_the_names(character_set, name, answered):
    match = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]}}
    ds = answer(match, asked("PatientName"), {}, [character_set] if character_set else [])
    assert ds.SpecificCharacterSet == answered
    assert b"?" not in encode(ds, False, True)
