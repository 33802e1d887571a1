"""One resource by itself: create, conditional create, update and patch (FHIR R4 3.1.0.4 to 3.1.0.8)."""

import json
import sqlite3
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.support.bundles import FHIR_JSON, MRN, FhirClient, document_reference, issues, patient, referral
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess, partner: Partner) -> FhirClient:
    return FhirClient(gateway, partner)


def send(ehr: FhirClient, method: str, path: str, body: Any, **headers: str) -> requests.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    wanted = {"Content-Type": FHIR_JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return requests.request(
        method, f"{ehr.base}/{path}", data=content, headers=ehr.partner.headers() | wanted, timeout=20
    )


def create(ehr: FhirClient, body: dict[str, Any], **headers: str) -> requests.Response:
    return send(ehr, "POST", body["resourceType"], body, **headers)


def created(ehr: FhirClient, body: dict[str, Any], **headers: str) -> str:
    answer = create(ehr, body, **headers)
    assert answer.status_code == 201, answer.text
    return f"{body['resourceType']}/{answer.json()['id']}"


def request_for(child: str, **changes: Any) -> dict[str, Any]:
    made = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "code": {"text": "Second opinion"},
        "subject": {"reference": child},
        "note": [{"text": "Is surgery possible?"}],
    }
    return made | changes


def letter(child: str) -> dict[str, Any]:
    return document_reference(b"%PDF-1.4 letter")({"patient": child})


def test_a_create_is_answered_with_201_and_where_the_resource_is(ehr: FhirClient) -> None:
    answer = create(ehr, patient(uuid4().hex[:10]))
    assert answer.status_code == 201
    fhir_id = answer.json()["id"]
    assert answer.headers["Location"] == f"{ehr.base}/Patient/{fhir_id}/_history/1"
    assert answer.headers["ETag"] == 'W/"1"'
    read = ehr.get(f"Patient/{fhir_id}")
    assert read.json() == answer.json()
    assert read.headers["Last-Modified"] == answer.headers["Last-Modified"]


def test_a_child_then_a_request_then_a_letter_are_one_case(ehr: FhirClient) -> None:
    child = created(ehr, patient(uuid4().hex[:10]))
    tasks = {create(ehr, body).headers["Link"] for body in (request_for(child), letter(child))}
    assert len(tasks) == 1
    [link] = tasks
    task = ehr.get(link.split("/fhir/")[1].split(">")[0]).json()
    assert task["resourceType"] == "Task"
    assert task["for"]["reference"] == child


