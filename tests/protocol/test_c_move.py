"""C-MOVE as SCP (PS3.4 C.4.2), to dcmtk's storescp and to destinations that misbehave."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE, _config, evt
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import (
    CTImageStorage,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelMove,
)
from sqlalchemy import select

from gateway.config import Config
from gateway.senders import dicom_negotiation
from gateway.store.database import Database
from gateway.store.partners import ApplicationEntity
from gateway.store.tables import AuditRow
from tests.support.dcmqrscp import Dcmqrscp
from tests.support.dimse import Archive, association, dcmtk, new_instance, send
from tests.support.gateway_process import free_port
from tests.support.processes import wait_until
from tests.support.retrieving import (
    CT,
    JPEG_2000_FILE,
    Imaging,
    Retrieved,
    StoreScp,
    data_sets,
    identifier,
    imaging,
    retrieved,
    series,
    serving,
    storescp,
    study_id,
    uid,
)
from tests.support.shutting_out import disable, looking_at_every_message

JPEG_2000 = "1.2.840.10008.1.2.4.91"
IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
STUDY_ROOT, PATIENT_ROOT = (
    StudyRootQueryRetrieveInformationModelMove,
    PatientRootQueryRetrieveInformationModelMove,
)
SUCCESS, REFUSED, UNKNOWN_DESTINATION, BAD_IDENTIFIER = 0x0000, 0xA702, 0xA801, 0xA900
NOT_AUTHORIZED = 0x0124
WARNING, CANCELLED, PENDING = 0xB000, 0xFE00, 0xFF00


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imaging]:
    with imaging(tmp_path_factory.mktemp("imaging")) as made:
        yield made


@pytest.fixture(scope="module")
def scp(kept: Imaging, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreScp]:
    with storescp(tmp_path_factory.mktemp("destination"), "+xa") as started:
        yield started


@pytest.fixture
def destination(kept: Imaging, scp: StoreScp) -> StoreScp:
    """Registered for hospital A, and empty."""
    kept.registered(ApplicationEntity("DESTINATION", "127.0.0.1", scp.port))
    scp.received()
    return scp


def move(
    kept: Imaging, to: str = "DESTINATION", model: str = STUDY_ROOT, calling: str = "HOSPITAL_A", **keys: Any
) -> Retrieved:
    with association(kept.listener, [(model, EXPLICIT_LITTLE)], calling) as assoc:
        return retrieved(assoc.send_c_move(identifier(**keys), to, model))


def test_movescu_moves_a_study_byte_for_byte_in_the_stored_transfer_syntaxes(
    kept: Imaging, destination: StoreScp
) -> None:
    study = f"StudyInstanceUID={uid(kept.first[0], 'StudyInstanceUID')}"
    keys = ("-aem", "DESTINATION", "-k", "QueryRetrieveLevel=STUDY", "-k", study)
    done = dcmtk("movescu", kept.listener, "-S", "+xa", options=keys)
    assert done.returncode == 0, done.stdout
    assert destination.received() == data_sets(*kept.first, *kept.second_series)


def test_dcmqrscp_keeps_what_is_moved_to_it(kept: Imaging) -> None:
    study = uid(kept.first[0], "StudyInstanceUID")
    with Dcmqrscp(kept.listener.dicom_port) as archive:
        kept.registered(ApplicationEntity(archive.ae_title, "127.0.0.1", archive.port))
        assert move(kept, archive.ae_title, StudyInstanceUID=study).counts == (4, 0, 0)
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}", "-k", "PatientID")
        peer = replace(kept.listener, dicom_port=archive.port, ae_title=archive.ae_title)
        found = dcmtk("findscu", peer, "-S", options=keys).stdout
    assert "MINE" in found


@pytest.mark.parametrize(
    ("model", "level", "keys", "expected"),
    [
        (PATIENT_ROOT, "PATIENT", ("PatientID",), ("first", "second_series", "second_study")),
        (PATIENT_ROOT, "STUDY", ("PatientID", "StudyInstanceUID"), ("first", "second_series")),
        (PATIENT_ROOT, "STUDY", ("StudyInstanceUID",), ("first", "second_series")),
        (STUDY_ROOT, "STUDY", ("StudyInstanceUID",), ("first", "second_series")),
        (STUDY_ROOT, "SERIES", ("StudyInstanceUID", "SeriesInstanceUID"), ("first",)),
        (STUDY_ROOT, "SERIES", ("SeriesInstanceUID",), ("first",)),
    ],
)
def test_each_level_of_each_model(
    kept: Imaging,
    destination: StoreScp,
    model: str,
    level: str,
    keys: tuple[str, ...],
    expected: tuple[str, ...],
) -> None:
    asked = {keyword: uid(kept.first[0], keyword) for keyword in keys}
    done = move(kept, model=model, level=level, **asked)
    files = [file for name in expected for file in getattr(kept, name)]
    assert (done.status, done.counts) == (SUCCESS, (len(files), 0, 0))
    assert destination.received() == data_sets(*files)


def test_lists_of_uids_are_moved_at_each_level(kept: Imaging, destination: StoreScp) -> None:
    for level, keyword, files in (
        ("IMAGE", "SOPInstanceUID", [kept.first[0], kept.first[2]]),
        ("SERIES", "SeriesInstanceUID", [*kept.second_series, *kept.second_study]),
        ("STUDY", "StudyInstanceUID", [*kept.second_study, *kept.other_child]),
    ):
        done = move(kept, level=level, **{keyword: [uid(file, keyword) for file in files]})
        assert done.status == SUCCESS
        assert destination.received() == data_sets(*files)


def test_keys_of_the_levels_above_must_match_too(kept: Imaging, destination: StoreScp) -> None:
    mixed = {
        "StudyInstanceUID": uid(kept.second_study[0], "StudyInstanceUID"),
        "SeriesInstanceUID": uid(kept.first[0], "SeriesInstanceUID"),
    }
    done = move(kept, level="SERIES", **mixed)
    assert (done.status, done.counts) == (SUCCESS, (0, 0, 0))
    assert destination.received() == {}


@pytest.mark.parametrize(("offered", "answer"), [(b"\1", b"\1"), (b"\1\1", b"\1\0"), (b"\0", b"\0")])
def test_relational_retrieval_is_negotiated(kept: Imaging, offered: bytes, answer: bytes) -> None:
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = STUDY_ROOT, offered
    ae = AE("HOSPITAL_A")
    ae.add_requested_context(STUDY_ROOT)
    address = ("127.0.0.1", kept.listener.dicom_port)
    assoc = ae.associate(*address, ae_title=kept.listener.ae_title, ext_neg=[item])
    assert assoc.acceptor.sop_class_extended == {STUDY_ROOT: answer}
    assoc.release()


def test_each_pending_response_counts_what_is_done_and_what_remains(
    kept: Imaging, destination: StoreScp
) -> None:
    done = move(kept, StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert done.pending == [(3, (1, 0, 0)), (2, (2, 0, 0)), (1, (3, 0, 0)), (0, (4, 0, 0))]
    assert "NumberOfRemainingSuboperations" not in done.responses[-1]


def test_another_hospitals_imaging_is_not_there(kept: Imaging, destination: StoreScp) -> None:
    done = move(kept, StudyInstanceUID=uid(kept.other_hospital[0], "StudyInstanceUID"))
    assert (done.status, done.counts) == (SUCCESS, (0, 0, 0))
    done = move(kept, model=PATIENT_ROOT, level="PATIENT", PatientID="MINE")
    assert uid(kept.other_hospital[0]) not in destination.received()


@pytest.mark.parametrize("to", ["NOBODY", "HOSPITAL_A", "HOSPITAL_B"])
def test_only_a_registered_destination_of_the_same_hospital_with_an_address_is_known(
    kept: Imaging, destination: StoreScp, to: str
) -> None:
    done = move(kept, to, StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert done.status == UNKNOWN_DESTINATION
    assert destination.received() == {}


def test_another_hospital_does_not_move_to_it(kept: Imaging, destination: StoreScp) -> None:
    done = move(kept, calling="HOSPITAL_B", StudyInstanceUID=uid(kept.other_hospital[0], "StudyInstanceUID"))
    assert done.status == UNKNOWN_DESTINATION


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        (STUDY_ROOT, {"level": "PATIENT", "PatientID": "MINE"}),
        (STUDY_ROOT, {"level": "STUDY"}),
        (STUDY_ROOT, {"level": "STUDY", "StudyInstanceUID": ""}),
        (STUDY_ROOT, {"level": "", "StudyInstanceUID": "1.2"}),
        (STUDY_ROOT, {"level": "FRAME", "StudyInstanceUID": "1.2"}),
        (PATIENT_ROOT, {"level": "PATIENT", "PatientID": "MI*"}),
    ],
)
def test_what_is_no_identifier_of_the_model_is_refused(
    kept: Imaging, destination: StoreScp, model: str, keys: dict[str, Any]
) -> None:
    done = move(kept, model=model, **keys)
    assert done.status == BAD_IDENTIFIER
    assert done.responses[-1].ErrorComment


def test_of_two_data_sets_under_one_uid_only_the_first_is_moved(
    kept: Imaging, destination: StoreScp, tmp_path: Path
) -> None:
    (first,) = series(tmp_path, CT)
    second = new_instance(tmp_path / "second.dcm", CT, PatientComments="another", **_uids(first))
    assert {answer.status for answer in send(kept.listener, first, second)} == {SUCCESS}
    assert len(Archive(kept.listener).instances(uid(first))) == 2
    assert move(kept, StudyInstanceUID=uid(first, "StudyInstanceUID")).counts == (1, 0, 0)
    assert destination.received() == data_sets(first)


def test_who_asked_by_which_message_is_told_to_the_destination(kept: Imaging) -> None:
    with pynetdicom_destination(kept) as seen:
        assert move(kept, level="IMAGE", SOPInstanceUID=uid(kept.first[0])).status == SUCCESS
    (request,) = seen
    assert request.MoveOriginatorApplicationEntityTitle == "HOSPITAL_A"
    assert request.MoveOriginatorMessageID == 1


def test_it_is_on_the_audit_trail_before_it_goes_out(kept: Imaging) -> None:
    trails = []
    with pynetdicom_destination(kept, answer=lambda: trails.append(_trail(kept)) or SUCCESS):
        move(kept, level="IMAGE", SOPInstanceUID=[uid(file) for file in kept.first[:2]])
    last = trails[0][-1]
    assert (last.actor, last.action, last.subject) == (
        "partner:hospital-a",
        "read",
        f"study:{study_id(kept, kept.first[0])}",
    )
    assert (last.channel, last.detail) == ("c-move", {"instances": 2, "destination": "DESTINATION"})
    assert last.address == "HOSPITAL_A@127.0.0.1"


def test_what_the_destination_refuses_is_listed_and_warnings_are_counted(kept: Imaging) -> None:
    answers = iter([SUCCESS, 0xA700, 0xB007])
    asked = [kept.first[0], kept.second_series[0], kept.second_study[0]]
    with pynetdicom_destination(kept, answer=lambda: next(answers)) as seen:
        done = move(kept, level="IMAGE", SOPInstanceUID=[uid(file) for file in asked])
    assert (done.status, done.counts) == (WARNING, (1, 1, 1))
    assert done.failed_uids == [seen[1].AffectedSOPInstanceUID]


def test_when_nothing_arrives_it_is_refused_with_the_list(kept: Imaging) -> None:
    with pynetdicom_destination(kept, answer=lambda: 0xA700):
        done = move(kept, level="IMAGE", SOPInstanceUID=[uid(file) for file in kept.first])
    assert (done.status, done.counts) == (REFUSED, (0, 3, 0))
    assert set(done.failed_uids) == {uid(file) for file in kept.first}


def test_what_the_destination_does_not_accept_is_counted_and_the_rest_arrives(
    kept: Imaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pynetdicom_destination(kept, contexts=[CTImageStorage]) as seen,
        association(kept.listener, [(STUDY_ROOT, EXPLICIT_LITTLE)]) as assoc,
    ):
        monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)
        asked = identifier(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
        done = retrieved(assoc.send_c_move(asked, "DESTINATION", STUDY_ROOT))
    assert done.status == WARNING
    assert {request.AffectedSOPClassUID for request in seen} == {CTImageStorage}
    assert set(done.failed_uids) == {uid(kept.first[1]), uid(kept.second_series[0])}


@pytest.mark.parametrize(
    ("option", "syntax"), [("+xe", EXPLICIT_LITTLE), ("+xi", IMPLICIT_LITTLE)], ids=["explicit", "implicit"]
)
def test_what_the_destination_does_not_take_as_stored_is_made_into_what_it_takes_without_loss(
    kept: Imaging, tmp_path: Path, option: str, syntax: str
) -> None:
    with storescp(tmp_path, option) as scp:
        kept.registered(ApplicationEntity("DESTINATION", "127.0.0.1", scp.port))
        done = move(kept, StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
        received = [dcmread(path) for path in scp.folder.iterdir()]
    assert (done.status, done.counts) == (SUCCESS, (4, 0, 0))
    assert {ds.file_meta.TransferSyntaxUID for ds in received} == {syntax}
    sent = {str(ds.SOPInstanceUID): ds for ds in map(dcmread, [*kept.first, *kept.second_series])}
    for ds in received:
        assert (ds.pixel_array == sent[ds.SOPInstanceUID].pixel_array).all()
        assert ds.PatientID == sent[ds.SOPInstanceUID].PatientID


def test_what_cannot_be_decoded_is_counted_and_the_rest_arrives(kept: Imaging, tmp_path: Path) -> None:
    good, bad = series(tmp_path, CT, JPEG_2000_FILE)
    bad.write_bytes(bad.read_bytes().replace(b"\xff\x4f\xff\x51", bytes(4)))  # where the codestream begins
    assert {answer.status for answer in send(kept.listener, good, bad)} == {SUCCESS}
    with storescp(tmp_path) as scp:
        kept.registered(ApplicationEntity("DESTINATION", "127.0.0.1", scp.port))
        done = move(kept, StudyInstanceUID=uid(good, "StudyInstanceUID"))
        assert set(scp.received()) == {uid(good)}
    assert done.status == WARNING
    assert done.failed_uids == [uid(bad)]


def test_a_destination_where_nobody_listens(kept: Imaging) -> None:
    kept.registered(ApplicationEntity("DESTINATION", "127.0.0.1", free_port()))
    done = move(kept, StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert (done.status, done.counts) == (REFUSED, (0, 4, 0))


def test_a_destination_that_rejects_the_association(kept: Imaging) -> None:
    with pynetdicom_destination(kept, ae_title="ANOTHER"):
        done = move(kept, StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert (done.status, done.counts) == (REFUSED, (0, 4, 0))


def test_a_destination_that_dies_and_comes_back_gets_the_rest(kept: Imaging) -> None:
    """The instance in which it died is counted as failed: whether it arrived is not known."""

    def answer() -> int:
        if len(seen) == 2:
            seen[-1].assoc.abort()
        return SUCCESS

    with pynetdicom_destination(kept, answer=answer) as seen:
        done = move(kept, StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert (done.status, done.counts) == (WARNING, (3, 1, 0))
    assert done.failed_uids == [seen[1].AffectedSOPInstanceUID]


def test_a_destination_that_dies_for_good(kept: Imaging, tmp_path: Path) -> None:
    with storescp(tmp_path, "+xa", "--sleep-after", "1") as scp:
        kept.registered(ApplicationEntity("DESTINATION", "127.0.0.1", scp.port))
        with association(kept.listener, [(STUDY_ROOT, EXPLICIT_LITTLE)]) as assoc:
            asked = identifier(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
            responses = assoc.send_c_move(asked, "DESTINATION", STUDY_ROOT)
            first = next(responses)
            scp.process.kill()
            done = retrieved(iter([first, *responses]))
    assert done.status == WARNING
    completed, failed, _ = done.counts
    assert completed + failed == 4
    assert failed >= 2


def test_a_destination_that_stalls_is_given_up(kept: Imaging, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = replace(dicom_negotiation.PATIENCE, negotiation=0.3, answer=0.3)
    monkeypatch.setattr(dicom_negotiation, "PATIENCE", quick)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        kept.registered(ApplicationEntity("DESTINATION", "127.0.0.1", silent.getsockname()[1]))
        done = move(kept, StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert (done.status, done.counts) == (REFUSED, (0, 4, 0))


def test_a_cancelled_move_ends_with_what_remains(kept: Imaging) -> None:
    going_on = threading.Event()
    with (
        pynetdicom_destination(kept, answer=lambda: going_on.wait(10) and SUCCESS) as seen,
        association(kept.listener, [(STUDY_ROOT, EXPLICIT_LITTLE)]) as assoc,
    ):
        asked = identifier(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
        responses = assoc.send_c_move(asked, "DESTINATION", STUDY_ROOT, msg_id=7)
        wait_until(lambda: len(seen) == 1)
        assoc.send_c_cancel(7, query_model=STUDY_ROOT)
        wait_until(lambda: 7 in serving(kept).dimse.cancel_req)
        going_on.set()
        done = retrieved(responses)
        assert assoc.is_established
    assert (done.status, done.counts) == (CANCELLED, (1, 0, 0))
    assert done.responses[-1].NumberOfRemainingSuboperations == 3
    assert len(seen) == 1


def test_when_who_asked_is_disabled_no_more_is_sent(kept: Imaging) -> None:
    def answer() -> int:
        if len(seen) == 2:
            disable(kept.listener)
        return SUCCESS

    with looking_at_every_message(kept.listener), pynetdicom_destination(kept, answer=answer) as seen:
        done = move(kept, StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert (done.status, done.counts) == (NOT_AUTHORIZED, (2, 2, 0))
    assert len(seen) == 2
    sent = {request.AffectedSOPInstanceUID for request in seen}
    assert set(done.failed_uids) == set(data_sets(*kept.first, *kept.second_series)) - sent


@pytest.mark.parametrize("now", [(), (ApplicationEntity("DESTINATION", "127.0.0.1", 9),)])
def test_when_the_destination_is_registered_no_more_or_otherwise_no_more_is_sent(
    kept: Imaging, now: tuple[ApplicationEntity, ...]
) -> None:
    def answer() -> int:
        if len(seen) == 2:
            kept.registered(*now)
        return SUCCESS

    with looking_at_every_message(kept.listener), pynetdicom_destination(kept, answer=answer) as seen:
        done = move(kept, StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert (done.status, done.counts) == (NOT_AUTHORIZED, (2, 2, 0))
    assert len(seen) == 2


def test_when_who_asked_is_gone_no_more_is_sent(kept: Imaging) -> None:
    going_on = threading.Event()
    with (
        pynetdicom_destination(kept, answer=lambda: going_on.wait(10) and SUCCESS) as seen,
        association(kept.listener, [(STUDY_ROOT, EXPLICIT_LITTLE)]) as assoc,
    ):
        asked = identifier(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
        assoc.send_c_move(asked, "DESTINATION", STUDY_ROOT)
        wait_until(lambda: len(seen) == 1)
        gateway_end = serving(kept)
        assoc.abort()
        wait_until(lambda: gateway_end.dul.peek_next_pdu() is not None)
        going_on.set()
        wait_until(lambda: not gateway_end.is_alive())
    assert len(seen) == 1


def test_more_sop_classes_than_one_association_has_contexts_for(kept: Imaging, tmp_path: Path) -> None:
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    classes = [f"1.2.826.0.1.3680043.10.1338.{number}" for number in range(70)]
    files = [
        new_instance(tmp_path / f"{n}.dcm", CT, SOPClassUID=one, **uids) for n, one in enumerate(classes)
    ]
    assert {answer.status for answer in send(kept.listener, *files)} == {SUCCESS}
    with pynetdicom_destination(kept, contexts=classes) as seen:
        done = move(kept, StudyInstanceUID=uids["StudyInstanceUID"])
    assert (done.status, done.counts) == (SUCCESS, (70, 0, 0))
    assert {request.AffectedSOPInstanceUID for request in seen} == {uid(file) for file in files}


@contextmanager
def pynetdicom_destination(
    kept: Imaging, answer: Any = lambda: SUCCESS, contexts: Any = (), ae_title: str = "DESTINATION"
) -> Iterator[list[Any]]:
    """Registered for hospital A; gives the requests that it has received."""
    seen: list[Any] = []

    def on_store(event: evt.Event) -> int:
        event.request.assoc = event.assoc
        seen.append(event.request)
        return int(answer())

    ae = AE(ae_title)
    ae.require_called_aet = True
    for context in contexts or [cx.abstract_syntax for cx in AllStoragePresentationContexts]:
        ae.add_supported_context(context, [IMPLICIT_LITTLE, EXPLICIT_LITTLE, JPEG_2000])
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    kept.registered(ApplicationEntity("DESTINATION", "127.0.0.1", server.server_address[1]))
    try:
        yield seen
    finally:
        server.shutdown()


def _uids(file: Path) -> dict[str, str]:
    return {
        keyword: uid(file, keyword) for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
    }


def _trail(kept: Imaging) -> list[AuditRow]:
    with Database(Config(data_dir=kept.listener.data_dir).sqlalchemy_url).reading() as session:
        return list(session.scalars(select(AuditRow).order_by(AuditRow.id)))
