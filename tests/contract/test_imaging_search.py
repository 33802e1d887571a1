"""Searching imaging finds the same on SQLite and on PostgreSQL."""

from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select

from gateway.case.access import Origin, Partner, Role, User
from gateway.services import Services
from gateway.store import partners
from gateway.store.imaging_criteria import (
    PATIENT,
    Between,
    Criterion,
    Empty,
    FuzzyName,
    InItem,
    InList,
    Key,
    Like,
    Moments,
    NameLike,
    OneOf,
    Page,
)
from gateway.store.imaging_search import search_instances, search_patients, search_series, search_studies
from gateway.store.partners import Registration
from gateway.store.tables import StudyRow
from gateway.workflow.receive import receive_instance
from mappings.dicom_attributes import attributes, tags_of_patient
from tests.support.dicom_files import make_file

OURS, THEIRS = Partner("ours", "Ours", "urn:ours"), Partner("theirs", "Theirs", "urn:theirs")
EVERYTHING = Page(100)


@pytest.fixture
def filled(services: Services) -> Services:
    """Two studies of ours, A (CT and SR) and B (US), and the same study A at another hospital."""
    for partner in (OURS, THEIRS):
        with services.database.transaction() as session:
            partners.add(session, Registration(partner.id, partner.name))
    study = {
        "StudyInstanceUID": "1.1",
        "PatientName": "Ägidius^Ümit=王^小東",
        "SpecificCharacterSet": "ISO_IR 192",
    }
    keep(services, OURS, study | {"SOPInstanceUID": "1.1.1", "SeriesInstanceUID": "1.1.10"})
    keep(
        services,
        OURS,
        study
        | {"SOPInstanceUID": "1.1.2", "SeriesInstanceUID": "1.1.20", "Modality": "SR", "SeriesNumber": 2},
    )
    keep(services, THEIRS, study)
    keep(
        services,
        OURS,
        {
            "StudyInstanceUID": "1.2",
            "SOPInstanceUID": "1.2.1",
            "SeriesInstanceUID": "1.2.10",
            "Modality": "US",
            "PatientName": "Back\\slash_100%",
            "PatientID": "MRN-2",
            "ReferringPhysicianName": "Arzt^J\u00f6rg",
            "SpecificCharacterSet": "ISO_IR 192",
            "StudyDate": "20261224",
            "StudyTime": "2330",
            "StudyID": "S-1",
            "StudyDescription": "\u00dcberweisung [Kopf]_100%\\x",
            "Manufacturer": "ACME Imaging",
            "OtherPatientIDsSequence": [
                item(PatientID="OLD-1", IssuerOfPatientID="A"),
                item(PatientID="OLD-2", IssuerOfPatientID="B"),
            ],
            "PerformedProcedureStepStartDate": "20261224",
            "PerformedProcedureStepStartTime": "1030",
            "RequestAttributesSequence": [
                item(ScheduledProcedureStepID="SPS-1", RequestedProcedureID="RP-1"),
                item(ScheduledProcedureStepID="SPS-2", RequestedProcedureID="RP-2"),
            ],
        },
    )
    bare = {
        "PatientID": "9" * 3000,
        "StudyDate": None,
        "StudyTime": None,
        "AccessionNumber": None,
        "PatientName": None,
    }
    keep(
        services,
        OURS,
        bare | {"StudyInstanceUID": "1.3", "SOPInstanceUID": "1.3.1", "StudyDescription": None},
    )
    return services


def item(**attributes: str) -> Dataset:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def keep(services: Services, partner: Partner, attributes: dict[str, Any]) -> None:
    with services.objects.spool() as spool:
        spool.write(make_file(**attributes))
        receive_instance(services, partner, spool, Origin("stow-rs"))


def key(keyword: str) -> Key:
    for level, known in attributes().items():
        if keyword in known:
            tag = f"{known[keyword].tag:08X}"
            return Key(keyword, PATIENT if tag in tags_of_patient() else level, tag)
    raise KeyError(keyword)


DATE, TIME = key("StudyDate"), key("StudyTime")


def studies_found(services: Services, *criteria: Criterion) -> list[str]:
    with services.database.reading() as session:
        return [one.study_instance_uid for one in search_studies(session, OURS, criteria, EVERYTHING)]


def series_found(services: Services, *criteria: Criterion) -> list[str]:
    with services.database.reading() as session:
        return [one.series_instance_uid for one in search_series(session, OURS, criteria, EVERYTHING)]


