"""A hospital's mix-up: instances of two children under one Study Instance UID (ADR 31); on SQLite and PostgreSQL."""

from collections.abc import Sequence

import pytest

from gateway.case.access import Origin, Partner
from gateway.services import Services
from gateway.store import partners, retrieval
from gateway.store.imaging_criteria import Criterion, Page
from gateway.store.partners import Registration
from gateway.workflow import imaging_find
from gateway.workflow.imaging_query import Matching, MatchingKey, matching_key, read_criteria
from gateway.workflow.receive import Arrival, receive_instances
from tests.support.dicom_files import make_file

OURS = Partner("ours", "Ours", "urn:ours")
ADAM = {
    "PatientID": "KID1",
    "PatientName": "Adam^Kid",
    "PatientBirthDate": "20190101",
    "PatientSex": "M",
    "PatientAge": "007Y",
    "PatientWeight": "21",
}
BERT = {
    "PatientID": "KID2",
    "IssuerOfPatientID": "Ward",
    "PatientName": "Bert^Other=貝^特",
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientBirthDate": "20200202",
    "PatientSex": "O",
    "PatientAge": "006Y",
    "PatientWeight": "18",
}
CLARA = {"PatientID": "KID3", "PatientName": "Clara^Third", "PatientBirthDate": "20210303"}
BERT_ASKED = [
    {"PatientID": "KID2"},
    {"PatientID": "K*2"},
    {"IssuerOfPatientID": "Ward"},
    {"PatientName": "bert^other"},
    {"PatientName": "B*"},
    {"PatientName": "=貝*"},
    {"PatientBirthDate": "20200101-20201231"},
    {"PatientSex": "O"},
    {"PatientAge": "006Y"},
    {"PatientID": "KID2", "PatientName": "Bert*", "PatientSex": "O", "StudyInstanceUID": "1.1"},
]


@pytest.fixture
def mixed(services: Services) -> Services:
    """Study 1.1: a series of Adam's (two instances), one of Bert's, one of both; study 1.2: Clara's."""
    with services.database.transaction() as session:
        partners.add(session, Registration("ours", "Ours"))
    keep(services, ADAM, "1.1", "1.1.1", "1.1.1.1")
    keep(services, ADAM, "1.1", "1.1.1", "1.1.1.2")
    keep(services, BERT, "1.1", "1.1.2", "1.1.2.1")
    keep(services, BERT, "1.1", "1.1.3", "1.1.3.1")
    keep(services, ADAM, "1.1", "1.1.3", "1.1.3.2")
    keep(services, CLARA, "1.2", "1.2.1", "1.2.1.1")
    return services


def keep(services: Services, who: dict[str, str], study: str, series: str, instance: str) -> None:
    content = make_file(
        StudyInstanceUID=study,
        SeriesInstanceUID=series,
        SOPInstanceUID=instance,
        SeriesNumber=int(series[-1]),
        InstanceNumber=int(instance[-1]),
        **who,
    )
    with services.objects.spool() as spool:
        spool.write(content)
        receive_instances(services, OURS, [Arrival(spool)], Origin("stow-rs"))


def criteria(level: str, asked: dict[str, str], **how: bool) -> list[Criterion]:
    keys: list[tuple[MatchingKey, str]] = []
    for keyword, value in asked.items():
        key = matching_key(level, keyword)
        assert key is not None, keyword
        keys.append((key, value))
    return read_criteria(keys, Matching(**how))


def found(services: Services, level: str, asked: dict[str, str], **how: bool) -> list[tuple[str, str]]:
    """(Patient ID, what) of each match."""
    tag = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}[level]
    matches = imaging_find.find(services, OURS, level, criteria(level, asked, **how), Page(100))
    return [(one["00100020"]["Value"][0], one[tag]["Value"][0]) for one in matches.attributes]


