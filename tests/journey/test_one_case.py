"""Referral and imaging become one case, in any order, and never another child's."""

import secrets
from uuid import uuid4

import pytest
from fhir.resources.R4B.imagingstudy import ImagingStudy

from tests.support.bundles import (
    PDF,
    FhirClient,
    document_reference,
    imaging_study,
    patient,
    referral,
    wait_for,
)
from tests.support.gateway_process import SPECIALIST, GatewayProcess
from tests.support.hospital import Scene, images
from tests.support.partner import Partner


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess, partner: Partner) -> Scene:
    return Scene(gateway, partner)


@pytest.fixture
def mrn() -> str:
    return uuid4().hex[:10]


def uids() -> tuple[str, str]:
    """A Study and a Series Instance UID, short enough to be lengthened to an instance's."""
    return f"2.25.{secrets.randbits(96)}", f"2.25.{secrets.randbits(96)}"


def test_a_named_study_joins_its_case_and_its_finding_closes_by_itself(scene: Scene, mrn: str) -> None:
    study, series = uids()
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {series: 3})))
    scene.wait_for_checks(case_id, "study-not-received")
    assert scene.pacs.store(*images(mrn, 3, study, series)).status_code == 200
    scene.wait_for_checks(case_id)
    assert scene.wait_for_study(case_id)["study_instance_uid"] == study


def test_the_operator_reads_of_each_finding_what_it_is_about(scene: Scene, mrn: str) -> None:
    study, series = uids()
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {series: 3})))
    scene.wait_for_checks(case_id, "study-not-received")
    [found] = scene.intake.findings(case_id)
    shown = scene.gateway.command("case", "show", case_id).stdout.splitlines()
    assert any(line.endswith(f"{found['subject']}: {found['text']}") for line in shown)
    assert found["subject"]


def test_the_hospital_reads_what_was_received_of_a_study_beside_what_it_announced(
    scene: Scene, other_partner: Partner, mrn: str
) -> None:
    study, series = uids()
    scene.pacs.store(*images(mrn, 2, study, series))
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {series: 3})))
    scene.wait_for_checks(case_id, "instances-missing")

    query = f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{study}&modality="
    found = [entry["resource"] for entry in scene.ehr.get(f"{query}CT").json()["entry"]]
    [received] = [resource for resource in found if "endpoint" in resource]
    announced = scene.ehr.get(f"ImagingStudy?identifier=urn:oid:{study}&status=available").json()["entry"]

    assert ImagingStudy.model_validate(received).numberOfInstances == 2
    assert received["subject"]["reference"] == scene.ehr.task(case_id)["for"]["reference"]
    assert scene.ehr.get(f"ImagingStudy/{received['id']}").json() == received
    assert {entry["resource"]["numberOfInstances"] for entry in announced} == {2, 3}
    stranger = FhirClient(scene.gateway, other_partner)
    assert stranger.get(f"ImagingStudy/{received['id']}").status_code == 404
    assert stranger.get(f"{query}CT").json()["total"] == 0


def test_imaging_that_comes_first_waits_and_joins_its_case(scene: Scene, mrn: str) -> None:
    study, series = uids()
    assert scene.pacs.store(*images(mrn, 2, study, series)).status_code == 200
    waiting = wait_for(
        lambda: [
            s
            for s in scene.intake.get("studies?state=waiting")["studies"]
            if s["study"]["study_instance_uid"] == study
        ]
    )
    assert waiting[0]["case_id"] == ""
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {series: 2})))
    assert scene.wait_for_study(case_id)["study_instance_uid"] == study
    scene.wait_for_checks(case_id)


def test_a_missing_slice_is_found_and_closes_when_it_comes(scene: Scene, mrn: str) -> None:
    study, series = uids()
    stack = images(mrn, 8, study, series)
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {series: 8})))
    scene.pacs.store(*stack[:4], *stack[5:])
    scene.wait_for_checks(case_id, "slice-gap", "instances-missing")
    scene.pacs.store(stack[4])
    scene.wait_for_checks(case_id)


