"""What is read of an instance when it arrives, and what is refused in plain words."""

import json
import random
import struct
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from gateway.case.imaging import InstanceHeader
from gateway.case.model import Identifier, Name
from gateway.errors import NotDicom
from mappings import dicom_source, dicom_values
from mappings.dicom_structure import FileMeta, Skeleton
from mappings.dicom_to_header import _own, read_header, read_identity
from tests.support.dicom_files import encode, make_dataset, make_file, real_files

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, about what these tests break
AUTHORITY = "urn:test:hospital-a"


def header_of(file: bytes) -> InstanceHeader:
    return read_header(BytesIO(file), AUTHORITY)


def header_at(path: str) -> InstanceHeader:
    return header_of(Path(path).read_bytes())


def refusal(file: bytes) -> str:
    with pytest.raises(NotDicom) as refused:
        header_of(file)
    return str(refused.value)


def charset_header(name: str) -> InstanceHeader:
    return header_at(get_charset_files(name)[0])


def test_the_identity_of_an_instance_is_read():
    ds = make_dataset()
    header = header_of(encode(ds))
    assert header.sop_instance_uid == ds.SOPInstanceUID
    assert header.sop_class_uid == ds.SOPClassUID
    assert header.study_instance_uid == ds.StudyInstanceUID
    assert header.series_instance_uid == ds.SeriesInstanceUID
    assert header.transfer_syntax_uid == ExplicitVRLittleEndian
    assert (header.patient.birth_date, header.patient.sex) == ("2019-05-03", "female")
    assert (header.study_date, header.study_time, header.modality) == ("20261101", "101530", "CT")
    assert (header.rows, header.columns, header.frames, header.instance_number) == (4, 4, 1, 1)