def test_an_instance_is_told_as_that_of_its_own_patient(mixed):
    assert found(mixed, "instance", {"StudyInstanceUID": "1.1"}) == [
        ("KID1", "1.1.1.1"),
        ("KID1", "1.1.1.2"),
        ("KID2", "1.1.2.1"),
        ("KID2", "1.1.3.1"),
        ("KID1", "1.1.3.2"),
    ]


@pytest.mark.parametrize("asked", BERT_ASKED, ids=lambda asked: " ".join(asked))
def test_the_second_child_is_found_by_everything_of_its_own_and_told_as_itself(mixed, asked):
    assert found(mixed, "study", asked) == [("KID2", "1.1")]
    assert found(mixed, "series", asked) == [("KID2", "1.1.2"), ("KID2", "1.1.3")]
    assert found(mixed, "instance", asked) == [("KID2", "1.1.2.1"), ("KID2", "1.1.3.1")]


def test_the_second_child_is_found_by_fuzzy_matching(mixed):
    assert found(mixed, "study", {"PatientName": "other bert"}, fuzzy=True) == [("KID2", "1.1")]
    assert found(mixed, "study", {"PatientName": "other adam"}, fuzzy=True) == []


def test_the_first_child_is_found_without_what_is_the_seconds(mixed):
    asked = {"PatientID": "KID1"}
    assert found(mixed, "study", asked) == [("KID1", "1.1")]
    assert found(mixed, "series", asked) == [("KID1", "1.1.1"), ("KID1", "1.1.3")]
    assert found(mixed, "instance", asked) == [
        ("KID1", "1.1.1.1"),
        ("KID1", "1.1.1.2"),
        ("KID1", "1.1.3.2"),
    ]


def test_what_is_asked_of_a_patient_holds_of_one_and_the_same(mixed):
    for asked in (
        {"PatientID": "KID1", "PatientName": "Bert*"},
        {"PatientID": "KID2", "PatientSex": "M"},
        {"PatientName": "Adam*", "PatientBirthDate": "20200202"},
    ):
        for level in ("study", "series", "instance"):
            assert found(mixed, level, asked) == [], (level, asked)


def test_a_study_of_both_is_found_once_as_the_first_who_was_asked_for(mixed):
    born = {"PatientBirthDate": "20190101-20211231"}
    assert found(mixed, "study", born) == [("KID1", "1.1"), ("KID3", "1.2")]
    assert found(mixed, "series", born | {"StudyInstanceUID": "1.1"}) == [
        ("KID1", "1.1.1"),
        ("KID2", "1.1.2"),
        ("KID1", "1.1.3"),
    ]
    assert len(found(mixed, "instance", born)) == 6


def test_nothing_of_the_patient_is_anothers(mixed):
    """In the index and in the files; what is not the patient's is told as it first came."""
    [match] = imaging_find.find(
        mixed, OURS, "study", criteria("study", {"PatientID": "KID2"}), Page(9), frozenset({0x00101030})
    ).attributes
    told = {tag: match[tag].get("Value", [None])[0] for tag in match if tag.startswith("0010")}
    assert told == {
        "00100010": {"Alphabetic": "Bert^Other", "Ideographic": "貝^特"},
        "00100020": "KID2",
        "00100021": "Ward",
        "00100030": "20200202",
        "00100040": "O",
        "00101010": "006Y",
        "00101030": 18,
    }
    [adam] = imaging_find.find(
        mixed, OURS, "study", criteria("study", {"PatientID": "KID1"}), Page(9), frozenset({0x00101030})
    ).attributes
    assert "00100021" not in adam
    assert adam["00101030"]["Value"] == [21]


def test_patients_are_counted_by_their_own_instances(mixed):
    matches = imaging_find.find(mixed, OURS, "patient", [], Page(9))
    counts = {
        one["00100020"]["Value"][0]: [one[tag]["Value"][0] for tag in ("00201200", "00201202", "00201204")]
        for one in matches.attributes
    }
    assert counts == {"KID1": [1, 2, 3], "KID2": [1, 2, 2], "KID3": [1, 1, 1]}
    [bert] = imaging_find.find(
        mixed, OURS, "patient", criteria("patient", {"PatientID": "KID2"}), Page(9)
    ).attributes
    assert bert["00100010"]["Value"][0]["Alphabetic"] == "Bert^Other"


