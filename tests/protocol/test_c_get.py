"""C-GET as SCP (PS3.4 C.4.3), for dcmtk's getscu and a peer that misbehaves."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import decode
from pynetdicom.sop_class import (
    CTImageStorage,
    MRImageStorage,
    PatientRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelGet,
)
from sqlalchemy import select

from gateway.config import Config
from gateway.dimse import c_get, retrieve
from gateway.store.database import Database
from gateway.store.partners import ApplicationEntity
from gateway.store.tables import AuditRow
from tests.support.dimse import dataset_bytes, dcmtk, send
from tests.support.processes import wait_until
from tests.support.retrieving import (
    CT,
    Imaging,
    Retrieved,
    data_sets,
    identifier,
    imaging,
    retrieved,
    series,
    serving,
    study_id,
    uid,
)
from tests.support.shutting_out import disable, looking_at_every_message

IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
STUDY_ROOT, PATIENT_ROOT = (
    StudyRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelGet,
)
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
NOT_AUTHORIZED = 0x0124
SUCCESS, REFUSED, BAD_IDENTIFIER, WARNING, CANCELLED = 0x0000, 0xA702, 0xA900, 0xB000, 0xFE00
ALL = (
    (CTImageStorage, EXPLICIT_LITTLE),
    (MRImageStorage, EXPLICIT_LITTLE),
    (SECONDARY_CAPTURE, JPEG_2000),
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imaging]:
    with imaging(tmp_path_factory.mktemp("imaging")) as made:
        yield made


class Getting:
    """An SCU of C-GET, and what it has received: SOP Instance UIDs and data sets."""

    def __init__(self, kept: Imaging, answer: Callable[[], int]) -> None:
        self.kept, self.answer = kept, answer
        self.received: dict[str, bytes] = {}
        self.assoc: Association

    def store(self, event: evt.Event) -> int:
        self.received[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return self.answer()

    def get(self, model: str = STUDY_ROOT, **keys: Any) -> Retrieved:
        return retrieved(self.assoc.send_c_get(identifier(**keys), model))


@contextmanager
def getting(
    kept: Imaging,
    contexts: Any = ALL,
    model: str = STUDY_ROOT,
    answer: Callable[[], int] = lambda: SUCCESS,
    scp: bool = True,
) -> Iterator[Getting]:
    made = Getting(kept, answer)
    ae = AE("HOSPITAL_A")
    ae.add_requested_context(model, EXPLICIT_LITTLE)
    for abstract_syntax, transfer_syntax in contexts:
        ae.add_requested_context(abstract_syntax, transfer_syntax)
    roles = [build_role(abstract, scp_role=True) for abstract in dict(contexts)] if scp else []
    made.assoc = ae.associate(
        *("127.0.0.1", kept.listener.dicom_port),
        ae_title=kept.listener.ae_title,
        ext_neg=roles,
        evt_handlers=[(evt.EVT_C_STORE, made.store)],
    )
    assert made.assoc.is_established
    try:
        yield made
    finally:
        if made.assoc.is_established:
            made.assoc.release()


def test_getscu_gets_a_study_byte_for_byte(kept: Imaging, tmp_path: Path) -> None:
    study = f"StudyInstanceUID={uid(kept.second_study[0], 'StudyInstanceUID')}"
    options = ("-od", tmp_path, "-k", "QueryRetrieveLevel=STUDY", "-k", study)
    done = dcmtk("getscu", kept.listener, "-S", "+B", options=options)
    assert done.returncode == 0, done.stdout
    received = {uid(file): dataset_bytes(file) for file in tmp_path.iterdir()}
    assert received == data_sets(*kept.second_study)


def test_instances_come_in_their_stored_transfer_syntaxes(kept: Imaging) -> None:
    with getting(kept) as scu:
        done = scu.get(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert (done.status, done.counts) == (SUCCESS, (4, 0, 0))
    assert done.pending == [(3, (1, 0, 0)), (2, (2, 0, 0)), (1, (3, 0, 0)), (0, (4, 0, 0))]
    assert scu.received == data_sets(*kept.first, *kept.second_series)


@pytest.mark.parametrize(
    ("model", "level", "keyword", "expected"),
    [
        (PATIENT_ROOT, "PATIENT", "PatientID", ("first", "second_series", "second_study")),
        (PATIENT_ROOT, "STUDY", "StudyInstanceUID", ("first", "second_series")),
        (STUDY_ROOT, "SERIES", "SeriesInstanceUID", ("first",)),
    ],
)
def test_each_level(kept: Imaging, model: str, level: str, keyword: str, expected: tuple[str, ...]) -> None:
    with getting(kept, model=model) as scu:
        done = scu.get(model, level=level, **{keyword: uid(kept.first[0], keyword)})
    files = [file for name in expected for file in getattr(kept, name)]
    assert done.status == SUCCESS
    assert scu.received == data_sets(*files)


def test_a_list_of_instances(kept: Imaging) -> None:
    files = [kept.first[0], kept.second_study[0], kept.other_child[0]]
    with getting(kept) as scu:
        assert scu.get(level="IMAGE", SOPInstanceUID=[uid(file) for file in files]).status == SUCCESS
    assert scu.received == data_sets(*files)


def test_another_hospitals_imaging_is_not_there(kept: Imaging) -> None:
    with getting(kept) as scu:
        done = scu.get(StudyInstanceUID=uid(kept.other_hospital[0], "StudyInstanceUID"))
    assert (done.status, done.counts) == (SUCCESS, (0, 0, 0))
    assert scu.received == {}


def test_what_is_no_identifier_of_the_model_is_refused(kept: Imaging) -> None:
    with getting(kept) as scu:
        assert scu.get(level="PATIENT", PatientID="MINE").status == BAD_IDENTIFIER
        assert scu.get(level="STUDY").status == BAD_IDENTIFIER
        assert scu.get(level="IMAGE", SOPInstanceUID=uid(kept.first[0])).status == SUCCESS


def test_without_a_context_for_it_an_instance_is_counted_as_failed(kept: Imaging) -> None:
    with getting(kept, contexts=ALL[:2]) as scu:
        done = scu.get(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert (done.status, done.counts) == (WARNING, (3, 1, 0))
    assert done.failed_uids == [uid(kept.first[1])]


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_what_is_stored_compressed_is_decoded_where_the_peer_takes_no_other(
    kept: Imaging, syntax: str
) -> None:
    (stored,) = [file for file in kept.first if uid(file, "SOPClassUID") == SECONDARY_CAPTURE]
    with getting(kept, contexts=[(SECONDARY_CAPTURE, syntax)]) as scu:
        done = scu.get(level="IMAGE", SOPInstanceUID=uid(stored))
    assert (done.status, done.counts) == (SUCCESS, (1, 0, 0))
    (received,) = scu.received.values()
    ds = decode(BytesIO(received), syntax == IMPLICIT_LITTLE, True)
    assert ds.PixelData[: 1024 * 256] == dcmread(stored).pixel_array.tobytes()[: 1024 * 256]


def test_a_peer_that_did_not_propose_to_store_is_sent_nothing(kept: Imaging) -> None:
    with getting(kept, scp=False) as scu:
        done = scu.get(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert (done.status, done.counts) == (REFUSED, (0, 4, 0))
    assert scu.received == {}


def test_of_several_transfer_syntaxes_for_one_class_that_into_which_all_can_be_made_is_accepted(
    kept: Imaging,
) -> None:
    proposed = [JPEG_2000, IMPLICIT_LITTLE, EXPLICIT_LITTLE]
    with getting(kept, contexts=[(CTImageStorage, proposed)]) as scu:
        accepted = {cx.abstract_syntax: cx.transfer_syntax for cx in scu.assoc.accepted_contexts}
        done = scu.get(level="IMAGE", SOPInstanceUID=uid(kept.first[0]))
    assert accepted[CTImageStorage] == [EXPLICIT_LITTLE]
    assert done.counts == (1, 0, 0)


def test_what_the_peer_refuses_is_listed_and_warnings_are_counted(kept: Imaging) -> None:
    answers = iter([SUCCESS, 0xA700, 0xB007])
    asked = [kept.first[0], kept.second_series[0], kept.second_study[0]]
    with getting(kept, answer=lambda: next(answers)) as scu:
        done = scu.get(level="IMAGE", SOPInstanceUID=[uid(file) for file in asked])
    assert (done.status, done.counts) == (WARNING, (1, 1, 1))
    assert done.failed_uids == [list(scu.received)[1]]


def test_a_list_of_what_failed_that_is_too_long_says_that_it_is(
    kept: Imaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieve, "_MOST_FAILED_UIDS", 2)
    with getting(kept, answer=lambda: 0xA700) as scu:
        done = scu.get(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    assert (done.status, done.counts, len(done.failed_uids)) == (REFUSED, (0, 4, 0), 2)
    assert done.responses[-1].ErrorComment == "More failed than the 2 instances that are listed."


def test_two_children_under_one_patient_id_are_both_given(kept: Imaging, tmp_path: Path) -> None:
    """PS3.4 C.6.1.1.2: Patient ID is the unique key of the level, and says no more of whom."""
    names = ("Okafor^Amara", "Eze^Chidi")
    files = [file for name in names for file in series(tmp_path, CT, PatientID="SHARED", PatientName=name)]
    assert {answer.status for answer in send(kept.listener, *files)} == {SUCCESS}
    with getting(kept, model=PATIENT_ROOT) as scu:
        scu.get(PATIENT_ROOT, level="PATIENT", PatientID="SHARED")
    assert scu.received == data_sets(*files)


def test_it_is_on_the_audit_trail_before_it_goes_out(kept: Imaging) -> None:
    trails: list[list[AuditRow]] = []
    with getting(kept, answer=lambda: trails.append(_trail(kept)) or SUCCESS) as scu:
        scu.get(level="IMAGE", SOPInstanceUID=uid(kept.first[0]))
    last = trails[0][-1]
    assert (last.actor, last.action, last.channel) == ("partner:hospital-a", "read", "c-get")
    assert last.subject == f"study:{study_id(kept, kept.first[0])}"
    assert last.detail == {"instances": 1}


def test_a_cancelled_get_ends_with_what_remains(kept: Imaging) -> None:
    def cancel() -> int:
        scu.assoc.send_c_cancel(1, query_model=STUDY_ROOT)
        wait_until(lambda: 1 in serving(kept).dimse.cancel_req)
        return SUCCESS

    with getting(kept, answer=cancel) as scu:
        done = scu.get(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
        assert scu.assoc.is_established
    assert (done.status, done.counts) == (CANCELLED, (1, 0, 0))
    assert done.responses[-1].NumberOfRemainingSuboperations == 3
    assert len(scu.received) == 1


def test_a_partner_that_is_disabled_in_the_middle_is_sent_no_more(kept: Imaging) -> None:
    def answer() -> int:
        if len(scu.received) == 2:
            disable(kept.listener)
        return SUCCESS

    with looking_at_every_message(kept.listener), getting(kept, answer=answer) as scu:
        done = scu.get(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
        assert scu.assoc.is_established
    assert (done.status, done.counts) == (NOT_AUTHORIZED, (2, 2, 0))
    assert "NumberOfRemainingSuboperations" not in done.responses[-1]
    assert len(scu.received) == 2
    assert set(done.failed_uids) == set(data_sets(*kept.first, *kept.second_series)) - set(scu.received)


def test_an_ae_that_is_taken_away_in_the_middle_is_sent_no_more(kept: Imaging) -> None:
    def answer() -> int:
        if len(scu.received) == 2:
            kept.registered(ApplicationEntity("ANOTHER"), without="HOSPITAL_A")
        return SUCCESS

    try:
        with looking_at_every_message(kept.listener), getting(kept, answer=answer) as scu:
            done = scu.get(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID"))
    finally:
        kept.registered(ApplicationEntity("HOSPITAL_A"))
    assert (done.status, done.counts) == (NOT_AUTHORIZED, (2, 2, 0))


def test_a_peer_that_aborts_in_the_middle_is_sent_no_more(kept: Imaging) -> None:
    aborted = threading.Event()

    def abort() -> int:
        scu.assoc.dul.socket.socket.shutdown(2)
        aborted.set()
        return SUCCESS

    with getting(kept, answer=abort) as scu:
        gateway_end = serving(kept)
        list(
            scu.assoc.send_c_get(
                identifier(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID")), STUDY_ROOT
            )
        )
        assert aborted.is_set()
        wait_until(lambda: not gateway_end.is_alive())
    assert len(scu.received) == 1


def test_a_peer_that_never_answers_a_store_is_given_up(
    kept: Imaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c_get, "ANSWER_SECONDS", 0.3)
    going_on = threading.Event()
    with getting(kept, answer=lambda: going_on.wait(10) and SUCCESS) as scu:
        gateway_end = serving(kept)
        responses = scu.assoc.send_c_get(
            identifier(StudyInstanceUID=uid(kept.first[0], "StudyInstanceUID")), STUDY_ROOT
        )
        asking = threading.Thread(target=list, args=(responses,))
        asking.start()
        wait_until(lambda: not gateway_end.is_alive())
        going_on.set()
        asking.join(10)
    assert len(scu.received) == 1


def _trail(kept: Imaging) -> list[AuditRow]:
    with Database(Config(data_dir=kept.listener.data_dir).sqlalchemy_url).reading() as session:
        return list(session.scalars(select(AuditRow).order_by(AuditRow.id)))
