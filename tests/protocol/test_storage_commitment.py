"""Storage commitment, push model (PS3.4 Annex J), with pynetdicom as the peer on both its ends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage, StorageCommitmentPushModel
from sqlalchemy import select, update

from gateway.clock import utc_now
from gateway.config import Config
from gateway.services import Services, build_services
from gateway.store import commitments
from gateway.store.partners import ApplicationEntity
from gateway.store.tables import AuditRow, CommitmentRow
from gateway.workflow import commit_storage
from mappings.storage_commitment import SOP_INSTANCE_UID
from tests.support.dimse import Archive, send
from tests.support.gateway_process import GatewayProcess, free_port
from tests.support.processes import wait_until
from tests.support.retrieving import CT, Imaging, imaging, reference, request, series, uid

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
SUCCESS, NO_SUCH_INSTANCE, INVALID_ARGUMENT, NO_SUCH_ACTION = 0x0000, 0x0112, 0x0115, 0x0123
PROCESSING_FAILURE, CLASS_CONFLICT, DUPLICATE = 0x0110, 0x0119, 0x0131


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imaging]:
    with imaging(tmp_path_factory.mktemp("imaging")) as made:
        yield made


@pytest.fixture
def services(kept: Imaging) -> Services:
    """What a worker of this gateway works with."""
    return build_services(Config(data_dir=kept.listener.data_dir))


class Reports:
    """What the peer was told: event types and their data sets; ``answer`` is its status."""

    def __init__(self, answer: Callable[[], int] = lambda: SUCCESS) -> None:
        self.events: list[tuple[int, Dataset]] = []
        self._answer = answer

    def handlers(self) -> list[Any]:
        return [(evt.EVT_N_EVENT_REPORT, self._take)]

    def _take(self, event: evt.Event) -> tuple[int, None]:
        self.events.append((event.event_type, event.event_information))
        return self._answer(), None

    @property
    def only(self) -> tuple[int, Dataset]:
        (event,) = self.events
        return event


@contextmanager
def asking(kept: Any, reports: Reports | None = None, calling: str = "HOSPITAL_A") -> Iterator[Any]:
    """An association that asks, and takes the report where it lasts."""
    ae = AE(calling)
    ae.add_requested_context(StorageCommitmentPushModel, EXPLICIT_LITTLE)
    handlers = reports.handlers() if reports else []
    assoc = ae.associate("127.0.0.1", kept.dicom_port, ae_title=kept.ae_title, evt_handlers=handlers)
    assert assoc.is_established
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def ask(assoc: Any, ds: Dataset, instance: str = SOP_INSTANCE_UID, action: int = 1) -> int:
    status, _ = assoc.send_n_action(ds, action, StorageCommitmentPushModel, instance)
    return int(status.Status)


def ask_and_go(kept: Imaging, ds: Dataset, calling: str = "HOSPITAL_A") -> str:
    """The id of the commitment, once the gateway has left it to the worker."""
    with asking(kept.listener, calling=calling) as assoc:
        assert ask(assoc, ds) == SUCCESS
    wait_until(lambda: _row(kept, ds).held_until is None)
    return _row(kept, ds).id


@contextmanager
def reporting_peer(kept: Imaging, reports: Reports, *handlers: Any) -> Iterator[None]:
    """The peer's listener, registered as where HOSPITAL_A is called."""
    ae = AE("HOSPITAL_A")
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    told = [*reports.handlers(), *handlers]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=told)
    _register(kept, ApplicationEntity("HOSPITAL_A", "127.0.0.1", server.server_address[1]))
    try:
        yield
    finally:
        server.shutdown()
        _register(kept, ApplicationEntity("HOSPITAL_A"))


def test_what_is_kept_is_committed_on_the_same_association(kept: Imaging) -> None:
    reports, asked = Reports(), request(*map(reference, kept.first))
    with asking(kept.listener, reports) as assoc:
        assert ask(assoc, asked) == SUCCESS
        wait_until(lambda: bool(reports.events))
        wait_until(lambda: _row(kept, asked).state == commitments.REPORTED)
    event_type, event = reports.only
    assert event_type == 1
    assert event.TransactionUID == asked.TransactionUID
    assert _references(event.ReferencedSOPSequence) == [reference(file) for file in kept.first]
    assert event.RetrieveAETitle == kept.listener.ae_title
    assert "FailedSOPSequence" not in event


def test_what_is_not_kept_fails_with_its_reason_and_the_rest_is_committed(kept: Imaging) -> None:
    (committed,) = kept.second_series
    stranger = (uid(CT, "SOPClassUID"), generate_uid())
    other_class = (MRImageStorage, uid(kept.first[0]))
    other_hospital = reference(kept.other_hospital[0])
    asked = request(stranger, reference(committed), other_class, other_hospital)
    reports = Reports()
    with asking(kept.listener, reports) as assoc:
        ask(assoc, asked)
        wait_until(lambda: bool(reports.events))
    event_type, event = reports.only
    assert event_type == 2
    assert _references(event.ReferencedSOPSequence) == [reference(committed)]
    assert _failures(event) == {
        stranger: NO_SUCH_INSTANCE,
        other_class: CLASS_CONFLICT,
        other_hospital: NO_SUCH_INSTANCE,
    }