@pytest.mark.parametrize(
    "transfer_syntax_uid",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_every_native_encoding_gives_the_same_header(transfer_syntax_uid):
    ds = make_dataset()
    plain = header_of(encode(ds))
    header = header_of(encode(ds, transfer_syntax_uid))
    assert header.transfer_syntax_uid == transfer_syntax_uid
    assert header.study_attributes == plain.study_attributes
    assert (header.patient, header.rows) == (plain.patient, plain.rows)


def test_the_dataset_begins_after_the_file_meta_information():
    file = make_file()
    offset = header_of(file).dataset_offset
    assert file[offset : offset + 6] == b"\x08\x00\x16\x00UI"


@pytest.mark.parametrize(
    ("name", "alphabetic", "ideographic", "phonetic"),
    [
        ("chrH31.dcm", "Tarou Yamada", "山田 太郎", "やまだ たろう"),
        ("chrH32.dcm", "ﾀﾛｳ ﾔﾏﾀﾞ", "山田 太郎", "やまだ たろう"),
        ("chrI2.dcm", "Gildong Hong", "洪 吉洞", "홍 길동"),
        ("chrX1.dcm", "XiaoDong Wang", "王 小東", ""),
        ("chrX2.dcm", "XiaoDong Wang", "王 小东", ""),
    ],
)
def test_each_script_of_a_name_is_a_name(name, alphabetic, ideographic, phonetic):
    texts = {one.script: one.text for one in charset_header(name).patient.names}
    wanted = {"alphabetic": alphabetic, "ideographic": ideographic, "phonetic": phonetic}
    assert texts == {script: text for script, text in wanted.items() if text}


@pytest.mark.parametrize(
    ("name", "family", "given"),
    [
        ("chrGerm.dcm", "Äneas", ("Rüdiger",)),
        ("chrFren.dcm", "Buc", ("Jérôme",)),
        ("chrArab.dcm", "قباني", ("لنزار",)),
        ("chrHbrw.dcm", "שרון", ("דבורה",)),
        ("chrRuss.dcm", "Люкceмбypг", ()),
        ("chrGreek.dcm", "Διονυσιος", ()),
    ],
)
def test_names_are_decoded_by_their_character_set(name, family, given):
    assert [(one.family, one.given) for one in charset_header(name).patient.names] == [(family, given)]


def test_a_wrong_character_set_gives_replacement_characters_and_no_refusal():
    ds = make_dataset(SpecificCharacterSet="ISO_IR 192")
    file = encode(ds).replace(b"Testkind^Mira ", b"Testk\xff\xfed^Mira ")
    assert header_of(file).patient.names[0].given == ("Mira",)
    assert "\ufffd" in header_of(file).patient.names[0].family


def test_an_unknown_character_set_is_no_refusal():
    file = encode(make_dataset(SpecificCharacterSet="ISO_IR 6")).replace(b"ISO_IR 6", b"NO_SUCH!")
    assert header_of(file).patient.display_name == "Mira Testkind"


def test_a_name_with_middle_name_and_affixes_is_read_in_speaking_order():
    header = header_of(make_file(PatientName="van Dam^Anna^Maria Jo^Dr.^Jr."))
    expected = Name("Dr. Anna Maria Jo van Dam Jr.", "van Dam", ("Anna", "Maria", "Jo"))
    assert header.patient.names == (expected,)


@pytest.mark.parametrize(
    ("sent", "date"),
    [("20190503", "2019-05-03"), ("2019.05.03", "2019-05-03"), ("201905", "2019-05"), ("2019", "2019")],
)
def test_a_birth_date_keeps_its_precision(sent, date):
    file = make_file(PatientBirthDate="20190503").replace(b"\x08\x0020190503", _value(sent))
    assert header_of(file).patient.birth_date == date


def _value(text: str) -> bytes:
    padded = text.encode() + b" " * (len(text) % 2)
    return struct.pack("<H", len(padded)) + padded


@pytest.mark.parametrize("sent", ["20190231", "3. Mai 19", "00000000"])
def test_a_birth_date_that_is_no_date_is_left_empty_and_kept_as_sent(sent):
    header = header_of(make_file().replace(b"\x08\x0020190503", _value(sent)))
    assert header.patient.birth_date == ""
    assert header.patient_birth_date == sent.strip()


@pytest.mark.parametrize(
    ("sent", "sex"), [("M", "male"), ("F", "female"), ("O", "other"), ("X", ""), ("", "")]
)
def test_the_sex_is_a_fhir_code_or_empty(sent, sex):
    assert header_of(make_file(PatientSex=sent)).patient.sex == sex


def test_an_identifier_without_issuer_is_the_senders():
    header = header_of(make_file())
    assert header.patient.identifiers == (Identifier("MRN-1", AUTHORITY),)
    assert header.accession_issuer == AUTHORITY


def test_an_identifier_keeps_the_issuer_that_it_names():
    header = header_of(make_file(IssuerOfPatientID="KLINIK-NORD"))
    assert header.patient.identifiers == (Identifier("MRN-1", "KLINIK-NORD"),)


def test_a_universal_issuer_goes_before_a_local_name():
    qualifiers = _item(UniversalEntityID="1.2.276.0.1", UniversalEntityIDType="ISO")
    header = header_of(make_file(IssuerOfPatientID="KIS", IssuerOfPatientIDQualifiersSequence=qualifiers))
    assert header.patient.identifiers == (Identifier("MRN-1", "urn:oid:1.2.276.0.1"),)


def test_other_patient_ids_are_identifiers_too():
    other = _item(PatientID="OLD-7", IssuerOfPatientID="KLINIK-SUED")
    header = header_of(make_file(OtherPatientIDsSequence=other))
    assert Identifier("OLD-7", "KLINIK-SUED") in header.patient.identifiers


def test_an_accession_number_has_its_issuer():
    issuer = _item(LocalNamespaceEntityID="RIS-1")
    header = header_of(make_file(IssuerOfAccessionNumberSequence=issuer))
    assert (header.accession_number, header.accession_issuer) == ("ACC-1", "RIS-1")


def test_a_sequence_of_undefined_length_is_read_like_any_other():
    issuer = _item(LocalNamespaceEntityID="RIS-1")
    issuer[0].is_undefined_length_sequence_item = True
    ds = make_dataset(IssuerOfAccessionNumberSequence=issuer)
    ds["IssuerOfAccessionNumberSequence"].is_undefined_length = True
    assert header_of(encode(ds)).accession_issuer == "RIS-1"


def _item(**attributes) -> Sequence:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return Sequence([item])


def test_the_position_is_along_the_slice_normal():
    sagittal = [0, 1, 0, 0, 0, -1]
    header = header_of(make_file(ImageOrientationPatient=sagittal, ImagePositionPatient=[12.5, 3, 4]))
    assert header.position == -12.5


@pytest.mark.parametrize(
    "attributes",
    [
        {"ImagePositionPatient": [1, 2, 3]},
        {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        {"ImagePositionPatient": [1, 2], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        {
            "ImagePositionPatient": [1, 2, 3],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "NumberOfFrames": 2,
        },
    ],
)
def test_there_is_no_position_where_it_cannot_be_known(attributes):
    assert header_of(make_file(**attributes)).position is None


def test_a_number_that_is_none_is_unknown():
    assert header_of(make_file(SeriesNumber=12345678).replace(b"12345678", b"12three4")).series_number is None


def test_study_and_series_attributes_are_dicom_json():
    header = charset_header("chrX1.dcm")
    name = {"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小東"}
    assert header.study_attributes["00100010"] == {"vr": "PN", "Value": [name]}
    assert "00080060" not in header.study_attributes
    made = header_of(make_file())
    assert made.series_attributes["00080060"] == {"vr": "CS", "Value": ["CT"]}


def test_text_that_no_database_takes_is_cleaned():
    file = make_file(StudyDescription="CT Thorax!").replace(b"CT Thorax!", b"CT\0Thorax!")
    assert header_of(file).study_description == "CTThorax!"


def test_an_empty_file_is_refused():
    assert refusal(b"") == "The file is empty."


@pytest.mark.parametrize("file", [b"%PDF-1.7" + b"x" * 400, b"DICM", bytes(1000)])
def test_what_is_no_dicom_is_refused(file):
    assert refusal(file).startswith("This is not a DICOM file")


def test_a_file_without_preamble_is_read_when_it_has_file_meta_information():
    file = make_file()
    assert header_of(file[132:]).sop_instance_uid == header_of(file).sop_instance_uid


def test_a_bare_data_set_is_refused():
    file = make_file()
    assert "file meta information" in refusal(file[header_of(file).dataset_offset :])


def test_a_file_of_meta_information_alone_is_refused():
    file = make_file()
    assert "no data set" in refusal(file[: header_of(file).dataset_offset])


@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
def test_an_instance_without_one_of_its_uids_is_refused(keyword):
    ds = make_dataset()
    whole = encode(ds)
    assert header_of(whole)
    uid = ds[keyword].value.encode()
    at = whole.rindex(uid)
    assert keyword in refusal(whole[:at] + b"\0" * len(uid) + whole[at + len(uid) :])


def test_a_uid_with_other_characters_is_refused():
    uid = b"1.2.276.0.7777.1"
    file = make_file(StudyInstanceUID=uid.decode()).replace(uid, b"1.2.276.0/7777.1")
    assert refusal(file) == (
        "StudyInstanceUID (0020,000D) is not a UID: digits and dots, 64 characters at most (PS3.5 9.1)."
    )


def test_trailing_padding_is_no_fault():
    file = make_file()
    assert header_of(file + bytes(512)) == header_of(file)
    assert header_of(file + b"\r\n") == header_of(file)


def test_endless_meta_information_is_refused():
    file = make_file()
    assert "file meta information has more than" in refusal(file[:132] + b"\x02\0\x02\x01LO\0\0" * 200_000)


def test_defined_length_nesting_does_no_harm():
    inner = b""
    for _ in range(3000):
        inner = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
        inner = b"\x08\x00\x40\x11SQ\0\0" + struct.pack("<I", len(inner)) + inner
    assert header_of(make_file(PixelData=None) + inner).modality == "CT"


def test_a_number_of_a_length_that_no_number_has_is_no_refusal():
    file = make_file().replace(
        b"\x28\x00\x10\x00US\x02\x00\x04\x00", b"\x28\x00\x10\x00US\x03\x00\x04\x00\x00"
    )
    assert header_of(file).rows is None


def test_a_deflated_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(dicom_source, "MAX_INFLATED_BYTES", 100_000)
    ds = make_dataset(PixelData=bytes(10_000_000), Rows=2500, Columns=4000)
    assert "inflates to more than" in refusal(encode(ds, DeflatedExplicitVRLittleEndian))


def test_the_identity_of_a_refused_file_is_told_as_far_as_it_can_be_read():
    ds = make_dataset()
    file = encode(ds)
    assert read_identity(BytesIO(file[:-5])) == (ds.SOPClassUID, ds.SOPInstanceUID)
    assert read_identity(BytesIO(b"no dicom")) == ("", "")


def test_every_real_file_is_read_or_refused():
    read = 0
    for path in real_files():
        try:
            header = header_of(path.read_bytes())
        except NotDicom:
            continue
        read += 1
        json.dumps([header.study_attributes, header.series_attributes], allow_nan=False)
    assert read > 55


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "rtplan.dcm", "JPEG2000.dcm", "image_dfl.dcm", "chrH31.dcm"]
)
def test_damaged_bytes_raise_nothing_but_not_dicom(name):
    path = get_charset_files(name)[0] if name.startswith("chr") else get_testdata_file(name)
    whole = Path(path).read_bytes()
    chance = random.Random(name)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 3, 20))):
            damaged[chance.randrange(128, min(len(whole), 3000))] = chance.randrange(256)
        try:
            header_of(bytes(damaged))
        except NotDicom:
            continue


