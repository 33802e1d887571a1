"""What is asked often, or of tables that only grow, is found by an index and not by reading the whole table."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from gateway.case.access import Partner, User
from gateway.store import cases, credentials, receipts, resources
from gateway.store.database import Database, Session

NOW = datetime(2026, 3, 1, tzinfo=UTC)
INTAKE = User("u1", "Ines", frozenset({"intake"}))
HOSPITAL = Partner("a", "Hospital A", "urn:x")

ASKED: dict[str, Callable[[Session], Any]] = {
    "refused receipts": lambda session: receipts.refused(session, INTAKE),
    "why they were refused": lambda session: receipts._causes(session, ["r1", "r2"]),
    "refused sign-ins of a login": lambda session: credentials.refused_sign_ins(
        session, NOW, subject="user:u1"
    ),
    "refused sign-ins from an address": lambda session: credentials.refused_sign_ins(
        session, NOW, address="10.0.0.9"
    ),
    "the same bundle": lambda session: receipts.same_bundle(session, HOSPITAL, "0" * 64),
    "resources of a bundle": lambda session: resources._current_rows(
        session, HOSPITAL, [("Patient", "1"), ("Patient", "2")]
    ),
    "resources by reference": lambda session: resources.by_reference(
        session, HOSPITAL.id, ["Patient/1", "Binary/2"]
    ),
    "a case of a request": lambda session: cases.by_service_request(session, HOSPITAL, "ServiceRequest/1"),
}


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """What is sent to the database inside, with its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def plan(session: Session, statement: str, parameters: Any) -> str:
    """As the database would do it, with PostgreSQL not allowed to read small tables whole for speed."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "\n".join(str(row[3]) for row in rows)
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    return "\n".join(str(row[0]) for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))


@pytest.mark.parametrize("asked", ASKED)
def test_it_is_found_by_an_index(database: Database, asked: str) -> None:
    with database.transaction() as session:
        with statements(database) as seen:
            ASKED[asked](session)
        plans = [plan(session, *statement) for statement in seen]
    assert plans
    for told in plans:
        for table in ("audit", "receipt", "fhir_resource", "case_file"):
            assert f"SCAN {table}" not in told, told
            assert f"Seq Scan on {table}" not in told, told