@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
def test_what_is_indexed_and_not_whole_on_disk_is_not_committed(
    kept: Imaging, tmp_path: Path, damage: str
) -> None:
    (file,) = series(tmp_path, CT)
    assert send(kept.listener, file)[0].status == SUCCESS
    stored = kept.listener.data_dir / "objects" / Archive(kept.listener).instance(uid(file)).row.object_key
    content = stored.read_bytes()
    stored.unlink()
    if damage != "gone":
        stored.write_bytes(content[:-1] if damage == "cut" else content[:-1] + bytes((content[-1] ^ 1,)))
    reports = Reports()
    with asking(kept.listener, reports) as assoc:
        ask(assoc, request(reference(file), reference(kept.first[0])))
        wait_until(lambda: bool(reports.events))
    assert _failures(reports.only[1]) == {reference(file): PROCESSING_FAILURE}


def test_a_peer_that_goes_at_once_is_called(kept: Imaging, services: Services) -> None:
    reports, asked = Reports(), request(reference(kept.first[0]))
    with reporting_peer(kept, reports):
        commitment_id = ask_and_go(kept, asked)
        assert commit_storage.attempt(services, commitment_id, last=False)
    event_type, event = reports.only
    assert (event_type, event.TransactionUID) == (1, asked.TransactionUID)
    row = _row(kept, asked)
    assert (row.state, row.attempts, row.last_error) == (commitments.REPORTED, 1, "")


def test_the_gateway_calls_as_the_provider_of_the_service(kept: Imaging, services: Services) -> None:
    roles: list[Any] = []
    reports = Reports()
    note = (evt.EVT_REQUESTED, lambda event: roles.append(event.assoc.requestor.role_selection))
    with reporting_peer(kept, reports, note):
        commitment_id = ask_and_go(kept, request(reference(kept.first[0])))
        assert commit_storage.attempt(services, commitment_id, last=False)
    role = roles[0][StorageCommitmentPushModel]
    assert (role.scu_role, role.scp_role) == (False, True)


def test_while_the_association_of_the_request_lasts_the_worker_waits(
    kept: Imaging, services: Services
) -> None:
    answering = threading.Event()
    reports, asked = Reports(lambda: answering.wait(10) and SUCCESS), request(reference(kept.first[0]))
    with reporting_peer(kept, Reports()), asking(kept.listener, reports) as assoc:
        ask(assoc, asked)
        wait_until(lambda: bool(reports.events))
        assert not commit_storage.attempt(services, _row(kept, asked).id, last=False)
        answering.set()
        wait_until(lambda: _row(kept, asked).state == commitments.REPORTED)
        assert commit_storage.attempt(services, _row(kept, asked).id, last=False)
    assert len(reports.events) == 1


def test_a_gateway_that_died_in_between_reports_when_the_time_is_up(
    kept: Imaging, services: Services
) -> None:
    reports, asked = Reports(), request(reference(kept.first[0]))
    with reporting_peer(kept, reports):
        commitment_id = ask_and_go(kept, asked)
        with services.database.transaction() as session:
            past = utc_now() - timedelta(seconds=1)
            session.execute(
                update(CommitmentRow).where(CommitmentRow.id == commitment_id).values(held_until=past)
            )
        assert commit_storage.attempt(services, commitment_id, last=False)
    assert len(reports.events) == 1


def test_a_peer_that_does_not_take_it_is_called_again_until_it_is_given_up_and_tried_anew(
    kept: Imaging, services: Services
) -> None:
    answers = iter([PROCESSING_FAILURE, PROCESSING_FAILURE, SUCCESS])
    reports, asked = Reports(lambda: next(answers)), request(reference(kept.first[0]))
    with reporting_peer(kept, reports):
        commitment_id = ask_and_go(kept, asked)
        assert not commit_storage.attempt(services, commitment_id, last=False)
        assert _row(kept, asked).last_error == "The peer answered with status 0110."
        assert commit_storage.attempt(services, commitment_id, last=True)
        assert _row(kept, asked).state == commitments.UNDELIVERED
        commit_storage.retry(services, commitment_id)
        assert commit_storage.attempt(services, commitment_id, last=False)
    assert (_row(kept, asked).state, _row(kept, asked).attempts) == (commitments.REPORTED, 3)
    assert len(reports.events) == 3
    assert [row.action for row in _trail(services, commitment_id)] == [
        "commit-storage",
        "commitment-undelivered",
        "retry",
        "report-commitment",
    ]


def test_a_peer_that_cannot_be_reached_is_called_again(kept: Imaging, services: Services) -> None:
    _register(kept, ApplicationEntity("HOSPITAL_A", "127.0.0.1", free_port()))
    asked = request(reference(kept.first[0]))
    commitment_id = ask_and_go(kept, asked)
    assert not commit_storage.attempt(services, commitment_id, last=False)
    assert "cannot be reached" in _row(kept, asked).last_error
    _register(kept, ApplicationEntity("HOSPITAL_A"))