STUDY_MATCHES: list[tuple[Criterion, list[str]]] = [
    (OneOf(key("StudyInstanceUID"), ("1.1", "1.2")), ["1.1", "1.2"]),
    (OneOf(key("AccessionNumber"), ("ACC-1",)), ["1.1", "1.2"]),
    (OneOf(key("AccessionNumber"), ("acc-1",)), []),
    (Like(key("AccessionNumber"), "ACC?1"), ["1.1", "1.2"]),
    (Like(key("AccessionNumber"), "acc*"), []),
    (Like(key("PatientID"), "*-2"), ["1.2"]),
    (OneOf(key("PatientID"), ("9" * 3000,)), ["1.3"]),
    (OneOf(key("PatientID"), ("9" * 2999,)), []),
    (Like(key("PatientID"), "9" * 100 + "*9"), ["1.3"]),
    (Like(key("StudyDescription"), "*[kopf]*", ignore_case=True), ["1.2"]),
    (Like(key("StudyDescription"), "*_100%\\*", ignore_case=True), ["1.2"]),
    (Like(key("StudyDescription"), "ÜBER*", ignore_case=True), ["1.2"]),
    (Like(key("StudyDescription"), "ct thora_", ignore_case=True), []),
    (Between(DATE, "20261101", "20261130"), ["1.1"]),
    (Between(DATE, "20261102", ""), ["1.2"]),
    (Between(TIME, "", "101559.999999"), ["1.1"]),
    (Between(TIME, "230000.000000", "235959.999999"), ["1.2"]),
    (Moments(DATE, TIME, ("20261101", "110000"), ("20261224", "233000.999999")), ["1.2"]),
    (Moments(DATE, TIME, ("20261101", "101530"), ("20261224", "232959.999999")), ["1.1"]),
    (Moments(DATE, TIME, ("", ""), ("20261224", "233000.000000")), ["1.1", "1.2"]),
    (InList(key("ModalitiesInStudy"), ("SR", "MR")), ["1.1"]),
    (InList(key("ModalitiesInStudy"), ("S*",)), ["1.1"]),
    (InList(key("ModalitiesInStudy"), ("CT", "SR"), every=True), ["1.1"]),
    (InList(key("ModalitiesInStudy"), ("CT", "US"), every=True), []),
    (InList(key("SOPClassesInStudy"), ("1.2.840.10008.5.1.4.1.1.2",)), ["1.1", "1.2", "1.3"]),
    (OneOf(key("StudyID"), ("S\\1",)), []),
    (OneOf(key("StudyID"), ("S-1",)), ["1.2"]),
    (Like(key("StudyID"), "S?1"), ["1.2"]),
    (Empty(key("StudyDate")), ["1.3"]),
    (Empty(key("StudyID")), ["1.1", "1.3"]),
    (Empty(key("ReferringPhysicianName")), ["1.1", "1.3"]),
    (InItem(key("OtherPatientIDsSequence"), (("00100020", "OLD-*"), ("00100021", "B"))), ["1.2"]),
    (InItem(key("OtherPatientIDsSequence"), (("00100020", "OLD-1"), ("00100021", "B"))), []),
]

NAME, PHYSICIAN = key("PatientName"), key("ReferringPhysicianName")
NAME_MATCHES: list[tuple[Criterion, list[str]]] = [
    (NameLike(NAME, "ägidius^ü*"), ["1.1"]),
    (NameLike(NAME, "Ägidius^Ümit^^^"), ["1.1"]),
    (NameLike(NAME, "王*"), ["1.1"]),
    (NameLike(NAME, "Ägidius*=王^小東"), ["1.1"]),
    (NameLike(NAME, "Ägidius*=李*"), []),
    (NameLike(NAME, "agidius*"), []),
    (NameLike(NAME, "ägidius"), []),
    (NameLike(NAME, "?gidius*"), ["1.1"]),
    (NameLike(NAME, "*_100%"), ["1.2"]),
    (NameLike(NAME, "*[x]*"), []),
    (NameLike(PHYSICIAN, "arzt*"), ["1.2"]),
    (FuzzyName(NAME, "umit agidius"), ["1.1"]),
    (FuzzyName(NAME, "Umit^Agidius"), ["1.1"]),
    (FuzzyName(NAME, "小東 ümit"), ["1.1"]),
    (FuzzyName(NAME, "agi*"), ["1.1"]),
    (FuzzyName(NAME, "äg*mit"), ["1.1"]),
    (FuzzyName(NAME, "agi"), []),
    (FuzzyName(NAME, "umit mira"), []),
    (FuzzyName(PHYSICIAN, "Jorg"), ["1.2"]),
]

