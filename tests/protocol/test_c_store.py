"""C-STORE as SCP (PS3.4 Annex B, PS3.7 9.1.1): every byte kept, every instance answered for itself."""

import resource
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, UID_dictionary, generate_uid
from pynetdicom import evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import split_dataset
from pynetdicom.pdu import A_ABORT_RQ, PDU
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.sop_class import CTImageStorage, MRImageStorage, SecondaryCaptureImageStorage

from tests.support.dicom_files import make_dataset
from tests.support.dimse import (
    TEST_FILES,
    UIDS,
    Answer,
    Archive,
    Listener,
    association,
    dataset_bytes,
    dcmtk,
    listener_in_this_process,
    new_instance,
    send,
    send_request,
)
from tests.support.finding import STUDY_ROOT, identifier
from tests.support.gateway_process import GatewayProcess, free_port
from tests.support.hospital import Pacs
from tests.support.partner import Partner

SUCCESS = Answer(0x0000)
CT = TEST_FILES / "CT_small.dcm"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
PRIVATE_SOP_CLASS = "1.2.826.0.1.3680043.10.1338.7.1"
PRIVATE_TRANSFER_SYNTAX = "1.2.826.0.1.3680043.10.1338.7.2"


@pytest.fixture(scope="session")
def archive(gateway: GatewayProcess) -> Archive:
    return Archive(gateway)


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """A CT slice that was never sent."""
    return new_instance(tmp_path / "ct.dcm", CT)


def test_real_files_of_each_kind_are_kept_byte_for_byte(
    gateway: GatewayProcess, archive: Archive, shared_data: Path | None
) -> None:
    files = _one_of_each_kind([*([shared_data / "dicom"] if shared_data else []), TEST_FILES])

    answers = send(gateway, *files)

    assert len(files) >= (60 if shared_data else 30)
    assert {file.name: answer for file, answer in zip(files, answers, strict=True)} == {
        file.name: SUCCESS for file in files
    }
    for file in files:
        assert dataset_bytes(file) in [kept.dataset_bytes for kept in archive.instances(_uid(file))], (
            file.name
        )


