"""GET: a partner reads and searches what it sent and what was made of it, and nothing else."""

import base64
import gzip
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.searchparameter import SearchParameter
from sqlalchemy import Engine, event

from gateway.app import create_app
from gateway.auth.accounts import demo_partner
from gateway.case.model import Demographics, Record, Source
from gateway.clock import utc_now
from gateway.store import cases
from tests.support.bundles import (
    MRN,
    PDF,
    FhirClient,
    document_reference,
    in_letters,
    issues,
    referral,
)
from tests.support.gateway_process import GatewayProcess
from tests.support.in_process import migrated_services
from tests.support.partner import Partner

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess, partner: Partner) -> FhirClient:
    return FhirClient(gateway, partner)


@pytest.fixture(scope="module")
def sent(ehr: FhirClient) -> dict[str, str]:
    """References of one referral by type, its case and its number."""
    mrn = uuid4().hex[:10]
    binary = {
        "resourceType": "Binary",
        "contentType": "application/pdf",
        "data": base64.b64encode(PDF).decode(),
    }

    def by_binary(urls: dict[str, str]) -> dict[str, object]:
        made = document_reference(None)(urls)
        made["content"] = [{"attachment": {"contentType": "application/pdf", "url": urls["binary"]}}]
        return made

    answer = ehr.post(referral(mrn, binary=binary, document=by_binary))
    assert answer.status_code == 200, answer.text
    locations = [entry["response"]["location"].split("/_history")[0] for entry in answer.json()["entry"]]
    case_id = answer.headers["Location"].split("/")[-1]
    return {location.split("/")[0]: location for location in locations} | {"mrn": mrn, "case": case_id}


def test_the_capability_statement_is_r4_and_open_to_everybody(gateway: GatewayProcess) -> None:
    answer = requests.get(f"{gateway.fhir_url}/metadata", timeout=20)
    statement = CapabilityStatement.model_validate(answer.json())
    assert statement.fhirVersion == "4.0.1"
    assert {r.type for r in statement.rest[0].resource} >= {
        "Task",
        "DiagnosticReport",
        "ImagingStudy",
        "Binary",
    }


def test_each_search_parameter_that_is_claimed_can_be_read_as_a_resource(ehr: FhirClient) -> None:
    statement = requests.get(f"{ehr.base}/metadata", timeout=20).json()
    claimed = {p["definition"] for r in statement["rest"][0]["resource"] for p in r["searchParam"]}
    url, served = "SearchParameter?_count=500", []
    while url:
        page = ehr.get(url).json()
        served += [entry["resource"] for entry in page["entry"]]
        url = next_of(page)
    for resource in served:
        SearchParameter.model_validate(resource)
    assert {resource["url"] for resource in served} == claimed
    [phone] = ehr.get("SearchParameter?code=phone&base=Patient").json()["entry"]
    assert ehr.get("SearchParameter/individual-phone").json() == phone["resource"]


@pytest.mark.parametrize("kind", ["Patient", "ServiceRequest", "DocumentReference", "Binary"])
def test_a_partner_reads_back_what_it_sent(ehr: FhirClient, sent: dict[str, str], kind: str) -> None:
    answer = ehr.get(sent[kind])
    assert answer.status_code == 200, answer.text
    assert answer.json()["resourceType"] == kind
    assert answer.json()["meta"]["versionId"] == "1"
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Last-Modified"].endswith("GMT")


@pytest.mark.parametrize("kind", ["Patient", "ServiceRequest", "DocumentReference", "Binary"])
def test_another_partner_does_not(
    gateway: GatewayProcess, other_partner: Partner, sent: dict[str, str], kind: str
) -> None:
    stranger = FhirClient(gateway, other_partner)
    answer = stranger.get(sent[kind])
    assert answer.status_code == 404
    assert issues(answer)
    assert stranger.get(f"{kind}?_id={sent[kind].split('/')[1]}").json()["total"] == 0