SERIES_MATCHES: list[tuple[Criterion, list[str]]] = [
    (OneOf(key("Modality"), ("SR", "US")), ["1.1.20", "1.2.10"]),
    (Like(key("Manufacturer"), "acme*", ignore_case=True), ["1.2.10"]),
    (Between(key("PerformedProcedureStepStartDate"), "20261224", "20261224"), ["1.2.10"]),
    (Between(key("PerformedProcedureStepStartTime"), "100000.000000", "103000.000000"), ["1.2.10"]),
    (Between(key("PerformedProcedureStepStartTime"), "103100.000000", ""), []),
    (InItem(key("RequestAttributesSequence"), (("00400009", "SPS-2"), ("00401001", "RP-2"))), ["1.2.10"]),
    (InItem(key("RequestAttributesSequence"), (("00400009", "SPS-1"), ("00401001", "RP-2"))), []),
    (NameLike(NAME, "ägidius*"), ["1.1.10", "1.1.20"]),
]


@pytest.mark.parametrize("matches", [STUDY_MATCHES, NAME_MATCHES])
def test_studies_are_matched(filled, matches):
    assert [(criterion, studies_found(filled, criterion)) for criterion, _ in matches] == matches


def test_series_are_matched(filled):
    found = [(criterion, series_found(filled, criterion)) for criterion, _ in SERIES_MATCHES]
    assert found == SERIES_MATCHES


def test_all_criteria_hold(filled):
    wanted = [NameLike(NAME, "ägidius*"), Between(DATE, "20261101", "20261101"), FuzzyName(NAME, "umit")]
    assert studies_found(filled, *wanted) == ["1.1"]
    assert studies_found(filled, *wanted, OneOf(key("PatientID"), ("MRN-2",))) == []


def test_counts_are_of_the_own_instances(filled):
    with filled.database.reading() as session:
        first, second, _ = search_studies(session, OURS, [], EVERYTHING)
    assert (first.modalities, first.series_count, first.instance_count) == (["CT", "SR"], 2, 2)
    assert (second.modalities, second.series_count, second.instance_count) == (["US"], 1, 1)


def test_other_content_under_a_known_uid_is_found_at_its_own_address_and_not_at_the_first_ones(filled):
    again = {"StudyInstanceUID": "1.1", "SOPInstanceUID": "1.1.1", "SeriesInstanceUID": "1.1.10"}
    keep(filled, OURS, again | {"ImageComments": "other content"})
    keep(filled, OURS, again | {"SeriesInstanceUID": "1.1.30"})
    keep(filled, OURS, again | {"StudyInstanceUID": "1.9"})
    assert studies_found(filled) == ["1.1", "1.2", "1.3", "1.9"]
    assert series_found(filled, OneOf(key("StudyInstanceUID"), ("1.1",))) == ["1.1.10", "1.1.30", "1.1.20"]
    with filled.database.reading() as session:
        assert search_studies(session, OURS, [], EVERYTHING)[0].instance_count == 3
        by_uid = [OneOf(key("SOPInstanceUID"), ("1.1.1",))]
        found = search_instances(session, OURS, by_uid, EVERYTHING)
    places = [(one.series.study.study_instance_uid, one.series.series_instance_uid) for one in found]
    assert sorted(places) == [("1.1", "1.1.10"), ("1.1", "1.1.30"), ("1.9", "1.1.10")]


def test_counts_and_modalities_are_kept_with_study_and_series(filled):
    known = {"StudyInstanceUID": "1.1", "SOPInstanceUID": "1.1.1"}
    keep(filled, OURS, known | {"SeriesInstanceUID": "1.1.10", "ImageComments": "other content"})
    keep(filled, OURS, known | {"SeriesInstanceUID": "1.1.30"})
    keep(filled, OURS, {"StudyInstanceUID": "1.1", "SOPInstanceUID": "1.1.3", "SeriesInstanceUID": "1.1.10"})
    with filled.database.reading() as session:
        study = session.scalars(
            select(StudyRow).where(StudyRow.study_instance_uid == "1.1", StudyRow.partner_id == "ours")
        ).one()
        series = {one.series_instance_uid: one.number_of_instances for one in study.series}
    assert (study.number_of_series, study.number_of_instances) == (3, 4)
    assert (study.modalities, study.sop_classes) == (["CT", "SR"], ["1.2.840.10008.5.1.4.1.1.2"])
    assert series == {"1.1.10": 2, "1.1.20": 1, "1.1.30": 1}, "what has no address of its own counts nowhere"


def test_ten_thousand_uids_and_a_hundred_words_are_one_search(filled):
    uids = ("1.1", "1.2", *(f"1.2.3.{number}" for number in range(9_998)))
    assert studies_found(filled, OneOf(key("StudyInstanceUID"), uids)) == ["1.1", "1.2"]
    words = " ".join(f"w{number}" for number in range(98)) + " agidius umit"
    assert studies_found(filled, FuzzyName(key("PatientName"), words)) == []
    names = [FuzzyName(key("PatientName"), "agidius umit") for _ in range(50)]
    assert studies_found(filled, *names) == ["1.1"]


