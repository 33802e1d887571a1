"""Imaging of two hospitals to be retrieved by C-MOVE and C-GET, and dcmtk's storescp to which it is moved."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from sqlalchemy import select

from gateway.config import Config
from gateway.store import partners
from gateway.store.database import Database
from gateway.store.partners import ApplicationEntity, Registration
from gateway.store.tables import StudyRow
from tests.support.dimse import (
    TEST_FILES,
    RunningListener,
    dataset_bytes,
    listener_in_this_process,
    new_instance,
    send,
)
from tests.support.gateway_process import free_port
from tests.support.processes import listens, wait_until

CT, MR, JPEG_2000_FILE = (TEST_FILES / name for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm"))


@dataclass(frozen=True)
class StoreScp:
    """A destination of the AE title DESTINATION, which keeps data sets bit for bit."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def received(self) -> dict[str, bytes]:
        """Data sets by SOP Instance UID; what was received before is forgotten."""
        found = {}
        for path in self.folder.iterdir():
            found[uid(path)] = dataset_bytes(path)
            path.unlink()
        return found


@contextmanager
def storescp(folder: Path, *options: str, port: int = 0) -> Iterator[StoreScp]:
    port = port or free_port()
    received = folder / f"received-{port}"
    received.mkdir(parents=True)
    process = subprocess.Popen(["storescp", "-od", str(received), "+B", *options, str(port)])
    try:
        wait_until(lambda: listens(port))
        yield StoreScp(port, received, process)
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Imaging:
    """Hospital A's two studies of child MINE, of which the first has two series, and one of child OTHER; hospital B's.

    Each is the files of one series.
    """

    listener: RunningListener
    first: list[Path]
    second_series: list[Path]
    second_study: list[Path]
    other_child: list[Path]
    other_hospital: list[Path]

    def registered(self, *entities: ApplicationEntity, without: str = "") -> None:
        """Hospital A's application entities, beside HOSPITAL_A."""
        with Database(Config(data_dir=self.listener.data_dir).sqlalchemy_url).transaction() as session:
            known = partners.get(session, "hospital-a")
            own = tuple(ae for ae in known.application_entities if ae.ae_title == "HOSPITAL_A" != without)
            partners.change(session, Registration("hospital-a", "A", application_entities=own + entities))


@contextmanager
def imaging(folder: Path) -> Iterator[Imaging]:
    data_dir = folder / "data"
    data_dir.mkdir()
    with listener_in_this_process(data_dir) as listener:
        with Database(Config(data_dir=listener.data_dir).sqlalchemy_url).transaction() as session:
            b = Registration("hospital-b", "B", application_entities=(ApplicationEntity("HOSPITAL_B"),))
            partners.add(session, b)
        first = series(folder, CT, JPEG_2000_FILE, CT, PatientID="MINE")
        found = Imaging(
            listener,
            first,
            series(folder, MR, PatientID="MINE", StudyInstanceUID=uid(first[0], "StudyInstanceUID")),
            series(folder, CT, PatientID="MINE"),
            series(folder, CT, PatientID="OTHER"),
            series(folder, CT, PatientID="MINE"),
        )
        own = [*found.first, *found.second_series, *found.second_study, *found.other_child]
        assert {answer.status for answer in send(listener, *own)} == {0x0000}
        assert send(listener, *found.other_hospital, calling="HOSPITAL_B")[0].status == 0x0000
        yield found


def series(folder: Path, *sources: Path, **same: str) -> list[Path]:
    """A new instance of each source, in one new series and, unless it is told, one new study."""
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), **same}
    name = uids["SeriesInstanceUID"][-12:]
    return [
        new_instance(folder / f"{name}-{number}.dcm", source, InstanceNumber=number, **uids)
        for number, source in enumerate(sources, 1)
    ]


def uid(file: Path, keyword: str = "SOPInstanceUID") -> str:
    return str(dcmread(file, stop_before_pixels=True)[keyword].value)


def study_id(kept: Imaging, file: Path) -> str:
    """The gateway's own id of the study that the file is of."""
    with Database(Config(data_dir=kept.listener.data_dir).sqlalchemy_url).reading() as session:
        query = select(StudyRow.id).where(StudyRow.study_instance_uid == uid(file, "StudyInstanceUID"))
        return session.scalars(query).one()


def data_sets(*files: Path) -> dict[str, bytes]:
    return {uid(file): dataset_bytes(file) for file in files}


def identifier(level: str = "STUDY", **keys: Any) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def request(*references: tuple[str, str], transaction_uid: str = "") -> Dataset:
    """Of storage commitment: Action Information (PS3.4 Table J.3-1)."""
    ds = Dataset()
    ds.TransactionUID = transaction_uid or generate_uid()
    ds.ReferencedSOPSequence = []
    for sop_class_uid, sop_instance_uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
        ds.ReferencedSOPSequence.append(item)
    return ds


def reference(file: Path) -> tuple[str, str]:
    return uid(file, "SOPClassUID"), uid(file)


@dataclass(frozen=True)
class Retrieved:
    """Every response of a C-MOVE or C-GET, and the Failed SOP Instance UID List of the last."""

    responses: list[Dataset]
    failed_uids: list[str]

    @property
    def status(self) -> int:
        return int(self.responses[-1].Status)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Completed, failed, with warning."""
        return _counts(self.responses[-1])

    @property
    def pending(self) -> list[tuple[int, tuple[int, int, int]]]:
        """What remained, and the counts."""
        found = [response for response in self.responses if response.Status == 0xFF00]
        return [(int(response.NumberOfRemainingSuboperations), _counts(response)) for response in found]


def retrieved(responses: Iterator[tuple[Dataset, Dataset | None]]) -> Retrieved:
    found = list(responses)
    last = found[-1][1]
    failed = last.get("FailedSOPInstanceUIDList") if last is not None else None
    failed_uids = [failed] if isinstance(failed, str) else list(failed or [])
    return Retrieved([status for status, _ in found], [str(failed_uid) for failed_uid in failed_uids])


def _counts(response: Dataset) -> tuple[int, int, int]:
    return (
        int(response.NumberOfCompletedSuboperations),
        int(response.NumberOfFailedSuboperations),
        int(response.NumberOfWarningSuboperations),
    )


def serving(kept: Imaging) -> Any:
    """The gateway's end of the association that is open."""
    acceptors = (thread for thread in threading.enumerate() if thread.name.startswith("AcceptorThread"))
    (found,) = [
        thread
        for thread in acceptors
        if thread._server.server_address[1] == kept.listener.dicom_port and thread.is_established
    ]
    return found
