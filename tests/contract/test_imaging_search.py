"""Searching imaging finds the same on SQLite and on PostgreSQL."""

import pytest
from sqlalchemy import select

from gateway.case.access import Origin, Partner, Role, User
from gateway.services import Services
from gateway.store import partners
from gateway.store.imaging_search import (
    AnyModality,
    Between,
    Criterion,
    Like,
    OneOf,
    Page,
    StartsWith,
    search_instances,
    search_series,
    search_studies,
)
from gateway.store.partners import Registration
from gateway.store.tables import StudyRow
from gateway.workflow.receive import receive_instance
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
    keep(services, OURS, study | {"SOPInstanceUID": "1.1.2", "SeriesInstanceUID": "1.1.20", "Modality": "SR"})
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
            "StudyDate": "20261224",
            "StudyTime": "2330",
        },
    )
    return services


def keep(services: Services, partner: Partner, attributes: dict[str, str]) -> None:
    with services.objects.spool() as spool:
        spool.write(make_file(**attributes))
        receive_instance(services, partner, spool, Origin("stow-rs"))


def studies_found(services: Services, *criteria: Criterion) -> list[str]:
    with services.database.reading() as session:
        found = search_studies(session, OURS, criteria, EVERYTHING)
        return [one.row.study_instance_uid for one in found]


MATCHES: list[tuple[Criterion, list[str]]] = [
    (OneOf("StudyInstanceUID", ("1.1", "1.2")), ["1.1", "1.2"]),
    (OneOf("AccessionNumber", ("acc-1",)), []),
    (Like("PatientName", "ägidius^ü*", is_name=True), ["1.1"]),
    (Like("PatientName", "王*", is_name=True), ["1.1"]),
    (Like("PatientName", "ägidius"), []),
    (Like("PatientName", "*_100%"), ["1.2"]),
    (Like("PatientName", "?gidius*"), ["1.1"]),
    (Between("StudyDate", "20261101", "20261130"), ["1.1"]),
    (Between("StudyDate", "20261102", ""), ["1.2"]),
    (Between("StudyTime", "", "101559.999999"), ["1.1"]),
    (StartsWith("StudyTime", "23"), ["1.2"]),
    (AnyModality(("SR", "MR")), ["1.1"]),
]


def test_studies_are_matched(filled):
    assert [(criterion, studies_found(filled, criterion)) for criterion, _ in MATCHES] == MATCHES


def test_counts_are_of_the_own_instances(filled):
    with filled.database.reading() as session:
        first, second = search_studies(session, OURS, [], EVERYTHING)
    assert (first.modalities, first.series_count, first.instance_count) == (("CT", "SR"), 2, 2)
    assert (second.modalities, second.series_count, second.instance_count) == (("US",), 1, 1)


def test_a_conflicting_second_content_is_not_counted(filled):
    keep(filled, OURS, {"StudyInstanceUID": "1.1", "SOPInstanceUID": "1.1.1", "SeriesInstanceUID": "1.1.10"})
    with filled.database.reading() as session:
        assert search_studies(session, OURS, [], EVERYTHING)[0].instance_count == 2
        assert len(search_instances(session, OURS, [OneOf("SOPInstanceUID", ("1.1.1",))], EVERYTHING)) == 1


def test_counts_and_modalities_are_kept_with_study_and_series(filled):
    keep(filled, OURS, {"StudyInstanceUID": "1.1", "SOPInstanceUID": "1.1.1", "SeriesInstanceUID": "1.1.30"})
    keep(filled, OURS, {"StudyInstanceUID": "1.1", "SOPInstanceUID": "1.1.3", "SeriesInstanceUID": "1.1.10"})
    with filled.database.reading() as session:
        study = session.scalars(
            select(StudyRow).where(StudyRow.study_instance_uid == "1.1", StudyRow.partner_id == "ours")
        ).one()
        series = {one.series_instance_uid: one.number_of_instances for one in study.series}
    assert (study.number_of_series, study.number_of_instances) == (2, 3)
    assert (study.modalities, study.sop_classes) == (["CT", "SR"], ["1.2.840.10008.5.1.4.1.1.2"])
    assert series == {"1.1.10": 2, "1.1.20": 1, "1.1.30": 0}, "a second content under a UID counts nowhere"


def test_series_and_instances_are_found_with_their_study(filled):
    of_study = OneOf("StudyInstanceUID", ("1.1",))
    with filled.database.reading() as session:
        series = search_series(session, OURS, [of_study, OneOf("Modality", ("SR",))], EVERYTHING)
        instances = search_instances(session, OURS, [of_study], EVERYTHING)
    assert [(one.row.series_instance_uid, one.instance_count) for one in series] == [("1.1.20", 1)]
    assert series[0].row.study.patient_id == "MRN-1"
    assert {row.sop_instance_uid for row in instances} == {"1.1.1", "1.1.2"}
    assert {row.series.study.partner_id for row in instances} == {"ours"}


def test_pages_follow_each_other(filled):
    with filled.database.reading() as session:
        pages = [search_studies(session, OURS, [], Page(1, offset)) for offset in range(3)]
    assert [[one.row.study_instance_uid for one in page] for page in pages] == [["1.1"], ["1.2"], []]


def test_a_viewer_finds_only_what_it_may_see(filled):
    unassigned = User("u1", "Specialist", frozenset({Role.SPECIALIST}))
    intake = User("u2", "Intake", frozenset({Role.INTAKE}))
    with filled.database.reading() as session:
        assert len(search_studies(session, THEIRS, [], EVERYTHING)) == 1
        assert search_instances(session, THEIRS, [OneOf("SOPInstanceUID", ("1.2.1",))], EVERYTHING) == []
        assert search_studies(session, unassigned, [], EVERYTHING) == []
        assert len(search_series(session, intake, [], EVERYTHING)) == 4
