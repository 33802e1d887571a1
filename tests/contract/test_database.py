"""One suite for both databases: the schema, transactions, and many at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from gateway.case.access import NO_ORIGIN, SYSTEM_ACTOR
from gateway.config import Config
from gateway.errors import StoreUnavailable
from gateway.processes import prepare
from gateway.store import examinations, heartbeats, trail
from gateway.store.database import Database, Session
from gateway.store.ids import new_id
from gateway.store.tables import AuditRow, PartnerRow, Row, StudyRow
from tests.support.gateway_process import clean_environment, free_port

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def add_partner(session: Session, partner_id: str, at: datetime = NOW) -> None:
    session.add(
        PartnerRow(id=partner_id, name="Hospital", assigning_authority="urn:x", scopes=[], created_at=at)
    )


def add_audit(session: Session, subject: str) -> None:
    acts = [trail.Act("test", subject)]
    trail.append(session, acts, at=NOW, actor=SYSTEM_ACTOR.actor, origin=NO_ORIGIN)


def partner_ids(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(PartnerRow.id).order_by(PartnerRow.id)))


def test_the_migrations_make_the_schema_that_the_rows_declare(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_name": _is_own_table}
        )
        assert compare_metadata(context, Row.metadata) == []


def _is_own_table(name: str | None, kind: str, _parents: object) -> bool:
    """On SQLite, DBOS keeps its tables beside ours; on PostgreSQL in a schema of their own."""
    return kind != "table" or name in Row.metadata.tables


def test_migrating_again_changes_nothing(config: Config, database: Database) -> None:
    with database.transaction() as session:
        add_partner(session, "a")
    prepare.migrate(config)
    assert partner_ids(database) == ["a"]


def test_processes_that_migrate_at_once_take_turns(empty_url: str, tmp_path: Path) -> None:
    environment = clean_environment() | {
        "GATEWAY_DATABASE_URL": empty_url,
        "GATEWAY_DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "gateway.cli", "migrate"]
    running = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], told


def test_a_transaction_commits_all_of_it(database: Database) -> None:
    with database.transaction() as session:
        add_partner(session, "a")
        add_partner(session, "b")
    assert partner_ids(database) == ["a", "b"]


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    with suppress(KeyError), database.transaction() as session:
        add_partner(session, "a")
        session.flush()
        raise KeyError
    assert partner_ids(database) == []


def test_a_savepoint_that_fails_leaves_the_rest(database: Database) -> None:
    with database.transaction() as session:
        add_partner(session, "a")
        session.flush()
        with pytest.raises(IntegrityError), session.begin_nested():
            add_partner(session, "a")
        add_partner(session, "b")
    assert partner_ids(database) == ["a", "b"]


def test_a_partner_has_one_study_of_a_uid(database: Database) -> None:
    with database.transaction() as session:
        add_partner(session, "a")
        add_partner(session, "b")
        session.flush()
        session.add_all([study("a"), study("b")])
    with pytest.raises(IntegrityError), database.transaction() as session:
        session.add(study("a"))


def test_a_study_without_its_partner_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError), database.transaction() as session:
        session.add(study("nobody"))


def study(partner_id: str) -> StudyRow:
    return StudyRow(
        id=new_id(),
        partner_id=partner_id,
        study_instance_uid="1.2.3",
        attributes={},
        patients=[],
        join_reasons=[],
        received_at=NOW,
        updated_at=NOW,
    )


def test_an_instant_comes_back_in_utc_to_the_microsecond(database: Database) -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    with database.transaction() as session:
        add_partner(session, "a", NOW.astimezone(kathmandu))
    with database.reading() as session:
        found = session.get_one(PartnerRow, "a").created_at
    assert found == NOW
    assert found.utcoffset() == timedelta(0)


def test_a_time_without_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="naive datetime"), database.transaction() as session:
        add_partner(session, "a", datetime(2026, 3, 1))  # noqa: DTZ001 - what is refused


def test_writers_at_the_same_time_wait_for_each_other(database: Database) -> None:
    def write(writer: int) -> None:
        for number in range(50):
            with database.transaction() as session:
                add_audit(session, f"{writer}:{number}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(AuditRow)) == 200


def test_reading_goes_on_while_another_writes_and_sees_nothing_half_done(database: Database) -> None:
    with database.transaction() as session:
        add_partner(session, "a")
        session.flush()
        assert partner_ids(database) == []
    assert partner_ids(database) == ["a"]


def test_a_database_that_is_away_is_an_unavailable_store(empty_url: str, tmp_path: Path) -> None:
    nowhere = {
        "sqlite": f"sqlite:///{tmp_path / 'missing' / 'gateway.sqlite'}",
        "postgresql": f"postgresql://gateway@127.0.0.1:{free_port()}/gateway",
    }
    away = Database(nowhere[empty_url.partition(":")[0]])
    with pytest.raises(StoreUnavailable), away.reading() as session:
        session.scalar(select(PartnerRow.id))
    with pytest.raises(StoreUnavailable):
        prepare.migrate(
            Config(
                data_dir=tmp_path / "data", database_url=away.engine.url.render_as_string(hide_password=False)
            )
        )


def test_bytes_that_two_workers_examine_at_once_are_examined_once(database: Database) -> None:
    def add(problem: str) -> None:
        with database.transaction() as session:
            examinations.add(session, "0" * 64, "text/plain", problem, NOW)

    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as session:
            examinations.add(session, "0" * 64, "text/plain", "", NOW)
            session.flush()
            second = threads.submit(add, "The text is blank.")
            with pytest.raises(TimeoutError):
                second.result(timeout=0.3)
        second.result(timeout=10)
    with database.reading() as session:
        assert examinations.known(session, {("0" * 64, "text/plain")}) == {("0" * 64, "text/plain"): ""}


def test_an_error_does_not_tell_what_was_stored(database: Database) -> None:
    with database.transaction() as session:
        add_partner(session, "a")
    with pytest.raises(IntegrityError) as caught, database.transaction() as session:
        session.add(
            PartnerRow(id="a", name="Jane Doe", assigning_authority="urn:x", scopes=[], created_at=NOW)
        )
    assert "Jane Doe" not in str(caught.value)


def test_a_heart_that_beats_is_heard_until_the_part_starts_anew(database: Database) -> None:
    for machine in ("m1", "m2"):
        with database.transaction() as session:
            heartbeats.beat(session, "worker", machine)
    with database.transaction() as session:
        heartbeats.beat(session, "worker", "m1")
        assert heartbeats.living_machines(session, "worker") == {"m1", "m2"}
        assert heartbeats.seconds_since(session)["worker"] < heartbeats.FRESH_SECONDS
        heartbeats.forget(session, ["worker"], "m1")
        assert heartbeats.living_machines(session, "worker") == {"m2"}


def test_a_statement_that_is_never_taken_is_no_database_that_is_away(database):
    """To send it again would be of no use, and nobody would look for the fault."""
    nested = f"SELECT {'(' * 5000}1{')' * 5000}"
    with pytest.raises(DBAPIError), database.reading() as session:
        session.execute(text(f"{nested} FROM no_such_table"))
