"""POST $check and $validate: everything that is wrong is told, and nothing of it is kept but that it was asked."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome

from gateway.fhir.xml_format import to_xml
from tests.support.bundles import (
    PDF,
    FhirClient,
    document_reference,
    imaging_study,
    issues,
    referral,
    wait_for,
)
from tests.support.gateway_process import GatewayProcess

UNREADABLE = PDF[: len(PDF) // 3]
FHIR_XML = "application/fhir+xml"


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess) -> FhirClient:
    """A hospital that has sent nothing yet, and of which the worker therefore does nothing meanwhile."""
    return FhirClient(gateway, gateway.add_partner("preflight", name="Hospital that checks"))


def kept(gateway: GatewayProcess) -> dict[str, int]:
    """How many rows each table has of that hospital."""
    with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite")) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        own = [
            n for n in names if any(c[1] == "partner_id" for c in database.execute(f"PRAGMA table_info({n})"))
        ]
        assert "receipt" in own
        return {name: _count(database, f"{name} WHERE partner_id = 'preflight'") for name in own}


def _count(database: sqlite3.Connection, of: str) -> int:
    return int(database.execute(f"SELECT count(*) FROM {of}").fetchone()[0])


def trail(gateway: GatewayProcess) -> list[tuple[str, str]]:
    """What the hospital did last."""
    query = "SELECT action, subject FROM audit WHERE actor = 'partner:preflight' ORDER BY id DESC LIMIT 1"
    with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite")) as database:
        return database.execute(query).fetchall()


def is_stored(gateway: GatewayProcess, body: bytes) -> bool:
    key = hashlib.sha256(body).hexdigest()
    return (gateway.data_dir / "objects" / key[:2] / key).exists()


def told(answer: Any) -> str:
    return " ".join(words for _, words in issues(answer))


def test_a_check_tells_the_findings_of_fitness_and_keeps_nothing(
    gateway: GatewayProcess, ehr: FhirClient
) -> None:
    uid = "2.25.111"
    sent = referral(
        document=document_reference(UNREADABLE, type={"text": "Operation report"}),
        imaging=imaging_study(uid, {"2.25.112": 3}),
    )
    before = kept(gateway)
    answer = ehr.post(sent, "/$check")
    assert answer.status_code == 200, answer.text
    OperationOutcome.model_validate(answer.json())
    assert kept(gateway) == before
    assert not is_stored(gateway, json.dumps(sent).encode())
    assert trail(gateway) == [("check", "Bundle")]
    assert "a case would be opened" in told(answer)
    assert "CT abdomen" in told(answer)
    case_id = ehr.open_case(sent)
    notes = wait_for(lambda: len(found := ehr.task(case_id).get("note", [])) >= 2 and found)
    findings = [words for _, words in issues(answer) if any(n["text"].split(":")[0] in words for n in notes)]
    assert len(findings) == len(notes)


def test_a_check_of_what_would_be_refused_is_answered_as_the_submission_is(
    gateway: GatewayProcess, ehr: FhirClient
) -> None:
    sent = referral()
    sent["entry"][0]["resource"]["gender"] = "girl"
    sent["entry"][2]["resource"]["requester"] = {"reference": "Practitioner/nobody"}
    before = kept(gateway)
    checked = ehr.post(sent, "/$check")
    assert kept(gateway) == before
    assert not is_stored(gateway, json.dumps(sent).encode())
    submitted = ehr.post(sent)
    assert (checked.status_code, checked.json()) == (submitted.status_code, submitted.json())


def test_a_check_of_a_known_case_says_that_there_is_one(ehr: FhirClient) -> None:
    sent = referral("mrn-" + uuid4().hex[:6])
    ehr.open_case(sent)
    assert "received before" in told(ehr.post(sent, "/$check"))
    sent["entry"][2]["resource"]["priority"] = "urgent"
    assert "for a case that there is already" in told(ehr.post(sent, "/$check"))


def test_a_check_can_be_asked_and_answered_in_xml(ehr: FhirClient) -> None:
    answer = ehr.post(to_xml(referral()), "/$check", **{"Content-Type": FHIR_XML})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(FHIR_XML)
    assert b"a case would be opened" in answer.content


@pytest.mark.parametrize("body", [b"", b"{", b'{"resourceType": "Patient"}'])
def test_a_check_of_what_is_no_bundle_is_refused_in_words(ehr: FhirClient, body: bytes) -> None:
    assert ehr.post(body, "/$check").status_code == 400


@pytest.mark.parametrize("path", ["/$check", "/Patient/$validate"])
def test_without_a_token_nothing_is_checked(gateway: GatewayProcess, ehr: FhirClient, path: str) -> None:
    answer = ehr.post(referral(), path, Authorization="")
    assert answer.status_code == 401


def test_a_sound_resource_validates(gateway: GatewayProcess, ehr: FhirClient) -> None:
    before = kept(gateway)
    answer = ehr.post(referral()["entry"][0]["resource"], "/Patient/$validate")
    assert answer.status_code == 200
    assert {issue["severity"] for issue in answer.json()["issue"]} == {"information"}
    assert "No error was found" in told(answer)
    assert "Not checked: profiles other" in told(answer)
    assert kept(gateway) == before
    assert trail(gateway) == [("validate", "Patient")]


def test_all_faults_of_a_resource_are_told_at_once(ehr: FhirClient) -> None:
    faulty = {
        "resourceType": "Observation",
        "status": "finished",
        "subject": {"reference": "Encounter/1"},
        "referenceRange": [{}],
        "valueQuantity": {"code": "mg"},
    }
    answer = ehr.post(faulty, "/Observation/$validate")
    assert answer.status_code == 200
    assert {place for place, _ in issues(answer)} >= {
        "Observation.status",
        "Observation.code",
        "Observation.subject.reference",
        "Observation.referenceRange[0]",
        "Observation.valueQuantity",
    }


def test_a_resource_in_parameters_is_validated(ehr: FhirClient) -> None:
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "resource", "resource": {"resourceType": "Patient", "gender": "girl"}},
            {"name": "mode", "valueCode": "create"},
            {"name": "profile", "valueUri": "https://x.example/p"},
        ],
    }
    answer = ehr.post(parameters, "/Patient/$validate")
    assert {place for place, _ in issues(answer)} == {"Patient.gender", "Parameters.parameter", ""}
    del parameters["parameter"][0]
    assert "The parameter 'resource' is missing." in told(ehr.post(parameters, "/Patient/$validate"))


def test_a_bundle_of_any_type_is_validated_with_its_entries(ehr: FhirClient) -> None:
    entry = {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "gender": "girl"}}
    searchset = {"resourceType": "Bundle", "type": "searchset", "total": 1, "entry": [entry]}
    answer = ehr.post(searchset, "/Bundle/$validate")
    assert ("Bundle.entry[0].resource.gender") in {place for place, _ in issues(answer)}


def test_another_type_than_that_of_the_address_is_named(ehr: FhirClient) -> None:
    answer = ehr.post({"resourceType": "Patient"}, "/Observation/$validate")
    assert "The type Observation was expected" in told(answer)
    assert ehr.post({"resourceType": "Patient"}, "/Wizard/$validate").status_code == 404


def test_what_is_no_fhir_cannot_be_validated(ehr: FhirClient) -> None:
    assert ehr.post(b"[]", "/Patient/$validate").status_code == 400
    twice = json.dumps({"resourceType": "Patient", "id": "1"}).replace("}", ', "id": "2"}').encode()
    answer = ehr.post(twice, "/Patient/$validate")
    assert (answer.status_code, issues(answer)[0][0]) == (400, "Patient.id")


def test_paths_of_files_are_not_part_of_any_answer(ehr: FhirClient, gateway: GatewayProcess) -> None:
    assert str(Path(gateway.data_dir)) not in ehr.post(referral(), "/$check").text