_OWN_VALUES = st.text("0123456789.+-eE \\\0xä", max_size=20)


@given(uid=_OWN_VALUES, number=_OWN_VALUES, place=_OWN_VALUES, syntax=st.sampled_from([True, False]))
@example(uid="1.2\0", number="3 ", place="1.5\\-2\\3e1 ", syntax=True)
def test_what_is_an_instances_own_is_read_as_pydicom_reads_it(
    uid: str, number: str, place: str, syntax: bool
) -> None:
    values = {0x00080018: ("UI", uid), 0x00200013: ("IS", number), 0x00200032: ("DS", place)}
    elements = {
        tag: _element(tag, vr, value.encode("latin_1"), syntax) for tag, (vr, value) in values.items()
    }
    meta = FileMeta("1.2", "", is_bare=False)
    skeleton = Skeleton(meta, "1.2", 0, syntax, True, elements, None, "", True)
    read = read_dataset(BytesIO(b"".join(elements.values())), syntax, True)
    assert _own(skeleton) == (
        dicom_values.text(read, "SOPInstanceUID"),
        dicom_values.number(read, "InstanceNumber"),
        dicom_values.decimals(read, "ImagePositionPatient"),
    )


def _element(tag: int, vr: str, value: bytes, is_implicit: bool) -> bytes:
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if is_implicit:
        return head + struct.pack("<I", len(value)) + value
    return head + vr.encode() + struct.pack("<H", len(value)) + value
