"""POST a Bundle: every type opens or updates a case, keeps what was sent and answers as FHIR R4 3.1.0.11 says."""

import hashlib
import json
import sqlite3
from contextlib import closing
from uuid import uuid4

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.task import Task

from tests.support.bundles import (
    MRN,
    PDF,
    FhirClient,
    bundle,
    document_reference,
    issues,
    patient,
    referral,
    wait_for,
)
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner


@pytest.fixture
def ehr(gateway: GatewayProcess, partner: Partner) -> FhirClient:
    return FhirClient(gateway, partner)


def test_a_transaction_is_answered_entry_by_entry_in_order(ehr: FhirClient) -> None:
    answer = ehr.post(referral())
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/fhir+json")
    response = Bundle.model_validate(answer.json())
    assert response.type == "transaction-response"
    kinds = [entry.response.location.split("/")[0] for entry in response.entry]
    assert kinds == ["Patient", "Practitioner", "ServiceRequest"]
    assert [entry.response.status for entry in response.entry[::2]] == ["201 Created"] * 2


def test_a_transaction_names_the_coordination_task_of_its_case(ehr: FhirClient) -> None:
    answer = ehr.post(referral())
    [link] = answer.json()["link"]
    assert link["relation"] == "related"
    assert link["url"] == answer.headers["Location"]
    task = Task.model_validate(ehr.task(link["url"].split("/")[-1]))
    assert task.status == "received"
    assert task.focus.reference.startswith("ServiceRequest/")
    assert task.for_fhir.reference.startswith("Patient/")
    assert task.requester.display == "Adaeze Obi"
    assert task.businessStatus.text


@pytest.mark.parametrize("bundle_type", ["collection", "batch"])
def test_collections_and_batches_open_a_case_too(ehr: FhirClient, bundle_type: str) -> None:
    answer = ehr.post(referral(bundle_type=bundle_type), "/Bundle")
    assert answer.status_code == {"collection": 201, "batch": 200}[bundle_type]
    case_id = answer.headers["Location"].split("/")[-1]
    assert ehr.task(case_id)["focus"]["reference"].startswith("ServiceRequest/")


def test_a_document_opens_a_case_and_is_answered_with_the_task(ehr: FhirClient) -> None:
    made = referral(bundle_type="collection")
    composition = {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": "Referral"},
        "subject": {"reference": made["entry"][0]["fullUrl"]},
        "date": "2026-04-01",
        "author": [{"reference": made["entry"][1]["fullUrl"]}],
        "title": "Referral",
    }
    made["entry"].insert(0, {"fullUrl": f"urn:uuid:{uuid4()}", "resource": composition})
    made |= {"type": "document", "identifier": {"system": MRN, "value": uuid4().hex}}
    answer = ehr.post(made | {"timestamp": "2026-04-01T10:00:00Z"})
    assert answer.status_code == 201, answer.text
    assert Task.model_validate(answer.json()).focus.reference.startswith("ServiceRequest/")


def test_the_same_bundle_again_changes_nothing(ehr: FhirClient) -> None:
    sent = json.dumps(referral(document=document_reference(PDF))).encode()
    first, again = ehr.post(sent), ehr.post(sent)
    assert first.headers["Location"] == again.headers["Location"]
    assert first.json()["entry"] == again.json()["entry"]


def test_the_same_bytes_after_a_change_are_the_newest_word_and_change_it_back(ehr: FhirClient) -> None:
    bundle = referral()
    first, note = json.dumps(bundle).encode(), bundle["entry"][2]["resource"]["note"][0]
    said, note["text"] = note["text"], "Is a transplant possible?"
    case_id = ehr.open_case(first)
    assert ehr.open_case(bundle) == case_id
    assert [ehr.open_case(first), ehr.open_case(first)] == [case_id, case_id]
    request = ehr.get(ehr.task(case_id)["focus"]["reference"]).json()
    assert (request["note"][0]["text"], request["meta"]["versionId"]) == (said, "3")


def test_the_same_referral_in_other_bytes_updates_the_same_case_and_makes_no_new_version(
    ehr: FhirClient,
) -> None:
    sent = referral()
    first = ehr.post(sent)
    again = ehr.post(json.dumps(sent, indent=2).encode())
    assert first.headers["Location"] == again.headers["Location"]
    assert {entry["response"]["status"] for entry in again.json()["entry"]} == {"200 OK"}
    versions = [entry["response"]["location"].split("/")[-1] for entry in again.json()["entry"]]
    assert versions[::2] == ["1", "1"]


def test_a_changed_referral_updates_its_case(ehr: FhirClient) -> None:
    sent = referral()
    case_id = ehr.open_case(sent)
    sent["entry"][2]["resource"]["note"][0]["text"] = "Is a transplant possible?"
    assert ehr.open_case(sent) == case_id
    request = ehr.get(ehr.task(case_id)["focus"]["reference"]).json()
    assert request["note"][0]["text"] == "Is a transplant possible?"
    assert request["meta"]["versionId"] == "2"


