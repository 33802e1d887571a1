"""C-FIND as SCP (PS3.4 C.4.1, C.6): a hospital's workstation finds its own imaging, by both models and every level."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynetdicom.association
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid
from sqlalchemy import select

from gateway.config import Config
from gateway.dimse import c_find
from gateway.errors import StoreUnavailable
from gateway.store.database import Database
from gateway.store.imaging_criteria import Page
from gateway.store.tables import AuditRow
from gateway.workflow import imaging_find
from tests.support.dicom_files import encode, make_dataset
from tests.support.dicomweb import Pacs
from tests.support.dimse import TEST_FILES, RunningListener, listener_in_this_process, new_instance, send
from tests.support.finding import PATIENT_ROOT, STUDY_ROOT, find, findscu, identifier, searching
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner
from tests.support.shutting_out import disable, looking_at_every_message

PENDING, PENDING_KEYS_NOT_SUPPORTED, SUCCESS, CANCELLED = 0xFF00, 0xFF01, 0x0000, 0xFE00
NOT_AUTHORIZED = 0x0124
IDENTIFIER_DOES_NOT_MATCH, OUT_OF_RESOURCES = 0xA900, 0xA700


@pytest.fixture(scope="module")
def number() -> str:
    """Of this module's children alone, so that other tests' studies are not counted."""
    return f"CF{generate_uid()[-10:]}"


@pytest.fixture(scope="module")
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


@pytest.fixture(scope="module")
def ct(pacs: Pacs, number: str) -> list[Dataset]:
    """A CT series of three slices and an SR, of 1 November 2026."""
    request = Dataset()
    request.ScheduledProcedureStepID, request.RequestedProcedureID = "SPS-1", "RP-1"
    other = Dataset()
    other.ScheduledProcedureStepID, other.RequestedProcedureID = "SPS-2", "RP-2"
    study, series = generate_uid(), generate_uid()
    common = {
        "StudyInstanceUID": study,
        "PatientID": f"{number}-1",
        "StudyID": "S-7",
        "PatientWeight": "12.5",
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Ändermann^Mira=王^小東",
    }
    slices = [
        make_dataset(
            SeriesInstanceUID=series,
            InstanceNumber=at,
            SliceThickness="1.25",
            RequestAttributesSequence=[request, other],
            **common,
        )
        for at in (1, 2, 3)
    ]
    report = make_dataset(
        Modality="SR", SeriesNumber=9, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", **common
    )
    assert pacs.store(*map(encode, [*slices, report])).status_code == 200
    return [*slices, report]


@pytest.fixture(scope="module")
def us(pacs: Pacs, number: str) -> Dataset:
    """Of another child, two days later."""
    ds = make_dataset(
        PatientID=f"{number}-2",
        PatientName="Beispiel^Jonas",
        PatientBirthDate="20180101",
        AccessionNumber="ACC-2",
        StudyDate="20261103",
        StudyTime="0730",
        Modality="US",
    )
    assert pacs.store(encode(ds)).status_code == 200
    return ds


@pytest.mark.parametrize("root", [PATIENT_ROOT, STUDY_ROOT])
def test_studies_are_found_with_what_is_asked_of_them(gateway, number, ct, us, root):
    asked = identifier(
        "STUDY",
        PatientID=f"{number}*",
        PatientName="",
        StudyDate="20261101-20261102",
        StudyInstanceUID="",
        StudyDescription=None,
        ModalitiesInStudy=None,
        NumberOfStudyRelatedSeries=None,
        NumberOfStudyRelatedInstances=None,
        ReferringPhysicianName="",
        InstanceAvailability=None,
        PatientWeight=None,
    )
    (found,) = findscu(gateway, asked, root)
    assert found.QueryRetrieveLevel == "STUDY"
    assert found.RetrieveAETitle == gateway.ae_title
    assert found.StudyInstanceUID == ct[0].StudyInstanceUID
    assert found.PatientID == f"{number}-1"
    assert found.PatientName == "Ändermann^Mira=王^小東"
    assert list(found.ModalitiesInStudy) == ["CT", "SR"]
    assert (found.NumberOfStudyRelatedSeries, found.NumberOfStudyRelatedInstances) == (2, 4)
    assert found.InstanceAvailability == "ONLINE"
    assert found.PatientWeight == 12.5
    assert found["ReferringPhysicianName"].is_empty
    assert "StudyTime" not in found


def test_patients_are_found(gateway, number, ct, us):
    asked = identifier(
        "PATIENT",
        PatientID=f"{number}*",
        PatientName=None,
        PatientBirthDate=None,
        PatientSex=None,
        NumberOfPatientRelatedStudies=None,
        NumberOfPatientRelatedSeries=None,
        NumberOfPatientRelatedInstances=None,
    )
    mira, jonas = findscu(gateway, asked, PATIENT_ROOT)
    assert (mira.PatientID, jonas.PatientID) == (f"{number}-1", f"{number}-2")
    assert (mira.PatientBirthDate, jonas.PatientBirthDate) == ("20190503", "20180101")
    counts = ("Studies", "Series", "Instances")
    assert [mira[f"NumberOfPatientRelated{what}"].value for what in counts] == [1, 2, 4]


@pytest.mark.parametrize("root", [PATIENT_ROOT, STUDY_ROOT])
def test_series_are_found(gateway, number, ct, root):
    asked = identifier(
        "SERIES",
        PatientID=f"{number}-1",
        StudyInstanceUID=ct[0].StudyInstanceUID,
        SeriesInstanceUID=None,
        SeriesNumber=None,
        Modality="CT",
        NumberOfSeriesRelatedInstances=None,
    )
    (found,) = findscu(gateway, asked, root)
    assert found.SeriesInstanceUID == ct[0].SeriesInstanceUID
    assert (found.SeriesNumber, found.NumberOfSeriesRelatedInstances) == (1, 3)


@pytest.mark.parametrize("root", [PATIENT_ROOT, STUDY_ROOT])
def test_images_are_found_with_attributes_that_only_their_files_have(gateway, number, ct, root):
    asked = identifier(
        "IMAGE",
        PatientID=f"{number}-1",
        StudyInstanceUID=ct[0].StudyInstanceUID,
        SeriesInstanceUID=ct[0].SeriesInstanceUID,
        SOPInstanceUID=None,
        SOPClassUID=None,
        InstanceNumber=None,
        Rows=None,
        SliceThickness=None,
    )
    found = findscu(gateway, asked, root)
    assert [one.SOPInstanceUID for one in found] == [ds.SOPInstanceUID for ds in ct[:3]]
    assert [one.InstanceNumber for one in found] == [1, 2, 3]
    assert {(one.SOPClassUID, one.Rows, one.SliceThickness) for one in found} == {
        (ct[0].SOPClassUID, 4, 1.25)
    }


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"PatientName": "ÄNDER*"}, "ct"),
        ({"PatientName": "Ändermann^Mira=王^小東"}, "ct"),
        ({"PatientName": "andermann^mira"}, ""),
        ({"PatientName": "mira"}, ""),
        ({"StudyTime": "0700-0800"}, "us"),
        ({"StudyDate": "20261101-20261103", "StudyTime": "0700-0800"}, "us"),
        ({"StudyDate": "20261102-"}, "us"),
        ({"AccessionNumber": "ACC-2"}, "us"),
        ({"AccessionNumber": "acc-2"}, ""),
        ({"ModalitiesInStudy": "SR"}, "ct"),
        ({"ModalitiesInStudy": ["SR", "US"]}, "ct us"),
        ({"StudyID": "S-?"}, "ct"),
        ({"StudyInstanceUID": "1.2.3.4"}, ""),
        ({"PatientSex": "*"}, "ct us"),
    ],
)
def test_keys_are_matched_as_in_dicomweb(gateway, number, ct, us, keys, found):
    wanted = {"ct": ct[0].StudyInstanceUID, "us": us.StudyInstanceUID}
    keys = (
        {"StudyInstanceUID": None} | keys | {"PatientID": f"{number}*", "SpecificCharacterSet": "ISO_IR 192"}
    )
    told = find(gateway, identifier("STUDY", **keys))
    assert (told.status, told.pending - {PENDING}) == (SUCCESS, set())
    assert set(told.values("StudyInstanceUID")) == {wanted[name] for name in found.split()}


def test_numbers_are_answered_as_they_are_spelt_in_the_file(gateway, pacs, number):
    spelt = {"SliceThickness": "5.00000", "KVP": "1.2E+02", "InstanceNumber": "007"}
    ds = make_dataset(PatientID=f"SPELT{number}", PixelSpacing=["0.500", "0.50"], **spelt)
    inner = Dataset()
    inner.RadionuclideHalfLife = "6588.00"
    ds.RadiopharmaceuticalInformationSequence = [inner]
    assert pacs.store(encode(ds)).status_code == 200
    keys = {"PatientID": ds.PatientID, "PixelSpacing": None, "RadiopharmaceuticalInformationSequence": None}
    (found,) = findscu(gateway, identifier("IMAGE", **keys, **dict.fromkeys(spelt)))
    assert {keyword: found[keyword].value.original_string for keyword in spelt} == spelt
    assert [value.original_string for value in found.PixelSpacing] == ["0.500", "0.50"]
    (item,) = found.RadiopharmaceuticalInformationSequence
    assert item.RadionuclideHalfLife.original_string == "6588.00"


def test_a_list_of_uids_matches_each(gateway, number, ct, us):
    uids = [ct[0].StudyInstanceUID, us.StudyInstanceUID, "1.2.3"]
    told = find(gateway, identifier("STUDY", StudyInstanceUID=uids))
    assert told.values("StudyInstanceUID") == uids[:2]


def test_nothing_found_is_success(gateway):
    told = find(gateway, identifier("STUDY", PatientID="no-such-number"))
    assert (told.matches, told.status, told.comment) == ([], SUCCESS, "")


def extended(gateway, number, answer: bytes, offered: bytes, **keys: Any) -> list[str]:
    with searching(gateway, extended=offered) as assoc:
        assert assoc.acceptor.sop_class_extended == {STUDY_ROOT: answer}
        keys = {
            "StudyInstanceUID": None,
            "PatientID": f"{number}*",
            "SpecificCharacterSet": "ISO_IR 192",
        } | keys
        answers = list(assoc.send_c_find(identifier("STUDY", **keys), UID(STUDY_ROOT)))
    assert answers[-1][0].Status == SUCCESS
    return [match.StudyInstanceUID for _, match in answers if match is not None]


def test_fuzzy_matching_is_negotiated(gateway, number, ct):
    for name in ("mira andermann", "andermann*", "小東"):
        assert extended(gateway, number, b"\1\0\1", b"\1\0\1", PatientName=name) == [ct[0].StudyInstanceUID]
    assert extended(gateway, number, b"\1\0\0", b"\1\0\0", PatientName="mira andermann") == []


def test_a_range_of_moments_is_negotiated(gateway, number, ct, us):
    moments = {"StudyDate": "20261101-20261103", "StudyTime": "1100-0800"}
    assert extended(gateway, number, b"\1\1", b"\1\1", **moments) == [us.StudyInstanceUID]
    assert extended(gateway, number, b"\1", b"\1", **moments) == []


def test_empty_and_multiple_value_matching_are_negotiated(gateway, number, ct, us):
    offered, answer = b"\1" * 7, b"\1\1\1\0\0\1\1"
    assert extended(gateway, number, answer, offered, StudyID='""') == [us.StudyInstanceUID]
    assert extended(gateway, number, answer, offered, ModalitiesInStudy=["CT", "SR"]) == [
        ct[0].StudyInstanceUID
    ]
    assert extended(gateway, number, answer, offered, ModalitiesInStudy=["CT", "US"]) == []


def test_a_search_needs_no_keys_of_the_levels_above(gateway, number, ct):
    asked = identifier("IMAGE", PatientID=f"{number}*", SOPInstanceUID=None, StudyInstanceUID=None)
    told = find(gateway, asked)
    assert told.values("SOPInstanceUID")[:3] == [ds.SOPInstanceUID for ds in ct[:3]]
    assert told.status == SUCCESS


def test_a_sequence_is_matched_by_its_items_and_only_those_are_answered(gateway, number, ct):
    wanted = Dataset()
    wanted.ScheduledProcedureStepID, wanted.RequestedProcedureID = "SPS-2", ""
    keys = {"StudyInstanceUID": ct[0].StudyInstanceUID, "SeriesInstanceUID": None}
    asked = identifier("SERIES", RequestAttributesSequence=[wanted], **keys)
    (found,) = findscu(gateway, asked)
    (item,) = found.RequestAttributesSequence
    assert (item.ScheduledProcedureStepID, item.RequestedProcedureID) == ("SPS-2", "RP-2")
    wanted.ScheduledProcedureStepID = "SPS-3"
    assert findscu(gateway, asked) == []
    everything = identifier("SERIES", RequestAttributesSequence=[Dataset()], Modality="CT", **keys)
    assert [len(one.RequestAttributesSequence) for one in findscu(gateway, everything)] == [2]


@pytest.mark.parametrize(
    "keys",
    [
        {"SliceThickness": None},
        {"Modality": "CT"},
        {"TimezoneOffsetFromUTC": "+0100"},
        {"NumberOfStudyRelatedInstances": "4"},
        {"RetrieveURL": None},
    ],
)
def test_a_key_that_is_not_supported_is_passed_over_and_said_so(gateway, ct, keys):
    told = find(gateway, identifier("STUDY", StudyInstanceUID=ct[0].StudyInstanceUID, **keys))
    assert told.pending == {PENDING_KEYS_NOT_SUPPORTED}
    assert told.values("StudyInstanceUID") == [ct[0].StudyInstanceUID]


NAMES = [
    ("ISO_IR 100", "Müller^Jörg", "MÜLLER^j*", "ISO_IR 100"),
    ("ISO_IR 144", "Иванова^Анна", "иванова*", "ISO_IR 144"),
    ("ISO_IR 127", "قباني^لنزار", "قباني*", "ISO_IR 127"),
    ("ISO_IR 126", "Διονυσιος", "διον*", "ISO_IR 126"),
    ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ", "ﾔﾏﾀﾞ^ﾀﾛｳ", "ISO_IR 13"),
    ("GB18030", "王^小東", "王*", "GB18030"),
    ("ISO_IR 192", "山田^太郎", "山田*", "ISO_IR 192"),
]


@pytest.mark.parametrize(("character_set", "name", "pattern", "answered"), NAMES)
def test_names_are_matched_and_answered_in_the_character_set_of_the_request(
    gateway, pacs, number, character_set, name, pattern, answered
):
    ds = make_dataset(
        SpecificCharacterSet=character_set, PatientName=name, PatientID=f"{number}-{character_set}"
    )
    assert pacs.store(encode(ds)).status_code == 200
    keys = {"PatientID": ds.PatientID, "StudyInstanceUID": None}
    asked = identifier("STUDY", SpecificCharacterSet=character_set, PatientName=pattern, **keys)
    (found,) = findscu(gateway, asked)
    assert (found.SpecificCharacterSet, found.PatientName) == (answered, name)
    assert found.StudyInstanceUID == ds.StudyInstanceUID


def test_japanese_with_code_extensions_is_matched_and_answered(gateway, pacs, number):
    sets, name = ["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"
    ds = make_dataset(SpecificCharacterSet=sets, PatientName=name, PatientID=f"{number}-H31")
    assert pacs.store(encode(ds)).status_code == 200
    for pattern in ("yamada*", "山田^太郎", "*たろう"):
        keys = {"PatientID": ds.PatientID, "PatientName": pattern}
        (found,) = findscu(gateway, identifier("STUDY", SpecificCharacterSet=sets, **keys))
        assert list(found.SpecificCharacterSet) == sets
        assert found.PatientName == name


@pytest.mark.parametrize(
    "character_set",
    [None, "", "ISO_IR 6", "ISO 2022 IR 6", ["", "ISO 2022 IR 87"], ["ISO 2022 IR 6", "ISO 2022 IR 87"]],
)
def test_the_default_repertoire_is_of_seven_bits(gateway, pacs, number, character_set):
    """An empty key is what many workstations send."""
    ds = make_dataset(
        SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg", PatientID=f"{number}-latin"
    )
    assert pacs.store(encode(ds)).status_code == 200
    keys = {} if character_set is None else {"SpecificCharacterSet": character_set}
    found = findscu(gateway, identifier("STUDY", PatientID=ds.PatientID, PatientName=None, **keys))
    answers = {(one.SpecificCharacterSet, str(one.PatientName)) for one in found}
    assert answers == {("ISO_IR 192", "Müller^Jörg")}


@pytest.mark.parametrize("character_set", [None, "ISO_IR 100", "ISO_IR 999"])
def test_what_the_character_set_of_the_request_cannot_hold_is_answered_in_utf_8(
    gateway, number, ct, character_set
):
    keys = {} if character_set is None else {"SpecificCharacterSet": character_set}
    (found,) = findscu(gateway, identifier("STUDY", PatientID=f"{number}-1", PatientName=None, **keys))
    assert (found.SpecificCharacterSet, found.PatientName) == ("ISO_IR 192", "Ändermann^Mira=王^小東")


def test_plain_letters_need_no_character_set(gateway, us):
    (found,) = findscu(gateway, identifier("STUDY", PatientID=us.PatientID, PatientName=None))
    assert "SpecificCharacterSet" not in found


@pytest.mark.parametrize(
    ("level", "root"),
    [(None, STUDY_ROOT), ("PATIENT", STUDY_ROOT), ("study", STUDY_ROOT), ("FRAME", PATIENT_ROOT)],
)
def test_a_level_that_is_none_of_the_models_is_refused(gateway, ct, level, root):
    told = find(gateway, identifier(level, PatientID="*"), root)
    assert (told.status, told.matches) == (IDENTIFIER_DOES_NOT_MATCH, [])
    assert "Level" in told.comment


@pytest.mark.parametrize(
    "keys", [{"StudyDate": "yesterday"}, {"StudyInstanceUID": "1.2.*"}, {"StudyTime": "25"}]
)
def test_a_key_that_cannot_be_read_is_told_in_words(gateway, ct, keys):
    told = find(gateway, identifier("STUDY", **keys))
    assert (told.status, told.matches) == (IDENTIFIER_DOES_NOT_MATCH, [])
    assert told.comment.startswith(next(iter(keys)))


def test_a_name_of_many_words_is_found_and_an_absurd_search_is_refused_in_words(gateway, number, ct):
    words = "mira andermann " * 20
    assert extended(gateway, number, b"\1\0\1", b"\1\0\1", PatientName=words) == [ct[0].StudyInstanceUID]
    for keys, told in (
        ({"PatientName": "w " * 101}, "Names are matched by 100 words at most."),
        ({"StudyInstanceUID": ["1.2.3"] * 10_001}, "StudyInstanceUID is matched by 10000 values at most."),
        ({"StudyDescription": "*a" * 2049}, "StudyDescription is matched by 4096 characters at most."),
    ):
        found = find(gateway, identifier("STUDY", **keys))
        assert (found.status, found.comment) == (IDENTIFIER_DOES_NOT_MATCH, told)


@pytest.fixture
def few(tmp_path: Path) -> Iterator[RunningListener]:
    """A listener in this process that has three studies, and answers in pages of one."""
    (tmp_path / "data").mkdir()
    files = [new_instance(tmp_path / f"{at}.dcm", TEST_FILES / "CT_small.dcm") for at in range(3)]
    with pytest.MonkeyPatch.context() as patch, listener_in_this_process(tmp_path / "data") as listener:
        patch.setattr(c_find, "PAGE", 1)
        send(listener, *files)
        yield listener


def test_a_search_goes_on_from_page_to_page(few):
    told = find(few, identifier("STUDY", StudyInstanceUID=None))
    assert (len(set(told.values("StudyInstanceUID"))), told.status) == (3, SUCCESS)


def test_a_search_is_cancelled(few, monkeypatch):
    """What was found after the C-CANCEL had come is not answered."""
    asked_to_end, find_page = threading.Event(), imaging_find.find

    def find_slowly(
        services: Any, partner: Any, level: str, criteria: Any, page: Page, extra: Any, **how: Any
    ) -> Any:
        if page.offset:
            assert asked_to_end.wait(10)
        return find_page(services, partner, level, criteria, page, extra, **how)

    monkeypatch.setattr(imaging_find, "find", find_slowly)
    with searching(few) as assoc:
        answers = assoc.send_c_find(identifier("STUDY", StudyInstanceUID=None), UID(STUDY_ROOT), msg_id=7)
        first, _ = next(answers)
        assoc.send_c_cancel(7, query_model=UID(STUDY_ROOT))
        time.sleep(0.3)
        asked_to_end.set()
        rest = [(status.Status, match) for status, match in answers]
    assert first.Status == PENDING
    assert rest == [(CANCELLED, None)]


def test_a_partner_that_is_disabled_in_the_middle_is_answered_no_more(few, monkeypatch):
    find_page = imaging_find.find

    def find_and_disable(
        services: Any, partner: Any, level: str, criteria: Any, page: Page, extra: Any, **how: Any
    ) -> Any:
        found = find_page(services, partner, level, criteria, page, extra, **how)
        if page.offset == 2:
            disable(few)
        return found

    monkeypatch.setattr(imaging_find, "find", find_and_disable)
    with looking_at_every_message(few):
        told = find(few, identifier("STUDY", StudyInstanceUID=None))
    assert (len(told.matches), told.status) == (2, NOT_AUTHORIZED)


def test_more_matches_than_are_answered_end_with_out_of_resources(few, monkeypatch):
    monkeypatch.setattr(c_find, "MOST_MATCHES", 2)
    told = find(few, identifier("STUDY", StudyInstanceUID=None))
    assert (len(told.matches), told.status) == (2, OUT_OF_RESOURCES)
    assert told.comment == "More than 2 match; ask for less."


def test_a_search_while_the_database_is_away_is_out_of_resources(few, monkeypatch):
    def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("The gateway's database is not available; please send again.")

    monkeypatch.setattr(imaging_find, "find", away)
    told = find(few, identifier("STUDY", PatientID="1"))
    assert (told.status, told.matches) == (OUT_OF_RESOURCES, [])
    assert told.comment.startswith("The gateway's database")


def test_an_identifier_that_cannot_be_read_is_told(few, monkeypatch):
    level = b"\x08\x00\x52\x00\x06\x00\x00\x00STUDY "
    broken_sequence = b"\x40\x00\x75\x02\xff\xff\xff\xff\x01\x02\x03\x04\x05\x06\x07\x08"
    monkeypatch.setattr(pynetdicom.association, "encode", lambda *_: level + broken_sequence)
    told = find(few, identifier("STUDY"))
    assert (told.status, told.comment) == (
        IDENTIFIER_DOES_NOT_MATCH,
        "The data set of the request cannot be read.",
    )


def test_another_hospital_finds_nothing_of_it(gateway, number, ct, us):
    for level, root in (
        ("PATIENT", PATIENT_ROOT),
        ("STUDY", STUDY_ROOT),
        ("SERIES", STUDY_ROOT),
        ("IMAGE", STUDY_ROOT),
    ):
        told = find(gateway, identifier(level, PatientID=f"{number}*"), root, calling="HOSPITAL_B")
        assert (told.status, told.matches) == (SUCCESS, [])
    told = find(gateway, identifier("STUDY", StudyInstanceUID=ct[0].StudyInstanceUID), calling="HOSPITAL_B")
    assert told.matches == []


def test_a_search_is_on_the_audit_trail_without_what_was_searched_for(gateway, number, ct, us):
    find(gateway, identifier("STUDY", PatientID=f"{number}*", PatientName="ander*"))
    find(gateway, identifier("STUDY", PatientID=f"{number}*"))
    query = select(AuditRow).where(AuditRow.channel == "c-find").order_by(AuditRow.id.desc()).limit(2)
    with Database(Config(data_dir=gateway.data_dir).sqlalchemy_url).reading() as session:
        rows = list(session.scalars(query))
    assert [(row.action, row.subject, row.detail["found"]) for row in rows][1] == (
        "search",
        "imaging:study",
        0,
    )
    assert rows[0].detail["found"] >= 2
    assert all(row.address.startswith("HOSPITAL_A@") for row in rows)
    assert number not in str([(row.subject, row.detail) for row in rows])


def test_many_at_once_are_served(gateway, number, ct, us):
    told = []
    searches = [
        threading.Thread(
            target=lambda: told.append(find(gateway, identifier("STUDY", PatientID=f"{number}-1")))
        )
        for _ in range(4)
    ]
    for search in searches:
        search.start()
    for search in searches:
        search.join(30)
    assert [(len(one.matches), one.status) for one in told] == [(1, SUCCESS)] * 4
