"""R5 and STU3 in R4 and back: every element of every resource that a case uses, and what is special about some."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.fhir.validation import faults
from gateway.store.resources import loads
from mappings.fhir_conversion import Conversion, Note
from mappings.fhir_conversion_table import USED, from_r4
from mappings.fhir_conversion_table import to_r4 as to_r4_table
from mappings.fhir_datatypes import absent
from mappings.fhir_definitions import Release, resource_model
from tests.support.any_value import standing
from tests.support.fhir_samples import samples

DATA = Path(__file__).parents[1] / "data"
TYPES = [
    (release, name)
    for release in (Release.R5, Release.STU3, Release.R4B)
    for name in USED
    if resource_model(name, release) is not None
]


def to_r4(resource: dict[str, Any], release: Release) -> tuple[dict[str, Any], list[Note]]:
    conversion = Conversion(release, Release.R4)
    made = conversion.resource(resource, "R")
    assert made is not None
    return made, conversion.notes


def back(resource: dict[str, Any], release: Release) -> dict[str, Any]:
    made = Conversion(Release.R4, release).resource(resource, "R")
    assert made is not None
    return made


def r5(resource: dict[str, Any]) -> dict[str, Any]:
    return to_r4(resource, Release.R5)[0]


def stu3(resource: dict[str, Any]) -> dict[str, Any]:
    return to_r4(resource, Release.STU3)[0]


def type_faults(resource: dict[str, Any], release: Release = Release.R4) -> list[Any]:
    """Without invariants: these are about values that samples do not have."""
    return [issue for issue in faults(resource, "R", release) if issue.code != "invariant"]


def is_filler(value: Any) -> bool:
    """Says only that nobody stated what the other release requires."""
    if isinstance(value, list):
        return all(map(is_filler, value))
    if isinstance(value, dict) and "url" in value:
        return "/4.0/StructureDefinition/extension-" in value["url"] and value.get("valueCode") == "unknown"
    if isinstance(value, dict) and value != absent():
        return all(map(is_filler, value.values()))
    return value in (absent(), "unknown")


@pytest.mark.parametrize(("release", "type_name"), TYPES, ids=str)
def test_every_element_is_valid_r4_and_comes_back(release: Release, type_name: str) -> None:
    tried = 0
    for name, resource in samples(type_name, release):
        assert type_faults(resource, release) == [], f"the sample of {name}"
        before = copy.deepcopy(resource)
        made, _ = to_r4(resource, release)
        assert type_faults(made) == [], name
        again = back(made, release)
        assert {key: again.get(key) for key in before} == before, name
        assert all(is_filler(again[key]) for key in again.keys() - before.keys()), name
        assert type_faults(again, release) == [], name
        assert resource == before, "what was sent stays as it is"
        tried += 1
    assert tried


def stu3_files(shared_data: Path | None) -> Iterator[dict[str, Any]]:
    folder = shared_data / "fhir" / "synthea-stu3" if shared_data else DATA
    for file in sorted(folder.glob("*.json")):
        yield from (entry["resource"] for entry in loads(file.read_bytes())["entry"])


def test_real_stu3_resources_are_valid_r4_and_come_back(shared_data: Path | None) -> None:
    tried = 0
    for resource in stu3_files(shared_data):
        made, notes = to_r4(resource, Release.STU3)
        assert notes == []
        again = back(made, Release.STU3)
        if not faults(resource, "R", Release.STU3):
            assert {key: again.get(key) for key in resource} == resource
            assert type_faults(made) == []
            tried += 1
    assert tried >= 10


@pytest.mark.parametrize("release", [Release.R5, Release.STU3], ids=str)
def test_a_code_that_both_releases_have_is_never_another(release: Release) -> None:
    rules = [*to_r4_table(release).rules.values(), *from_r4(release).rules.values()]
    turned = [
        (code, rule.codes[code]) for rule in rules for code in rule.codes if code in rule.codes.values()
    ]
    assert turned
    assert [(code, other) for code, other in turned if code != other] == []


@pytest.mark.parametrize("status", ["planned", "in-progress", "cancelled", "entered-in-error", "unknown"])
def test_a_status_that_r4_has_too_stays_itself(status: str) -> None:
    made = r5({"resourceType": "Encounter", "status": status, "class": [WHY]})
    assert (made["status"], "_status" in made) == (status, False)


WHY = {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}


def test_a_codeable_reference_is_a_concept_or_a_reference() -> None:
    about = {"reference": "Condition/1"}
    sent = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/1"},
        "code": {"concept": {"text": "Second opinion"}},
        "reason": [{"concept": WHY}, {"reference": about}],
    }
    made = r5(sent)
    assert made["code"] == {"text": "Second opinion"}
    assert (made["reasonCode"], made["reasonReference"]) == ([WHY], [about])
    assert back(made, Release.R5) == sent


def test_a_codeable_reference_that_is_both_stays_both() -> None:
    both = {"concept": WHY, "reference": {"reference": "Medication/1"}}
    sent = {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/1"},
        "medication": both,
    }
    made = r5(sent)
    url = "http://hl7.org/fhir/5.0/StructureDefinition/extension-CodeableReference.reference"
    assert made["medicationCodeableConcept"] == WHY | {
        "extension": [{"url": url, "valueReference": both["reference"]}]
    }
    assert back(made, Release.R5) == sent


def test_what_has_no_place_is_an_extension_by_the_name_that_the_standard_gives_it() -> None:
    made = r5({"resourceType": "Procedure", "status": "completed", "focus": {"reference": "Device/1"}})
    url = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Procedure.focus"
    assert made["extension"] == [{"url": url, "valueReference": {"reference": "Device/1"}}]


def test_what_changes_the_meaning_is_a_modifier_extension_and_is_told() -> None:
    sent = {"resourceType": "Task", "status": "requested", "intent": "order", "doNotPerform": True}
    made, notes = to_r4(sent, Release.R5)
    [extension] = made["modifierExtension"]
    assert extension["url"].endswith("/5.0/StructureDefinition/extension-Task.doNotPerform")
    assert [(note.severity, note.expression) for note in notes] == [("warning", "R.doNotPerform")]
    assert back(made, Release.R5) == sent


def test_a_modifier_that_says_no_changes_nothing() -> None:
    sent = {"resourceType": "Task", "status": "requested", "intent": "order", "doNotPerform": False}
    made, notes = to_r4(sent, Release.R5)
    assert "modifierExtension" not in made
    assert notes == []
    assert back(made, Release.R5) == sent


def test_a_number_that_r4_does_not_allow_is_kept_as_an_extension() -> None:
    sent = {
        "resourceType": "MedicationStatement",
        "status": "active",
        "taken": "y",
        "medicationCodeableConcept": {"text": "Cisplatin"},
        "subject": {"reference": "Patient/1"},
        "dosage": [{"timing": {"repeat": {"count": 0}}}],
    }
    made = stu3(sent)
    assert "count" not in made["dosage"][0]["timing"]["repeat"]
    assert faults(made, "R") == []
    assert back(made, Release.STU3) == sent


def test_a_code_that_is_a_concept_in_r4_stands_beside_it_too() -> None:
    sent = {
        "resourceType": "Condition",
        "verificationStatus": "unknown",
        "subject": {"reference": "Patient/1"},
    }
    made = stu3(sent)
    assert made["verificationStatus"]["coding"][0]["code"] == "unconfirmed"
    assert made["verificationStatus"]["extension"][0]["valueCode"] == "unknown"
    again = back(made, Release.STU3)
    assert {key: again.get(key) for key in sent} == sent


def test_a_code_that_r4_has_not_stands_beside_the_nearest_one() -> None:
    made = r5({"resourceType": "Encounter", "status": "discharged", "class": [WHY]})
    url = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Encounter.status"
    assert made["status"] == "finished"
    assert made["_status"] == {"extension": [{"url": url, "valueCode": "discharged"}]}


def test_a_code_without_a_near_one_is_none_rather_than_a_wrong_one() -> None:
    sent = {"resourceType": "DocumentReference", "status": "current", "docStatus": "cancelled", "content": []}
    made = r5(sent)
    assert "docStatus" not in made
    assert made["_docStatus"]["extension"][0]["valueCode"] == "cancelled"


def test_a_size_of_64_bits_is_text_in_r5_and_a_number_in_r4() -> None:
    sent = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": {"contentType": "application/pdf", "size": "1234"}}],
    }
    made = r5(sent)
    assert made["content"][0]["attachment"]["size"] == 1234
    assert back(made, Release.R5) == sent


@pytest.mark.parametrize(
    ("code", "status"), [("taking", "active"), ("not-taking", "not-taken"), ("stopped", "stopped")]
)
def test_whether_a_medicine_is_taken_is_the_status_in_r4(code: str, status: str) -> None:
    system = "http://hl7.org/fhir/CodeSystem/medication-statement-adherence"
    sent = {
        "resourceType": "MedicationStatement",
        "status": "recorded",
        "medication": {"concept": {"text": "Cisplatin"}},
        "subject": {"reference": "Patient/1"},
        "adherence": {"code": {"coding": [{"system": system, "code": code}]}},
    }
    made = r5(sent)
    assert made["status"] == status
    assert back(made, Release.R5) == sent


def test_the_telecom_of_a_contact_is_where_r4_looks_for_it() -> None:
    phones = [{"system": "phone", "value": "1"}, {"system": "email", "value": "a@b.example"}]
    contact = [
        {"name": [{"text": "Ward"}], "telecom": phones},
        {"purpose": WHY, "telecom": [{"value": "2"}]},
    ]
    sent = {"resourceType": "PractitionerRole", "contact": contact}
    made = r5(sent)
    assert [t["value"] for t in made["telecom"]] == ["1", "a@b.example", "2"]
    assert back(made, Release.R5) == sent


def test_recorder_and_asserter_are_read_from_the_participants() -> None:
    system = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
    sent = {
        "resourceType": "Condition",
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "subject": {"reference": "Patient/1"},
        "participant": [
            {
                "function": {"coding": [{"system": system, "code": code}]},
                "actor": {"reference": f"Practitioner/{code}"},
            }
            for code in ("author", "informant", "verifier")
        ],
    }
    made = r5(sent)
    assert made["recorder"] == {"reference": "Practitioner/author"}
    assert made["asserter"] == {"reference": "Practitioner/informant"}
    assert back(made, Release.R5) == sent


@pytest.mark.parametrize(
    "sent",
    [
        {"resourceType": "Immunization", "status": "completed", "notGiven": True, "primarySource": True},
        {"resourceType": "Procedure", "status": "aborted", "notDone": True},
        {"resourceType": "Communication", "status": "aborted", "notDone": True},
        {"resourceType": "MedicationStatement", "status": "completed", "taken": "n"},
    ],
    ids=lambda sent: sent["resourceType"],
)
def test_what_was_not_done_is_not_done_in_r4(sent: dict[str, Any]) -> None:
    made = stu3(sent)
    assert made["status"] in ("not-done", "not-taken")
    again = back(made, Release.STU3)
    assert {key: again.get(key) for key in sent} == sent


def test_a_referral_request_is_a_service_request_that_asks_the_same() -> None:
    sent = {
        "resourceType": "ReferralRequest",
        "id": "1",
        "status": "suspended",
        "intent": "order",
        "subject": {"reference": "Patient/1"},
        "serviceRequested": [{"text": "Second opinion"}, {"text": "Review of the CT"}],
        "description": "Is surgery possible?",
        "specialty": {"text": "Hepatology"},
        "requester": {
            "agent": {"reference": "Practitioner/1"},
            "onBehalfOf": {"reference": "Organization/1"},
        },
        "basedOn": [{"reference": "ReferralRequest/0"}, {"reference": "ProcedureRequest/0"}],
    }
    made = stu3(sent)
    assert (made["resourceType"], made["id"], made["status"]) == (
        "ServiceRequest",
        "ReferralRequest-1",
        "on-hold",
    )
    assert (made["code"], made["orderDetail"]) == ({"text": "Second opinion"}, [{"text": "Review of the CT"}])
    assert made["note"][0]["text"] == "Is surgery possible?"
    assert made["requester"]["reference"] == "Practitioner/1"
    assert [r["reference"] for r in made["basedOn"]] == [
        "ServiceRequest/ReferralRequest-0",
        "ServiceRequest/0",
    ]
    assert back(made, Release.STU3) == sent


def test_two_requests_with_one_number_stay_two() -> None:
    """A server may number its ReferralRequests and its ProcedureRequests from 1."""
    made = [stu3({"resourceType": t, "id": "1"})["id"] for t in ("ReferralRequest", "ProcedureRequest")]
    assert len(set(made)) == 2


def test_a_long_number_of_a_request_is_still_an_id() -> None:
    ids = {stu3({"resourceType": "ReferralRequest", "id": "a" * 63 + c})["id"] for c in "bc"}
    assert len(ids) == 2
    assert all(len(i) <= 64 for i in ids)


def test_the_uid_and_the_accession_of_a_study_are_identifiers() -> None:
    sent = {
        "resourceType": "ImagingStudy",
        "uid": "urn:oid:1.2.3",
        "accession": {"system": "http://hospital.example/acc", "value": "77"},
        "availability": "ONLINE",
        "patient": {"reference": "Patient/1"},
        "series": [
            {
                "uid": "urn:oid:1.2.3.4",
                "modality": {"code": "CT"},
                "performer": [{"reference": "Practitioner/1"}],
            }
        ],
    }
    made = stu3(sent)
    assert made["identifier"][0] == {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}
    assert made["identifier"][1]["value"] == "77"
    assert made["status"] == "available"
    assert made["series"][0]["uid"] == "1.2.3.4"
    assert made["series"][0]["performer"] == [{"actor": {"reference": "Practitioner/1"}}]
    again = back(made, Release.STU3)
    assert {key: again.get(key) for key in sent} == sent


def test_a_reference_to_what_r4_does_not_allow_there_is_kept_as_an_extension() -> None:
    sent = {
        "resourceType": "Procedure",
        "status": "completed",
        "subject": {"reference": "Device/1"},
        "code": {"text": "Calibration"},
    }
    made = r5(sent)
    assert made["subject"] == absent()
    assert made["extension"][0]["valueReference"] == {"reference": "Device/1"}
    assert faults(made, "R") == []
    assert back(made, Release.R5) == sent


def test_what_a_search_says_of_itself_stands_where_r5_looks_for_it() -> None:
    told = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "not-supported"}]}
    searchset = {"resourceType": "Bundle", "type": "searchset"}
    made = back(searchset | {"entry": [{"resource": told, "search": {"mode": "outcome"}}]}, Release.R5)
    assert made == searchset | {"issues": told}
    assert r5(made)["entry"] == [{"resource": told, "search": {"mode": "outcome"}}]


@pytest.mark.parametrize(
    ("type_name", "element", "code"),
    [
        ("ProcedureRequest", "status", "unknown"),
        ("ReferralRequest", "intent", "original-order"),
        ("Communication", "status", "unknown"),
        ("Task", "priority", "routine"),
    ],
)
def test_codes_of_stu3_that_its_models_leave_out_are_taken(type_name: str, element: str, code: str) -> None:
    issues = faults({"resourceType": type_name, element: code}, "R", Release.STU3)
    assert [issue for issue in issues if issue.expression == f"R.{element}"] == []


def test_a_type_that_r4_has_not_is_not_converted() -> None:
    genomic = {"resourceType": "GenomicStudy", "status": "available", "subject": {"reference": "Patient/1"}}
    assert Conversion(Release.R5, Release.R4).resource(genomic, "R") is None


def test_a_contained_resource_is_converted_and_keeps_its_id() -> None:
    inside = {"resourceType": "ReferralRequest", "id": "r", "status": "active"}
    made = stu3({"resourceType": "Patient", "contained": [inside]})
    [contained] = made["contained"]
    assert (contained["resourceType"], contained["id"]) == ("ServiceRequest", "r")


@pytest.mark.parametrize("release", [Release.R5, Release.STU3])
@pytest.mark.parametrize(
    "wrong", [None, "x", 7, True, [], {}, [[]], [None], {"a": 1}, ["x"], [{"coding": 1}]]
)
def test_faulty_values_pass_and_never_fail(release: Release, wrong: Any) -> None:
    for type_name in (name for known, name in TYPES if known is release):
        for name, resource in samples(type_name, release):
            faulty = resource | {name: wrong}
            made, _ = to_r4(faulty, release)
            back(made, release)


@pytest.mark.parametrize("release", [Release.R5, Release.STU3], ids=str)
def test_a_faulty_value_anywhere_inside_never_fails(release: Release) -> None:
    """In what is turned into R4, and in what is turned back."""
    chance = random.Random(release.value)
    wrong: list[Any] = [
        None,
        "x",
        7,
        True,
        [],
        {},
        [[]],
        [None],
        {"extension": "x"},
        {"coding": [{"code": [1]}]},
    ]

    def spoilt(resource: dict[str, Any]) -> dict[str, Any]:
        changed = copy.deepcopy(resource)
        *path, last = chance.choice([place for place in standing(changed) if place != ("resourceType",)])
        holder: Any = changed
        for step in path:
            holder = holder[step]
        holder[last] = copy.deepcopy(chance.choice(wrong))
        return changed

    for type_name in (name for known, name in TYPES if known is release):
        for _, resource in samples(type_name, release):
            made, _ = to_r4(spoilt(resource), release)
            back(spoilt(made), release)
