"""What was negotiated holds: presentation contexts, roles and the length of PDUs (PS3.7 D.3.3, PS3.8 D.1, E.1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    MRImageStorage,
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from gateway.dimse.scp import MAX_PDU_BYTES
from tests.support.dimse import TEST_FILES, Answer, Archive, dataset_bytes, new_instance, send
from tests.support.finding import identifier
from tests.support.gateway_process import GatewayProcess
from tests.support.processes import wait_until
from tests.support.wire_peer import (
    ABORT,
    ASSOCIATE_AC,
    C_FIND_RQ,
    C_STORE_RQ,
    COMMAND,
    LAST,
    Request,
    WirePeer,
    command_of,
    context,
    role,
    user_information,
    wire_peer,
)

EXPLICIT_LITTLE, IMPLICIT_LITTLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
WORKLIST = "1.2.840.10008.5.1.4.31"
CT, MR, FIND, REFUSED, ECHO = 1, 3, 5, 7, 9
CONTEXTS = (
    context(CT, CTImageStorage, EXPLICIT_LITTLE),
    context(MR, MRImageStorage, EXPLICIT_LITTLE),
    context(FIND, StudyRootQueryRetrieveInformationModelFind, EXPLICIT_LITTLE),
    context(REFUSED, WORKLIST, EXPLICIT_LITTLE),
    context(ECHO, Verification, EXPLICIT_LITTLE),
)
INVALID_PARAMETER_VALUE = (2, 6)  # of the service provider (PS3.8 9.3.8)
SUCCESS, SOP_CLASS_NOT_SUPPORTED, WRONG_CLASS = 0x0000, 0x0122, 0xB007


@pytest.fixture(scope="module")
def archive(gateway: GatewayProcess) -> Archive:
    return Archive(gateway)


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """A CT slice that was never sent."""
    return new_instance(tmp_path / "ct.dcm", TEST_FILES / "CT_small.dcm")


def uid(file: Path) -> str:
    return str(dcmread(file, stop_before_pixels=True).SOPInstanceUID)


def command(file: Path) -> bytes:
    return command_of(C_STORE_RQ, CTImageStorage, uid(file))


@contextmanager
def negotiated(gateway: GatewayProcess, *roles: bytes, longest: int = 16384) -> Iterator[WirePeer]:
    with wire_peer(gateway) as peer:
        assert peer.ask(Request(CONTEXTS, user_information(*roles, longest=longest))).kind == ASSOCIATE_AC
        yield peer


def store(peer: WirePeer, file: Path, context_id: int = CT) -> tuple[int, Answer]:
    peer.send_values((context_id, COMMAND | LAST, command(file)), (context_id, LAST, dataset_bytes(file)))
    return peer.receive_answer()


def is_aborted(peer: WirePeer, archive: Archive, file: Path) -> bool:
    """And nothing was kept."""
    answer = peer.receive()
    assert peer.is_closed()
    wait_until(lambda: archive.incoming() == [])
    assert archive.instances(uid(file)) == []
    return (answer.kind, answer.reason) == (ABORT, INVALID_PARAMETER_VALUE)


@pytest.mark.parametrize("control", [0, LAST])
def test_a_fragment_of_another_context_in_the_middle_of_a_data_set_aborts(
    gateway: GatewayProcess, archive: Archive, ct: Path, control: int
) -> None:
    content = dataset_bytes(ct)
    with negotiated(gateway) as peer:
        peer.send_values((CT, COMMAND | LAST, command(ct)), (CT, 0, content[:1000]))
        peer.send_values((MR, control, bytes(3000)), (CT, LAST, content[4000:]))
        assert is_aborted(peer, archive, ct)


def test_what_was_acknowledged_before_an_abort_stays(
    gateway: GatewayProcess, archive: Archive, ct: Path, tmp_path: Path
) -> None:
    before = [new_instance(tmp_path / f"{number}.dcm", TEST_FILES / "CT_small.dcm") for number in range(5)]
    with negotiated(gateway) as peer:
        assert [store(peer, file) for file in before] == [(CT, Answer(SUCCESS))] * 5
        peer.send_values((CT, COMMAND | LAST, command(ct)), (MR, LAST, dataset_bytes(ct)))
        assert is_aborted(peer, archive, ct)
    assert [archive.instance(uid(file)).dataset_bytes for file in before] == [*map(dataset_bytes, before)]


@pytest.mark.parametrize("context_id", [CT, MR])
def test_a_command_in_the_middle_of_a_data_set_aborts(
    gateway: GatewayProcess, archive: Archive, ct: Path, context_id: int
) -> None:
    with negotiated(gateway) as peer:
        peer.send_values((CT, COMMAND | LAST, command(ct)), (CT, 0, dataset_bytes(ct)[:1000]))
        peer.send_values((context_id, COMMAND | LAST, command(ct)))
        assert is_aborted(peer, archive, ct)


def test_a_command_in_two_contexts_aborts(gateway: GatewayProcess, archive: Archive, ct: Path) -> None:
    with negotiated(gateway) as peer:
        peer.send_values((MR, COMMAND, command(ct)[:20]), (CT, COMMAND | LAST, command(ct)[20:]))
        assert is_aborted(peer, archive, ct)


@pytest.mark.parametrize(("context_id", "control"), [(CT, LAST), (FIND, COMMAND | LAST)])
def test_an_identifier_with_something_else_within_aborts(
    gateway: GatewayProcess, archive: Archive, ct: Path, context_id: int, control: int
) -> None:
    find = command_of(C_FIND_RQ, StudyRootQueryRetrieveInformationModelFind)
    with negotiated(gateway) as peer:
        peer.send_values(
            (FIND, COMMAND | LAST, find), (FIND, 0, b"\x08\0\x52\0"), (context_id, control, b"CS")
        )
        assert is_aborted(peer, archive, ct)


@pytest.mark.parametrize("context_id", [REFUSED, 11, 0])
def test_a_request_in_a_context_that_was_not_accepted_aborts(
    gateway: GatewayProcess, archive: Archive, ct: Path, context_id: int
) -> None:
    with negotiated(gateway) as peer:
        peer.send_values((context_id, COMMAND | LAST, command(ct)), (context_id, LAST, dataset_bytes(ct)))
        assert is_aborted(peer, archive, ct)


@pytest.mark.parametrize("context_id", [ECHO, FIND])
def test_nothing_is_stored_in_the_context_of_another_service(
    gateway: GatewayProcess, archive: Archive, ct: Path, context_id: int
) -> None:
    with negotiated(gateway) as peer:
        refused, in_its_own = store(peer, ct, context_id), store(peer, ct)
    assert refused == (
        context_id,
        Answer(SOP_CLASS_NOT_SUPPORTED, "This presentation context is not for storage."),
    )
    assert in_its_own == (CT, Answer(SUCCESS))
    assert archive.instance(uid(ct)).dataset_bytes == dataset_bytes(ct)


def test_an_instance_in_the_context_of_another_sop_class_is_stored_with_a_warning(
    gateway: GatewayProcess, archive: Archive, ct: Path
) -> None:
    with negotiated(gateway) as peer:
        context_id, answer = store(peer, ct, MR)
    assert (context_id, answer.status) == (MR, WRONG_CLASS)
    assert answer.comment == "Stored; its presentation context is of another SOP class."
    assert archive.instance(uid(ct)).dataset_bytes == dataset_bytes(ct)


@pytest.mark.parametrize(
    ("scu", "scp", "status"), [(0, 1, SOP_CLASS_NOT_SUPPORTED), (1, 0, SUCCESS), (1, 1, SUCCESS)]
)
def test_who_negotiated_not_to_be_the_scu_stores_nothing(
    gateway: GatewayProcess, archive: Archive, ct: Path, scu: int, scp: int, status: int
) -> None:
    with negotiated(gateway, role(CTImageStorage, scu, scp)) as peer:
        _, answer = store(peer, ct)
    assert answer.status == status
    assert len(archive.instances(uid(ct))) == (status == SUCCESS)


@pytest.mark.parametrize("longest", [8, 9, 16, 100, 200])
def test_an_answer_is_cut_into_what_the_peer_takes(gateway: GatewayProcess, ct: Path, longest: int) -> None:
    with negotiated(gateway, longest=longest) as peer:
        assert store(peer, ct) == (CT, Answer(SUCCESS))
        assert 8 <= peer.longest_pdu <= longest


def test_a_data_set_may_come_in_fragments_of_any_length(
    gateway: GatewayProcess, archive: Archive, ct: Path
) -> None:
    whole, content = command(ct), dataset_bytes(ct)
    commands = [(CT, COMMAND | LAST * (at == len(whole) - 1), whole[at : at + 1]) for at in range(len(whole))]
    with negotiated(gateway) as peer:
        peer.send_values(*commands, *((CT, 0, content[at : at + 1]) for at in range(300)))
        peer.send_values((CT, 0, b""), (CT, 0, content[300:]), (CT, LAST, b""))
        assert peer.receive_answer() == (CT, Answer(SUCCESS))
    assert archive.instance(uid(ct)).dataset_bytes == content


def test_a_pdu_that_is_longer_than_announced_is_taken(
    gateway: GatewayProcess, archive: Archive, tmp_path: Path
) -> None:
    source = TEST_FILES / "CT_small.dcm"
    pixels = dcmread(source).PixelData * 8
    file = new_instance(tmp_path / "long.dcm", source, NumberOfFrames=8, PixelData=pixels)
    assert len(dataset_bytes(file)) > MAX_PDU_BYTES
    with negotiated(gateway) as peer:
        assert store(peer, file) == (CT, Answer(SUCCESS))
    assert archive.instance(uid(file)).dataset_bytes == dataset_bytes(file)


@pytest.mark.parametrize(
    ("context_id", "sop_class_uid"),
    [
        (CT, StudyRootQueryRetrieveInformationModelFind),
        (FIND, CTImageStorage),
        (CT, CTImageStorage),
        (FIND, PatientRootQueryRetrieveInformationModelFind),
    ],
)
def test_a_search_in_the_context_of_something_else_is_refused(
    gateway: GatewayProcess, context_id: int, sop_class_uid: str
) -> None:
    asked = b"\x08\0\x52\0CS\6\0STUDY "
    with negotiated(gateway) as peer:
        peer.send_values(
            (context_id, COMMAND | LAST, command_of(C_FIND_RQ, sop_class_uid)), (context_id, LAST, asked)
        )
        refused = peer.receive_answer()
        find = command_of(C_FIND_RQ, StudyRootQueryRetrieveInformationModelFind)
        peer.send_values((FIND, COMMAND | LAST, find), (FIND, LAST, asked + b"\x20\0\x0d\0UI\2\0001\0"))
        in_its_own = peer.receive_answer()
    comment = "The presentation context is of another SOP class."
    assert refused == (context_id, Answer(SOP_CLASS_NOT_SUPPORTED, comment))
    assert in_its_own == (FIND, Answer(SUCCESS))


def test_searching_and_retrieving_work_with_the_shortest_pdus_that_hold_anything(
    gateway: GatewayProcess, ct: Path
) -> None:
    send(gateway, ct)
    study, received = str(dcmread(ct).StudyInstanceUID), []

    def on_store(event: evt.Event) -> int:
        received.append(event.request.DataSet.getvalue())
        return SUCCESS

    ae = AE("HOSPITAL_A")
    ae.maximum_pdu_size = 8
    for model in (StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet):
        ae.add_requested_context(model, EXPLICIT_LITTLE)
    ae.add_requested_context(CTImageStorage, EXPLICIT_LITTLE)
    assoc = ae.associate(
        *("127.0.0.1", gateway.dicom_port),
        ae_title=gateway.ae_title,
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, on_store)],
    )
    asked = identifier("STUDY", StudyInstanceUID=study)
    found = list(assoc.send_c_find(asked, StudyRootQueryRetrieveInformationModelFind))
    got = list(assoc.send_c_get(asked, StudyRootQueryRetrieveInformationModelGet))
    assoc.release()

    assert [status.Status for status, _ in found] == [0xFF00, SUCCESS]
    assert got[-1][0].Status == SUCCESS
    assert received == [dataset_bytes(ct)]
