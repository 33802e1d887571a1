"""What a stream of instances promises: told to be kept is kept, found within a moment, and never forgotten."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select

from gateway.case.access import Origin, Partner
from gateway.errors import NotDicom, StoreUnavailable
from gateway.processes.prepare import prepare
from gateway.services import Services
from gateway.store import partners
from gateway.store.instance_index import InstanceIndex
from gateway.store.partners import Registration
from gateway.store.tables import AuditRow, InstanceRow, ReceiptRow
from gateway.workflow import durable, index_again, receive_stream
from gateway.workflow.receive import Arrival
from gateway.workflow.receive_stream import MOST_INSTANCES, InstanceStream
from tests.support.dicom_files import encode, make_dataset
from tests.support.in_process import migrated_services

PARTNER = Registration("hospital", "Hospital").partner
ORIGIN = Origin("c-store", "PACS@192.0.2.7")


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setattr("gateway.store.database.SQLITE_BUSY_TIMEOUT_SECONDS", 0.05)
    services = migrated_services(tmp_path)
    durable.migrate(services.config.sqlalchemy_url)
    with services.database.transaction() as session:
        partners.add(session, Registration("hospital", "Hospital"))
    return services


@pytest.fixture
def stream(services: Services, monkeypatch: pytest.MonkeyPatch) -> InstanceStream:
    """Of a sender whose first instance has come, alone; however busy the machine, what follows follows at once."""
    monkeypatch.setattr(receive_stream, "AT_ONCE_SECONDS", 60.0)
    stream = InstanceStream(services)
    send(services, stream, make_dataset())
    assert not stream.is_behind
    return stream


def send(
    services: Services, stream: InstanceStream, *files: Dataset | bytes, partner: Partner = PARTNER
) -> None:
    """Each as soon as the one before it is answered."""
    for file in files:
        spool = services.objects.spool()
        stream.begin()
        spool.write(file if isinstance(file, bytes) else encode(file))
        stream.take(partner, Arrival(spool), ORIGIN)


def indexed(services: Services) -> set[str]:
    with services.database.reading() as session:
        return set(session.scalars(select(InstanceRow.sop_instance_uid)))


def spooled(services: Services) -> int:
    return len(list((services.config.data_dir / "incoming").iterdir()))


@contextmanager
def locked(services: Services) -> Iterator[None]:
    """Somebody else writes, and does not end."""
    with closing(sqlite3.connect(services.database.place)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def test_what_comes_alone_is_indexed_before_it_is_answered(services: Services) -> None:
    stream, first, second = InstanceStream(services), make_dataset(), make_dataset()
    send(services, stream, first)
    assert indexed(services) == {first.SOPInstanceUID}
    time.sleep(receive_stream.AT_ONCE_SECONDS)
    send(services, stream, second)
    assert second.SOPInstanceUID in indexed(services)
    assert spooled(services) == 0


def test_what_follows_at_once_is_indexed_with_what_follows_it(
    services: Services, stream: InstanceStream
) -> None:
    files = [make_dataset(InstanceNumber=n) for n in (1, 2, 3)]
    send(services, stream, *files)
    assert stream.is_behind
    assert len(indexed(services)) == 1
    stream.catch_up()
    assert indexed(services) >= {ds.SOPInstanceUID for ds in files}
    assert not stream.is_behind
    assert spooled(services) == 0


def test_it_is_due_after_a_moment_and_after_so_many(
    services: Services, stream: InstanceStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive_stream, "LONGEST_SECONDS", 0.0)
    send(services, stream, make_dataset())
    assert stream.is_due
    stream.catch_up()
    monkeypatch.setattr(receive_stream, "LONGEST_SECONDS", 3600)
    before = len(indexed(services))
    send(services, stream, make_dataset())
    assert not stream.is_due
    send(services, stream, *(make_dataset() for _ in range(MOST_INSTANCES - 1)))
    assert stream.is_due
    assert len(indexed(services)) == before
    send(services, stream, make_dataset())
    assert len(indexed(services)) == before + MOST_INSTANCES


def test_the_same_bytes_again_are_indexed_before_they_are_answered(
    services: Services, stream: InstanceStream
) -> None:
    """Their object is there already, and bears the note of whoever sent it first."""
    ds = make_dataset()
    send(services, stream, ds)
    send(services, stream, ds)
    assert ds.SOPInstanceUID in indexed(services)
    assert not stream.is_behind
    with services.database.reading() as session:
        assert list(session.scalars(select(AuditRow.action).order_by(AuditRow.id)))[-2:] == [
            "instance-new",
            "instance-same",
        ]


def test_another_sender_on_the_stream_is_told_apart(services: Services, stream: InstanceStream) -> None:
    other = Registration("other", "Other").partner
    with services.database.transaction() as session:
        partners.add(session, Registration("other", "Other"))
    mine, theirs = make_dataset(), make_dataset()
    send(services, stream, mine)
    send(services, stream, theirs, partner=other)
    stream.catch_up()
    with services.database.reading() as session:
        found = set(session.execute(select(InstanceRow.sop_instance_uid, InstanceRow.partner_id)))
    assert found >= {(mine.SOPInstanceUID, "hospital"), (theirs.SOPInstanceUID, "other")}


def test_a_refused_file_keeps_nobody_else_back(services: Services, stream: InstanceStream) -> None:
    ds = make_dataset()
    send(services, stream, ds)
    with pytest.raises(NotDicom):
        send(services, stream, b"no dicom")
    stream.catch_up()
    assert ds.SOPInstanceUID in indexed(services)
    assert spooled(services) == 0


def test_while_the_database_is_locked_nothing_more_is_taken_and_what_waits_is_not_forgotten(
    services: Services, stream: InstanceStream
) -> None:
    waiting, refused = make_dataset(), make_dataset()
    send(services, stream, waiting)
    with locked(services):
        stream.catch_up()
        assert stream.is_behind
        with pytest.raises(StoreUnavailable):
            send(services, stream, refused)
    send(services, stream, make_dataset())
    assert waiting.SOPInstanceUID in indexed(services)
    assert refused.SOPInstanceUID not in indexed(services)


def test_the_end_of_a_stream_waits_for_the_database(services: Services, stream: InstanceStream) -> None:
    ds = make_dataset()
    send(services, stream, ds)
    with locked(services):
        stream.catch_up()
    stream.finish()
    assert ds.SOPInstanceUID in indexed(services)


def test_one_that_cannot_be_indexed_keeps_no_other_back_and_is_shown_to_a_person(
    services: Services, stream: InstanceStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the gateway's own, of which nobody knows: it is put in here."""
    good, bad = make_dataset(), make_dataset()
    row = InstanceIndex._row

    def faulty(self: InstanceIndex, header: object, *others: object) -> dict[str, object]:
        if getattr(header, "sop_instance_uid", "") == bad.SOPInstanceUID:
            raise RuntimeError("nobody foresaw this")
        return row(self, header, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(InstanceIndex, "_row", faulty)
    send(services, stream, good, bad)
    stream.catch_up()
    assert not stream.is_behind
    assert good.SOPInstanceUID in indexed(services)
    assert bad.SOPInstanceUID not in indexed(services)
    with services.database.reading() as session:
        assert [row.state for row in session.scalars(select(ReceiptRow))].count("refused") == 1


_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.contract.test_receive_stream import *
services = migrated_services(Path(sys.argv[1]))
stream = InstanceStream(services)
files = [make_dataset(InstanceNumber=n) for n in range(4)]
send(services, stream, *files)
assert stream.is_behind
print(*(ds.SOPInstanceUID for ds in files), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("start", [lambda services: prepare(services.config), index_again.index_left_behind])
def test_what_a_killed_process_had_not_indexed_is_indexed_by_the_next(
    services: Services, start: object
) -> None:
    command = [sys.executable, "-c", _KILLED, str(services.config.data_dir)]
    killed = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": "."})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    uids = set(killed.stdout.split())
    assert len(uids) == 4
    assert indexed(services) < uids
    assert callable(start)
    start(services)
    assert indexed(services) == uids
    assert spooled(services) == 0
    with services.database.reading() as session:
        sent = session.execute(select(ReceiptRow.partner_id, ReceiptRow.channel, ReceiptRow.address))
        assert set(sent) == {("hospital", "c-store", "PACS@192.0.2.7")}


def test_what_cannot_be_indexed_any_more_keeps_no_process_from_starting(
    services: Services, stream: InstanceStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade that reads headers more strictly."""
    send(services, stream, make_dataset())
    before = indexed(services)

    def refuse(*_: object) -> object:
        raise NotDicom("not any more")

    monkeypatch.setattr(index_again, "read_header", refuse)
    for _ in range(2):
        index_again.index_left_behind(services)
    assert indexed(services) == before
    assert spooled(services) == 0
    with services.database.reading() as session:
        assert [row.state for row in session.scalars(select(ReceiptRow))].count("refused") == 1