def test_every_encapsulated_and_a_private_transfer_syntax_is_taken_as_sent(
    gateway: GatewayProcess, archive: Archive, tmp_path: Path
) -> None:
    named = [uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"]
    syntaxes = [uid for uid in named if UID(uid).is_encapsulated and not UID(uid).is_deflated]
    files = [_encapsulated(tmp_path / f"{uid}.dcm", uid) for uid in syntaxes]
    private = _encapsulated(tmp_path / "private.dcm", PRIVATE_TRANSFER_SYNTAX)

    answers = send(gateway, *files) + send(gateway, private)

    assert len(syntaxes) > 40
    assert answers == [SUCCESS] * (len(syntaxes) + 1)
    for uid, file in zip([*syntaxes, PRIVATE_TRANSFER_SYNTAX], [*files, private], strict=True):
        kept = archive.instance(_uid(file))
        assert kept.row.transfer_syntax_uid == uid
        assert kept.dataset_bytes == dataset_bytes(file)


def test_a_private_sop_class_is_stored(gateway: GatewayProcess, archive: Archive, tmp_path: Path) -> None:
    file = new_instance(tmp_path / "private.dcm", CT, SOPClassUID=PRIVATE_SOP_CLASS)

    assert send(gateway, file) == [SUCCESS]
    assert archive.instance(_uid(file)).row.sop_class_uid == PRIVATE_SOP_CLASS


def test_what_dcmtk_sends_is_kept_as_a_bit_preserving_receiver_keeps_it(
    gateway: GatewayProcess, archive: Archive, tmp_path: Path
) -> None:
    sources = [CT, TEST_FILES / "MR_small_RLE.dcm", TEST_FILES / "JPEG2000.dcm", TEST_FILES / "rtplan.dcm"]
    files = [new_instance(tmp_path / source.name, source) for source in sources]
    options = {"MR_small_RLE.dcm": ["-xr"], "JPEG2000.dcm": ["-xw"]}

    with _bit_preserving_receiver(tmp_path / "received") as port:
        for file in files:
            proposal = options.get(file.name, [])
            subprocess.run(["storescu", *proposal, "127.0.0.1", str(port), file], check=True, timeout=60)
            assert "Received Store Response (Success)" in dcmtk("storescu", gateway, *proposal, file).stdout

    for file in files:
        (received,) = (tmp_path / "received").glob(f"*.{_uid(file)}")
        assert archive.instance(_uid(file)).dataset_bytes == dataset_bytes(received), file.name


def test_the_kept_file_is_a_dicom_file_that_says_what_was_announced(
    gateway: GatewayProcess, archive: Archive, ct: Path
) -> None:
    send(gateway, ct)

    (tmp := ct.with_name("kept.dcm")).write_bytes(archive.instance(_uid(ct)).file_bytes)
    kept = dcmread(tmp)

    assert kept.file_meta.MediaStorageSOPClassUID == CTImageStorage
    assert kept.file_meta.MediaStorageSOPInstanceUID == _uid(ct)
    assert kept.file_meta.TransferSyntaxUID == EXPLICIT_LITTLE
    assert kept == dcmread(ct)


def test_the_same_file_twice_is_one_instance_and_success(
    gateway: GatewayProcess, archive: Archive, ct: Path
) -> None:
    assert send(gateway, ct, ct) == [SUCCESS, SUCCESS]
    assert send(gateway, ct) == [SUCCESS]

    assert len(archive.instances(_uid(ct))) == 1


def test_an_instance_that_came_by_stow_rs_is_the_same_by_c_store(
    gateway: GatewayProcess, archive: Archive, partner: Partner, ct: Path
) -> None:
    assert Pacs(gateway, partner).store(ct.read_bytes()).status_code == 200

    assert send(gateway, ct) == [SUCCESS]

    kept = archive.instance(_uid(ct))
    assert kept.file_bytes == ct.read_bytes()
    assert not kept.row.conflict


def test_another_data_set_under_the_same_uid_is_kept_beside_the_first(
    gateway: GatewayProcess, archive: Archive, ct: Path, tmp_path: Path
) -> None:
    ds = dcmread(ct)
    ds.PatientID = "another child"
    ds.save_as(tmp_path / "other.dcm")

    assert send(gateway, ct, tmp_path / "other.dcm") == [SUCCESS, SUCCESS]

    first, second = archive.instances(_uid(ct))
    assert (first.row.conflict, second.row.conflict) == (False, True)
    assert first.dataset_bytes == dataset_bytes(ct)
    assert second.dataset_bytes == dataset_bytes(tmp_path / "other.dcm")


def test_the_same_instance_of_two_partners_is_two_instances(
    gateway: GatewayProcess, archive: Archive, ct: Path
) -> None:
    send(gateway, ct)
    send(gateway, ct, calling="HOSPITAL_B")

    kept = archive.instances(_uid(ct))

    assert [row.row.partner_id for row in kept] == ["hospital-a", "hospital-b"]
    assert not any(row.row.conflict for row in kept)


def test_a_data_set_that_is_another_instance_than_announced_is_refused_and_kept_for_a_person(
    gateway: GatewayProcess, archive: Archive, ct: Path
) -> None:
    announced, actual = generate_uid(), _uid(ct)
    _announce(ct, MediaStorageSOPInstanceUID=announced)

    (answer,) = send(gateway, ct)

    assert answer == Answer(0xA900, "The data set is another instance than the one announced.")
    assert archive.instances(actual) == archive.instances(announced) == []
    assert archive.object(archive.refused()[-1].object_key).endswith(dataset_bytes(ct))


def test_a_data_set_of_another_sop_class_than_announced_is_stored_with_a_warning(
    gateway: GatewayProcess, archive: Archive, ct: Path
) -> None:
    _announce(ct, MediaStorageSOPClassUID=MRImageStorage)

    (answer,) = send(gateway, ct)

    assert answer == Answer(0xB007, "Stored; its SOP class is not the one announced.")
    kept = archive.instance(_uid(ct))
    assert kept.row.sop_class_uid == CTImageStorage
    assert kept.dataset_bytes == dataset_bytes(ct)


def test_a_data_set_without_its_end_is_stored_with_a_warning(
    gateway: GatewayProcess, archive: Archive, ct: Path
) -> None:
    ct.write_bytes(ct.read_bytes()[:-1000])

    (answer,) = send(gateway, ct)

    assert answer.status == 0xB007
    assert answer.comment.startswith("Stored, damaged. The file ends early: element")
    kept = archive.instance(_uid(ct))
    assert kept.dataset_bytes == dataset_bytes(ct)
    assert "element (7FE0,0010) needs" in kept.row.fault


@pytest.mark.parametrize(
    ("old", "new", "comment", "is_found"),
    [
        (b"\x28\x00\x02\x01US", b"\x28\x00\x02\x01QQ", "Stored, damaged. (0028,0102) has the VR QQ", True),
        (b"\x10\x00\x10\x00PN", None, "Stored, damaged. Text may be shown wrongly: (0010,0010)", True),
        (b"\x20\x00\x0d\x00UI", None, "Stored. StudyInstanceUID (0020,000D) is kept as it is", False),
    ],
)
def test_a_data_set_that_breaks_a_rule_is_stored_with_a_warning(
    gateway: GatewayProcess,
    archive: Archive,
    ct: Path,
    old: bytes,
    new: bytes | None,
    comment: str,
    is_found: bool,
) -> None:
    content = ct.read_bytes()
    at = content.index(old)
    if new is not None:
        content = content.replace(old, new)
    elif b"PN" in old:
        content = content[: at + 8] + "ä".encode() + content[at + 10 :]  # the file says ISO_IR 100
    else:
        length = content[at + 6]
        content = content[: at + 8] + b"1.02" + b".3" * (length // 2 - 2) + content[at + 8 + length :]
    ct.write_bytes(content)

    (answer,) = send(gateway, ct)

    assert answer.status == 0xB007
    assert answer.comment.startswith(comment)
    kept = archive.instance(_uid(ct))
    assert kept.dataset_bytes == dataset_bytes(ct)
    assert bool(kept.row.fault) is is_found


def test_a_data_set_that_breaks_before_its_series_is_known_is_not_understood(
    gateway: GatewayProcess, archive: Archive, ct: Path
) -> None:
    content = ct.read_bytes()
    ct.write_bytes(content[: content.index(b"\x20\x00\x0e\x00UI") + 20])

    (answer,) = send(gateway, ct)

    assert answer.status == 0xC000
    assert answer.comment.startswith("The file ends early: element (0020,000E)")
    assert archive.instances(_uid(ct)) == []


def test_a_data_set_without_its_study_is_not_understood(
    gateway: GatewayProcess, archive: Archive, ct: Path
) -> None:
    ds = dcmread(ct)
    del ds.StudyInstanceUID
    ds.save_as(ct)

    assert send(gateway, ct) == [Answer(0xC000, "The data set has no StudyInstanceUID (0020,000D).")]
    assert archive.instances(_uid(ct)) == []


def test_a_request_without_its_instance_uid_is_answered(gateway: GatewayProcess, ct: Path) -> None:
    request = _request(ct)
    request.AffectedSOPInstanceUID = None

    assert _send_request(gateway, request) == Answer(0xC000, "The request lacks a mandatory element.")


def test_a_command_that_cannot_be_decoded_is_aborted(gateway: GatewayProcess) -> None:
    with association(gateway, [(CTImageStorage, EXPLICIT_LITTLE)]) as assoc:
        received: list[PDU] = []
        assoc.bind(evt.EVT_PDU_RECV, lambda event: received.append(event.pdu))
        nonsense = P_DATA()
        nonsense.presentation_data_value_list.append((1, b"\x03" + bytes(40)))
        assoc.dul.send_pdu(nonsense)

        _wait_until(lambda: assoc.is_aborted)

    assert isinstance(received[-1], A_ABORT_RQ)
    assert dcmtk("echoscu", gateway).returncode == 0


def test_one_bad_instance_never_fails_the_others(
    gateway: GatewayProcess, archive: Archive, tmp_path: Path
) -> None:
    files = [new_instance(tmp_path / f"{number}.dcm", CT) for number in range(12)]
    bad = files[5]
    ds = dcmread(bad)
    ds.StudyInstanceUID = "not a UID"
    ds.save_as(bad)

    done = dcmtk("storescu", gateway, "-nh", *files)

    assert done.stdout.count("Received Store Response (Success)") == 11
    assert done.stdout.count("Received Store Response (Error: CannotUnderstand)") == 1
    assert done.stdout.count("Requesting Association") == 1
    assert [len(archive.instances(_uid(file))) for file in files] == [int(file != bad) for file in files]


@pytest.mark.parametrize("ending", ["A-ABORT", "connection closed"])
def test_a_transfer_that_ends_in_the_middle_leaves_nothing(
    gateway: GatewayProcess, archive: Archive, ct: Path, ending: str
) -> None:
    with association(gateway, [(CTImageStorage, EXPLICIT_LITTLE)]) as assoc:
        fragments = list(_message(_request(ct)).encode_msg(1, 4096))
        for fragment in fragments[: len(fragments) // 2]:
            assoc.dul.send_pdu(fragment)
        _wait_until(lambda: len(archive.incoming()) == 1)
        if ending == "A-ABORT":
            assoc.abort()
        else:
            assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)

    _wait_until(lambda: archive.incoming() == [])
    assert archive.instances(_uid(ct)) == []
    assert send(gateway, ct) == [SUCCESS]


def test_a_full_disk_refuses_and_the_same_association_goes_on_when_there_is_room(
    gateway: GatewayProcess, archive: Archive, tmp_path: Path, ct: Path
) -> None:
    big = new_instance(tmp_path / "big.dcm", CT, NumberOfFrames=300, PixelData=dcmread(CT).PixelData * 300)

    with ExitStack() as limited:
        for pid in gateway.dimse_pids():
            limited.enter_context(_no_file_larger_than(8 * 1024 * 1024, pid))
        refused, taken = send(gateway, big, ct)
    again = send(gateway, big)

    assert refused == Answer(0xA700, "The gateway cannot store files now; please send again.")
    assert taken == SUCCESS
    assert again == [SUCCESS]
    assert archive.instance(_uid(big)).dataset_bytes == dataset_bytes(big)
    assert archive.incoming() == []


def test_a_large_multi_frame_is_never_held_in_memory(
    gateway: GatewayProcess, archive: Archive, tmp_path: Path
) -> None:
    frames = 2048
    pixels = dcmread(CT).PixelData * frames
    file = new_instance(tmp_path / "large.dcm", CT, NumberOfFrames=frames, PixelData=pixels)
    processes = [Path(f"/proc/{pid}") for pid in gateway.dimse_pids()]
    for process in processes:
        (process / "clear_refs").write_text("5")  # the peak starts anew from here
    before = sum(map(_memory_bytes, processes))

    assert send(gateway, file) == [SUCCESS]

    assert file.stat().st_size > 64 * 1024 * 1024
    assert sum(map(_memory_bytes, processes)) - before < 16 * 1024 * 1024
    kept = archive.instance(_uid(file))
    assert kept.row.frames == frames
    assert kept.dataset_bytes == dataset_bytes(file)


def test_what_a_stream_stored_is_found_on_its_own_association_at_once(gateway: GatewayProcess) -> None:
    study = generate_uid()
    contexts = [(CTImageStorage, EXPLICIT_LITTLE), (STUDY_ROOT, EXPLICIT_LITTLE)]
    with association(gateway, contexts) as assoc:
        for number in range(1, 41):
            ds = make_dataset(StudyInstanceUID=study, InstanceNumber=number)
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = EXPLICIT_LITTLE
            assert assoc.send_c_store(ds).Status == SUCCESS.status
            if number % 8 == 0:
                asked = identifier("STUDY", StudyInstanceUID=study, NumberOfStudyRelatedInstances=None)
                (found, _) = [identifier for _, identifier in assoc.send_c_find(asked, STUDY_ROOT)]
                assert found.NumberOfStudyRelatedInstances == number


def test_one_series_may_come_on_several_associations_at_once(
    gateway: GatewayProcess, archive: Archive, tmp_path: Path
) -> None:
    _send_one_series_on_four_associations(gateway, archive, tmp_path)


def test_one_series_may_come_on_several_associations_at_once_to_postgresql(
    postgres_url: str, tmp_path: Path
) -> None:
    with listener_in_this_process(tmp_path / "data", database_url=SecretStr(postgres_url)) as listener:
        _send_one_series_on_four_associations(listener, Archive(listener, postgres_url), tmp_path)


def _send_one_series_on_four_associations(listener: Listener, archive: Archive, folder: Path) -> None:
    series = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    files = [new_instance(folder / f"{number}.dcm", CT, **series) for number in range(20)]
    address = ("-aet", "HOSPITAL_A", "-aec", listener.ae_title, "127.0.0.1", str(listener.dicom_port))

    senders = [subprocess.Popen(["storescu", *address, *files[start::4], files[-1]]) for start in range(4)]

    assert [sender.wait(60) for sender in senders] == [0, 0, 0, 0]
    rows = [archive.instance(_uid(file)).row for file in files]
    assert len({row.series_id for row in rows}) == 1
    assert not any(row.conflict for row in rows)


def _uid(file: Path) -> str:
    return str(dcmread(file, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def _one_of_each_kind(folders: list[Path]) -> list[Path]:
    """The first file of each SOP class in each transfer syntax."""
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if _is_storable(file)]
    kinds: dict[tuple[str, str], Path] = {}
    for file in files:
        meta = split_dataset(file)[0]
        kinds.setdefault((meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID), file)
    return list(kinds.values())


def _is_storable(file: Path) -> bool:
    """A Part 10 file whose data set has its UIDs, and which its group 0002 tells truly."""
    if not file.is_file() or file.read_bytes()[128:132] != b"DICM":
        return False
    ds = dcmread(file, stop_before_pixels=True, specific_tags=list(UIDS))
    meta = ds.file_meta
    return all(ds.get(keyword) for keyword in UIDS) and (
        (meta.get("MediaStorageSOPClassUID"), meta.get("MediaStorageSOPInstanceUID"))
        == (ds.SOPClassUID, ds.SOPInstanceUID)
    )


def _encapsulated(file: Path, transfer_syntax: str) -> Path:
    """An image whose one frame nobody here could decode."""
    ds = Dataset()
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = (generate_uid() for _ in range(3))
    ds.PixelData = encapsulate([b"not an image" * 5])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    ds.save_as(file, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return file


def _announce(file: Path, **announced: str) -> None:
    """Rewrite what the file's group 0002 says, and with it what ``send`` announces."""
    ds = dcmread(file)
    for keyword, value in announced.items():
        setattr(ds.file_meta, keyword, value)
    ds.save_as(file)


def _request(file: Path) -> C_STORE:
    request = C_STORE()
    request.MessageID = 1
    request.Priority = 2
    request.AffectedSOPClassUID = CTImageStorage
    request.AffectedSOPInstanceUID = _uid(file)
    request.DataSet = BytesIO(dataset_bytes(file))
    return request


def _message(request: C_STORE) -> C_STORE_RQ:
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    return message


def _send_request(gateway: GatewayProcess, request: C_STORE) -> Answer:
    with association(gateway, [(CTImageStorage, EXPLICIT_LITTLE)]) as assoc:
        return send_request(assoc, request)


@contextmanager
def _no_file_larger_than(size_bytes: int, pid: int) -> Iterator[None]:
    """To that process the disk is as good as full: a write past the size fails."""
    usual = resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, usual)


@contextmanager
def _bit_preserving_receiver(folder: Path) -> Iterator[int]:
    """dcmtk's storescp, which writes data sets as it reads them."""
    folder.mkdir()
    port = free_port()
    receiver = subprocess.Popen(["storescp", "+B", "+xa", "-od", folder, str(port)])
    try:
        _wait_until(lambda: subprocess.run(["echoscu", "127.0.0.1", str(port)], check=False).returncode == 0)
        yield port
    finally:
        receiver.terminate()
        receiver.wait(10)


def _memory_bytes(process: Path) -> int:
    """The peak of the resident set."""
    (line,) = (line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
