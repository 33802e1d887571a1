"""Bundles with ``Prefer: respond-async``: acknowledged at once, answered later (FHIR R5 3.2.6.2)."""

import json
import sqlite3
import time
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
import requests
from fhir.resources.R4B.bundle import Bundle

from gateway.fhir.xml_format import read_xml
from mappings.fhir_definitions import Release
from tests.support.bundles import FhirClient, referral
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
def ehr(gateway: GatewayProcess, partner: Partner) -> FhirClient:
    return FhirClient(gateway, partner)


def message() -> dict[str, Any]:
    made = referral(None, "collection") | {"type": "message"}
    header = {
        "resourceType": "MessageHeader",
        "id": str(uuid4()),
        "eventCoding": {"system": "https://hospital-a.example/events", "code": "referral"},
        "source": {"endpoint": "https://hospital-a.example/fhir"},
    }
    made["entry"].insert(0, {"fullUrl": f"urn:uuid:{header['id']}", "resource": header})
    return made


def kick_off(ehr: FhirClient, body: dict[str, Any] | bytes, path: str = "", **headers: str) -> str:
    """The address of the status."""
    answer = ehr.post(body, path, **(ASYNC | headers))
    assert answer.status_code == 202, answer.text
    assert "OperationOutcome" in answer.text
    return answer.headers["Content-Location"]


def complete(partner: Partner, url: str, **headers: str) -> requests.Response:
    deadline = time.monotonic() + 30
    while (answer := requests.get(url, headers=partner.headers() | headers, timeout=20)).status_code == 202:
        assert {"X-Progress", "Retry-After"} <= answer.headers.keys()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert answer.status_code == 200, answer.text
    return answer


def answered(ehr: FhirClient, body: dict[str, Any] | bytes, path: str = "", **headers: str) -> dict[str, Any]:
    """The entry of the answer."""
    bundle = complete(ehr.partner, kick_off(ehr, body, path, **headers)).json()
    Bundle.model_validate(bundle)
    assert bundle["type"] == "batch-response"
    [entry] = bundle["entry"]
    found: dict[str, Any] = entry
    return found


def test_a_transaction_is_answered_later_as_it_would_have_been_at_once(ehr: FhirClient) -> None:
    sent = referral()
    entry = answered(ehr, sent)
    assert entry["response"]["status"] == "200 OK"
    case_id = entry["response"]["location"].split("/")[-1]
    assert ehr.task(case_id)["id"] == case_id
    at_once = ehr.post(sent)
    assert entry["resource"] == at_once.json()
    assert entry["response"]["location"] == at_once.headers["Location"]


def test_a_document_is_answered_with_its_task_or_what_is_preferred_of_it(ehr: FhirClient) -> None:
    entry = answered(ehr, referral(None, "collection"))
    assert entry["response"]["status"] == "201 Created"
    assert entry["resource"]["resourceType"] == "Task"
    minimal = answered(ehr, referral(None, "collection"), Prefer="respond-async, return=minimal")
    assert minimal.keys() == {"response"}
    told = answered(ehr, referral(None, "collection"), Prefer="return=OperationOutcome; a=b, respond-async")
    assert told["response"]["outcome"]["issue"][0]["severity"] == "information"


def test_a_message_is_answered_by_its_response_message(ehr: FhirClient) -> None:
    sent = message()
    entry = answered(ehr, sent, "/$process-message")
    header = entry["resource"]["entry"][0]["resource"]
    assert header["response"] == {"identifier": sent["entry"][0]["resource"]["id"], "code": "ok"}


def test_what_is_wrong_with_it_is_told_in_the_answer_and_kept_as_refused(
    gateway: GatewayProcess, ehr: FhirClient
) -> None:
    sent = referral()
    sent["entry"][2]["resource"]["subject"]["reference"] = "urn:uuid:nowhere"
    entry = answered(ehr, sent)
    at_once = ehr.post(sent)
    assert entry == {"response": {"status": "400 Bad Request", "outcome": at_once.json()}}
    entry = answered(ehr, b"no JSON " + uuid4().hex.encode())
    assert entry["response"]["status"] == "400 Bad Request"
    broken = message()
    for one in broken["entry"][1:]:
        one["resource"] = {"resourceType": "Horse"}
    entry = answered(ehr, broken)
    assert entry["response"]["status"].startswith("4")
    assert entry["resource"]["entry"][0]["resource"]["response"]["code"] == "fatal-error"