def test_a_bundle_without_a_request_is_a_case_without_a_question(ehr: FhirClient) -> None:
    case_id = ehr.open_case(referral(request=None, practitioner=None))
    assert "focus" not in ehr.task(case_id)


def test_the_only_active_request_is_taken_as_the_question_whatever_its_code(ehr: FhirClient) -> None:
    sent = referral()
    sent["entry"][2]["resource"]["code"] = {"text": "Consultation"}
    assert ehr.task(ehr.open_case(sent))["focus"]


def test_more_material_about_the_same_child_joins_its_open_case(ehr: FhirClient) -> None:
    mrn = uuid4().hex[:10]
    case_id = ehr.open_case(referral(mrn))
    supplement = referral(mrn, request=None, practitioner=None, document=document_reference(PDF))
    assert ehr.open_case(supplement) == case_id


def test_material_of_another_child_with_a_reused_number_never_joins(ehr: FhirClient) -> None:
    mrn = uuid4().hex[:10]
    case_id = ehr.open_case(referral(mrn))
    other = patient(mrn, name=[{"family": "Eze", "given": ["Chidi"]}], gender="male", birthDate="2015-02-02")
    supplement = referral(mrn, patient=other, request=None, practitioner=None)
    assert ehr.open_case(supplement) != case_id
    child = ehr.get(ehr.task(case_id)["for"]["reference"]).json()
    assert child["name"][0]["family"] == "Okafor"


def test_a_colleague_whom_two_referrals_share_does_not_join_them(ehr: FhirClient) -> None:
    first = ehr.open_case(referral())
    supplement = referral(request=None)
    assert ehr.open_case(supplement) != first


def test_two_children_in_one_bundle_are_two_cases(ehr: FhirClient) -> None:
    one, two = referral(), referral()
    sent = bundle("transaction", {e["fullUrl"]: e["resource"] for e in [*one["entry"], *two["entry"]]})
    links = ehr.post(sent).json()["link"]
    names = {ehr.task(link["url"].split("/")[-1])["for"]["display"] for link in links}
    assert len(names) == 2


def test_two_hospitals_with_one_number_have_two_children(
    gateway: GatewayProcess, ehr: FhirClient, other_partner: Partner
) -> None:
    mrn = uuid4().hex[:10]
    ours, theirs = ehr.open_case(referral(mrn)), FhirClient(gateway, other_partner).open_case(referral(mrn))
    assert ours != theirs
    assert ehr.get(f"Task/{theirs}").status_code == 404


def test_a_conditional_create_keeps_the_patient_who_is_there(ehr: FhirClient) -> None:
    mrn = uuid4().hex[:10]
    before = ehr.post(referral(mrn)).json()["entry"][0]["response"]["location"].split("/_history")[0]
    again = referral(mrn)
    again["entry"][0]["resource"]["telecom"] = [{"system": "phone", "value": "+1"}]
    again["entry"][0]["request"]["ifNoneExist"] = f"identifier={MRN}|{mrn}"
    entry = ehr.post(again).json()["entry"][0]["response"]
    assert entry == {"status": "200 OK", "location": before}


def test_a_put_keeps_the_sender_s_own_id(ehr: FhirClient) -> None:
    sent = referral()
    own = f"own-{uuid4().hex[:8]}"
    sent["entry"][0]["resource"]["id"] = own
    sent["entry"][0]["request"] = {"method": "PUT", "url": f"Patient/{own}"}
    assert ehr.post(sent).json()["entry"][0]["response"]["location"] == f"Patient/{own}/_history/1"
    assert ehr.get(f"Patient/{own}").json()["id"] == own


def test_a_put_is_made_for_the_version_that_it_names(ehr: FhirClient) -> None:
    own_id = uuid4().hex
    sent = referral()
    sent["entry"][0]["resource"]["id"] = own_id
    sent["entry"][0]["request"] = {"method": "PUT", "url": f"Patient/{own_id}"}
    assert ehr.post(sent).status_code == 200

    sent["entry"][0]["resource"]["language"] = "yo"
    sent["entry"][0]["request"]["ifMatch"] = 'W/"7"'
    stale = ehr.post(sent)
    assert stale.status_code == 412
    [(expression, _)] = issues(stale)
    assert expression == "Bundle.entry[0].request.ifMatch"
    [entry, *others] = ehr.post(sent | {"type": "batch"}).json()["entry"]
    assert entry["response"]["status"] == "412 Precondition Failed"
    assert {other["response"]["status"][:3] for other in others} <= {"200", "201"}
    assert "language" not in ehr.get(f"Patient/{own_id}").json()

    sent["entry"][0]["request"]["ifMatch"] = ehr.get(f"Patient/{own_id}").headers["ETag"]
    assert ehr.post(sent).status_code == 200
    assert ehr.get(f"Patient/{own_id}").json()["language"] == "yo"


