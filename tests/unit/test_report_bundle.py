"""The transaction that brings a report to the hospital's own server."""

import copy
from dataclasses import replace

import pytest
from fhir.resources.R4B.bundle import Bundle

from mappings.fhir_elements import references
from mappings.opinion_to_report import report_of, to_diagnostic_report
from mappings.report_to_bundle import to_transaction
from mappings.study_to_imaging_study import to_imaging_study
from tests.support.reviewed_case import CT, OPINION, OPINION_ID, PROGRAMME, SIGNED_AT, reviewed_case

FHIR = "https://opinions.example.org/fhir"
REPORT = to_diagnostic_report(
    report_of(reviewed_case(), OPINION, SIGNED_AT, PROGRAMME), FHIR, b"<!DOCTYPE html>", b"%PDF"
)
PATIENT = {
    "resourceType": "Patient",
    "id": "their-9",
    "identifier": [
        {"use": "old", "system": "https://x.test/a", "value": "1"},
        {"system": "https://x.test/mrn", "value": "7"},
    ],
    "name": [{"text": "Layla Haddad"}],
    "managingOrganization": {"reference": "Organization/o1"},
}
ORDER = {
    "resourceType": "ServiceRequest",
    "id": "their-s",
    "identifier": [{"system": "https://x.test/order", "value": "R-1"}],
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/their-9"},
    "requester": {"reference": "PractitionerRole/r1"},
}
IMAGING = to_imaging_study(CT, "Patient/p1", "https://opinions.example.org/dicom-web")


def bundle_of(report=REPORT, patient=PATIENT, order=ORDER, imaging=(IMAGING,)) -> dict:
    bundle = to_transaction(report, patient, order, imaging)
    Bundle.model_validate(bundle)
    return bundle


def resources_of(bundle: dict) -> dict[str, dict]:
    return {entry["resource"]["resourceType"]: entry["resource"] for entry in bundle["entry"]}


def conditions_of(bundle: dict) -> dict[str, str]:
    return {entry["request"]["url"]: entry["request"]["ifNoneExist"] for entry in bundle["entry"]}


def test_everything_is_created_only_where_it_is_not_yet_there():
    bundle = bundle_of()
    assert all(entry["request"]["method"] == "POST" for entry in bundle["entry"])
    assert conditions_of(bundle) == {
        "Patient": "identifier=https://x.test/mrn|7",
        "ServiceRequest": "identifier=https://x.test/order|R-1",
        "ImagingStudy": f"identifier=urn:dicom:uid|urn:oid:{CT.study_instance_uid}",
        "DiagnosticReport": f"identifier=urn:ietf:rfc:3986|urn:uuid:{OPINION_ID}",
    }


def test_the_report_is_the_last_entry_and_unchanged_but_for_its_references():
    bundle = bundle_of()
    sent = bundle["entry"][-1]["resource"]
    changed = {name for name in sent if sent[name] != REPORT.get(name)}
    assert sent["resourceType"] == "DiagnosticReport"
    assert changed == {"subject", "basedOn", "imagingStudy"}
    assert set(REPORT) - set(sent) == {"id", "meta"}


def test_every_reference_leads_to_an_entry_of_the_bundle_or_into_the_resource():
    bundle = bundle_of()
    urls = {entry["fullUrl"] for entry in bundle["entry"]}
    found = set(references(bundle))
    assert {reference for reference in found if not reference.startswith("#")} <= urls
    report = resources_of(bundle)["DiagnosticReport"]
    assert report["subject"]["reference"] == bundle["entry"][0]["fullUrl"]
    assert report["basedOn"][0]["reference"] == bundle["entry"][1]["fullUrl"]
    assert report["imagingStudy"][0]["reference"] == bundle["entry"][2]["fullUrl"]


@pytest.mark.parametrize("patient", [None, {"resourceType": "Patient", "id": "p", "name": [{"text": "X"}]}])
def test_a_child_without_identifier_is_not_created_and_the_report_refers_to_it_without_an_id(patient):
    bundle = bundle_of(patient=patient)
    assert "Patient" not in resources_of(bundle)
    assert resources_of(bundle)["DiagnosticReport"]["subject"] == {
        "type": "Patient",
        "identifier": {"system": "https://hospital.example.org/mrn", "value": "70012345"},
        "display": "Layla Haddad",
    }


def test_an_order_that_cannot_be_found_again_is_referred_to_in_words():
    report = resources_of(bundle_of(order=None))["DiagnosticReport"]
    assert report["basedOn"] == [{"display": "Known to the second-opinion gateway"}]


def test_what_the_hospital_sent_is_not_sent_back_with_references_to_its_other_resources():
    sent = resources_of(bundle_of())
    assert "managingOrganization" not in sent["Patient"]
    assert "requester" not in sent["ServiceRequest"]


def test_a_child_that_has_died_is_not_created_as_one_that_lives():
    sent = resources_of(bundle_of(patient=PATIENT | {"deceasedDateTime": "2026-03-30"}))["Patient"]
    assert sent["deceasedDateTime"] == "2026-03-30"


def test_an_identifier_without_system_is_only_looked_for_without_system():
    patient = PATIENT | {"identifier": [{"value": "7"}]}
    assert conditions_of(bundle_of(patient=patient))["Patient"] == "identifier=|7"


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("a|b", "a%5C%7Cb"),
        ("a,b", "a%5C%2Cb"),
        ("a&_id=2", "a%26_id%3D2"),
        ("ü 1", "%C3%BC%201"),
        ("a\\b", "a%5C%5Cb"),
    ],
)
def test_an_identifier_cannot_add_to_the_condition(value, escaped):
    patient = PATIENT | {"identifier": [{"system": "https://x.test/mrn", "value": value}]}
    assert conditions_of(bundle_of(patient=patient))["Patient"] == f"identifier=https://x.test/mrn|{escaped}"


def test_a_retry_sends_the_same_bundle_and_changes_nothing_that_it_was_given():
    given = copy.deepcopy(REPORT)
    assert bundle_of(report=given) == bundle_of()
    assert given == REPORT


def test_a_report_without_patient_request_or_imaging_is_sent_alone():
    bare = report_of(
        replace(
            reviewed_case(),
            service_request="",
            studies=(),
            record=replace(reviewed_case().record, patient=None),
        ),
        OPINION,
        SIGNED_AT,
        PROGRAMME,
    )
    bundle = bundle_of(to_diagnostic_report(bare, FHIR, b"h", b"p"), None, None, ())
    assert [entry["request"]["url"] for entry in bundle["entry"]] == ["DiagnosticReport"]
