"""The gateway's DICOM peers: dcmtk's tools, and an SCU that sends a file's data set as its bytes stand."""

import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pydicom
import pytest
from pydantic import SecretStr
from pydicom import Dataset, dcmread
from pydicom.uid import UID, generate_uid
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import split_dataset
from sqlalchemy import select

from gateway.config import Config
from gateway.dimse import scp
from gateway.services import build_services
from gateway.store import partners
from gateway.store.objects import read_bytes
from gateway.store.partners import ApplicationEntity, Registration
from gateway.store.tables import InstanceRow, ReceiptRow
from gateway.workflow import durable
from tests.support.gateway_process import free_port
from tests.support.in_process import migrated_services

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


class Listener(Protocol):
    """A gateway, as far as these peers see it."""

    dicom_port: int
    ae_title: str
    data_dir: Path


@dataclass(frozen=True)
class Answer:
    """What a peer sees of a C-STORE: Status (0000,0900) and Error Comment (0000,0902)."""

    status: int
    comment: str = ""


@dataclass(frozen=True)
class RunningListener:
    """``stop`` and ``thread`` are those of its ``serve``."""

    dicom_port: int
    data_dir: Path
    stop: threading.Event
    thread: threading.Thread
    ae_title: str = "SECONDOPINION"


@contextmanager
def listener_in_this_process(
    folder: Path, *aes: ApplicationEntity, **config: object
) -> Iterator[RunningListener]:
    """A listener where its times can be shortened, with hospital-a as partner, of one AE unless others are given."""
    services = migrated_services(folder, dicom_port=free_port(), **config)
    durable.migrate(services.config.sqlalchemy_url)
    with services.database.transaction() as session:
        entities = aes or (ApplicationEntity("HOSPITAL_A"),)
        partners.add(session, Registration("hospital-a", "Hospital A", application_entities=entities))
    stop, listening = threading.Event(), threading.Event()
    thread = threading.Thread(target=scp.serve, args=(services, stop, listening), daemon=True)
    thread.start()
    assert listening.wait(10)
    try:
        yield RunningListener(services.config.dicom_port, folder, stop, thread)
    finally:
        stop.set()
        thread.join(20)


def dcmtk(
    tool: str,
    gateway: Listener,
    *arguments: object,
    calling: str = "HOSPITAL_A",
    called: str = "",
    options: Sequence[object] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a dcmtk SCU, verbose; its words are in stdout. ``options`` are those that have values."""
    address = ("-aet", calling, "-aec", called or gateway.ae_title, "127.0.0.1", str(gateway.dicom_port))
    command = [tool, "-v", *map(str, options)]
    command += [*(str(a) for a in arguments if str(a).startswith(("-", "+"))), *address]
    command += [str(a) for a in arguments if not str(a).startswith(("-", "+"))]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)


@contextmanager
def association(
    gateway: Listener, contexts: Sequence[tuple[str, str]], calling: str = "HOSPITAL_A"
) -> Iterator[Association]:
    """An accepted association that proposes each (SOP class, transfer syntax); released at the end if it still is."""
    ae = AE(calling)
    ae.dimse_timeout = 30
    for abstract_syntax, transfer_syntax in dict.fromkeys(contexts):
        ae.add_requested_context(UID(abstract_syntax), UID(transfer_syntax))
    assoc = ae.associate("127.0.0.1", gateway.dicom_port, ae_title=gateway.ae_title)
    assert assoc.is_established, "the association was not accepted"
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def send(gateway: Listener, *files: Path, calling: str = "HOSPITAL_A") -> list[Answer]:
    """C-STORE every file on one association, each data set exactly as it stands in its file.

    What is announced as SOP class, instance and transfer syntax is what the file's group 0002 says.
    """
    metas = [split_dataset(file)[0] for file in files]
    contexts = [(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID) for meta in metas]
    with pytest.MonkeyPatch.context() as patch, association(gateway, contexts, calling) as assoc:
        patch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
        return [_answer(assoc.send_c_store(file)) for file in files]


def send_request(assoc: Association, request: C_STORE) -> Answer:
    """A C-STORE as no SCU would send it; pynetdicom's own thread must not take the answer."""
    assoc._reactor_checkpoint.clear()
    while not assoc._is_paused:
        time.sleep(0.001)
    assoc.dimse.send_msg(request, assoc.accepted_contexts[0].context_id)
    _, response = assoc.dimse.get_msg(block=True)
    assoc._reactor_checkpoint.set()
    assert response is not None, "the association has ended"
    return Answer(response.Status, response.ErrorComment or "")


def _answer(status: Dataset) -> Answer:
    return Answer(status.Status, status.get("ErrorComment", ""))


def dataset_bytes(file: Path) -> bytes:
    return file.read_bytes()[split_dataset(file)[1] :]


def new_instance(file: Path, source: Path, **changed: object) -> Path:
    """Write ``source`` to ``file`` as an instance that was never sent, its pixel data untouched."""
    ds = dcmread(source)
    for keyword in UIDS[1:]:
        setattr(ds, keyword, generate_uid())
    for keyword, value in changed.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(file)
    return file


@dataclass(frozen=True)
class Kept:
    """A stored instance: its row, and the bytes of its data set."""

    row: InstanceRow
    file_bytes: bytes
    dataset_bytes: bytes


class Archive:
    """What a gateway has on disk, read past it."""

    def __init__(self, gateway: Listener, database_url: str = "") -> None:
        config = Config(data_dir=gateway.data_dir, database_url=SecretStr(database_url))
        self._services = build_services(config)
        self._incoming = gateway.data_dir / "incoming"

    def instances(self, sop_instance_uid: str) -> list[Kept]:
        """In the order of their arrival."""
        query = select(InstanceRow).where(InstanceRow.sop_instance_uid == sop_instance_uid)
        with self._services.database.reading() as session:
            rows = list(session.scalars(query.order_by(InstanceRow.received_at)))
        return [self._kept(row) for row in rows]

    def instance(self, sop_instance_uid: str) -> Kept:
        (kept,) = self.instances(sop_instance_uid)
        return kept

    def refused(self, calling: str = "HOSPITAL_A") -> list[ReceiptRow]:
        """Receipts that no case has, in the order of their arrival."""
        query = select(ReceiptRow).where(
            ReceiptRow.state == "refused", ReceiptRow.address.startswith(f"{calling}@")
        )
        with self._services.database.reading() as session:
            return list(session.scalars(query.order_by(ReceiptRow.received_at)))

    def receipts(self, content_type: str, state: str = "kept") -> list[ReceiptRow]:
        """Of a media type, in the order of their arrival."""
        query = select(ReceiptRow).where(ReceiptRow.state == state, ReceiptRow.content_type == content_type)
        with self._services.database.reading() as session:
            return list(session.scalars(query.order_by(ReceiptRow.received_at)))

    def object(self, key: str) -> bytes:
        return read_bytes(self._services.objects, key)

    def incoming(self) -> list[Path]:
        """Files of transfers that have not ended."""
        return list(self._incoming.iterdir())

    def _kept(self, row: InstanceRow) -> Kept:
        whole = self.object(row.object_key)
        group_length = int.from_bytes(whole[140:144], "little")  # (0002,0000), the first element (PS3.10 7.1)
        return Kept(row, whole, whole[144 + group_length :])
