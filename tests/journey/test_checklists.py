"""Over the wire: what an oncological question needs is missing, known absent, asked for, and comes."""

from typing import Any
from uuid import uuid4

import pytest

from tests.support.bundles import PDF, document_reference, imaging_study, referral, wait_for
from tests.support.gateway_process import GatewayProcess
from tests.support.hospital import Scene, images
from tests.support.partner import Partner

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
PATHOLOGY = {"coding": [{"system": LOINC, "code": "11526-1"}], "text": "Pathology study"}
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
LISTS = ["General", "Oncology"]


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess, partner: Partner) -> Scene:
    return Scene(gateway, partner)


@pytest.fixture
def mrn() -> str:
    return uuid4().hex[:10]


def oncological(mrn: str, **parts: Any) -> dict[str, Any]:
    """A referral to paediatric oncology with a hepatoblastoma, and no more than it needs to be a case."""
    sent = referral(mrn, **parts)
    [request] = [e["resource"] for e in sent["entry"] if e["resource"]["resourceType"] == "ServiceRequest"]
    request["performerType"] = {"coding": [{"system": SNOMED, "code": "418002000"}], "text": "Oncology"}
    request["reasonCode"] = [
        {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "C22.2"}], "text": "Hepatoblastoma"}
    ]
    return sent


def about_the_child(**content: Any) -> Any:
    return lambda urls: {"subject": {"reference": urls["patient"]}} | content


def states(scene: Scene, case_id: str) -> dict[str, str]:
    return {line["item_id"]: line["state"] for line in scene.intake.case(case_id)["checklist"]}


def test_an_oncological_item_is_missing_asked_for_and_present_when_it_comes(scene: Scene, mrn: str) -> None:
    study = f"2.25.{int(mrn, 16)}"
    sent = oncological(
        mrn,
        imaging=imaging_study(study, {f"{study}.1": 3}),
        afp=about_the_child(
            resourceType="Observation",
            status="final",
            code={"coding": [{"system": LOINC, "code": "1834-1"}]},
            dataAbsentReason={"coding": [{"system": ABSENT, "code": "not-performed"}]},
        ),
        operation=about_the_child(
            resourceType="Procedure",
            status="not-done",
            code={"coding": [{"system": SNOMED, "code": "367336001"}], "text": "Chemotherapy"},
        ),
    )
    case_id = scene.ehr.open_case(sent)
    scene.wait_for_checks(case_id, "study-not-received")

    case = scene.intake.case(case_id)
    told = {f["finding"]["key"]: f for f in case["findings"]}
    pathology = told["checklist-item:oncology-pathology"]
    before = states(scene, case_id)
    assert list(dict.fromkeys(line["checklist"] for line in case["checklist"])) == LISTS
    assert before["oncology-tumour-markers"] == before["oncology-treatment"] == "known absent"
    assert before["oncology-pathology"] == before["oncology-imaging"] == "missing"
    assert "checklist-item:oncology-tumour-markers" not in told
    assert (pathology["state"], pathology["finding"]["severity"]) == ("open", "limits")
    notes = " ".join(note["text"] for note in scene.ehr.task(case_id)["note"])
    assert "Pathology report" in notes

    asked = {"text": "Please send the pathology report.", "finding_ids": [pathology["id"]]}
    assert scene.intake.post(f"cases/{case_id}/ask", **asked).ok
    assert states(scene, case_id)["oncology-pathology"] == "asked for"

    scene.pacs.store(*images(mrn, 3, study, f"{study}.1", StudyDate=case["opened_at"][:10].replace("-", "")))
    scene.wait_for_checks(case_id)
    more = oncological(
        mrn, document=document_reference(PDF, type=PATHOLOGY, description="Histology of the biopsy")
    )
    assert scene.ehr.open_case(more) == case_id
    wait_for(lambda: scene.intake.case(case_id)["status"] == "received")

    after = states(scene, case_id)
    assert after["oncology-pathology"] == after["oncology-imaging"] == "present"
    [settled] = [f for f in scene.intake.case(case_id)["findings"] if f["id"] == pathology["id"]]
    assert settled["state"] == "resolved"
    assert scene.intake.case(case_id)["enquiries"][0]["answered_at"]