@pytest.mark.parametrize(
    "told",
    [{"PatientBirthDate": "20150101"}, {"PatientSex": "M"}, {"PatientName": "Eze^Chidi"}],
    ids=["birth date", "sex", "name"],
)
def test_a_named_study_of_another_child_never_joins_by_itself(
    scene: Scene, mrn: str, told: dict[str, str]
) -> None:
    study, series = uids()
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {series: 1})))
    scene.pacs.store(*images(mrn, 1, study, series, **told))
    scene.wait_for_checks(case_id, "study-held")
    case = scene.intake.case(case_id)
    assert case["studies"] == []
    assert case["held_studies"][0]["study"]["study_instance_uid"] == study
    assert scene.intake.post(f"cases/{case_id}/accept").status_code == 409


def test_a_person_joins_a_held_study_and_can_take_it_out_again(scene: Scene, mrn: str) -> None:
    study, series = uids()
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {series: 1})))
    scene.pacs.store(*images(mrn, 1, study, series, PatientBirthDate="20180903"))
    scene.wait_for_checks(case_id, "study-held")
    [held] = scene.intake.case(case_id)["held_studies"]
    decision = {
        "study_id": held["study"]["id"],
        "because": "day and month are swapped; confirmed by telephone",
    }
    assert scene.intake.post(f"cases/{case_id}/join-study", **decision).ok
    scene.wait_for_checks(case_id, "identity-differs")
    assert len(scene.intake.case(case_id)["studies"]) == 1
    assert scene.intake.post(f"cases/{case_id}/part-study", **decision).ok
    scene.wait_for_checks(case_id, "study-not-received")
    assert scene.intake.case(case_id)["studies"] == []


def test_an_unnamed_study_with_the_child_s_number_of_another_issuer_waits_for_a_person(
    scene: Scene, mrn: str
) -> None:
    study, series = uids()
    case_id = scene.ehr.open_case(referral(mrn))
    scene.pacs.store(*images(mrn, 1, study, series))
    scene.wait_for_checks(case_id, "study-held")
    assert scene.intake.case(case_id)["studies"] == []


def test_a_study_held_for_one_case_leaves_it_when_its_own_referral_comes(scene: Scene, mrn: str) -> None:
    study, series = uids()
    namesake = scene.ehr.open_case(referral(mrn))
    scene.pacs.store(*images(mrn, 1, study, series))
    scene.wait_for_checks(namesake, "study-held")
    unnumbered = {name: value for name, value in patient(mrn).items() if name != "identifier"}
    own = referral(f"{mrn}z", patient=unnumbered, imaging=imaging_study(study, {series: 1}))
    case_id = scene.ehr.open_case(own)
    assert scene.wait_for_study(case_id)["study_instance_uid"] == study
    scene.wait_for_checks(namesake)


def test_an_empty_attachment_is_found_and_closes_when_the_document_comes(scene: Scene, mrn: str) -> None:
    empty = document_reference(
        None, identifier=[{"system": "https://hospital-a.example/document", "value": mrn}]
    )
    whole = document_reference(
        PDF, identifier=[{"system": "https://hospital-a.example/document", "value": mrn}]
    )
    case_id = scene.ehr.open_case(referral(mrn, document=empty))
    scene.wait_for_checks(case_id, "attachment-unreadable")
    assert scene.ehr.open_case(referral(mrn, request=None, practitioner=None, document=whole)) == case_id
    scene.wait_for_checks(case_id)


@pytest.mark.parametrize("content", [b"no pdf at all", b"%PDF-1.7 and then nothing"])
def test_a_document_that_does_not_open_is_found(scene: Scene, mrn: str, content: bytes) -> None:
    case_id = scene.ehr.open_case(referral(mrn, document=document_reference(content)))
    scene.wait_for_checks(case_id, "attachment-unreadable")


def test_no_reachable_physician_is_found_and_closes_when_the_number_comes(scene: Scene, mrn: str) -> None:
    sent = referral(mrn)
    sent["entry"][1]["resource"]["identifier"][0]["value"] = mrn
    contact = sent["entry"][1]["resource"].pop("telecom")
    case_id = scene.ehr.open_case(sent)
    scene.wait_for_checks(case_id, "no-reachable-physician")
    sent["entry"][1]["resource"]["telecom"] = contact
    assert scene.ehr.open_case(sent) == case_id
    scene.wait_for_checks(case_id)


