"""What a sender was told is kept is found again after a loss of power that took the database's last commits."""

import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.case.access import Origin, Partner
from gateway.processes.prepare import prepare
from gateway.services import Services
from gateway.store import heartbeats, partners
from gateway.store.database import Session
from gateway.store.objects import NOTE, object_key
from gateway.store.partners import Registration
from gateway.store.tables import AuditRow, InstanceRow, ReceiptRow
from gateway.workflow import durable
from gateway.workflow.receive import Arrival, InstanceReceipt, receive_instances
from tests.support.dicom_files import encode, make_dataset
from tests.support.in_process import migrated_services

ORIGIN = Origin("c-store", "PACS@192.0.2.7")


class Machine:
    """A gateway's data folder, whose database can be put back to an earlier moment as a loss of power does."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "gateway.sqlite"
        self.kept = folder / "earlier.sqlite"
        self.services: Services = migrated_services(folder)
        durable.migrate(self.services.config.sqlalchemy_url)
        with self.services.database.transaction() as session:
            partners.add(session, Registration("hospital", "Hospital"))
            heartbeats.beat(session, "dimse", "here")
        self.partner: Partner = Registration("hospital", "Hospital").partner
        self.services.database.close()
        shutil.copy(self.database, self.kept)

    def store(self, *files: bytes) -> list[str]:
        """What the sender of each is told: its status, or its error."""
        spools = [self.services.objects.spool() for _ in files]
        for spool, content in zip(spools, files, strict=True):
            spool.write(content)
        arrivals = [Arrival(spool) for spool in spools]
        outcomes = receive_instances(self.services, self.partner, arrivals, ORIGIN)
        for spool in spools:
            spool.__exit__(None, None, None)
        return [one.status if isinstance(one, InstanceReceipt) else type(one).__name__ for one in outcomes]

    def lose_power(self) -> None:
        self.services.database.close()
        shutil.copy(self.kept, self.database)

    def start(self) -> None:
        prepare(self.services.config)

    def indexed(self) -> list[tuple[str, str, str, str]]:
        """UID and hash of each instance, and of whom and when its receipt tells."""
        query = (
            select(
                InstanceRow.sop_instance_uid, InstanceRow.sha256, ReceiptRow.address, ReceiptRow.received_at
            )
            .join(ReceiptRow, ReceiptRow.id == InstanceRow.receipt_id)
            .order_by(InstanceRow.sop_instance_uid)
        )
        with self.services.database.reading() as session:
            return [(uid, sha, address, at.isoformat()) for uid, sha, address, at in session.execute(query)]

    def acts(self) -> list[str]:
        with self.services.database.reading() as session:
            return sorted(session.scalars(select(AuditRow.action)))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_instances_are_found_again_with_their_sender_and_their_time(machine: Machine) -> None:
    assert machine.store(*(encode(make_dataset(InstanceNumber=n)) for n in (1, 2, 3))) == ["new"] * 3
    before, acts = machine.indexed(), machine.acts()
    machine.lose_power()
    assert machine.indexed() == []
    machine.start()
    assert machine.indexed() == before
    assert machine.acts() == acts
    machine.start()
    assert machine.indexed() == before


def test_two_contents_under_one_uid_are_both_found_again(machine: Machine) -> None:
    ds = make_dataset(InstanceNumber=1)
    first = encode(ds)
    ds.InstanceNumber = 2
    assert machine.store(first) + machine.store(encode(ds)) == ["new", "conflict"]
    machine.lose_power()
    machine.start()
    assert len(machine.indexed()) == 2


def test_a_refused_file_is_not_found_as_an_instance(machine: Machine) -> None:
    assert machine.store(b"no dicom") == ["NotDicom"]
    machine.lose_power()
    machine.start()
    assert machine.indexed() == []


def test_a_file_of_another_study_than_announced_is_not_found_as_an_instance(machine: Machine) -> None:
    """Power was lost before its refusal was written down."""
    with machine.services.objects.spool() as spool:
        spool.write(encode(make_dataset()))
        arrivals = [Arrival(spool, study_instance_uid="1.2.3"), Arrival(spool, sop_instance_uid="1.2.3")]
        for arrival in arrivals:
            (outcome,) = receive_instances(machine.services, machine.partner, [arrival], ORIGIN)
            assert not isinstance(outcome, InstanceReceipt)
    machine.lose_power()
    machine.start()
    assert machine.indexed() == []


def test_a_file_that_was_cut_short_is_no_instance_until_it_is_sent_again(machine: Machine) -> None:
    content = encode(make_dataset())
    assert machine.store(content) == ["new"]
    ((_, sha256, _, _),) = machine.indexed()
    place = machine.services.config.data_dir / "objects" / object_key(sha256)
    machine.lose_power()
    os.truncate(place, len(content) - 100)
    machine.start()
    assert machine.indexed() == []
    assert machine.store(content) == ["new"]
    assert place.read_bytes() == content


def test_where_files_can_have_no_note_the_index_is_synced_at_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is asked: its NORMAL connections are those whose commits may be lost."""
    monkeypatch.setattr("gateway.store.objects.NOTE", "nowhere.note")
    used: list[bool] = []
    transaction = machine.services.database.transaction

    def noting(*, is_repeatable: bool = False) -> AbstractContextManager[Session]:
        used.append(is_repeatable)
        return transaction(is_repeatable=is_repeatable)

    monkeypatch.setattr(machine.services.database, "transaction", noting)
    assert machine.store(encode(make_dataset())) == ["new"]
    assert used == [False]
    monkeypatch.setattr("gateway.store.objects.NOTE", NOTE)
    assert machine.store(encode(make_dataset())) == ["new"]
    assert used == [False, True]