def test_a_peer_that_can_not_be_called_is_given_up_in_words(kept: Imaging, services: Services) -> None:
    asked = request(reference(kept.first[0]))
    commitment_id = ask_and_go(kept, asked)
    assert commit_storage.attempt(services, commitment_id, last=False)
    row = _row(kept, asked)
    assert row.state == commitments.UNDELIVERED
    assert row.last_error == "No host and port are registered for the AE HOSPITAL_A."


def test_the_same_request_again_is_reported_again(kept: Imaging) -> None:
    reports, asked = Reports(), request(reference(kept.first[0]))
    with asking(kept.listener, reports) as assoc:
        for expected in (1, 2):
            assert ask(assoc, asked) == SUCCESS
            wait_until(lambda expected=expected: len(reports.events) == expected)
    assert [event_type for event_type, _ in reports.events] == [1, 1]


def test_another_request_under_a_transaction_uid_that_is_in_use_fails_as_a_whole(kept: Imaging) -> None:
    asked = request(reference(kept.first[0]))
    other = request(reference(kept.first[2]), transaction_uid=asked.TransactionUID)
    reports = Reports()
    with asking(kept.listener, reports) as assoc:
        for number, one in enumerate((asked, other), 1):
            assert ask(assoc, one) == SUCCESS
            wait_until(lambda number=number: len(reports.events) == number)
    event_type, event = reports.events[1]
    assert event_type == 2
    assert "ReferencedSOPSequence" not in event
    assert _failures(event) == {reference(kept.first[2]): DUPLICATE}


def test_two_hospitals_may_use_the_same_transaction_uid(kept: Imaging) -> None:
    asked = request(reference(kept.first[0]))
    own = request(reference(kept.other_hospital[0]), transaction_uid=asked.TransactionUID)
    for one, calling in ((asked, "HOSPITAL_A"), (own, "HOSPITAL_B")):
        reports = Reports()
        with asking(kept.listener, reports, calling) as assoc:
            ask(assoc, one)
            wait_until(lambda reports=reports: bool(reports.events))
        assert reports.only[0] == 1


@pytest.mark.parametrize(
    ("ds", "instance", "action", "status"),
    [
        (request(("1.2", "1.2.3")), "1.2.3", 1, NO_SUCH_INSTANCE),
        (request(("1.2", "1.2.3")), SOP_INSTANCE_UID, 2, NO_SUCH_ACTION),
        (request(), SOP_INSTANCE_UID, 1, INVALID_ARGUMENT),
        (request(("1.2", "1.2.3"), transaction_uid="none"), SOP_INSTANCE_UID, 1, INVALID_ARGUMENT),
        (request(("", "1.2.3")), SOP_INSTANCE_UID, 1, INVALID_ARGUMENT),
    ],
    ids=["instance", "action", "no-references", "transaction", "class"],
)
def test_what_is_no_request_is_refused(
    kept: Imaging, ds: Dataset, instance: str, action: int, status: int
) -> None:
    with asking(kept.listener) as assoc:
        assert ask(assoc, ds, instance, action) == status
        assert assoc.is_established


def test_a_running_gateway_reports_after_it_was_killed_and_started_again(tmp_path: Path) -> None:
    reports = Reports()
    with GatewayProcess() as gateway:
        gateway.add_partner("hospital-a", ae_title="HOSPITAL_A")
        files = series(tmp_path, CT, CT)
        assert {answer.status for answer in send(gateway, *files)} == {SUCCESS}
        port = free_port()
        gateway.command("partner", "set-ae", "hospital-a", "HOSPITAL_A", "--address", f"127.0.0.1:{port}")
        with asking(gateway) as assoc:
            assert ask(assoc, request(*map(reference, files))) == SUCCESS
        gateway.kill()
        ae = AE("HOSPITAL_A")
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=reports.handlers())
        gateway.start()
        wait_until(lambda: bool(reports.events), 60)
        wait_until(lambda: "\treported\t" in gateway.command("commitment", "list").stdout)
        server.shutdown()
    event_type, event = reports.only
    assert event_type == 1
    assert _references(event.ReferencedSOPSequence) == [reference(file) for file in files]


def _register(kept: Imaging, entity: ApplicationEntity) -> None:
    kept.registered(entity, without="HOSPITAL_A")


def _row(kept: Imaging, asked: Dataset) -> CommitmentRow:
    services = build_services(Config(data_dir=kept.listener.data_dir))
    with services.database.reading() as session:
        query = select(CommitmentRow).where(CommitmentRow.transaction_uid == asked.TransactionUID)
        return session.scalars(query).one()


def _trail(services: Services, commitment_id: str) -> list[AuditRow]:
    with services.database.reading() as session:
        query = select(AuditRow).where(AuditRow.subject == f"commitment:{commitment_id}")
        return list(session.scalars(query.order_by(AuditRow.id)))


def _references(items: Any) -> list[tuple[str, str]]:
    return [(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)) for item in items]


def _failures(event: Dataset) -> dict[tuple[str, str], int]:
    items = event.FailedSOPSequence
    return dict(zip(_references(items), (item.FailureReason for item in items), strict=True))
