"""A case and its enquiries as Tasks that the hospital follows."""

from dataclasses import replace

import pytest
from fhir.resources.R4B.task import Task

from gateway.case.model import Case, Enquiry, Record, Severity
from gateway.case.status import CaseStatus
from mappings.case_to_task import statuses, to_enquiry_task, to_task
from tests.support.reviewed_case import (
    ENQUIRY,
    OPEN_FINDING,
    OPENED_AT,
    OPINION,
    PATIENT,
    RECORD,
    SIGNED_AT,
    finding,
    reviewed_case,
)

FHIR = "https://opinions.example.org/fhir"
R4_TASK_STATUS = {  # http://hl7.org/fhir/task-status, 4.0.1
    *("draft", "requested", "received", "accepted", "rejected", "ready", "cancelled"),
    *("in-progress", "on-hold", "failed", "completed", "entered-in-error"),
}


def task_of(case: Case) -> dict:
    task = to_task(case, FHIR, "The Programme")
    Task.model_validate(task)
    return task


def enquiry_task_of(case: Case, enquiry: Enquiry) -> dict:
    task = to_enquiry_task(case, enquiry, FHIR, "The Programme")
    Task.model_validate(task)
    return task


def test_the_task_ties_the_request_the_child_the_hospital_and_the_programme_together():
    task = task_of(reviewed_case())
    assert task["id"] == "SO-7K2M9QXA"
    assert task["identifier"] == [{"system": f"{FHIR}/NamingSystem/case", "value": "SO-7K2M9QXA"}]
    assert task["code"]["coding"][0]["code"] == "fulfill"
    assert task["intent"] == "order"
    assert task["priority"] == "urgent"
    assert task["focus"] == {"reference": "ServiceRequest/s1", "type": "ServiceRequest"}
    assert task["for"]["reference"] == "Patient/p1"
    assert task["requester"] == {
        "reference": "PractitionerRole/r1",
        "type": "PractitionerRole",
        "display": "Dr Samir Khoury",
    }
    assert task["owner"]["display"] == "The Programme"
    assert task["authoredOn"] == "2026-04-02T08:15:00.000Z"
    assert task["lastModified"] == task["meta"]["lastUpdated"] == "2026-04-09T16:42:07.000Z"


def test_every_status_of_a_case_is_shown_as_a_status_that_r4_knows():
    assert set(statuses()) == set(CaseStatus)
    for status in CaseStatus:
        task = task_of(reviewed_case(status=status))
        assert task["status"] in R4_TASK_STATUS
        assert task["businessStatus"]["coding"][0]["code"] == status
        assert task["businessStatus"]["text"]


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("received", "received"),
        ("awaiting-information", "received"),
        ("in-review", "in-progress"),
        ("signed", "completed"),
        ("declined", "rejected"),
    ],
)
def test_the_status_that_a_case_has_is_shown_as_the_task_status_that_fits(status, shown):
    assert task_of(reviewed_case(status=status))["status"] == shown


def test_each_open_finding_is_a_note_that_says_what_is_missing():
    notes = task_of(reviewed_case())["note"]
    assert notes == [
        {
            "time": "2026-04-02T08:15:00.000Z",
            "text": "Pathology report: The referral mentions a biopsy; its report was not sent.",
        }
    ]


def test_the_reason_is_the_open_question_to_the_hospital():
    task = task_of(reviewed_case(status="awaiting-information", enquiries=(ENQUIRY,)))
    assert task["statusReason"] == {"text": "Please send the pathology report."}
    answered = replace(ENQUIRY, answered_at=SIGNED_AT)
    assert "statusReason" not in task_of(reviewed_case(enquiries=(answered,)))


def test_the_reason_is_what_blocks_review_where_nothing_was_asked():
    blocking = finding("f9", "The question", "Please add it.", Severity.BLOCKS)
    task = task_of(reviewed_case(status="received", findings=(blocking,)))
    assert task["statusReason"] == {"text": "Needed before the review can begin: The question"}


def test_the_reason_for_declining_is_told():
    task = task_of(reviewed_case(status="declined", declined_because="Outside our specialties."))
    assert task["statusReason"] == {"text": "Outside our specialties."}


def test_only_a_signed_opinion_is_an_output():
    assert "output" not in task_of(reviewed_case(status="in-review"))
    signed = replace(OPINION, signed_at=SIGNED_AT)
    task = task_of(reviewed_case(status="signed", opinions=(signed,)))
    assert [o["valueReference"]["reference"] for o in task["output"]] == [f"DiagnosticReport/{OPINION.id}"]


def test_a_case_without_request_patient_or_physician_names_the_partner_as_requester():
    task = task_of(reviewed_case(record=Record(), service_request=""))
    assert "focus" not in task
    assert "priority" not in task
    assert task["for"] == {"display": "Not stated by the sender"}
    assert task["requester"] == {
        "type": "Organization",
        "identifier": {"system": "urn:second-opinion:partner", "value": "cedar"},
        "display": "Cedar Valley Hospital",
    }


@pytest.mark.parametrize("priority", ["", "soon", "URGENT"])
def test_a_priority_that_r4_does_not_know_is_not_repeated(priority):
    question = replace(RECORD.questions[0], priority=priority)
    assert "priority" not in task_of(reviewed_case(record=replace(RECORD, questions=(question,))))


def test_an_enquiry_is_a_sub_task_that_the_hospital_owns():
    task = enquiry_task_of(reviewed_case(enquiries=(ENQUIRY,)), ENQUIRY)
    assert task["id"] == ENQUIRY.id
    assert task["partOf"] == [{"reference": "Task/SO-7K2M9QXA", "type": "Task"}]
    assert task["status"] == "requested"
    assert task["description"] == "Please send the pathology report."
    assert task["owner"]["reference"] == "PractitionerRole/r1"
    assert task["requester"]["display"] == "The Programme"
    assert task["for"]["reference"] == "Patient/p1"
    assert [i["valueString"] for i in task["input"]] == [
        f"{OPEN_FINDING.finding.subject}: {OPEN_FINDING.finding.text}"
    ]


def test_an_answered_enquiry_is_completed_when_it_was_answered():
    answered = replace(ENQUIRY, answered_at=SIGNED_AT, finding_ids=())
    task = enquiry_task_of(reviewed_case(enquiries=(answered,)), answered)
    assert task["status"] == "completed"
    assert task["authoredOn"].startswith(f"{OPENED_AT:%Y-%m-%d}")
    assert task["lastModified"] == "2026-04-09T16:42:07.000Z"
    assert "input" not in task


def test_texts_with_characters_that_fhir_forbids_still_make_a_task():
    asked = replace(ENQUIRY, text="a\x00\ud800b")
    case = reviewed_case(
        record=replace(RECORD, patient=replace(PATIENT, birth_date="")), enquiries=(asked,), status="declined"
    )
    assert enquiry_task_of(case, asked)["description"] == "a\ufffd\ufffdb"