def test_the_answer_is_in_the_format_and_release_that_the_bundle_asked_for(ehr: FhirClient) -> None:
    xml = complete(ehr.partner, kick_off(ehr, referral(), Accept="application/fhir+xml; fhirVersion=5.0"))
    assert xml.headers["Content-Type"].startswith("application/fhir+xml; fhirVersion=5.0")
    assert read_xml(xml.content, Release.R5)["type"] == "batch-response"
    url = kick_off(ehr, referral(), **{"Content-Type": "application/fhir+json; fhirVersion=5.0"})
    told = complete(ehr.partner, url, Accept="application/fhir+xml")
    assert told.headers["Content-Type"].startswith("application/fhir+json; fhirVersion=5.0")


def test_its_bytes_are_on_disk_when_it_is_acknowledged(gateway: GatewayProcess, ehr: FhirClient) -> None:
    sent = json.dumps(referral()).encode()
    kick_off(ehr, sent)
    assert any(
        path.stat().st_size == len(sent) and path.read_bytes() == sent
        for path in (gateway.data_dir / "objects").glob("??/*")
    )


def test_the_name_of_a_request_is_on_the_trail_of_all_that_comes_of_it(
    gateway: GatewayProcess, ehr: FhirClient, partner: Partner
) -> None:
    name = f"asked-{uuid4().hex}"
    url = kick_off(ehr, referral(), **{"X-Request-ID": name})
    complete(partner, url, **{"X-Request-ID": f"{name}-2"})
    query = "SELECT action, request_id FROM audit WHERE request_id LIKE ? ORDER BY id"
    with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite")) as database:
        rows = database.execute(query, (f"{name}%",)).fetchall()
    assert rows == [("ask-async", name), ("bundle-received", name), ("read", f"{name}-2")]


def test_another_hospital_does_not_see_it_and_who_is_done_with_it_can_have_it_removed(
    ehr: FhirClient, partner: Partner, other_partner: Partner
) -> None:
    sent = referral()
    url = kick_off(ehr, sent)
    complete(partner, url)
    for method in ("GET", "DELETE"):
        assert requests.request(method, url, headers=other_partner.headers(), timeout=20).status_code == 404
    assert requests.get(url, headers=partner.headers("system/Patient.rs"), timeout=20).status_code == 403
    assert requests.delete(url, headers=partner.headers(), timeout=20).status_code == 202
    assert requests.get(url, headers=partner.headers(), timeout=20).status_code == 404
    assert ehr.post(sent).status_code == 200  # what was received stays received


def test_bulk_output_of_a_bundle_is_not_offered(ehr: FhirClient) -> None:
    assert ehr.post(referral(), "/?_outputFormat=ndjson", **ASYNC).status_code == 400
    assert ehr.post(referral(), **ASYNC, Accept="text/turtle").status_code == 406


@pytest.mark.parametrize("bundle_type", ["transaction", "batch"])
def test_each_entry_tells_what_is_preferred(ehr: FhirClient, bundle_type: str) -> None:
    sent = referral(None, bundle_type)
    kinds = [entry["resource"]["resourceType"] for entry in sent["entry"]]
    answer = ehr.post(sent, Prefer="return=representation")
    entries = answer.json()["entry"]
    assert [entry["resource"]["resourceType"] for entry in entries] == kinds
    for entry in entries:
        location = f"{entry['resource']['resourceType']}/{entry['resource']['id']}/_history/"
        assert entry["response"]["location"] == location + entry["resource"]["meta"]["versionId"]
    told = ehr.post(sent, Prefer="return=OperationOutcome").json()["entry"]
    assert all(entry["response"]["outcome"]["issue"][0]["severity"] == "information" for entry in told)
    minimal = ehr.post(sent, Prefer="return=minimal").json()["entry"]
    assert all(entry.keys() == {"response"} and "outcome" not in entry["response"] for entry in minimal)


def test_what_was_there_before_is_not_told_to_a_token_that_may_not_read(
    ehr: FhirClient, partner: Partner
) -> None:
    mrn = uuid4().hex[:10]
    ehr.post(referral(mrn))
    sent = referral(mrn)
    sent["entry"][0]["request"]["ifNoneExist"] = f"identifier=https://hospital-a.example/mrn|{mrn}"
    headers = partner.headers("system/Bundle.c") | {
        "Content-Type": "application/fhir+json",
        "Prefer": "return=representation",
    }
    answer = requests.post(ehr.base, data=json.dumps(sent), headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    assert "resource" not in answer.json()["entry"][0]