def test_a_create_again_changes_nothing(ehr: FhirClient) -> None:
    body = patient(uuid4().hex[:10])
    first, again = create(ehr, body), create(ehr, body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["Location"] == first.headers["Location"]


def test_a_conditional_create_leaves_what_is_there_as_it_is(ehr: FhirClient) -> None:
    mrn = uuid4().hex[:10]
    condition = f"identifier={MRN}|{mrn}"
    first = create(ehr, patient(mrn), If_None_Exist=condition)
    again = create(ehr, patient(mrn, gender="unknown"), If_None_Exist=condition)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["ETag"] == 'W/"1"'


def test_any_search_parameter_may_be_the_condition(ehr: FhirClient) -> None:
    child = created(ehr, patient(uuid4().hex[:10]))
    first = created(ehr, request_for(child))
    other = request_for(child, note=[{"text": "Is it another question?"}])
    answer = create(ehr, other, If_None_Exist=f"subject={child}&status=active")
    assert (answer.status_code, f"ServiceRequest/{answer.json()['id']}") == (200, first)
    refused = create(ehr, other, If_None_Exist="colour=red")
    assert (refused.status_code, issues(refused)) == (400, [("", "Unknown search parameter 'colour'.")])
    assert create(ehr, other, If_None_Exist="_count=1").status_code == 400


def test_a_condition_that_finds_several_is_refused_and_what_was_sent_is_kept(
    gateway: GatewayProcess, ehr: FhirClient
) -> None:
    family = f"Mwangi{uuid4().hex[:6]}"
    for _ in range(2):
        created(ehr, patient(uuid4().hex[:10], name=[{"family": family, "given": [uuid4().hex]}]))
    answer = create(ehr, patient(uuid4().hex[:10]), If_None_Exist=f"family={family}")
    assert answer.status_code == 412
    assert answer.json()["issue"][0]["code"] == "multiple-matches"
    assert last_refused(gateway) == ("refused", "SeveralMatches")


def last_refused(gateway: GatewayProcess) -> tuple[str, str]:
    """State and cause of what came last by FHIR."""
    with sqlite3.connect(gateway.data_dir / "gateway.sqlite") as database:
        state, receipt_id = database.execute(
            "select state, id from receipt where channel = 'fhir' order by received_at desc limit 1"
        ).fetchone()
        [detail] = database.execute(
            "select detail from audit where subject = ?", (f"receipt:{receipt_id}",)
        ).fetchone()
    return state, json.loads(detail).get("cause", "")


def test_the_number_of_another_child_does_not_make_it_the_same_child(ehr: FhirClient) -> None:
    mrn = uuid4().hex[:10]
    condition = f"identifier={MRN}|{mrn}"
    first = created(ehr, patient(mrn), If_None_Exist=condition)
    other = patient(mrn, name=[{"family": "Sato", "given": ["Yuki"]}], birthDate="2011-01-30", gender="male")
    assert created(ehr, other, If_None_Exist=condition) != first


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Practitioner", "name": [{"family": "Obi"}]},
        {"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8="},
        request_for("https://elsewhere.example/Patient/1"),
    ],
    ids=lambda body: body["resourceType"],
)
def test_what_names_no_child_and_no_case_is_refused_with_a_remedy_and_kept(
    gateway: GatewayProcess, ehr: FhirClient, body: dict[str, Any]
) -> None:
    before = ehr.get("Task?_summary=count").json()["total"]
    answer = create(ehr, body)
    assert answer.status_code == 422
    [(place, words)] = issues(answer)
    assert place == body["resourceType"]
    assert "Send it in a Bundle with what refers to it" in words
    assert ehr.get("Task?_summary=count").json()["total"] == before
    assert last_refused(gateway) == ("refused", "Unattributed")


def test_every_fault_is_named_with_its_place_in_the_resource(ehr: FhirClient) -> None:
    answer = create(ehr, request_for("Patient/nobody", status="asked", intent=None))
    assert answer.status_code == 400
    assert {place for place, _ in issues(answer)} >= {
        "ServiceRequest.status", "ServiceRequest.intent", "ServiceRequest.subject.reference",
    }  # fmt: skip


def test_another_type_than_the_address_names_is_refused(ehr: FhirClient) -> None:
    answer = send(ehr, "POST", "Observation", patient("1"))
    assert answer.status_code == 400
    assert any("does not fit" in words for _, words in issues(answer))
    assert send(ehr, "POST", "Wizard", patient("1")).status_code == 404


def test_the_body_is_what_prefer_asks_for(ehr: FhirClient) -> None:
    minimal = create(ehr, patient(uuid4().hex[:10]), Prefer="return=minimal")
    assert (minimal.status_code, minimal.content) == (201, b"")
    assert "/Patient/" in minimal.headers["Location"]
    told = create(ehr, patient(uuid4().hex[:10]), Prefer="handling=strict; return=OperationOutcome")
    assert told.json()["resourceType"] == "OperationOutcome"
    whole = create(ehr, patient(uuid4().hex[:10]), Prefer="return=representation")
    assert whole.json()["resourceType"] == "Patient"


def test_a_token_that_may_not_read_is_not_told_what_was_there(ehr: FhirClient) -> None:
    mrn = uuid4().hex[:10]
    created(ehr, patient(mrn))
    headers = ehr.partner.headers("system/Patient.c") | {
        "Content-Type": FHIR_JSON,
        "If-None-Exist": f"identifier={MRN}|{mrn}",
    }
    answer = requests.post(f"{ehr.base}/Patient", json=patient(mrn), headers=headers, timeout=20)
    assert (answer.status_code, answer.content) == (200, b"")
    refused = requests.post(f"{ehr.base}/Observation", json={}, headers=headers, timeout=20)
    assert refused.status_code == 403