def test_the_hospital_sees_in_its_task_what_is_missing(scene: Scene, mrn: str) -> None:
    case_id = scene.ehr.open_case(referral(mrn, request=None, practitioner=None))
    notes = wait_for(lambda: scene.ehr.task(case_id).get("note"))
    assert any("without a request" in note["text"] for note in notes)


def test_a_second_child_in_the_records_blocks_review_and_is_not_shown(scene: Scene, mrn: str) -> None:
    sent = referral(mrn, sibling=patient(f"{mrn}x"))
    sibling = sent["entry"][-1]["fullUrl"]
    sent["entry"].append(
        {
            "fullUrl": f"urn:uuid:{uuid4()}",
            "resource": {
                "resourceType": "Condition",
                "code": {"text": "Asthma of the sibling"},
                "subject": {"reference": sibling},
            },
            "request": {"method": "POST", "url": "Condition"},
        }
    )
    case_id = scene.ehr.open_case(sent)
    scene.wait_for_checks(case_id, "mixed-patients")
    assert "Asthma of the sibling" not in str(scene.intake.case(case_id))


def test_an_enquiry_is_a_task_for_the_hospital_and_is_answered_by_what_arrives(
    scene: Scene, mrn: str
) -> None:
    study, series = uids()
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {series: 1})))
    scene.wait_for_checks(case_id, "study-not-received")
    [finding] = scene.intake.findings(case_id)
    asked = {"text": "Please send the CT.", "finding_ids": [finding["id"]]}
    assert scene.intake.post(f"cases/{case_id}/ask", **asked).ok
    [entry] = scene.ehr.get(f"Task?part-of=Task/{case_id}").json()["entry"]
    with_parts = scene.ehr.get(f"Task?_id={case_id}&_revinclude=Task:part-of").json()["entry"]
    assert [one["resource"]["id"] for one in with_parts] == [case_id, entry["resource"]["id"]]
    assert entry["resource"]["description"] == "Please send the CT."
    assert scene.ehr.task(case_id)["statusReason"]
    scene.pacs.store(*images(mrn, 1, study, series))
    wait_for(lambda: scene.intake.case(case_id)["status"] == "received")
    enquiry = scene.ehr.get(f"Task/{entry['resource']['id']}").json()
    assert enquiry["status"] == "completed"


def test_from_referral_to_report(scene: Scene, mrn: str) -> None:
    study, series = uids()
    case_id = scene.ehr.open_case(
        referral(mrn, imaging=imaging_study(study, {series: 2}), document=document_reference(None))
    )
    scene.pacs.store(*images(mrn, 2, study, series))
    scene.wait_for_checks(case_id, "attachment-unreadable")
    assert scene.specialist.post(f"cases/{case_id}/accept").status_code in (403, 404)
    assert scene.intake.post(f"cases/{case_id}/accept").ok
    specialists = scene.intake.get("users?role=specialist")["users"]
    specialist = next(user for user in specialists if user["name"] == SPECIALIST.name)
    assert scene.intake.post(f"cases/{case_id}/assign", specialist_id=specialist["id"]).ok
    written = {"findings_text": "A lesion.", "conclusion": "Resectable.", "recommendations": "Surgery."}
    assert scene.specialist.post(f"cases/{case_id}/draft", **written).ok
    assert scene.specialist.sign(case_id).ok
    task = scene.ehr.task(case_id)
    assert task["status"] == "completed"
    request = task["focus"]["reference"]
    found = scene.ehr.get(f"DiagnosticReport?based-on={request}").json()
    report = found["entry"][0]["resource"]
    assert report["conclusion"] == "Resectable."
    assert report["imagingStudy"]
    assert scene.specialist.post(f"cases/{case_id}/draft", **written).status_code == 409
    assert scene.ehr.get(f"DiagnosticReport/{report['id']}").json() == report
    wait_for(lambda: scene.intake.case(case_id)["status"] == "delivered")
