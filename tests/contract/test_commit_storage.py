"""Storage commitment and retrieval on SQLite and on PostgreSQL: what is named, whose it is, and whether it is whole."""

from typing import Any

import pytest

from gateway.case.access import Origin, Partner
from gateway.services import Services
from gateway.store import commitments, partners, retrieval
from gateway.store.partners import Registration
from gateway.workflow import commit_storage
from gateway.workflow.commit_storage import Event
from gateway.workflow.receive import receive_instance
from mappings.storage_commitment import CommitmentRequest, Reference
from tests.support.dicom_files import make_file

OURS, THEIRS = Partner("ours", "Ours", "urn:ours"), Partner("theirs", "Theirs", "urn:theirs")
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
ORIGIN = Origin("n-action", "PACS@127.0.0.1")


@pytest.fixture
def filled(services: Services) -> Services:
    """1,200 references are more than one statement takes; of ours 1.1.1 and 1.1.2 are kept, the second twice."""
    for partner in (OURS, THEIRS):
        with services.database.transaction() as session:
            partners.add(session, Registration(partner.id, partner.name))
    keep(services, OURS, SOPInstanceUID="1.1.1")
    keep(services, OURS, SOPInstanceUID="1.1.2", InstanceNumber=2)
    keep(services, OURS, SOPInstanceUID="1.1.2", InstanceNumber=3)
    keep(services, THEIRS, SOPInstanceUID="1.1.3")
    return services


def keep(services: Services, partner: Partner, **attributes: Any) -> None:
    with services.objects.spool() as spool:
        spool.write(make_file(StudyInstanceUID="1.1", SeriesInstanceUID="1.1.10", **attributes))
        receive_instance(services, partner, spool, Origin("test"))


def asked(services: Services, *references: Reference, transaction_uid: str = "1.9") -> tuple[str, Event]:
    request = CommitmentRequest(transaction_uid, references)
    commitment_id = commit_storage.request(services, OURS, "PACS", request, ORIGIN)
    event = commit_storage.examine(services, commitment_id)
    assert event is not None
    return commitment_id, event


def test_each_reference_is_committed_or_fails_with_its_reason(filled: Services) -> None:
    many = [Reference(CT, f"1.3.{number}") for number in range(1200)]
    kept = [Reference(CT, "1.1.1"), Reference(CT, "1.1.2")]
    _, event = asked(filled, *kept, Reference(MR, "1.1.1"), Reference(CT, "1.1.3"), *many)
    assert (event.type, event.committed, event.failed) == (2, 2, 1202)
    reasons = [item.FailureReason for item in event.information.FailedSOPSequence]
    assert reasons == [0x0119, 0x0112, *[0x0112] * 1200]


def test_of_two_data_sets_under_one_uid_both_must_be_whole(filled: Services) -> None:
    with filled.database.reading() as session:
        rows = commitments.instances(session, "ours", ["1.1.2"])["1.1.2"]
    assert len(rows) == 2
    (filled.config.data_dir / "objects" / rows[1].object_key).unlink()
    _, event = asked(filled, Reference(CT, "1.1.2"), Reference(CT, "1.1.1"))
    assert [item.FailureReason for item in event.information.FailedSOPSequence] == [0x0110]


def test_the_same_request_again_is_the_same_commitment_and_another_one_is_a_duplicate(
    filled: Services,
) -> None:
    first, _ = asked(filled, Reference(CT, "1.1.1"))
    again, event = asked(filled, Reference(CT, "1.1.1"))
    other, duplicate = asked(filled, Reference(CT, "1.1.2"))
    assert (again, event.type) == (first, 1)
    assert other != first
    assert [item.FailureReason for item in duplicate.information.FailedSOPSequence] == [0x0131]
    with filled.database.reading() as session:
        assert [row.id for row in commitments.newest(session)] == [other, first]


def test_a_look_that_is_broken_off_tells_nothing(filled: Services) -> None:
    request = CommitmentRequest("1.9", (Reference(CT, "1.1.1"), Reference(CT, "1.1.2")))
    commitment_id = commit_storage.request(filled, OURS, "PACS", request, ORIGIN)
    looks = iter([True, False])
    assert commit_storage.examine(filled, commitment_id, lambda: next(looks, False)) is None


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"StudyInstanceUID": ["1.1"]}, ["1.1.1", "1.1.2"]),
        ({"SeriesInstanceUID": ["1.1.10", "1.1.11"]}, ["1.1.1", "1.1.2"]),
        ({"SOPInstanceUID": ["1.1.3", "1.1.2", "1.1.2"]}, ["1.1.2"]),
        ({"SOPInstanceUID": [*(f"1.3.{number}" for number in range(1200)), "1.1.1"]}, ["1.1.1"]),
        ({"PatientID": ["MRN-1"]}, ["1.1.1", "1.1.2"]),
        ({"PatientID": ["MRN-2"], "StudyInstanceUID": ["1.1"]}, []),
        ({"StudyInstanceUID": []}, []),
        ({}, []),
    ],
)
def test_a_retrieval_names_first_received_instances_of_its_partner_each_once(
    filled: Services, keys: dict[str, list[str]], found: list[str]
) -> None:
    with filled.database.reading() as session:
        rows = retrieval.instances(session, OURS, keys)
    assert [row.sop_instance_uid for row in rows] == found
    assert not any(row.conflict for row in rows)