def test_a_binary_comes_as_its_own_bytes_unless_fhir_is_asked_for(
    ehr: FhirClient, sent: dict[str, str]
) -> None:
    answer = ehr.get(sent["Binary"], Accept="application/pdf")
    assert answer.content == PDF
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert base64.b64decode(ehr.get(sent["Binary"]).json()["data"]) == PDF
    known = {"If-None-Match": answer.headers["ETag"]}
    unchanged = ehr.get(sent["Binary"], Accept="application/pdf", **known)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["ETag"] == answer.headers["ETag"]
    assert answer.headers["Last-Modified"]


@pytest.mark.parametrize("content_type", ["text/html\r\nX-Evil: 1", "no media type", "text/\u00fcber", ""])
def test_bytes_of_a_type_that_is_none_come_as_bytes(ehr: FhirClient, content_type: str) -> None:
    mrn = uuid4().hex[:10]
    binary = {"resourceType": "Binary", "contentType": content_type, "data": base64.b64encode(PDF).decode()}

    def by_binary(urls: dict[str, str]) -> dict[str, object]:
        made = document_reference(None)(urls)
        made["content"] = [{"attachment": {"contentType": "application/pdf", "url": urls["binary"]}}]
        return made

    ehr.open_case(referral(mrn, "collection", binary=binary, document=by_binary))
    [child] = ehr.get(f"Patient?identifier={MRN}|{mrn}").json()["entry"]
    [entry] = ehr.get(f"DocumentReference?patient=Patient/{child['resource']['id']}").json()["entry"]
    answer = ehr.get(entry["resource"]["content"][0]["attachment"]["url"], Accept="*/*")
    assert answer.status_code == 200, answer.text
    assert answer.content == PDF
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert "X-Evil" not in answer.headers


def test_an_attachment_s_address_leads_to_the_binary_that_was_sent_with_it(
    ehr: FhirClient, sent: dict[str, str]
) -> None:
    found = ehr.get(sent["DocumentReference"]).json()
    assert found["content"][0]["attachment"]["url"] == sent["Binary"]


@pytest.mark.parametrize(
    "query",
    [
        "Patient?identifier={mrn_system}|{mrn}",
        "Patient?identifier={mrn}",
        "Patient?given={letters}&family=okafor&birthdate=2018-03-09&gender=female",
        "Patient?_id={Patient.id}",
        "ServiceRequest?patient={Patient}&status=active",
        "ServiceRequest?subject={Patient.id}",
        "DocumentReference?patient={Patient}",
        "Task?focus={ServiceRequest}",
        "Task?patient={Patient}&status=received,accepted",
        "Task?_id={case}",
        "Binary?_id={Binary.id}",
    ],
)
def test_searches_find_the_one_resource(ehr: FhirClient, sent: dict[str, str], query: str) -> None:
    values = (
        {"mrn_system": MRN, "letters": in_letters(sent["mrn"])}
        | sent
        | {f"{k}.id": v.split("/")[-1] for k, v in sent.items()}
    )
    for name, value in values.items():
        query = query.replace("{" + name + "}", value)
    answer = ehr.get(query)
    assert answer.status_code == 200, answer.text
    found = Bundle.model_validate(answer.json())
    assert (found.type, found.total) == ("searchset", 1)
    assert found.entry[0].search.mode == "match"


@pytest.mark.parametrize(
    "query", ["Patient?family=nobody", "Patient?birthdate=gt2030", "Task?status=completed&_id={case}"]
)
def test_searches_that_match_nothing_are_empty(ehr: FhirClient, sent: dict[str, str], query: str) -> None:
    answer = ehr.get(query.replace("{case}", sent["case"]))
    assert answer.json()["total"] == 0
    assert "entry" not in answer.json()


def test_pages_hold_everything_once(ehr: FhirClient) -> None:
    for _ in range(3):
        ehr.open_case(referral())
    url, seen = "ServiceRequest?_count=2", []
    while url:
        page = ehr.get(url).json()
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        url = next(
            (link["url"].split("/fhir/")[1] for link in page["link"] if link["relation"] == "next"), ""
        )
    assert len(seen) == len(set(seen)) == page["total"]


