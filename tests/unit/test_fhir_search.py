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
    "Binary": {"contentType": "application/pdf"},
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


@pytest.mark.parametrize(
    ("type_name", "name", "value"),
    [
        ("DiagnosticReport", "patient.identifier", "x"),
        ("DiagnosticReport", "subject:Patient.identifier", "x"),
        ("DiagnosticReport", "subject:Patient", "x"),
        ("DiagnosticReport", "patient:identifier", "x"),
        ("DiagnosticReport", "status:not", "final"),
        ("DiagnosticReport", "_has:Provenance:target:agent", "x"),
        ("DiagnosticReport", "encounter.identifier", "x"),
        ("Patient", "identifier:of-type", "x"),
        ("Patient", "name:phonetic", "x"),
        ("Patient", "name:", "x"),
        ("Patient", "birthdate:exact", "2018"),
        ("Patient", "name:missing", "perhaps"),
    ],
)
def test_a_modifier_or_a_chain_that_is_not_offered_is_refused_and_never_ignored(
    type_name: str, name: str, value: str
) -> None:
    with pytest.raises(InvalidContent):
        parse(type_name, [(name, value)], strict=False)


@pytest.mark.parametrize(
    ("name", "value", "is_found"),
    [
        ("family:exact", "Müller", True),
        ("family:exact", "Muller", False),
        ("family:exact", "Müll", False),
        ("name:contains", "ULL", True),
        ("name:contains", "x", False),
        ("gender:missing", "false", True),
        ("gender:missing", "true", False),
    ],
)
def test_strings_can_be_exact_or_contained_and_anything_missing(
    name: str, value: str, is_found: bool
) -> None:
    assert found("Patient", name, value) is is_found


@pytest.mark.parametrize(
    ("value", "wanted", "is_found"),
    [
        ("a,b", "a\\,b", True),
        ("a,b", "x,a\\,b", True),
        ("a,b", "a,b", False),
        ("a|b", "a\\|b", True),
        ("a|b", f"{LOCAL}|a\\|b", True),
        ("a\\b", "a\\\\b", True),
        ("a", f"{LOCAL}|", True),
        ("a", "|a", False),
        ("a", "https://other.example|a", False),
    ],
)
def test_a_token_is_of_its_system_and_its_commas_and_bars_are_escaped(
    value: str, wanted: str, is_found: bool
) -> None:
    resource = {"resourceType": "Patient", "id": "1", "identifier": [{"system": LOCAL, "value": value}]}
    query = parse("Patient", [("identifier", wanted)], strict=True)
    assert bool(matching(query, [Served(resource, "1", NOON)])) is is_found


def test_a_token_without_system_is_asked_for_by_a_bar() -> None:
    resource = {"resourceType": "Patient", "id": "1", "identifier": [{"value": "7"}], "gender": "male"}
    served = [Served(resource, "1", NOON)]
    assert matching(parse("Patient", [("identifier", "|7")], strict=True), served)
    assert not matching(parse("Patient", [("identifier", f"{LOCAL}|7")], strict=True), served)
    standard = "http://hl7.org/fhir/administrative-gender|male"
    assert matching(parse("Patient", [("gender", standard)], strict=True), served)
    assert not matching(parse("Patient", [("gender", f"{LOCAL}|male")], strict=True), served)


@pytest.mark.parametrize(
    ("value", "wanted", "is_found"),
    [
        ("2026-05-04T00:30:00+02:00", "2026-05-03", True),
        ("2026-05-04T00:30:00+02:00", "2026-05-04", False),
        ("2026-05-04T12:00:00Z", "2026-05-04T14:00:00+02:00", True),
        ("2026-05-04T12:00:00Z", "2026-05-04T14:00:00 02:00", True),
        ("2026-05-04T12:00:00.250Z", "2026-05-04T12:00:00Z", True),
        ("2026-05-04T12:00:00.250Z", "2026-05-04T12:00", True),
        ("2026-05", "2026-05-04", False),
        ("2026-05", "2026", True),
        ("2026-05", "ne2026-05-04", True),
        ("2026-05", "ge2026-05-20", True),
        ("2026-05", "gt2026-05-31", False),
        ("2026-05", "lt2026-05-20", True),
        ("2026-05", "le2026-05", True),
        ("2026-05", "sa2026-04", True),
        ("2026-05", "sa2026-05-01", False),
        ("2026-05", "eb2026-06", True),
        ("2026-05", "eb2026-05-31", False),
        ("9999-12-31", "9999", True),
        ("2016-12-31T23:59:60Z", "2017-01-01", True),
        ("in May", "ne2026", False),
    ],
)
def test_dates_compare_as_the_time_that_they_mean(value: str, wanted: str, is_found: bool) -> None:
    resource = {"resourceType": "DocumentReference", "id": "1", "date": value}
    query = parse("DocumentReference", [("date", wanted)], strict=True)
    assert bool(matching(query, [Served(resource, "1", NOON)])) is is_found


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "today",
        "04.05.2026",
        "2026-13",
        "2026-02-30",
        "0000",
        "ap2026",
        "xx2026",
        "2026-05-04T25:00",
        "2026-05-04T12:00+99:00",
        "2026-05-04T12:00+01:60",
        "2026-05-04,x",
        "٢٠٢٦",
    ],
)
def test_a_date_that_is_none_is_refused(wanted: str) -> None:
    with pytest.raises(InvalidContent):
        parse("DocumentReference", [("date", wanted)], strict=False)


@pytest.mark.parametrize(
    "name", ["_sort", "_total", "_include", "_include:iterate", "_elements", "shoe-size"]
)
def test_what_is_not_honoured_is_reported(name: str) -> None:
    assert parse("Task", [(name, "x")], strict=False).ignored == (name,)
    with pytest.raises(InvalidContent):
        parse("Task", [(name, "x")], strict=True)


def test_a_summary_is_the_count_or_reported() -> None:
    assert parse("Task", [("_summary", "count")], strict=True).only_total
    assert parse("Task", [("_summary", "false")], strict=True).ignored == ()
    assert parse("Task", [("_summary", "text")], strict=False).ignored == ("_summary",)


def test_a_page_has_five_hundred_matches_at_most() -> None:
    assert parse("Task", [("_count", "100000")], strict=True).count == MAX_COUNT == 500
    assert parse("Task", [], strict=True).count == 50
