"""A message is answered by a response message (FHIR R4 2.4), to the base and to $process-message."""

import copy
from typing import Any
from uuid import uuid4

import pytest
from fhir.resources.R4B.bundle import Bundle

from gateway.fhir.xml_format import read_xml, to_xml
from tests.support.bundles import FhirClient, referral
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

EVENT = {"system": "https://hospital-a.example/events", "code": "referral"}


@pytest.fixture
def ehr(gateway: GatewayProcess, partner: Partner) -> FhirClient:
    return FhirClient(gateway, partner)


def message(mrn: str | None = None, message_id: str | None = None) -> dict[str, Any]:
    made = referral(mrn, "collection") | {"type": "message", "id": str(uuid4())}
    header = {
        "resourceType": "MessageHeader",
        "id": message_id or str(uuid4()),
        "eventCoding": EVENT,
        "source": {"endpoint": "https://hospital-a.example/fhir"},
        "focus": [{"reference": made["entry"][2]["fullUrl"]}],
    }
    made["entry"].insert(0, {"fullUrl": f"urn:uuid:{header['id']}", "resource": header})
    return made


def header_of(answer: Any) -> dict[str, Any]:
    assert answer["type"] == "message"
    Bundle.model_validate(answer)
    header: dict[str, Any] = answer["entry"][0]["resource"]
    assert header["eventCoding"] == EVENT
    return header


@pytest.mark.parametrize("path", ["", "/$process-message"])
def test_a_message_is_answered_by_a_response_message_with_the_task_of_its_case(
    ehr: FhirClient, path: str
) -> None:
    sent = message()
    answer = ehr.post(sent, path)
    assert answer.status_code == 200, answer.text
    header = header_of(answer.json())
    assert header["response"] == {"identifier": sent["entry"][0]["resource"]["id"], "code": "ok"}
    assert header["destination"] == [{"endpoint": "https://hospital-a.example/fhir"}]
    assert header["source"]["endpoint"] == f"{ehr.base}/$process-message"
    [focus] = header["focus"]
    assert focus["reference"] == answer.headers["Location"]
    task = answer.json()["entry"][1]
    assert (task["fullUrl"], task["resource"]["resourceType"]) == (focus["reference"], "Task")


def test_the_message_may_stand_in_parameters_and_in_xml(ehr: FhirClient) -> None:
    sent = {"resourceType": "Parameters", "parameter": [{"name": "content", "resource": message()}]}
    headers = {"Content-Type": "application/fhir+xml"}
    answer = ehr.post(to_xml(sent), "/$process-message", **headers)
    assert answer.status_code == 200, answer.text
    assert header_of(read_xml(answer.content))["response"]["code"] == "ok"


def test_a_message_that_cannot_be_taken_is_answered_with_a_fatal_error_and_every_fault(
    ehr: FhirClient,
) -> None:
    sent = message()
    for entry in sent["entry"][1:]:
        entry["resource"] = {"resourceType": "Horse"}
    answer = ehr.post(sent)
    assert answer.status_code in (400, 415)
    header = header_of(answer.json())
    assert header["response"]["code"] == "fatal-error"
    details = answer.json()["entry"][1]
    assert header["response"]["details"] == {"reference": details["fullUrl"]}
    assert "'Horse'" in details["resource"]["issue"][0]["details"]["text"]


def test_a_message_again_gets_the_same_response_and_changes_nothing(ehr: FhirClient) -> None:
    sent = message()
    first = ehr.post(sent)
    again = ehr.post(sent)
    resent = ehr.post(copy.deepcopy(sent) | {"id": str(uuid4()), "timestamp": "2026-11-24T10:00:00Z"})
    for answer in (again, resent):
        assert header_of(answer.json()) == header_of(first.json())
        assert answer.headers["Location"] == first.headers["Location"]
        assert answer.json()["id"] == first.json()["id"]


def test_another_message_under_a_used_id_is_not_lost(ehr: FhirClient) -> None:
    same = str(uuid4())
    first, second = (ehr.post(message(message_id=same)) for _ in range(2))
    assert first.headers["Location"] != second.headers["Location"]
    assert header_of(first.json())["id"] != header_of(second.json())["id"]


def test_a_fault_that_refuses_nothing_is_among_the_details(ehr: FhirClient) -> None:
    sent = message()
    sent["entry"][2]["resource"]["gender"] = "horse"
    answer = ehr.post(sent)
    assert answer.status_code == 200, answer.text
    assert header_of(answer.json())["response"]["code"] == "ok"
    [issue] = answer.json()["entry"][-1]["resource"]["issue"]
    assert (issue["severity"], issue["code"]) == ("warning", "code-invalid")


def test_an_answer_elsewhere_is_not_offered(ehr: FhirClient) -> None:
    assert ehr.post(message(), "/$process-message?async=true").status_code == 405
    content = [{"name": "content", "resource": message()}, {"name": "async", "valueBoolean": True}]
    answer = ehr.post({"resourceType": "Parameters", "parameter": content}, "/$process-message")
    assert answer.status_code == 405
    assert "async=true is not offered" in answer.text


@pytest.mark.parametrize("sent", [{"resourceType": "Patient"}, {"resourceType": "Parameters"}, referral()])
def test_what_is_no_message_is_no_message(ehr: FhirClient, sent: dict[str, Any]) -> None:
    answer = ehr.post(sent, "/$process-message")
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"
