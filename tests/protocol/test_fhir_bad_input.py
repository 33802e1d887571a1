"""What the FHIR door cannot take gets a clear answer: the status, every fault, its place, what to do."""

import json
import socket
import sqlite3
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.support.bundles import FHIR_JSON, FhirClient, bundle, issues, patient, referral
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess, partner: Partner) -> FhirClient:
    return FhirClient(gateway, partner)


def changed(**changes: Any) -> dict[str, Any]:
    return referral() | changes


def without(index: int, *names: str) -> dict[str, Any]:
    sent = referral()
    for name in names:
        del sent["entry"][index]["resource"][name]
    return sent


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body is empty"),
        (b"<html></html>", "not JSON"),
        (b'{"resourceType": "Bundle", ', "line 1, column"),
        (b'{"resourceType": "Bundle", "total": NaN}', "NaN is no JSON number"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"[1, 2]", "no object"),
        (b'"text"', "no object"),
        (b'{"resourceType": "Bundle", "id": "\\u0000"}', "holds NUL"),
        (b'{"resourceType": "Bundle", "id": "\\ud800"}', "surrogate"),
        (b"{}", "'resourceType' is missing"),
        (b'{"resourceType": 7}', "'resourceType' is missing"),
        (b'{"resourceType": "Patient"}', "A Bundle was expected"),
        (b'{"resourceType": "Bundle"}', "'type' is missing"),
        (b"[" * 100_000, "nested too deeply"),
        (json.dumps(changed(type="searchset")).encode(), "'searchset' are not taken"),
        (json.dumps(changed(entry=[])).encode(), "has no entries"),
        (json.dumps(changed(entry={"resource": {}})).encode(), "list (JSON array) was expected"),
    ],
)
def test_what_is_no_bundle_is_refused_in_plain_words(ehr: FhirClient, body: bytes, words: str) -> None:
    answer = ehr.post(body)
    assert answer.status_code == 400
    assert any(words in text for _, text in issues(answer)), issues(answer)


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        (without(2, "status"), "Bundle.entry[2].resource.status", "required element 'status' is missing"),
        (without(2, "subject"), "Bundle.entry[2].resource.subject", "required element 'subject' is missing"),
        (without(0, "resourceType"), "Bundle.entry[0].resource", "'resourceType' is missing"),
    ],
)
def test_a_missing_element_is_named_with_its_place(
    ehr: FhirClient, body: dict[str, Any], place: str, words: str
) -> None:
    answer = ehr.post(body)
    assert answer.status_code == 400
    assert any(path == place and words in text for path, text in issues(answer)), issues(answer)


def test_an_unknown_resource_type_is_named(ehr: FhirClient) -> None:
    sent = referral()
    sent["entry"][1]["resource"]["resourceType"] = "Wizard"
    answer = ehr.post(sent)
    assert ("Bundle.entry[1].resource", "'Wizard' is no resource type of FHIR R4.") in issues(answer)


def test_an_unknown_contained_type_is_named_and_no_failure(ehr: FhirClient) -> None:
    sent = referral()
    sent["entry"][2]["resource"]["contained"] = [{"resourceType": "Wizard", "id": "x"}]
    answer = ehr.post(sent)
    assert answer.status_code == 400
    assert any("contained resource" in text for _, text in issues(answer))


def test_every_reference_that_leads_nowhere_is_named(ehr: FhirClient) -> None:
    sent = referral()
    sent["entry"][2]["resource"]["requester"]["reference"] = "Practitioner/nobody"
    sent["entry"][2]["resource"]["subject"]["reference"] = f"urn:uuid:{uuid4()}"
    answer = ehr.post(sent)
    assert answer.status_code == 400
    assert [path for path, _ in issues(answer)] == [
        "Bundle.entry[2].resource.subject.reference",
        "Bundle.entry[2].resource.requester.reference",
    ]


def test_in_a_collection_such_a_reference_does_not_refuse_the_rest(ehr: FhirClient) -> None:
    sent = referral(bundle_type="collection")
    sent["entry"][2]["resource"]["requester"]["reference"] = "Practitioner/nobody"
    assert ehr.post(sent).status_code == 201