def test_a_reference_to_what_was_sent_before_is_resolved(ehr: FhirClient) -> None:
    mrn = uuid4().hex[:10]
    location = ehr.post(referral(mrn)).json()["entry"][0]["response"]["location"].split("/_history")[0]
    note = document_reference(PDF)({"patient": location})
    answer = ehr.post(bundle("transaction", {"urn:uuid:" + str(uuid4()): note}))
    assert answer.status_code == 200, answer.text


def test_a_reference_to_another_server_is_kept_as_it_is_and_not_followed(ehr: FhirClient) -> None:
    sent = referral()
    elsewhere = "https://no-such-server.example/fhir/Practitioner/1"
    sent["entry"][2]["resource"]["requester"] = {"reference": elsewhere}
    location = ehr.post(sent).json()["entry"][2]["response"]["location"].split("/_history")[0]
    assert ehr.get(location).json()["requester"]["reference"] == elsewhere


def test_what_was_received_is_kept_byte_for_byte(gateway: GatewayProcess, ehr: FhirClient) -> None:
    sent = json.dumps(referral(), indent=3).encode() + b"\n\n"
    assert ehr.post(sent).status_code == 200
    with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite")) as database:
        [(key, state)] = database.execute(
            "select object_key, state from receipt where sha256 = ?", (hashlib.sha256(sent).hexdigest(),)
        ).fetchall()
    assert state != "refused"
    assert (gateway.data_dir / "objects" / key).read_bytes() == sent


def test_digits_are_kept_as_they_were_sent(ehr: FhirClient) -> None:
    sent = referral()
    sent["entry"][2]["resource"]["quantityQuantity"] = {"value": 1.5, "unit": "ng/mL"}
    answer = ehr.post(json.dumps(sent).replace('"value": 1.5,', '"value": 1.500,'))
    location = answer.json()["entry"][2]["response"]["location"].split("/_history")[0]
    assert json.loads(ehr.get(location).text, parse_float=str)["quantityQuantity"]["value"] == "1.500"


def test_a_collection_with_a_faulty_entry_is_kept_and_the_fault_is_a_finding(ehr: FhirClient) -> None:
    sent = referral(bundle_type="collection")
    sent["entry"].append(
        {"fullUrl": f"urn:uuid:{uuid4()}", "resource": {"resourceType": "Condition", "code": {"text": "x"}}}
    )
    answer = ehr.post(sent)
    assert answer.status_code == 201, answer.text
    case_id = answer.json()["id"]
    notes = wait_for(lambda: ehr.task(case_id).get("note"))
    assert any("The required element 'subject' is missing." in note["text"] for note in notes)


def test_a_faulty_entry_of_a_batch_fails_alone(ehr: FhirClient) -> None:
    sent = referral(bundle_type="batch")
    sent["entry"].append(
        {
            "fullUrl": f"urn:uuid:{uuid4()}",
            "resource": {"resourceType": "Condition"},
            "request": {"method": "POST", "url": "Condition"},
        }
    )
    answer = ehr.post(sent)
    statuses = [entry["response"]["status"] for entry in answer.json()["entry"]]
    assert statuses[-1] == "400 Bad Request"
    assert statuses[0] == "201 Created"
    Bundle.model_validate(answer.json())


def test_a_transaction_with_one_fault_keeps_nothing_in_force(ehr: FhirClient) -> None:
    mrn = uuid4().hex[:10]
    sent = referral(mrn)
    del sent["entry"][2]["resource"]["status"]
    assert ehr.post(sent).status_code == 400
    assert ehr.get(f"Patient?identifier={MRN}|{mrn}").json()["total"] == 0


def test_both_addresses_take_a_bundle(ehr: FhirClient) -> None:
    for path in ("", "/", "/Bundle"):
        assert ehr.post(referral(), path).status_code == 200


def test_all_faults_are_named_at_once_with_their_places(ehr: FhirClient) -> None:
    sent = referral()
    sent["entry"][0]["resource"]["birthDate"] = "9 March 2018"
    sent["entry"][0]["resource"]["gender"] = "girl"
    sent["entry"][2]["resource"].pop("intent")
    sent["entry"][2]["resource"]["unheardOf"] = True
    sent["entry"][2]["resource"]["requester"] = {"reference": "urn:uuid:00000000-0000-4000-8000-000000000000"}
    answer = ehr.post(sent)
    assert answer.status_code == 400
    assert {path for path, _ in issues(answer)} >= {
        "Bundle.entry[0].resource.birthDate",
        "Bundle.entry[0].resource.gender",
        "Bundle.entry[2].resource.intent",
        "Bundle.entry[2].resource.unheardOf",
        "Bundle.entry[2].resource.requester.reference",
    }
    assert "9 March 2018" not in answer.text
