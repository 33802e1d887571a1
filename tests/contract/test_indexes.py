"""What is asked often, or of tables that only grow, is found by an index and not by reading the whole table."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from gateway.case.access import Partner, User
from gateway.fhir import search
from gateway.store import cases, credentials, imaging_conditions, receipts, resources, search_index
from gateway.store.database import Database, Session
from gateway.store.imaging_criteria import (
    PATIENT,
    Between,
    Criterion,
    FuzzyName,
    Key,
    Like,
    NameLike,
    OneOf,
    Page,
)
from gateway.store.imaging_search import search_instances, search_series, search_studies
from gateway.store.resource_search import Search

NOW = datetime(2026, 3, 1, tzinfo=UTC)
INTAKE = User("u1", "Ines", frozenset({"intake"}))
HOSPITAL = Partner("a", "Hospital A", "urn:x")


def _key(keyword: str, level: str = "study") -> Key:
    return Key(keyword, PATIENT if keyword.startswith("Patient") else level, "")


def _searched(session: Session, *criteria: Criterion) -> Any:
    return search_studies(session, HOSPITAL, criteria, Page(10))


def _resources(session: Session, *pairs: tuple[str, str]) -> Any:
    query = search.parse("Observation", pairs, strict=True, base="https://gateway.example/fhir")
    asked = Search(session, HOSPITAL, query.type, query.terms)
    return asked.page(query.order, None, 10), asked.total()


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
    "studies by number": lambda session: _searched(session, OneOf(_key("PatientID"), ("MRN-1",))),
    "studies by the beginning of a number": lambda session: _searched(
        session, Like(_key("PatientID"), "MRN*")
    ),
    "studies by accession number": lambda session: _searched(session, OneOf(_key("AccessionNumber"), ("A",))),
    "studies by UID": lambda session: _searched(session, OneOf(_key("StudyInstanceUID"), ("1.2",))),
    "studies by date": lambda session: _searched(session, Between(_key("StudyDate"), "20260101", "20261231")),
    "studies by name": lambda session: _searched(session, NameLike(_key("PatientName"), "mira*")),
    "studies by fuzzy name": lambda session: _searched(session, FuzzyName(_key("PatientName"), "mira a*")),
    "studies by name and date": lambda session: _searched(
        session,
        NameLike(_key("PatientName"), "mira*"),
        Between(_key("StudyDate"), "20260101", "20261231"),
    ),
    "all studies": lambda session: _searched(session),
    "instances of a study": lambda session: search_instances(
        session, HOSPITAL, [OneOf(_key("StudyInstanceUID"), ("1.2",))], Page(10)
    ),
    "instances by number of the patient": lambda session: search_instances(
        session, HOSPITAL, [OneOf(_key("PatientID"), ("MRN-1",))], Page(10)
    ),
    "an instance": lambda session: search_instances(
        session, HOSPITAL, [OneOf(_key("SOPInstanceUID", "instance"), ("1.2",))], Page(10)
    ),
    "a series": lambda session: search_series(
        session, HOSPITAL, [OneOf(_key("SeriesInstanceUID", "series"), ("1.2",))], Page(10)
    ),
    "resources by identifier": lambda session: _resources(session, ("identifier", "urn:x|1")),
    "resources by patient and date": lambda session: _resources(
        session, ("patient", "p1"), ("date", "ge2026"), ("_sort", "-date")
    ),
    "resources by text": lambda session: _resources(session, ("code:text", "cyst")),
    "all resources of a type": lambda session: _resources(session),
    "history of a resource": lambda session: resources.history(session, HOSPITAL, "Patient", "1"),
    "history of a type": lambda session: resources.history(session, HOSPITAL, "Patient"),
    "resources that wait to be searchable": lambda session: search_index.unindexed(session, HOSPITAL, 10),
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


@pytest.mark.parametrize(
    "asked", ["studies by number", "studies by name", "studies by fuzzy name", "studies by name and date"]
)
def test_where_studies_have_several_patients_they_are_found_by_an_index_too(
    database: Database, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imaging_conditions, "has_other_patients", lambda *_: True)
    test_it_is_found_by_an_index(database, asked)


@pytest.mark.parametrize("asked", ASKED)
def test_it_is_found_by_an_index(database: Database, asked: str) -> None:
    with database.transaction() as session:
        with statements(database) as seen:
            ASKED[asked](session)
        plans = [plan(session, *statement) for statement in seen]
    assert plans
    for told in plans:
        for table in (
            "audit",
            "receipt",
            "fhir_resource",
            "search_key",
            "search_date",
            "search_text",
            "case_file",
            "study",
            "study_name",
            "other_patient",
            "series",
            "instance",
        ):
            assert f"SCAN {table}" not in told, told
            assert f"Seq Scan on {table}" not in told, told


@pytest.fixture
def sqlite(migrated_once: Callable[[str], str]) -> Iterator[Database]:
    database = Database(migrated_once("sqlite"))
    yield database
    database.close()


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ("studies by number", "ix_study_patient_id"),
        ("studies by the beginning of a number", "ix_study_patient_id"),
        ("studies by accession number", "ix_study_accession"),
        ("studies by date", "COVERING INDEX ix_study_date"),
        ("all studies", "COVERING INDEX ix_study_received"),
        ("studies by name", "study_name USING PRIMARY KEY"),
        ("studies by fuzzy name", "study_name USING PRIMARY KEY"),
        ("instances of a study", "instance USING INDEX ix_instance_series_id"),
        ("instances by number of the patient", "instance USING INDEX ix_instance_series_id"),
        ("an instance", "instance USING INDEX sqlite_autoindex_instance_2"),
        ("resources by identifier", "search_key USING PRIMARY KEY (key=?)"),
        ("resources by identifier", "fhir_resource USING INTEGER PRIMARY KEY"),
        ("resources by patient and date", "fhir_resource USING INTEGER PRIMARY KEY"),
        ("resources by text", "search_text USING PRIMARY KEY (place=? AND text>? AND text<?)"),
        ("all resources of a type", "COVERING INDEX ix_fhir_resource_listed"),
        ("resources that wait to be searchable", "USING INDEX ix_fhir_resource_arrival"),
    ],
)
def test_sqlite_goes_by_the_index_that_was_made_for_it(sqlite: Database, asked: str, index: str) -> None:
    """It has no statistics, and one index of a partner's studies looks to it like any other."""
    with sqlite.transaction() as session:
        with statements(sqlite) as seen:
            ASKED[asked](session)
        assert any(index in plan(session, *statement) for statement in seen)