def test_a_dstu2_bundle_is_recognised_by_its_content(ehr: FhirClient) -> None:
    order = {"resourceType": "DiagnosticOrder", "status": "requested", "subject": {"reference": "Patient/1"}}
    answer = ehr.post({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": order}]})
    assert answer.status_code == 415
    assert issues(answer)[0] == (
        "Bundle.entry[0].resource",
        "This is FHIR DSTU2; the gateway speaks FHIR STU3 (3.0), R4 (4.0), R4B (4.3), R5 (5.0).",
    )


def test_a_real_dstu2_file_is_refused_by_name(ehr: FhirClient) -> None:
    answer = ehr.post((DATA / "dstu2-bundle.xml").read_bytes(), **{"Content-Type": "application/xml+fhir"})
    assert answer.status_code == 415
    assert "DSTU2" in answer.text


@pytest.mark.parametrize(
    "content_type",
    ["text/turtle", "text/plain", "application/pdf", "multipart/form-data; boundary=x", ""],
)
def test_other_media_types_are_refused(ehr: FhirClient, content_type: str) -> None:
    answer = ehr.post(referral(), **{"Content-Type": content_type})
    assert answer.status_code == 415
    assert FHIR_JSON in answer.text


def test_an_answer_that_cannot_be_written_is_refused(ehr: FhirClient) -> None:
    assert ehr.post(referral(), Accept="text/turtle").status_code == 406
    assert ehr.get("Patient", Accept="text/html, application/fhir+json;q=0, */*;q=0").status_code == 406
    assert ehr.get("Patient?_format=ttl").status_code == 406


def test_a_double_full_url_is_named(ehr: FhirClient) -> None:
    sent = referral()
    sent["entry"][1]["fullUrl"] = sent["entry"][0]["fullUrl"]
    assert any("more than once" in text for _, text in issues(ehr.post(sent)))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            {"method": "DELETE", "url": "Patient/1"},
            "send the resource again with the status entered-in-error",
        ),
        ({"method": "DELETE", "url": "Patient?identifier=x|1"}, "DELETE is not supported"),
        ({"method": "PATCH", "url": "Patient/1"}, "Send the whole resource by PUT"),
        ({"method": "GET", "url": "Patient/1"}, "asked for by itself, outside a bundle"),
        ({"method": "PUT", "url": "Patient?identifier=x|1"}, "Conditional updates are not supported"),
        ({"method": "POST", "url": "Practitioner"}, "expected Patient"),
        ({"method": "PUT", "url": "Patient/1"}, "id differs"),
        ({"method": "POST", "url": "Patient", "ifNoneExist": "name=x"}, "identifier=system|value"),
        ({}, "POST and PUT are"),
    ],
)
def test_a_request_that_is_not_offered_is_named(
    ehr: FhirClient, request_: dict[str, str], words: str
) -> None:
    sent = referral()
    sent["entry"][0]["request"] = request_
    answer = ehr.post(sent)
    assert answer.status_code == 400
    assert any(words in text for _, text in issues(answer)), issues(answer)


@pytest.mark.parametrize(
    ("bundle_type", "words"),
    [
        ("searchset", "a server's answer to a search: send what was found as a collection"),
        ("history", "it tells versions of resources: send those that hold now as a collection"),
        ("transaction-response", "a server's answer to a transaction"),
        ("batch-response", "a server's answer to a batch"),
        ("subscription-notification", "has no subscription at any server"),
        ("basket", "Bundles of type 'basket' are not taken; these are: transaction, batch"),
    ],
)
def test_bundles_that_are_no_submission_are_refused_with_what_they_are_for(
    ehr: FhirClient, bundle_type: str, words: str
) -> None:
    answer = ehr.post(referral() | {"type": bundle_type})
    assert answer.status_code == 400
    [(expression, text)] = issues(answer)
    assert (expression, words in text) == ("Bundle.type", True), text


def test_without_a_token_nothing_is_taken_or_read(ehr: FhirClient) -> None:
    for answer in (
        requests.post(ehr.base, json=referral(), timeout=20),
        requests.get(f"{ehr.base}/Patient", timeout=20),
        requests.get(f"{ehr.base}/nothing/here", timeout=20),
    ):
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert issues(answer)