def test_an_update_makes_a_version_of_the_one_that_it_names(ehr: FhirClient) -> None:
    child = created(ehr, body := patient(uuid4().hex[:10]))
    changed = body | {"id": child.split("/")[1], "deceasedBoolean": False}
    answer = send(ehr, "PUT", child, changed, If_Match='W/"1"')
    assert (answer.status_code, answer.headers["ETag"]) == (200, 'W/"2"')
    stale = send(ehr, "PUT", child, changed | {"active": True}, If_Match='W/"1"')
    assert stale.status_code == 412
    assert ehr.get(child).headers["ETag"] == 'W/"2"'
    back = send(ehr, "PUT", child, body | {"id": child.split("/")[1]})
    assert (back.status_code, back.headers["ETag"]) == (200, 'W/"3"')
    assert "deceasedBoolean" not in ehr.get(child).json()


def test_an_update_of_what_is_not_there_creates_it_under_the_senders_id(ehr: FhirClient) -> None:
    own = f"child-{uuid4().hex[:8]}"
    answer = send(ehr, "PUT", f"Patient/{own}", patient(uuid4().hex[:10]) | {"id": own})
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{ehr.base}/Patient/{own}/_history/1")
    assert send(ehr, "PUT", f"Patient/{own}", patient("1") | {"id": "another"}).status_code == 400


def test_an_update_stays_in_its_case(ehr: FhirClient) -> None:
    answer = ehr.post(referral())
    asked = answer.json()["entry"][2]["response"]["location"].split("/_history")[0]
    task = answer.headers["Location"]
    changed = ehr.get(asked).json() | {"priority": "urgent"}
    told = send(ehr, "PUT", asked, changed)
    assert (told.status_code, told.headers["Link"]) == (200, f'<{task}>; rel="related"')


def test_what_the_gateway_makes_is_not_changed_by_a_sender(ehr: FhirClient) -> None:
    task = ehr.get(ehr.post(referral()).headers["Location"].split("/fhir/")[1]).json()
    answer = send(ehr, "PUT", f"Task/{task['id']}", task | {"status": "completed"})
    assert answer.status_code == 405
    assert "made by the gateway" in issues(answer)[0][1]


def superseding(value: str = "superseded") -> dict[str, Any]:
    parts = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "DocumentReference.status"},
        {"name": "value", "valueCode": value},
    ]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


def test_two_documents_are_superseded_by_the_same_patch(ehr: FhirClient) -> None:
    child = created(ehr, patient(uuid4().hex[:10]))
    for document in (created(ehr, letter(child)), created(ehr, letter(child))):
        answer = send(ehr, "PATCH", document, superseding())
        assert (answer.status_code, answer.json()["status"]) == (200, "superseded")
    assert send(ehr, "PATCH", document, superseding("current")).status_code == 400
    json_patch = {"Content_Type": "application/json-patch+json"}
    assert send(ehr, "PATCH", document, b"[]", **json_patch).status_code == 415


@pytest.mark.parametrize(
    ("method", "path", "allowed", "words"),
    [
        ("DELETE", "Patient/1", "GET, HEAD, PUT", "status entered-in-error"),
        ("DELETE", "Patient?identifier=x|1", "GET, HEAD, POST", "status entered-in-error"),
        ("PATCH", "Patient/1", "GET, HEAD, PUT", "Send the whole resource by PUT"),
        ("PUT", "Patient?identifier=x|1", "GET, HEAD, POST", "by POST with If-None-Exist"),
        ("POST", "DocumentReference/1", "GET, HEAD, PUT, PATCH", "Send a Bundle to the base"),
    ],
)
def test_what_is_not_offered_says_what_is(
    ehr: FhirClient, method: str, path: str, allowed: str, words: str
) -> None:
    answer = send(ehr, method, path, b"{}")
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert words in issues(answer)[0][1]


def test_in_xml_and_of_another_release_it_is_the_same(ehr: FhirClient) -> None:
    mrn = uuid4().hex[:10]
    body = (
        f'<Patient xmlns="http://hl7.org/fhir"><identifier><system value="{MRN}"/><value value="{mrn}"/>'
        f"</identifier></Patient>"
    ).encode()
    answer = send(ehr, "POST", "Patient", body, Content_Type="application/fhir+xml; fhirVersion=5.0")
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/fhir+xml; fhirVersion=5.0; charset=utf-8"
    assert ehr.get(f"Patient?identifier={mrn}").json()["total"] == 1