def test_series_and_instances_are_found_with_their_study(filled):
    of_study = OneOf(key("StudyInstanceUID"), ("1.1",))
    with filled.database.reading() as session:
        series = search_series(session, OURS, [of_study, OneOf(key("Modality"), ("SR",))], EVERYTHING)
        instances = search_instances(session, OURS, [of_study], EVERYTHING)
    assert [(one.series_instance_uid, one.instance_count) for one in series] == [("1.1.20", 1)]
    assert series[0].study.attributes["00100020"]["Value"] == ["MRN-1"]
    assert {one.sop_instance_uid for one in instances} == {"1.1.1", "1.1.2"}
    assert {one.series.study.study_instance_uid for one in instances} == {"1.1"}


@pytest.mark.parametrize(
    ("keyword", "value", "found"),
    [
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2", 4),
        ("InstanceNumber", 1, 4),
        ("InstanceNumber", 2, 0),
        ("NumberOfFrames", 1, 4),
        ("Rows", 4, 4),
        ("AvailableTransferSyntaxUID", "1.2.840.10008.1.2.1", 4),
    ],
)
def test_instances_are_matched(filled, keyword, value, found):
    with filled.database.reading() as session:
        instances = search_instances(session, OURS, [OneOf(key(keyword), (value,))], EVERYTHING)
    assert len(instances) == found


def test_two_children_under_one_number_are_two_patients(filled):
    keep(filled, OURS, {"PatientID": "MRN-2", "PatientName": "Other^Child", "StudyInstanceUID": "1.4"})
    keep(filled, OURS, {"PatientID": "MRN-1", "StudyInstanceUID": "1.5"})
    with filled.database.reading() as session:
        found = search_patients(session, OURS, [Like(key("PatientID"), "MRN-2")], EVERYTHING)
        everybody = search_patients(session, OURS, [], EVERYTHING)
        pages = [search_patients(session, OURS, [], Page(1, offset)) for offset in range(5)]
    names = [one.attributes["00100010"]["Value"][0]["Alphabetic"] for one in found]
    assert sorted(names) == ["Back", "Other^Child"]
    assert [one for page in pages for one in page] == everybody
    assert sum(one.study_count for one in everybody) == 5
    [mira] = [one for one in everybody if one.series_count == 2]
    assert (mira.study_count, mira.instance_count) == (1, 2)


def test_pages_follow_each_other(filled):
    with filled.database.reading() as session:
        pages = [search_studies(session, OURS, [], Page(1, offset)) for offset in range(4)]
    found = [[one.study_instance_uid for one in page] for page in pages]
    assert found == [["1.1"], ["1.2"], ["1.3"], []]


def test_what_was_there_is_on_a_page_whatever_arrives_meanwhile(filled):
    """New series and instances come in the middle, by their numbers, and push others back, never forward."""
    with filled.database.reading() as session:
        before = [one.sop_instance_uid for one in search_instances(session, OURS, [], EVERYTHING)]
    seen, offset = [], 0
    while True:
        with filled.database.reading() as session:
            page = search_instances(session, OURS, [], Page(2, offset))
        if not page:
            break
        seen += [one.sop_instance_uid for one in page]
        offset += len(page)
        if offset <= 4:
            keep(
                filled, OURS, {"StudyInstanceUID": "1.1", "SeriesInstanceUID": "1.1.10", "InstanceNumber": 0}
            )
    assert set(before) <= set(seen)


def test_a_viewer_finds_only_what_it_may_see(filled):
    unassigned = User("u1", "Specialist", frozenset({Role.SPECIALIST}))
    intake = User("u2", "Intake", frozenset({Role.INTAKE}))
    ours = [OneOf(key("SOPInstanceUID"), ("1.2.1",))]
    with filled.database.reading() as session:
        assert len(search_studies(session, THEIRS, [], EVERYTHING)) == 1
        assert search_studies(session, THEIRS, [NameLike(PHYSICIAN, "arzt*")], EVERYTHING) == []
        assert search_instances(session, THEIRS, ours, EVERYTHING) == []
        assert search_patients(session, THEIRS, [OneOf(key("PatientID"), ("MRN-2",))], EVERYTHING) == []
        assert search_studies(session, unassigned, [], EVERYTHING) == []
        assert len(search_series(session, intake, [], EVERYTHING)) == 5
        assert len(search_studies(session, intake, [FuzzyName(NAME, "umit")], EVERYTHING)) == 2