RETRIEVED: list[tuple[dict[str, Sequence[str]], list[str]]] = [
    ({"PatientID": ["KID2"]}, ["1.1.2.1", "1.1.3.1"]),
    ({"PatientID": ["KID1"]}, ["1.1.1.1", "1.1.1.2", "1.1.3.2"]),
    ({"PatientID": ["KID2"], "StudyInstanceUID": ["1.1"]}, ["1.1.2.1", "1.1.3.1"]),
    ({"PatientID": ["KID2"], "SeriesInstanceUID": ["1.1.1", "1.1.3"]}, ["1.1.3.1"]),
    ({"PatientID": ["KID2"], "SOPInstanceUID": ["1.1.1.1"]}, []),
    ({"StudyInstanceUID": ["1.1"]}, ["1.1.1.1", "1.1.1.2", "1.1.2.1", "1.1.3.1", "1.1.3.2"]),
]


@pytest.mark.parametrize(("keys", "expected"), RETRIEVED)
def test_a_retrieval_by_patient_takes_only_that_patients_instances(mixed, keys, expected):
    with mixed.database.reading() as session:
        rows = retrieval.instances(session, OURS, keys)
    assert [row.sop_instance_uid for row in rows] == expected


def test_a_child_of_whom_only_content_without_an_address_is_kept_is_not_found(mixed):
    """The same study, series and SOP Instance UID as Adam's: the address gives Adam's, and staff see both."""
    keep(mixed, CLARA, "1.1", "1.1.1", "1.1.1.1")
    assert found(mixed, "study", {"PatientID": "KID3"}) == [("KID3", "1.2")]
    assert found(mixed, "instance", {"PatientID": "KID3"}) == [("KID3", "1.2.1.1")]
    assert len(found(mixed, "instance", {"StudyInstanceUID": "1.1"})) == 5


def test_the_same_uid_in_another_study_is_that_studys_and_its_patients(mixed):
    keep(mixed, BERT, "1.3", "1.3.1", "1.1.1.1")
    assert found(mixed, "study", {"PatientID": "KID2"}) == [("KID2", "1.1"), ("KID2", "1.3")]
    assert found(mixed, "instance", {"SOPInstanceUID": "1.1.1.1"}) == [
        ("KID1", "1.1.1.1"),
        ("KID2", "1.1.1.1"),
    ]
    assert studies_taken(mixed, StudyInstanceUID=["1.3"]) == ["1.3"]
    assert studies_taken(mixed, PatientID=["KID2"], SOPInstanceUID=["1.1.1.1"]) == ["1.3"]
    assert studies_taken(mixed, SOPInstanceUID=["1.1.1.1"]) == ["1.1"], (
        "by the UID alone it is the one that came first"
    )


def studies_taken(services: Services, **keys: Sequence[str]) -> list[str]:
    with services.database.reading() as session:
        return [row.series.study.study_instance_uid for row in retrieval.instances(session, OURS, keys)]


def test_two_children_of_one_request_are_told_apart_too(services):
    with services.database.transaction() as session:
        partners.add(session, Registration("ours", "Ours"))
    arrivals = []
    for number, who in enumerate((ADAM, BERT, ADAM, BERT), start=1):
        spool = services.objects.spool()
        spool.write(
            make_file(StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1", InstanceNumber=number, **who)
        )
        arrivals.append(Arrival(spool))
    receive_instances(services, OURS, arrivals, Origin("stow-rs"))
    assert [patient for patient, _ in found(services, "instance", {})] == ["KID1", "KID2", "KID1", "KID2"]
    assert found(services, "study", {"PatientID": "KID2"}) == [("KID2", "1.1")]
