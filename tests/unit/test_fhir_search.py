"""Every search parameter that the CapabilityStatement offers: what it finds and what it does not."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.errors import InvalidContent
from gateway.fhir.search import MAX_COUNT, PARAMETERS, matching, parse
from gateway.fhir.served import Served

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
LOCAL = "https://hospital.example/codes"
COMMON: dict[str, Any] = {
    "id": "one",
    "meta": {"lastUpdated": "2026-05-04T12:00:00.000+00:00"},
    "identifier": [{"system": "https://hospital.example/id", "value": "A-7"}],
}
SUBJECT = {"reference": "Patient/p1"}
RESOURCES: dict[str, dict[str, Any]] = {
    "Task": {
        "status": "in-progress",
        "for": SUBJECT,
        "businessStatus": {"coding": [{"system": LOCAL, "code": "in-review"}]},
        "focus": {"reference": "ServiceRequest/s1"},
        "basedOn": [{"reference": "ServiceRequest/s2"}],
        "partOf": [{"reference": "Task/t1"}],
    },
    "ServiceRequest": {"status": "active", "subject": SUBJECT},
    "Patient": {
        "name": [{"family": "Müller", "given": ["Zoë", "Ann"], "text": "Zoë Müller"}],
        "birthDate": "2018-03-09",
        "gender": "female",
    },
    "ImagingStudy": {
        "status": "available",
        "subject": SUBJECT,
        "basedOn": [{"reference": "ServiceRequest/s1"}],
        "started": "2026-04-01",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}],
    },
    "DocumentReference": {
        "status": "current",
        "subject": SUBJECT,
        "type": {"coding": [{"system": "http://loinc.org", "code": "18842-5"}]},
        "date": "2026-04-02T09:30:00Z",
    },
    "DiagnosticReport": {
        "status": "final",
        "subject": SUBJECT,
        "basedOn": [{"reference": "ServiceRequest/s1"}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
        "category": [{"coding": [{"system": LOCAL, "code": "second-opinion"}]}],
        "issued": "2026-05-04T12:00:00.000Z",
    },
}
FOUND = {
    "_id": ("one", "two"),
    "_lastUpdated": ("ge2026-05", "lt2026"),
    "identifier": ("https://hospital.example/id|A-7", "https://other.example/id|A-7"),
    "patient": ("Patient/p1", "Patient/p2"),
    "subject": ("http://127.0.0.1:8080/fhir/Patient/p1", "p"),
    "Task.status": ("in-progress", "completed"),
    "Task.business-status": (f"{LOCAL}|in-review", "review"),
    "Task.focus": ("ServiceRequest/s1", "Task/s1"),
    "Task.based-on": ("s2", "s1"),
    "Task.part-of": ("Task/t1", "Task/t2"),
    "ServiceRequest.status": ("revoked,active", "draft"),
    "Patient.name": ("zoe mull", "uller"),
    "Patient.family": ("MULLER", "Zoë"),
    "Patient.given": ("an", "müller"),
    "Patient.birthdate": ("2018-03-09", "gt2018"),
    "Patient.gender": ("female", "male"),
    "ImagingStudy.status": ("available", "registered"),
    "ImagingStudy.basedon": ("ServiceRequest/s1", "ServiceRequest/s2"),
    "ImagingStudy.started": ("2026-04", "ne2026-04-01"),
    "ImagingStudy.modality": ("CT", "MR"),
    "DocumentReference.status": ("current", "superseded"),
    "DocumentReference.type": ("http://loinc.org|18842-5", "http://snomed.info/sct|18842-5"),
    "DocumentReference.date": ("le2026-04-02", "gt2026-04-02"),
    "DiagnosticReport.status": ("final", "amended"),
    "DiagnosticReport.based-on": ("ServiceRequest/s1", "ServiceRequest/s11"),
    "DiagnosticReport.code": ("http://loinc.org|", "11488"),
    "DiagnosticReport.category": ("second-opinion", "LAB"),
    "DiagnosticReport.issued": ("2026-05-04", "2026-05-05"),
}
"""By parameter, or by type and parameter: a value that finds the resource, and one that does not."""
OFFERED = [(type_name, name) for type_name, known in PARAMETERS.items() for name in known]


def found(type_name: str, name: str, value: str) -> bool:
    resource = {"resourceType": type_name} | COMMON | RESOURCES[type_name]
    return bool(matching(parse(type_name, [(name, value)], strict=True), [Served(resource, "1", NOON)]))


@pytest.mark.parametrize(("type_name", "name"), OFFERED)
def test_a_parameter_finds_what_has_the_value_and_nothing_else(type_name: str, name: str) -> None:
    value, other = FOUND.get(f"{type_name}.{name}") or FOUND[name]
    assert found(type_name, name, value)
    assert not found(type_name, name, other)


def test_parameters_are_joined_by_and() -> None:
    resource = {"resourceType": "Patient"} | COMMON | RESOURCES["Patient"]
    served = [Served(resource, "1", NOON)]
    assert matching(parse("Patient", [("gender", "female"), ("family", "m")], strict=True), served)
    assert not matching(parse("Patient", [("gender", "female"), ("family", "x")], strict=True), served)


def test_a_modifier_is_a_parameter_that_is_not_known() -> None:
    assert parse("Patient", [("name:exact", "x")], strict=False).ignored == ("name:exact",)
    with pytest.raises(InvalidContent):
        parse("Patient", [("name:exact", "x")], strict=True)


def test_a_page_has_five_hundred_matches_at_most() -> None:
    assert parse("Task", [("_count", "100000")], strict=True).count == MAX_COUNT == 500
    assert parse("Task", [], strict=True).count == 50
