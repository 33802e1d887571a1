"""FHIR in XML and in JSON: what is sent in one can be had in the other (FHIR R4 2.6.0.1, 3.1.0.1.11)."""

import gzip
import json
from typing import Any
from uuid import uuid4

import pytest
import requests

from gateway.fhir.xml_format import read_xml, to_xml
from tests.support.bundles import FHIR_JSON, MRN, FhirClient, patient, referral
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

FHIR_XML = "application/fhir+xml"


@pytest.fixture
def ehr(gateway: GatewayProcess, partner: Partner) -> FhirClient:
    return FhirClient(gateway, partner)


def post_xml(ehr: FhirClient, body: bytes | dict[str, Any], **headers: str) -> requests.Response:
    content = to_xml(body) if isinstance(body, dict) else body
    return ehr.post(content, **{"Content-Type": FHIR_XML} | headers)


def told(answer: requests.Response) -> dict[str, Any]:
    """Of an answer in XML."""
    assert answer.headers["Content-Type"] == f"{FHIR_XML}; fhirVersion=4.0; charset=utf-8"
    return read_xml(answer.content)


def test_a_transaction_in_xml_is_answered_in_xml_entry_by_entry(ehr: FhirClient) -> None:
    answer = post_xml(ehr, referral())
    assert answer.status_code == 200, answer.text
    response = told(answer)
    assert response["type"] == "transaction-response"
    kinds = [entry["response"]["location"].split("/")[0] for entry in response["entry"]]
    assert kinds == ["Patient", "Practitioner", "ServiceRequest"]


def test_what_was_sent_in_xml_is_read_in_json_as_it_was(ehr: FhirClient) -> None:
    mrn = uuid4().hex[:10]
    assert post_xml(ehr, referral(mrn)).status_code == 200
    (entry,) = ehr.get(f"Patient?identifier={MRN}|{mrn}").json()["entry"]
    assert {key: entry["resource"][key] for key in patient(mrn)} == patient(mrn)


def test_the_same_referral_in_both_formats_is_one_case(ehr: FhirClient) -> None:
    sent = referral()
    assert post_xml(ehr, sent).headers["Location"] == ehr.post(sent).headers["Location"]


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        ("", FHIR_XML, FHIR_XML),
        ("", "application/xml", FHIR_XML),
        ("", "application/fhir+xml; fhirVersion=4.0", FHIR_XML),
        ("", "application/fhir+json;q=0.5, application/fhir+xml", FHIR_XML),
        ("", "application/fhir+xml;q=0.5, application/fhir+json", FHIR_JSON),
        ("", "text/html, application/xhtml+xml, */*;q=0.8", FHIR_JSON),
        ("", "application/fhir+json;q=0, */*", FHIR_XML),
        ("?_format=xml", FHIR_JSON, FHIR_XML),
        ("?_format=application/fhir+xml", FHIR_JSON, FHIR_XML),
        ("?_format=application/fhir%2Bxml", FHIR_JSON, FHIR_XML),
        ("?_format=json", FHIR_XML, FHIR_JSON),
        ("?_format=text/xml", "", FHIR_XML),
    ],
)
def test_the_format_of_an_answer_can_be_chosen(
    ehr: FhirClient, path: str, accept: str, expected: str
) -> None:
    answer = ehr.get(f"metadata{path}", Accept=accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].split(";")[0] == expected
    body = answer.json() if expected == FHIR_JSON else read_xml(answer.content)
    assert body["format"] == [FHIR_JSON, "json", FHIR_XML, "xml"]


def test_a_search_and_a_task_in_xml_say_what_they_say_in_json(ehr: FhirClient) -> None:
    case_id = ehr.open_case(referral())
    for path in (f"Task/{case_id}", f"Task?_id={case_id}"):
        assert told(ehr.get(path, Accept=FHIR_XML)) == ehr.get(path).json()


def test_faults_of_xml_are_told_in_xml_with_their_place(ehr: FhirClient) -> None:
    sent = referral()
    sent["entry"][0]["resource"]["gender"] = "girl"
    answer = post_xml(ehr, sent)
    assert answer.status_code == 400
    outcome = told(answer)
    assert outcome["issue"][0]["expression"] == ["Bundle.entry[0].resource.gender"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'<!DOCTYPE x [<!ENTITY a "b">]><Bundle xmlns="http://hl7.org/fhir"/>', "entities"),
        (b"<Bundle", "not well-formed"),
        (b"<Bundle/>", "namespace"),
        (b'{"resourceType": "Bundle"}', "not well-formed"),
        (b'<Patient xmlns="http://hl7.org/fhir"/>', "A Bundle was expected"),
    ],
)
def test_xml_that_is_no_fhir_is_refused_in_words(ehr: FhirClient, body: bytes, words: str) -> None:
    answer = post_xml(ehr, body)
    assert answer.status_code == 400
    assert words in told(answer)["issue"][0]["diagnostics"]


def test_a_client_that_takes_neither_format_is_told_so_in_json(ehr: FhirClient) -> None:
    answer = ehr.get("metadata", Accept="text/turtle")
    assert answer.status_code == 406
    assert answer.headers["Content-Type"].startswith(FHIR_JSON)


@pytest.mark.parametrize("content_type", [FHIR_JSON, FHIR_XML])
def test_a_body_in_gzip_is_taken(ehr: FhirClient, content_type: str) -> None:
    sent = referral()
    body = to_xml(sent) if content_type == FHIR_XML else json.dumps(sent).encode()
    headers = {"Content-Type": content_type, "Content-Encoding": "gzip", "Accept": FHIR_JSON}
    answer = ehr.post(gzip.compress(body), **headers)
    assert answer.status_code == 200, answer.text
    assert ehr.post(sent).headers["Location"] == answer.headers["Location"]


@pytest.mark.parametrize(
    ("body", "coding", "status", "words"),
    [
        (b"no gzip", "gzip", 400, "cannot be inflated"),
        (gzip.compress(b"{}" * 1000)[:-8], "gzip", 400, "breaks off"),
        (b"{}", "br", 415, "gzip is taken"),
        (gzip.compress(bytes(300 * 1024 * 1024)), "gzip", 413, "more than is taken"),
    ],
    ids=["none", "cut", "unknown", "bomb"],
)
def test_what_cannot_be_inflated_is_refused_in_words(
    ehr: FhirClient, body: bytes, coding: str, status: int, words: str
) -> None:
    answer = ehr.post(body, **{"Content-Encoding": coding})
    assert answer.status_code == status
    assert words in answer.json()["issue"][0]["diagnostics"]
