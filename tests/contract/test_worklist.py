"""The worklist of many cases: a page at a time, counted, searched, scoped, and asked for without reading records."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from gateway.app import create_app
from gateway.case.access import Partner, User
from gateway.case.model import Demographics, Name, Record
from gateway.config import Config
from gateway.services import Services
from gateway.store import cases, worklist
from gateway.store.database import Database, Session
from gateway.store.ids import new_id
from gateway.store.tables import CaseRow, DeliveryRow, FindingRow, OpinionRow, PartnerRow, UserRow
from gateway.store.worklist import Wanted
from gateway.web.pages import PAGE

NOW = datetime(2026, 3, 1, tzinfo=UTC)
INTAKE = User("u1", "Ines Intake", frozenset({"intake"}))
SPECIALIST = User("u2", "Sam Specialist", frozenset({"specialist"}))
HOSPITAL, OTHER = Partner("a", "Hospital A", "urn:x"), Partner("b", "Hospital B", "urn:y")


@pytest.fixture
def config(database_url: str, tmp_path: Any) -> Config:
    return Config(data_dir=tmp_path, database_url=database_url, dev=True)


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.transaction() as opened:
        register(opened)
        yield opened


def register(session: Session) -> None:
    for partner in (HOSPITAL, OTHER):
        row = {"id": partner.id, "name": partner.name, "assigning_authority": "urn:x", "scopes": []}
        session.add(PartnerRow(**row, created_at=NOW))
    for user in (INTAKE, SPECIALIST):
        row = {"id": user.id, "login": user.id, "name": user.name, "password_hash": ""}
        session.add(UserRow(**row, roles=list(user.roles), created_at=NOW))
    session.flush()


def add(session: Session, number: int = 0, partner: Partner = HOSPITAL, *names: Name) -> CaseRow:
    """A case that changed ``number`` minutes after NOW."""
    case = cases.open_case(session, partner, f"ServiceRequest/{number}", NOW + timedelta(minutes=number))
    cases.set_record(case, Record(patient=Demographics(names=names or (Name("Amara Okafor"),))))
    return case


def ids(found: list[worklist.WorklistEntry]) -> list[str]:
    return [entry.id for entry in found]


def test_pages_follow_one_another_the_last_changed_first(session: Session) -> None:
    added = [add(session, number).id for number in range(7)]
    pages = [ids(worklist.page(session, INTAKE, Wanted(), start, 3)) for start in (0, 3, 6, 9)]
    assert pages == [added[:3:-1], added[3:0:-1], added[:1], []]


def test_cases_are_counted_by_status_within_what_the_viewer_may_see(session: Session) -> None:
    mine, closed = add(session, 1), add(session, 2)
    add(session, 3, OTHER)
    mine.assignee_id, closed.status = SPECIALIST.id, "closed"
    session.flush()
    assert worklist.counts(session, INTAKE) == {"received": 2, "closed": 1}
    assert worklist.counts(session, SPECIALIST) == {"received": 1}
    assert worklist.counts(session, OTHER) == {"received": 1}
    assert ids(worklist.page(session, SPECIALIST, Wanted(), 0, 9)) == [mine.id]
    assert ids(worklist.page(session, INTAKE, Wanted(("closed",)), 0, 9)) == [closed.id]


def test_findings_and_deliveries_are_counted_for_each_case(session: Session) -> None:
    case, other = add(session, 2), add(session, 1)
    session.add(opinion := OpinionRow(**_opinion(case.id, NOW)))
    session.flush()
    for severity, state, minutes in (
        ("blocks", "open", -1),
        ("limits", "open", 1),
        ("blocks", "open", 2),
        ("blocks", "waived", 2),
    ):
        session.add(FindingRow(**_finding(case.id, severity, state, NOW + timedelta(minutes=minutes))))
    for state in ("failed", "failed", "delivered"):
        session.add(DeliveryRow(**_delivery(case.id, opinion.id, state)))
    session.flush()
    first, second = worklist.page(session, INTAKE, Wanted(), 0, 9)
    assert (first.id, first.open_findings, first.blocking_findings) == (case.id, 3, 2)
    assert (first.found_after_signing, first.failed_deliveries) == (2, 2)
    assert (second.id, second.open_findings, second.failed_deliveries) == (other.id, 0, 0)
    assert first.assignee_name == ""
    assert first.partner_name == "Hospital A"


def _opinion(case_id: str, signed_at: datetime) -> dict[str, Any]:
    texts = dict.fromkeys(("findings_text", "conclusion", "recommendations"), "")
    author = {"author_id": SPECIALIST.id, "author_name": SPECIALIST.name}
    return {"id": new_id(), "case_id": case_id, "drafted_at": NOW, "signed_at": signed_at} | texts | author


def _finding(case_id: str, severity: str, state: str, opened_at: datetime) -> dict[str, Any]:
    texts = dict.fromkeys(("check", "subject", "text"), "x") | {"key": new_id()}
    made = {"id": new_id(), "case_id": case_id, "severity": severity, "state": state, "evidence": {}}
    return made | texts | {"opened_at": opened_at}


def _delivery(case_id: str, opinion_id: str, state: str) -> dict[str, Any]:
    place = {"channel": "fhir-push", "address": new_id(), "updated_at": NOW}
    return {"id": new_id(), "case_id": case_id, "opinion_id": opinion_id, "state": state} | place


def test_the_version_of_the_list_changes_with_whatever_changes_on_it(session: Session) -> None:
    old, new = add(session, 1), add(session, 2)
    session.flush()
    seen = [worklist.version(session, INTAKE)]
    assert worklist.version(session, INTAKE) == seen[0]

    def changed() -> bool:
        session.flush()
        seen.append(worklist.version(session, INTAKE))
        return seen[-1] not in seen[:-1]

    new.updated_at += timedelta(seconds=1)
    assert changed()
    old.updated_at += timedelta(seconds=1)  # older than the newest: its transaction was the longer one
    assert changed()
    old.status = "declined"
    assert changed()
    add(session, 0)
    assert changed()
    assert worklist.version(session, SPECIALIST) == worklist.version(session, SPECIALIST)


@pytest.mark.parametrize(
    "search",
    [
        *("muller", "Müller", "MULL", "jose muller", "o'brien", "sorensen", "Sørensen", "lukasz", "strasse"),
        *("山田", "やまだ", "{number}", "{digits}", " "),
    ],
)
def test_a_case_is_found_by_number_and_by_any_form_of_the_name(session: Session, search: str) -> None:
    names = (
        Name("José Müller-O'Brien", "Müller-O'Brien", ("José", "Łukasz Sørensen", "Straße")),
        Name("山田^太郎", "山田", ("太郎",), "", "ideographic"),
        Name("やまだ", script="phonetic"),
    )
    case = add(session, 1, HOSPITAL, *names)
    asked = search.format(number=case.id.lower(), digits=case.id[3:])
    assert ids(worklist.page(session, INTAKE, Wanted(search=asked), 0, 9)) == [case.id]
    assert worklist.counts(session, INTAKE, asked) == {"received": 1}
    assert worklist.counts(session, SPECIALIST, asked) == {}


@pytest.mark.parametrize("search", ["%", "_", "mull_r", "kofi", "amara kofi", "\\"])
def test_what_is_searched_is_text_and_every_word_of_it_must_be_there(session: Session, search: str) -> None:
    add(session, 1)
    assert worklist.counts(session, INTAKE, search) == {}


def test_no_record_is_read_for_a_list(database: Database, session: Session) -> None:
    add(session, 1)
    session.flush()
    seen: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    worklist.page(session, INTAKE, Wanted(), 0, 9)
    worklist.counts(session, INTAKE, "amara")
    worklist.choices(session, INTAKE, ["received"])
    worklist.version(session, INTAKE)
    cases.changed_at(session, INTAKE, cases.every(session, INTAKE)[0].id)
    assert len(seen) == 9
    assert not [statement for statement in seen if re.search(r"\b(record|identity)\b", statement)]


@pytest.fixture
def many(services: Services) -> FlaskClient:
    """Somebody with every role before PAGE + 10 cases, one of them of another child; the newest is number 0."""
    with services.database.transaction() as session:
        register(session)
        for number in range(PAGE + 9, 0, -1):
            add(session, -number)
        add(session, 0, OTHER, Name("Noël Diaz", "Diaz", ("Noël",)))
    return create_app(services).test_client()


def rows(page: str) -> int:
    return page.count('<th scope="row">')


def test_a_page_of_the_worklist_leads_to_the_next_and_back(many: FlaskClient) -> None:
    first = many.get("/").text
    assert rows(first) == PAGE
    assert f"Page 1 of 2, {PAGE + 10} cases" in first
    assert "Previous</a>" not in first
    second = many.get(link(first, "next-page")).text
    assert rows(second) == 10
    assert "Next</a>" not in second
    assert rows(many.get(link(second, "previous-page")).text) == PAGE
    assert rows(many.get("/?page=99").text) == 10
    for odd in ("0", "-1", "x", "9" * 30, "²"):
        assert rows(many.get("/", query_string={"page": odd}).text) == PAGE


def link(page: str, element: str) -> str:
    found = re.search(rf'id="{element}"[^>]* href="([^"]+)"', page)
    assert found is not None
    return unescape(found[1])


def test_the_search_keeps_its_words_while_the_list_is_looked_at_again(many: FlaskClient) -> None:
    found = many.get("/?q=noel").text
    assert rows(found) == 1
    assert "Noël Diaz" in found
    assert 'value="noel"' in found
    refresh = re.search(r'hx-get="([^"]+)"', found)
    assert refresh is not None
    assert many.get(unescape(refresh[1])).status_code == 204
    assert "q=noel" in link(found, "filter-all")
    assert "No case in this list has" in many.get("/?q=nobody").text


def test_the_api_gives_a_page_and_says_where_the_next_one_begins(many: FlaskClient) -> None:
    first = many.get("/api/cases").json
    assert (len(first["cases"]), first["total"], first["next_offset"]) == (PAGE, PAGE + 10, PAGE)
    second = many.get(f"/api/cases?offset={first['next_offset']}").json
    assert (len(second["cases"]), second["next_offset"]) == (10, None)
    assert len({line["id"] for line in first["cases"] + second["cases"]}) == PAGE + 10
    found = many.get("/api/cases", query_string={"q": "Noel", "status": "received", "limit": 1}).json
    assert [line["patient_name"] for line in found["cases"]] == ["Noël Diaz"]
    assert many.get("/api/cases?limit=501").status_code == 400
    assert many.get("/api/cases?offset=-1").status_code == 400
