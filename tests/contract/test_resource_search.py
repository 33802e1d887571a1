"""Searches among resources on SQLite and PostgreSQL, beside a plain comparison of each resource."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.case.access import Origin, Partner
from gateway.clock import utc_now
from gateway.errors import InvalidContent
from gateway.fhir import found, search, served
from gateway.fhir.search import Query
from gateway.services import Services
from gateway.store import cases, partners, receipts, resource_search, resources, search_index, users
from gateway.store.ids import new_id
from gateway.store.objects import keep_bytes, read_bytes
from gateway.store.partners import Registration
from gateway.store.resources import NewVersion
from gateway.store.tables import OpinionRow
from gateway.workflow.searchable import searching

BASE = "https://gateway.example/fhir"
SYSTEMS, CODES = ("urn:a", "urn:b", ""), ("1", "2", "3")
WORDS = ("Große Zyste", "grosse", "Hepatic Cyst", "a%b_c", "")
DATES = ("2025", "2025-03", "2025-03-09", "2025-03-09T10:00:00Z", "2025-03-09T23:30:00-02:00", "2026-01-01")
IDS = ("p1", "p2", "p3")


def _token(system: str, code: str) -> dict[str, str]:
    return {"system": system, "code": code} if system else {"code": code}


TOKEN = st.builds(_token, st.sampled_from(SYSTEMS), st.sampled_from(CODES))
PERIOD = st.builds(
    lambda start, end: {k: v for k, v in (("start", start), ("end", end)) if v},
    st.sampled_from(("", "2024", *DATES[:3])),
    st.sampled_from(("", "2025-04", "2026-02")),
)
OBSERVATION = st.fixed_dictionaries(
    {"status": st.sampled_from(("final", "amended"))},
    optional={
        "code": st.builds(
            lambda codings, words: {"coding": codings, "text": words},
            st.lists(TOKEN, max_size=2),
            st.sampled_from(WORDS),
        ),
        "subject": st.sampled_from(IDS).map(lambda i: {"reference": f"Patient/{i}"}),
        "effective": st.one_of(st.sampled_from(DATES), PERIOD),
        "valueString": st.sampled_from(WORDS),
    },
)
PREFIXES = ("", "ne", "gt", "lt", "ge", "le", "sa", "eb")
ASKED = st.one_of(
    st.tuples(st.just("status"), st.sampled_from(("final", "amended", "final,amended", "x"))),
    st.tuples(st.sampled_from(("code", "code:not")), st.sampled_from(CODES)),
    st.tuples(
        st.sampled_from(("code", "code:not")),
        st.builds(lambda s, c: f"{s}|{c}", st.sampled_from(SYSTEMS), st.sampled_from(CODES)),
    ),
    st.tuples(st.just("code"), st.sampled_from(("urn:a|", "urn:b|", "1,urn:b|3"))),
    st.tuples(st.just("code:text"), st.sampled_from(("GROSSE", "hep", "a%", "yst"))),
    st.tuples(
        st.sampled_from(("subject", "patient")), st.sampled_from(("p1", "Patient/p2", "p1,p3", "Group/p1"))
    ),
    st.tuples(st.just("date"), st.builds(str.__add__, st.sampled_from(PREFIXES), st.sampled_from(DATES))),
    st.tuples(st.just("value-string"), st.sampled_from(("gros", "hepatic c", "a%b", "cyst"))),
    st.tuples(st.just("value-string:exact"), st.sampled_from(WORDS[:-1])),
    st.tuples(st.just("value-string:contains"), st.sampled_from(("yst", "%", "_", "ßE"))),
    st.tuples(
        st.sampled_from(("code:missing", "subject:missing", "date:missing", "value-string:missing")),
        st.sampled_from(("true", "false")),
    ),
)


def _resource(drawn: dict[str, Any]) -> dict[str, Any]:
    effective = drawn.get("effective")
    rest = {name: value for name, value in drawn.items() if name != "effective"}
    if isinstance(effective, dict):
        return {"resourceType": "Observation", "effectivePeriod": effective, **rest}
    return {"resourceType": "Observation", **rest, **({"effectiveDateTime": effective} if effective else {})}


def _plain(words: str) -> str:
    """As a reader would compare these words."""
    return words.lower().replace("ß", "ss")


def _span(date: str) -> tuple[datetime, datetime]:
    """What the dates of this test mean, written out."""
    known = {
        "2024": ("2024-01-01", "2025-01-01"),
        "2025": ("2025-01-01", "2026-01-01"),
        "2025-03": ("2025-03-01", "2025-04-01"),
        "2025-04": ("2025-04-01", "2025-05-01"),
        "2026-02": ("2026-02-01", "2026-03-01"),
        "2025-03-09": ("2025-03-09", "2025-03-10"),
        "2026-01-01": ("2026-01-01", "2026-01-02"),
        "2025-03-09T10:00:00Z": ("2025-03-09T10:00:00", "2025-03-09T10:00:01"),
        "2025-03-09T23:30:00-02:00": ("2025-03-10T01:30:00", "2025-03-10T01:30:01"),
    }
    first, last = (datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in known[date])
    return first, last


def _when(resource: dict[str, Any]) -> tuple[datetime, datetime] | None:
    if "effectiveDateTime" in resource:
        return _span(resource["effectiveDateTime"])
    period = resource.get("effectivePeriod")
    if not period:
        return None
    start = _span(period["start"])[0] if "start" in period else datetime.min.replace(tzinfo=UTC)
    return start, _span(period["end"])[1] if "end" in period else datetime.max.replace(tzinfo=UTC)


def _is_dated(resource: dict[str, Any], wanted: str) -> bool:
    when = _when(resource)
    if when is None:
        return False
    prefix = wanted[:2] if wanted[:2].isalpha() else "eq"
    first, last = _span(wanted.removeprefix(prefix))
    within = first <= when[0] and when[1] <= last
    return {
        "eq": within,
        "ne": not within,
        "gt": when[1] > last,
        "ge": when[1] > last or within,
        "lt": when[0] < first,
        "le": when[0] < first or within,
        "sa": when[0] >= last,
        "eb": when[1] <= first,
    }[prefix]


def _is_coded(resource: dict[str, Any], wanted: str) -> bool:
    codings = [(c.get("system", ""), c["code"]) for c in resource.get("code", {}).get("coding", [])]
    system, bar, code = wanted.partition("|")
    if not bar:
        return any(code == wanted for _, code in codings)
    return any(s == system and (not code or c == code) for s, c in codings)


def _holds(resource: dict[str, Any], name: str, value: str) -> bool:
    """The same question, asked of the resource as it is read."""
    head, _, modifier = name.partition(":")
    if modifier == "missing":
        return _has(resource, head) is (value == "false")
    options = value.split(",")
    words = resource.get("valueString", "")
    subject = resource.get("subject", {}).get("reference", "")
    return {
        "status": resource["status"] in options,
        "code": any(_is_coded(resource, option) for option in options),
        "code:not": not _is_coded(resource, value),
        "code:text": _plain(code_text(resource)).startswith(_plain(value)),
        "subject": any(option in (subject, subject.split("/")[-1]) for option in options),
        "patient": any(option in (subject, subject.split("/")[-1]) for option in options),
        "date": name == "date" and _is_dated(resource, value),
        "value-string": _plain(words).startswith(_plain(value)),
        "value-string:exact": words == value,
        "value-string:contains": _plain(value) in _plain(words),
    }[name]


def _has(resource: dict[str, Any], name: str) -> bool:
    code = resource.get("code", {})
    return {
        "code": bool(code.get("coding") or code.get("text")),
        "subject": "subject" in resource,
        "date": _when(resource) is not None,
        "value-string": bool(resource.get("valueString")),
    }[name]


def code_text(resource: dict[str, Any]) -> str:
    return str(resource.get("code", {}).get("text", ""))


def hospital(services: Services) -> Partner:
    partner_id = f"h-{uuid4().hex[:8]}"
    with services.database.transaction() as session:
        partners.add(session, Registration(partner_id, "Hospital"))
        return partners.get(session, partner_id).partner


def send(services: Services, partner: Partner, sent: Sequence[dict[str, Any]]) -> None:
    """Each with its own id, the next a moment later."""
    with services.database.transaction() as session:
        partners.lock(session, partner)
        with services.objects.spool() as spool:
            spool.write(uuid4().bytes)
            stored = services.objects.keep(spool)
        receipt = receipts.add(session, partner, stored, Origin("fhir"), "application/fhir+json")
        for number, resource in enumerate(sent):
            kind, fhir_id = resource["resourceType"], resource["id"]
            new = NewVersion(kind, fhir_id, f"id:{fhir_id}", "Bundle.entry[0].resource", resource)
            resources.save(session, partner, receipt, [new], utc_now() + timedelta(microseconds=number % 3))


def ids(services: Services, partner: Partner, query: Query) -> list[str]:
    """All that the query finds, page by page."""
    seen, totals, after = [], [], None
    with searching(services, partner) as session:
        while True:
            page = found.find(services, session, partner, query, after)
            seen += [one.id for one in page.matches]
            totals.append(page.total)
            if page.after is None:
                assert totals == [len(seen)] * len(totals)
                return seen
            after = page.after


def asked(kind: str, *pairs: tuple[str, str]) -> Query:
    return search.parse(kind, pairs, strict=True, base=BASE)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@pytest.mark.parametrize("few", [0, 2000])
@given(
    drawn=st.lists(OBSERVATION, max_size=12),
    terms=st.lists(st.lists(ASKED, min_size=1, max_size=3), max_size=8),
)
def test_the_database_finds_what_a_plain_comparison_finds(
    services: Services, few: int, drawn: list[dict[str, Any]], terms: list[list[tuple[str, str]]]
) -> None:
    """Where a term tells few resources as where none does."""
    sent = [{"id": f"o{number}", **_resource(one)} for number, one in enumerate(drawn)]
    partner = hospital(services)
    send(services, partner, sent)
    for pairs in terms:
        query = asked("Observation", *pairs, ("_count", "3"))
        wanted = {one["id"] for one in sent if all(_holds(one, *pair) for pair in pairs)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resource_search, "FEW", few)
            got = ids(services, partner, query)
        assert (set(got), len(got)) == (wanted, len(wanted)), pairs


@pytest.mark.parametrize(
    "order", ["date", "-date", "value-string,-_id", "-value-string", "-_lastUpdated", "_id"]
)
def test_pages_follow_one_another_in_any_order(services: Services, order: str) -> None:
    partner = hospital(services)
    words = ("b", "", "a", "c", "a", "b", "")
    dates = ("2025", "2025-03", "", "2026-01-01", "2025-03", "", "2025-03-09")
    sent = [
        {"resourceType": "Observation", "id": f"o{n}", "status": "final"}
        | ({"valueString": w} if w else {})
        | ({"effectiveDateTime": d} if d else {})
        for n, (w, d) in enumerate(zip(words, dates, strict=True))
    ]
    send(services, partner, sent)
    whole = ids(services, partner, asked("Observation", ("_sort", order), ("_count", "100")))
    assert ids(services, partner, asked("Observation", ("_sort", order), ("_count", "2"))) == whole
    by_id = {one["id"]: one for one in sent}
    keys = {
        "date": [by_id[i].get("effectiveDateTime", "9999") for i in whole],
        "-date": [by_id[i].get("effectiveDateTime", "0000") for i in whole],
        "value-string,-_id": [by_id[i].get("valueString", "") for i in whole],
        "-value-string": [by_id[i].get("valueString", "") for i in whole],
        "_id": whole,
    }
    if order in keys:
        assert keys[order] == sorted(keys[order], reverse=order.startswith("-"))
    assert sorted(whole) == sorted(by_id)


def test_what_was_just_received_can_be_found(services: Services) -> None:
    partner = hospital(services)
    child = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Ada"}]}
    send(services, partner, [child])
    assert ids(services, partner, asked("Patient", ("family", "ada"))) == ["p1"]
    send(services, partner, [child | {"name": [{"family": "Bea"}]}])
    assert ids(services, partner, asked("Patient", ("family", "ada"))) == []
    assert ids(services, partner, asked("Patient", ("family", "bea"))) == ["p1"]


def test_another_partner_s_resources_of_the_same_id_are_not_found(services: Services) -> None:
    one, other = hospital(services), hospital(services)
    send(services, one, [{"resourceType": "Patient", "id": "p1", "gender": "female"}])
    assert ids(services, other, asked("Patient", ("gender", "female"))) == []
    send(services, other, [{"resourceType": "Patient", "id": "p1", "gender": "male"}])
    assert ids(services, other, asked("Patient", ("gender", "female"))) == []
    assert ids(services, other, asked("Patient", ("_id", "p1"))) == ["p1"]


@pytest.fixture
def many(services: Services) -> Partner:
    partner = hospital(services)
    send(services, partner, [{"resourceType": "Flag", "id": f"b{n}"} for n in range(1203)])
    return partner


def test_the_values_are_made_again_when_they_are_forgotten(services: Services, many: Partner) -> None:
    query = asked("Flag", ("_id:not", "b7"), ("_count", "500"))
    assert len(ids(services, many, query)) == 1202
    with services.database.transaction() as session:
        search_index.begin_again(session)
    with services.database.reading() as session:
        assert not search_index.is_complete(session, many)
    assert len(ids(services, many, query)) == 1202


ODD = (
    "",
    "0001",
    "9999-12-31",
    "ap0001",
    "ap9999",
    "lt0001-01-01",
    "gt9999",
    "|",
    "a|",
    "\\",
    "\\,",
    ",",
    "%",
    "_",
)
NAMES = (
    *(
        "_id",
        "_id:not",
        "_lastUpdated",
        "date",
        "code",
        "code:text",
        "code:not",
        "identifier",
        "identifier:of-type",
    ),
    *("subject", "subject:Patient", "subject:identifier", "value-string", "value-string:contains", "_sort"),
    *("value-string:exact", "_profile", "_profile:below", "_profile:above", "_tag", "date:missing", "_count"),
    *("_elements", "_summary", "_total", "_include", "_revinclude", "_include:iterate"),
)


@pytest.fixture
def few_observations(services: Services) -> Partner:
    partner = hospital(services)
    extremes = (
        {"effectiveDateTime": "0001-01-01"},
        {"effectiveDateTime": "9999-12-31T23:59:59.999999999Z"},
        {},
    )
    send(
        services,
        partner,
        [
            {"resourceType": "Observation", "id": f"o{n}", "status": "final"} | e
            for n, e in enumerate(extremes)
        ],
    )
    return partner


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(NAMES), st.one_of(st.sampled_from(ODD), st.text(max_size=12))), max_size=3
    )
)
def test_any_question_is_answered_or_refused(
    services: Services, few_observations: Partner, pairs: list[tuple[str, str]]
) -> None:
    """A NUL is refused before, with the request."""
    pairs = [(name, value.replace("\0", "")) for name, value in pairs]
    try:
        query = search.parse("Observation", pairs, strict=False, base=BASE)
    except InvalidContent:
        return
    with searching(services, few_observations) as session:
        page = found.find(services, session, few_observations, query, None)
    assert len(page.matches) <= 3


SIGNED_AT = datetime(2026, 3, 1, tzinfo=UTC)


def _sign(services: Services, partner: Partner, number: int) -> str:
    """A frozen report about Patient/p0 or p1, every third without a request; a draft beside it. Its id."""
    subject = f"Patient/p{number % 2}"
    based_on = f"ServiceRequest/s{number}" if number % 3 else ""
    report = {
        "resourceType": "DiagnosticReport",
        "id": new_id(),
        "status": "final",
        "subject": {"reference": subject},
        **({"basedOn": [{"reference": based_on}]} if based_on else {}),
    }
    stored = keep_bytes(services.objects, [resources.dumps(report).encode()])
    texts = dict.fromkeys(("findings_text", "conclusion", "recommendations", "author_name"), "x")
    with services.database.transaction() as session:
        author = users.add(session, new_id()[:20], "Specialist", "x", frozenset({"specialist"}))
        case = cases.open_case(session, partner, f"ServiceRequest/s{number}", SIGNED_AT)
        session.flush()
        common = {"case_id": case.id, "author_id": author.id, "drafted_at": SIGNED_AT, **texts}
        signed = {
            "report_key": stored.key,
            "report_subject": subject,
            "report_based_on": based_on,
            "signed_at": SIGNED_AT + timedelta(days=number // 2),
        }
        session.add(OpinionRow(id=report["id"], **common, **signed))
        session.add(OpinionRow(id=new_id(), **common))
    return str(report["id"])


def test_signed_reports_are_found_and_paged_by_the_database_as_by_a_plain_comparison(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner, other = hospital(services), hospital(services)
    made = [_sign(services, partner, number) for number in range(7)]
    _sign(services, other, 8)
    read: list[str] = []
    monkeypatch.setattr(
        served, "read_bytes", lambda objects, key: read.append(key) or read_bytes(objects, key)
    )

    def wanted(*pairs: tuple[str, str]) -> list[int]:
        return [made.index(one) for one in ids(services, partner, asked("DiagnosticReport", *pairs))]

    assert sorted(wanted(("_count", "2"))) == list(range(7))
    assert len(read) == 10, "of each page its own reports, and one that tells whether there are more"
    newest = wanted(("_sort", "-_lastUpdated"), ("_count", "3"))
    assert [number // 2 for number in newest] == [3, 2, 2, 1, 1, 0, 0]
    assert sorted(wanted(("patient", "p1"), ("_count", "2"))) == [1, 3, 5]
    assert sorted(wanted(("subject", "Patient/p0,Group/p1"))) == [0, 2, 4, 6]
    assert wanted(("based-on", "s4")) == [4]
    assert wanted(("based-on", "s3")) == [], "the request came after the report was signed"
    assert sorted(wanted(("_lastUpdated", "ge2026-03-03"))) == [4, 5, 6]
    assert wanted(("_id", f"{made[2]},{made[5]}"), ("status", "final"), ("patient", "p0")) == [2]
    assert wanted(("_sort", "date"), ("patient", "p1"), ("_count", "2")) == wanted(("patient", "p1"))