def test_a_wrong_token_is_refused(ehr: FhirClient) -> None:
    for token in ("nonsense", "a.b.c", ehr.partner.token()[:-4] + "AAAA"):
        answer = requests.get(f"{ehr.base}/Patient", headers={"Authorization": f"Bearer {token}"}, timeout=20)
        assert answer.status_code == 401
        assert "invalid_token" in answer.headers["WWW-Authenticate"]


def test_what_is_not_offered_says_so(ehr: FhirClient) -> None:
    headers = ehr.partner.headers()
    refused = requests.delete(f"{ehr.base}/Patient/1", headers=headers, timeout=20)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD, PUT")
    assert "entered-in-error" in issues(refused)[0][1]
    for base in (ehr.base, f"{ehr.base}/", f"{ehr.base}?_type=Patient"):
        refused = requests.get(base, headers=headers, timeout=20)
        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")
        assert issues(refused)
    assert ehr.get("Wizard/1").status_code == 404
    assert ehr.get("Medication/1").status_code == 404
    assert ehr.get("Patient/1/_history/1").status_code == 404
    assert ehr.get("Patient/$match").status_code in (404, 405)
    assert ehr.get("Binary").status_code == 400
    assert ehr.get("Patient/none").status_code == 404


@pytest.mark.parametrize("value", ["-1", "many", "9" * 40])
def test_a_malformed_count_is_refused(ehr: FhirClient, value: str) -> None:
    assert ehr.get(f"Patient?_count={value}").status_code == 400


def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(partner: Partner) -> None:
    with GatewayProcess(environment={"GATEWAY_MAX_FHIR_BYTES": "100000"}) as small:
        small.add_partner("hospital-a", name="Hospital A", ae_title="HOSPITAL_A")
        ehr = FhirClient(small, small.partners["hospital-a"])
        assert ehr.post(referral()).status_code == 200
        answer = ehr.post(b" " * 200_000)
        assert answer.status_code == 413
        assert "100000" in issues(answer)[0][1]


def test_a_body_that_stops_half_way_is_no_referral(gateway: GatewayProcess, ehr: FhirClient) -> None:
    mrn = uuid4().hex[:10]
    body = json.dumps(referral(mrn)).encode()
    head = (
        f"POST /fhir HTTP/1.1\r\nHost: x\r\nContent-Type: {FHIR_JSON}\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: {ehr.partner.headers()['Authorization']}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.http_port), timeout=20) as line:
        line.sendall(head.encode() + body[: len(body) // 2])
    assert ehr.get(f"Patient?identifier={mrn}").json()["total"] == 0
    assert gateway.readiness()[0] == 200


def test_what_was_refused_is_kept_with_its_sender_and_cause(gateway: GatewayProcess, ehr: FhirClient) -> None:
    mark = uuid4().hex
    assert ehr.post(b"{" + mark.encode()).status_code == 400
    with sqlite3.connect(gateway.data_dir / "gateway.sqlite") as database:
        [(partner_id, state, key)] = database.execute(
            "select partner_id, state, object_key from receipt where size_bytes = ? and state = 'refused'",
            (len(mark) + 1,),
        ).fetchall()
    assert (partner_id, state) == ("hospital-a", "refused")
    assert (gateway.data_dir / "objects" / key).read_bytes() == b"{" + mark.encode()


def test_neither_answer_nor_log_repeats_the_patient(gateway: GatewayProcess, ehr: FhirClient) -> None:
    sent = referral()
    secret = f"Geheim{uuid4().hex[:8]}"
    sent["entry"][0]["resource"]["name"][0]["family"] = [secret]
    sent["entry"][0]["resource"]["birthDate"] = secret
    sent["entry"][0]["resource"]["active"] = secret
    answer = ehr.post(sent)
    assert answer.status_code == 400
    assert secret not in answer.text
    assert secret not in gateway.log_text


def test_one_resource_twice_in_a_transaction_is_refused(ehr: FhirClient) -> None:
    child = patient(uuid4().hex[:10]) | {"id": uuid4().hex}
    sent = bundle("transaction", {f"urn:uuid:{uuid4()}": one for one in (child, child | {"gender": "male"})})
    for entry in sent["entry"]:
        entry["request"] = {"method": "PUT", "url": f"Patient/{child['id']}"}
    answer = ehr.post(sent)
    assert answer.status_code == 400
    assert [path for path, _ in issues(answer)] == ["Bundle.entry[1].request.url"]