def test_a_page_begins_where_the_last_one_ended_whatever_came_in(ehr: FhirClient) -> None:
    sent = [in_letters(uuid4().hex[:10]) for _ in range(3)]
    for name in sent:
        ehr.open_case(referral(patient=child(name)))
    query = f"Patient?given={','.join(sent)}&_count=2"
    first = ehr.get(query).json()
    ehr.open_case(referral(patient=child(sent[0])))
    second = ehr.get(next_of(first)).json()
    seen = [entry["resource"]["id"] for page in (first, second) for entry in page["entry"]]
    assert len(seen) == len(set(seen)) == second["total"] == 4


def child(given: str) -> dict[str, object]:
    """A Patient of that name with a number of its own."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": MRN, "value": uuid4().hex[:10]}],
        "name": [{"family": "Paged", "given": [given]}],
        "birthDate": "2018-03-09",
    }


def next_of(page: dict[str, Any]) -> str:
    """The next link relative to the base; empty on the last page."""
    links = {link["relation"]: link["url"] for link in page["link"]}
    return links.get("next", "").partition("/fhir/")[2]


def test_the_address_of_a_page_is_good_for_its_own_search_only(
    gateway: GatewayProcess, ehr: FhirClient, sent: dict[str, str], other_partner: Partner
) -> None:
    ehr.open_case(referral())
    url = next_of(ehr.get("Patient?_count=1").json())
    assert ehr.get(url).status_code == 200
    for other in (f"{url}&gender=female", url.replace("_page=", "_page=x"), f"{url}&_sort=family"):
        answer = ehr.get(other)
        assert answer.status_code == 400, other
        assert issues(answer)
    assert FhirClient(gateway, other_partner).get(url).status_code == 400


def test_a_total_that_nobody_wants_is_left_out(ehr: FhirClient, sent: dict[str, str]) -> None:
    found = ehr.get(f"Patient?identifier={sent['mrn']}&_total=none").json()
    assert "total" not in found
    assert len(found["entry"]) == 1
    counted = ehr.get(f"Patient?identifier={sent['mrn']}&_count=0").json()
    assert (counted["total"], "entry" in counted) == (1, False)


@pytest.mark.parametrize(
    ("asked", "there", "gone"),
    [
        ("_summary=true", {"name", "birthDate"}, {"text", "communication"}),
        ("_summary=data", {"name", "communication"}, {"text"}),
        ("_summary=text", {"text"}, {"name"}),
        ("_elements=gender,Patient.birthDate", {"gender", "birthDate"}, {"name", "text"}),
    ],
)
def test_parts_of_a_resource_are_tagged_as_such(
    ehr: FhirClient, asked: str, there: set[str], gone: set[str]
) -> None:
    whole = child(in_letters(uuid4().hex[:10])) | {
        "gender": "female",
        "communication": [{"language": {"text": "German"}}],
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">A child</div>'},
    }
    [number] = whole["identifier"]
    ehr.open_case(referral(patient=whole))
    [entry] = ehr.get(f"Patient?identifier={number['value']}&{asked}").json()["entry"]
    read = ehr.get(f"Patient/{entry['resource']['id']}?{asked}").json()
    assert read == entry["resource"]
    assert there <= read.keys()
    assert not gone & read.keys()
    assert [tag["code"] for tag in read["meta"]["tag"]] == ["SUBSETTED"]


def test_a_search_is_sorted_as_asked(ehr: FhirClient) -> None:
    given = in_letters(uuid4().hex[:10])
    for date in ("2018-03-09", "2011-01-01", "2020", "2015-07-07"):
        ehr.open_case(referral(patient=child(given) | {"birthDate": date}))
    for order, wanted in (("birthdate", False), ("-birthdate", True)):
        dates, url = [], f"Patient?given={given}&_sort={order}&_count=3"
        while url:
            page = ehr.get(url).json()
            dates += [entry["resource"]["birthDate"] for entry in page["entry"]]
            url = next_of(page)
        assert dates == sorted(dates, reverse=wanted)
        assert len(dates) == 4


def test_what_matches_refer_to_and_what_refers_to_them_is_included(
    ehr: FhirClient, sent: dict[str, str]
) -> None:
    def of(query: str) -> dict[str, str]:
        return {
            f"{entry['resource']['resourceType']}/{entry['resource']['id']}": entry["search"]["mode"]
            for entry in ehr.get(query).json()["entry"]
        }

    request, patient, case = sent["ServiceRequest"], sent["Patient"], f"Task/{sent['case']}"
    request_id, patient_id = request.split("/")[1], patient.split("/")[1]
    assert of(f"ServiceRequest?_id={request_id}&_include=ServiceRequest:patient") == {
        request: "match",
        patient: "include",
    }
    around = of(f"Patient?_id={patient_id}&_revinclude=ServiceRequest:subject&_revinclude=Task:patient")
    assert around == {patient: "match", request: "include", case: "include"}
    further = of(f"Task?_id={sent['case']}&_include=Task:focus&_include:iterate=ServiceRequest:*")
    assert further.items() >= {case: "match", request: "include", patient: "include"}.items()
    assert of(f"ServiceRequest?_id={request_id}&_include=*").keys() >= {request, patient}
    assert of(f"Task?_id={sent['case']}&_include=Task:focus:Patient") == {case: "match"}


def test_nothing_is_included_that_the_token_may_not_read(
    ehr: FhirClient, sent: dict[str, str], partner: Partner
) -> None:
    headers = partner.headers("system/ServiceRequest.rs")
    url = f"{ehr.base}/ServiceRequest?_id={sent['ServiceRequest'].split('/')[1]}&_include=ServiceRequest:patient"
    found = requests.get(url, headers=headers, timeout=20).json()
    assert [entry["search"]["mode"] for entry in found["entry"]] == ["match", "outcome"]


def test_parameters_of_address_and_form_both_count(ehr: FhirClient, sent: dict[str, str]) -> None:
    url = f"{ehr.base}/Patient/_search?identifier={sent['mrn']}"
    for gender, total in (("female", 1), ("male", 0)):
        answer = requests.post(url, data={"gender": gender}, headers=ehr.partner.headers(), timeout=20)
        assert answer.json()["total"] == total
    refused = requests.post(url, json={}, headers=ehr.partner.headers(), timeout=20)
    assert refused.status_code == 415


def test_an_unknown_parameter_is_reported_or_under_strict_handling_refused(ehr: FhirClient) -> None:
    lenient = ehr.get("Patient?shoe-size=23&_count=1").json()
    assert lenient["entry"][-1]["search"]["mode"] == "outcome"
    strict = ehr.get("Patient?shoe-size=23", Prefer="handling=strict")
    assert strict.status_code == 400
    assert "shoe-size" in strict.text


@pytest.mark.parametrize(
    "query",
    [
        "DiagnosticReport?patient.name.family=x",
        "DiagnosticReport?subject:Patient.nothing=x",
        "Patient?name:phonetic=x",
        "Patient?birthdate=yesterday",
    ],
)
def test_what_would_narrow_a_search_and_is_not_offered_is_refused(ehr: FhirClient, query: str) -> None:
    answer = ehr.get(query)
    assert answer.status_code == 400
    assert issues(answer)


def test_a_count_is_the_total_and_nothing_else(ehr: FhirClient, sent: dict[str, str]) -> None:
    answer = ehr.get(f"Patient?identifier={sent['mrn']}&_summary=count").json()
    assert answer["total"] == 1
    assert "entry" not in answer
    assert [link["relation"] for link in answer["link"]] == ["self"]


@pytest.mark.parametrize(
    "query",
    [
        "_id={case}",
        "focus=ServiceRequest/s0",
        "patient=p0&status=received",
        "_id={case}&_revinclude=Task:part-of",
    ],
)
def test_the_cost_of_a_task_search_follows_what_is_found(tmp_path: Path, query: str) -> None:
    services = migrated_services(tmp_path, dev=True)
    peer = create_app(services).test_client()
    demo = demo_partner(services)
    statements: list[str] = []
    counted = (Engine, "before_cursor_execute", lambda *of: statements.append(of[2]))
    event.listen(*counted)

    def open_case(number: int) -> str:
        source = Source("r", "0" * 64, "Bundle", reference=f"Patient/p{number}")
        with services.database.transaction() as session:
            row = cases.open_case(session, demo, f"ServiceRequest/s{number}", utc_now())
            cases.set_record(row, Record(patient=Demographics(source=source)))
            return row.id

    def cost() -> int:
        statements.clear()
        answer = peer.get(f"/fhir/Task?{query.format(case=first)}", base_url=services.config.base_url)
        assert [entry["resource"]["id"] for entry in answer.json["entry"]] == [first]
        return len(statements)

    first = open_case(0)
    alone = cost()
    for number in range(1, 10):
        open_case(number)
    assert cost() == alone > 5
    event.remove(*counted)
    services.database.close()


def test_a_search_can_be_posted_as_a_form(ehr: FhirClient, sent: dict[str, str]) -> None:
    answer = requests.post(
        f"{ehr.base}/Patient/_search",
        data={"identifier": f"{MRN}|{sent['mrn']}"},
        headers=ehr.partner.headers(),
        timeout=20,
    )
    assert answer.json()["total"] == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("family=M\u00fcller".encode("latin-1"), {}, 400),
        ("family=nobody".encode("utf-16"), {}, 400),
        (b"family=M%FCller", {}, 400),
        (b"family=no%00body", {}, 400),
        (b"family=" + b"x" * 300, {}, 400),
        (b"family=x&" * 1001, {}, 400),
        (b"family=M%FCller", {"Content-Type": f"{FORM}; charset=iso-8859-1"}, 415),
        (b"family=nobody", {"Content-Type": ""}, 415),
        (b"family=nobody", {"Content-Type": "text/plain"}, 415),
        (gzip.compress(b"family=nobody"), {"Content-Encoding": "gzip"}, 200),
        (gzip.compress(b"family=nobody")[:-9], {"Content-Encoding": "gzip"}, 400),
        (b"family=nobody", {"Content-Encoding": "br"}, 415),
    ],
    ids=range(12),
)
def test_of_a_form_nothing_is_left_out_for_that_would_find_too_much(
    ehr: FhirClient, sent: dict[str, str], body: bytes, headers: dict[str, str], status: int
) -> None:
    given = ehr.partner.headers() | {"Content-Type": FORM} | headers
    answer = requests.post(f"{ehr.base}/Patient/_search", data=body, headers=given, timeout=20)
    assert (answer.status_code, answer.json().get("total", 0)) == (status, 0)


def test_an_unchanged_resource_is_not_sent_again(ehr: FhirClient, sent: dict[str, str]) -> None:
    assert ehr.get(sent["Patient"], **{"If-None-Match": 'W/"9"'}).status_code == 200
    answer = ehr.get(sent["Patient"], **{"If-None-Match": 'W/"1"'})
    assert (answer.status_code, answer.content) == (304, b"")


def test_what_did_not_change_since_is_not_sent_again(ehr: FhirClient, sent: dict[str, str]) -> None:
    at = ehr.get(sent["Patient"]).headers["Last-Modified"]
    assert ehr.get(sent["Patient"], **{"If-Modified-Since": at}).status_code == 304
    before = "Mon, 01 Jan 2001 00:00:00 GMT"
    assert ehr.get(sent["Patient"], **{"If-Modified-Since": before}).status_code == 200
    both = {"If-Modified-Since": at, "If-None-Match": 'W/"9"'}
    assert ehr.get(sent["Patient"], **both).status_code == 200


def test_a_head_has_the_headers_of_a_read(ehr: FhirClient, sent: dict[str, str]) -> None:
    answer = requests.head(f"{ehr.base}/{sent['Patient']}", headers=ehr.partner.headers(), timeout=20)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["ETag"] == 'W/"1"'


@pytest.fixture(scope="module")
def changed(ehr: FhirClient) -> str:
    """The reference of a Patient who was sent twice, first without a telephone number."""
    number = uuid4().hex[:10]
    first = child("Twice") | {"identifier": [{"system": MRN, "value": number}]}
    ehr.open_case(referral(patient=first))
    ehr.open_case(referral(patient=first | {"telecom": [{"system": "phone", "value": "1"}]}))
    [entry] = ehr.get(f"Patient?identifier={number}").json()["entry"]
    return f"Patient/{entry['resource']['id']}"


def test_each_version_can_be_read(ehr: FhirClient, changed: str) -> None:
    first, second = (ehr.get(f"{changed}/_history/{number}") for number in (1, 2))
    assert "telecom" not in first.json()
    assert second.json() == ehr.get(changed).json()
    assert (first.headers["ETag"], second.headers["ETag"]) == ('W/"1"', 'W/"2"')
    for number in ("3", "0", "x", "99999999999"):
        answer = ehr.get(f"{changed}/_history/{number}")
        assert answer.status_code == 404
        assert issues(answer)


def test_an_earlier_version_is_found_by_no_search(ehr: FhirClient, changed: str) -> None:
    fhir_id = changed.split("/")[1]
    assert ehr.get(f"Patient?_id={fhir_id}&phone:missing=true").json()["total"] == 0
    assert ehr.get(f"Patient?_id={fhir_id}&phone=1").json()["total"] == 1


def test_a_history_tells_each_version_the_newest_first(ehr: FhirClient, changed: str) -> None:
    answer = Bundle.model_validate(ehr.get(f"{changed}/_history").json())
    assert (answer.type, answer.total) == ("history", 2)
    assert [entry.resource.meta.versionId for entry in answer.entry] == ["2", "1"]
    assert [(entry.request.method, entry.request.url) for entry in answer.entry] == [
        ("PUT", changed),
        ("POST", "Patient"),
    ]
    assert [entry.response.etag for entry in answer.entry] == ['W/"2"', 'W/"1"']
    second = ehr.get(changed).json()["meta"]["lastUpdated"]
    since = ehr.get(f"{changed}/_history?_since={second}").json()
    assert since["total"] == 1
    assert ehr.get(f"{changed}/_history?_since=yesterday").status_code == 400


def test_the_history_of_a_type_comes_in_pages_and_is_the_sender_s_own(
    gateway: GatewayProcess, ehr: FhirClient, changed: str, other_partner: Partner
) -> None:
    url, seen = "Patient/_history?_count=2", []
    while url:
        page = ehr.get(url).json()
        seen += [(e["resource"]["id"], e["resource"]["meta"]["versionId"]) for e in page["entry"]]
        url = next_of(page)
    assert len(seen) == len(set(seen)) == page["total"]
    assert {(changed.split("/")[1], "1"), (changed.split("/")[1], "2")} <= set(seen)
    stranger = FhirClient(gateway, other_partner)
    assert stranger.get(f"{changed}/_history").status_code == 404
    assert stranger.get(f"{changed}/_history/1").status_code == 404
    own = stranger.get("Patient/_history?_count=500").json().get("entry", [])
    assert changed.split("/")[1] not in {entry["resource"]["id"] for entry in own}


@pytest.mark.parametrize("type_name", ["OperationDefinition", "Task"])
def test_of_what_the_gateway_made_at_one_moment_no_page_of_a_history_leaves_anything_out(
    ehr: FhirClient, sent: dict[str, str], type_name: str
) -> None:
    url, seen, total = f"{type_name}/_history?_count=2", [], 0
    while url:
        page = ehr.get(url).json()
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        url, total = next_of(page), page["total"]
    assert len(set(seen)) == len(seen) == total > 0


def test_of_what_the_gateway_makes_only_the_present_version_is_there(
    ehr: FhirClient, sent: dict[str, str]
) -> None:
    task = ehr.get(f"Task/{sent['case']}").json()
    version = task["meta"]["versionId"]
    assert ehr.get(f"Task/{sent['case']}/_history/{version}").json() == task
    assert ehr.get(f"Task/{sent['case']}/_history/1").status_code == 404
    assert ehr.get(f"Task/{sent['case']}/_history").json()["total"] == 1


def test_a_token_for_one_type_reads_no_other(ehr: FhirClient, sent: dict[str, str], partner: Partner) -> None:
    headers = partner.headers("system/Patient.rs")
    assert requests.get(f"{ehr.base}/{sent['Patient']}", headers=headers, timeout=20).status_code == 200
    answer = requests.get(f"{ehr.base}/{sent['ServiceRequest']}", headers=headers, timeout=20)
    assert answer.status_code == 403
    assert "system/ServiceRequest.r" in issues(answer)[0][1]


@pytest.mark.parametrize(
    ("scope", "path", "status"),
    [
        ("system/Patient.r", "/_history", 200),
        ("system/Patient.s", "/_history", 403),
        ("system/Patient.r", "/_history/1", 200),
        ("system/Patient.s", "/_history/1", 403),
        ("system/Patient.r", "", 200),
    ],
)
def test_versions_of_a_resource_need_the_scope_of_a_read(
    ehr: FhirClient, sent: dict[str, str], partner: Partner, scope: str, path: str, status: int
) -> None:
    url = f"{ehr.base}/{sent['Patient']}{path}"
    assert requests.get(url, headers=partner.headers(scope), timeout=20).status_code == status


def test_the_history_of_a_type_needs_the_scope_of_a_search(ehr: FhirClient, partner: Partner) -> None:
    url = f"{ehr.base}/Patient/_history"
    for scope, status in (("system/Patient.s", 200), ("system/Patient.r", 403)):
        assert requests.get(url, headers=partner.headers(scope), timeout=20).status_code == status


def test_what_is_read_and_searched_is_on_the_audit_trail_by_own_ids_only(
    gateway: GatewayProcess, ehr: FhirClient, sent: dict[str, str]
) -> None:
    before = len(audit_rows(gateway))
    ehr.get(sent["Patient"])
    ehr.get(f"Patient?identifier={MRN}|{sent['mrn']}&family=okafor")
    rows = audit_rows(gateway)[before:]
    assert rows == [
        ("partner:hospital-a", "read", sent["Patient"], '{"count": 1}'),
        ("partner:hospital-a", "search", "Patient", '{"count": 1}'),
    ]


def audit_rows(gateway: GatewayProcess) -> list[tuple[str, str, str, str]]:
    """What hospital-a read and searched at the FHIR door, oldest first."""
    query = (
        "SELECT actor, action, subject, detail FROM audit WHERE channel = 'fhir' "
        "AND actor = 'partner:hospital-a' AND action IN ('read', 'search') ORDER BY id"
    )
    with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite")) as database:
        return database.execute(query).fetchall()


def test_attachments_keep_their_hash(ehr: FhirClient) -> None:
    answer = ehr.post(referral(document=document_reference(PDF)))
    location = answer.json()["entry"][-1]["response"]["location"].split("/_history")[0]
    attachment = ehr.get(location).json()["content"][0]["attachment"]
    data = base64.b64decode(attachment["data"])
    assert base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode() == attachment["hash"]


def test_an_operator_has_what_is_found_made_anew(
    gateway: GatewayProcess, ehr: FhirClient, sent: dict[str, str]
) -> None:
    assert "next searches" in gateway.command("search-again").stdout
    assert ehr.get(f"Patient?identifier={sent['mrn']}").json()["total"] == 1
