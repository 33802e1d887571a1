"""The life of a fetch on both databases: news while it runs, rounds and cases that are over, a gateway that stops."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest

from gateway.case.access import SYSTEM_ACTOR, Partner
from gateway.case.fetching import Fetch, InstanceAddress
from gateway.case.model import ExpectedSeries, ExpectedStudy, ImagingPlace, Record
from gateway.clock import utc_now
from gateway.errors import PeerUnreachable
from gateway.services import Services
from gateway.store import cases, fetches, partners, studies
from gateway.store.partners import DicomWebEndpoint, Registration
from gateway.workflow import durable, fetch, fetch_plan
from tests.support.cases import CHILD, SOURCE
from tests.support.fetching import Imaging

PACS = "https://pacs.hospital.example/dicom-web"


class Archive:
    """A source that gives what it has; ``before`` is called for each instance first."""

    channel, address = "wado-rs", PACS

    def __init__(self, *imaging: Imaging) -> None:
        self.files = {uid: file for one in imaging for uid, file in zip(one.uids, one.files, strict=True)}
        self.asked: list[str] = []
        self.before: Callable[[str], None] = lambda _uid: None

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def instances(self, _study: str) -> list[InstanceAddress]:
        raise AssertionError("the records list every instance")

    def retrieve(self, _study: str, wanted: Sequence[InstanceAddress], receiver: Any) -> None:
        for address in wanted:
            if not receiver.goes_on():
                return
            self.asked.append(address.sop_instance_uid)
            self.before(address.sop_instance_uid)
            with receiver.open_spool() as spool:
                spool.write(self.files[address.sop_instance_uid])
                receiver.take(address, spool)


class World:
    """One hospital with an archive, and cases whose records say what they say."""

    def __init__(self, services: Services, archive: Archive) -> None:
        self.services = replace(services, connect=lambda _partner, _place: archive)
        with self.services.database.transaction() as session:
            partners.add(session, Registration("h", "H", dicomweb_endpoints=(DicomWebEndpoint(PACS),)))
            self.partner: Partner = partners.get(session, "h").partner

    def case(self, *expected: ExpectedStudy) -> str:
        with self.services.database.transaction() as session:
            row = cases.open_case(session, self.partner, "", utc_now())
            return self._tell(row, expected)

    def tell(self, case_id: str, *expected: ExpectedStudy) -> None:
        with self.services.database.transaction() as session:
            self._tell(cases.row(session, SYSTEM_ACTOR, case_id, lock=True), expected)

    def _tell(self, row: Any, expected: tuple[ExpectedStudy, ...]) -> str:
        cases.set_record(row, Record(patient=CHILD, expected_studies=expected))
        return str(row.id)

    def plan(self, case_id: str) -> None:
        fetch_plan.plan_fetches(self.services, case_id)

    def fetches(self, case_id: str) -> tuple[Fetch, ...]:
        with self.services.database.reading() as session:
            return fetches.of_case(session, case_id)

    def subject(self, case_id: str) -> str:
        (found,) = self.fetches(case_id)
        with self.services.database.reading() as session:
            return f"{found.id}/{fetches.row(session, found.id).round}"

    def attempt(self, subject: str, last: bool = False) -> bool:
        return fetch.attempt(self.services, subject, last)


def expected(imaging: Imaging, count: int | None = None, url: str = PACS) -> ExpectedStudy:
    uids = tuple(imaging.uids[:count])
    series = ExpectedSeries(imaging.series, "CT", len(uids), uids)
    return ExpectedStudy(imaging.study, None, "", 1, len(uids), (series,), SOURCE, (ImagingPlace(url=url),))


@pytest.fixture
def imaging() -> Imaging:
    return Imaging(4)


@pytest.fixture
def archive(imaging: Imaging) -> Archive:
    return Archive(imaging)


@pytest.fixture
def world(services: Services, archive: Archive) -> World:
    return World(services, archive)


def test_what_is_wanted_meanwhile_is_fetched_in_the_same_round(
    world: World, archive: Archive, imaging: Imaging
) -> None:
    case_id = world.case(expected(imaging, 2))
    world.plan(case_id)
    subject = world.subject(case_id)

    def tell_more(uid: str) -> None:
        if uid == imaging.uids[1]:
            world.tell(case_id, expected(imaging))
            world.plan(case_id)

    archive.before = tell_more
    assert world.attempt(subject)
    (found,) = world.fetches(case_id)
    assert (found.state, found.here, found.expected) == ("complete", 4, 4)
    assert archive.asked == imaging.uids


def test_two_cases_that_name_a_study_have_one_fetch(world: World, archive: Archive, imaging: Imaging) -> None:
    first, second = world.case(expected(imaging, 2)), world.case(expected(imaging))
    world.plan(first)
    world.plan(second)
    assert world.subject(first) == world.subject(second)
    assert world.attempt(world.subject(first))
    assert archive.asked == imaging.uids
    assert {world.fetches(case_id)[0].state for case_id in (first, second)} == {"complete"}


def test_work_of_an_earlier_round_does_nothing(world: World, archive: Archive, imaging: Imaging) -> None:
    case_id = world.case(expected(imaging))
    world.plan(case_id)
    early = world.subject(case_id)
    archive.before = unreachable
    assert not world.attempt(early)
    assert world.fetches(case_id)[0].next_try_at is not None
    archive.before = lambda _uid: None
    archive.asked.clear()
    world.tell(case_id, replace(expected(imaging), description="corrected"))
    world.plan(case_id)
    assert world.subject(case_id) != early
    assert world.attempt(early)
    assert archive.asked == []
    assert world.attempt(world.subject(case_id))
    assert archive.asked == imaging.uids


def unreachable(_uid: str) -> None:
    raise PeerUnreachable("The archive is away.")


def test_planning_again_without_news_begins_nothing(world: World, imaging: Imaging) -> None:
    case_id = world.case(expected(imaging, url="https://elsewhere.example/"))
    world.plan(case_id)
    subject = world.subject(case_id)
    assert world.attempt(subject)
    before = world.fetches(case_id)
    assert (before[0].state, before[0].problem) == ("failed", "not-registered")
    world.plan(case_id)
    assert (world.fetches(case_id), world.subject(case_id)) == (before, subject)


def test_what_the_records_name_no_more_is_not_fetched(
    world: World, archive: Archive, imaging: Imaging
) -> None:
    case_id = world.case(expected(imaging))
    world.plan(case_id)
    subject = world.subject(case_id)
    world.tell(case_id)
    world.plan(case_id)
    assert world.fetches(case_id) == ()
    assert world.attempt(subject)
    assert archive.asked == []


def test_for_a_case_that_is_over_nothing_is_fetched(world: World, archive: Archive, imaging: Imaging) -> None:
    case_id = world.case(expected(imaging))
    world.plan(case_id)
    with world.services.database.transaction() as session:
        cases.row(session, SYSTEM_ACTOR, case_id).status = "declined"
    assert world.attempt(world.subject(case_id))
    (found,) = world.fetches(case_id)
    assert (found.state, found.problem) == ("failed", "not-wanted")
    assert archive.asked == []


def test_a_gateway_that_stops_goes_on_in_a_new_round(
    world: World, archive: Archive, imaging: Imaging
) -> None:
    case_id = world.case(expected(imaging))
    world.plan(case_id)
    subject = world.subject(case_id)
    archive.before = lambda uid: durable._stopping.set() if uid == imaging.uids[1] else None
    with stopping_ends():
        assert world.attempt(subject)
        assert archive.asked == imaging.uids[:2]
    assert world.subject(case_id) != subject
    assert world.attempt(world.subject(case_id))
    assert archive.asked == imaging.uids
    assert world.fetches(case_id)[0].state == "complete"


@contextmanager
def stopping_ends() -> Iterator[None]:
    try:
        yield
    finally:
        durable._stopping.clear()


def test_after_the_last_try_a_person_must_look(world: World, archive: Archive, imaging: Imaging) -> None:
    case_id = world.case(expected(imaging))
    world.plan(case_id)
    archive.before = unreachable
    assert world.attempt(world.subject(case_id), last=True)
    (found,) = world.fetches(case_id)
    assert (found.state, found.problem, found.next_try_at) == ("failed", "unreachable", None)
    assert found.reason == "The archive is away."


def test_a_fault_of_our_own_is_tried_again_and_tells_nothing(
    world: World, archive: Archive, imaging: Imaging
) -> None:
    case_id = world.case(expected(imaging))
    world.plan(case_id)
    archive.files = {}
    assert not world.attempt(world.subject(case_id))
    (found,) = world.fetches(case_id)
    assert (found.state, found.problem) == ("pending", "gateway")
    assert imaging.uids[0] not in found.reason


def test_both_at_once_plan_and_fetch_without_hindering_each_other(
    world: World, archive: Archive, imaging: Imaging
) -> None:
    """The case is locked before the fetch, by everybody."""
    case_id = world.case(expected(imaging))
    world.plan(case_id)
    subject = world.subject(case_id)
    planning = Thread(target=lambda: [world.plan(case_id) for _ in range(20)])
    planning.start()
    assert world.attempt(subject)
    planning.join(30)
    assert not planning.is_alive()
    (found,) = world.fetches(case_id)
    assert (found.state, found.here) == ("complete", 4)
    with world.services.database.reading() as session:
        stored = studies.rows(session, SYSTEM_ACTOR)
    assert archive.asked == imaging.uids
    assert len(stored) == 1
