"""Search parameters: what each kind finds and what it does not."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.case.searching import Found, all_hold
from gateway.errors import InvalidContent
from gateway.fhir import search
from gateway.fhir.search import MAX_COUNT, Query
from mappings.fhir_definitions import elements_of, resource_model
from mappings.fhir_search_parameters import resource_types, search_parameters
from mappings.fhir_search_values import search_values

BASE = "http://127.0.0.1:8080/fhir"
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
        "series": [{"modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}}],
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
OFFERED = [
    (kind, name)
    for kind in RESOURCES
    for name in search_parameters(kind)
    if f"{kind}.{name}" in FOUND or name in ("_id", "_lastUpdated", "identifier", "patient", "subject")
]


def parse(type_name: str, pairs: list[tuple[str, str]], strict: bool) -> Query:
    return search.parse(type_name, pairs, strict, BASE)


def matches(query: Query, resource: dict[str, Any]) -> bool:
    found = Found(str(resource.get("id")), NOON, search_values(query.type, resource))
    return all_hold(query.terms, found)


def found(type_name: str, name: str, value: str) -> bool:
    resource = {"resourceType": type_name} | COMMON | RESOURCES[type_name]
    return matches(parse(type_name, [(name, value)], strict=True), resource)


@pytest.mark.parametrize(("type_name", "name"), OFFERED)
def test_a_parameter_finds_what_has_the_value_and_nothing_else(type_name: str, name: str) -> None:
    value, other = FOUND.get(f"{type_name}.{name}") or FOUND[name]
    assert found(type_name, name, value)
    assert not found(type_name, name, other)


def test_parameters_are_joined_by_and() -> None:
    resource = {"resourceType": "Patient"} | COMMON | RESOURCES["Patient"]
    assert matches(parse("Patient", [("gender", "female"), ("family", "m")], strict=True), resource)
    assert not matches(parse("Patient", [("gender", "female"), ("family", "x")], strict=True), resource)


@pytest.mark.parametrize(
    ("type_name", "name", "value"),
    [
        ("DiagnosticReport", "patient.identifier", "x"),
        ("DiagnosticReport", "subject:Patient.identifier", "x"),
        ("DiagnosticReport", "_has:Provenance:target:agent", "x"),
        ("DiagnosticReport", "encounter.identifier", "x"),
        ("Patient", "identifier:of-type", "x"),
        ("Patient", "name:phonetic", "x"),
        ("Patient", "name:", "x"),
        ("DiagnosticReport", "subject:Observation", "x"),
        ("DiagnosticReport", "code:in", "http://hl7.org/fhir/ValueSet/x"),
        ("DiagnosticReport", "code:below", "x"),
        ("DiagnosticReport", "status:not", "http://hl7.org/fhir/diagnostic-report-status|"),
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
    assert matches(query, resource) is is_found


def test_a_token_without_system_is_asked_for_by_a_bar() -> None:
    resource = {"resourceType": "Patient", "id": "1", "identifier": [{"value": "7"}], "gender": "male"}
    assert matches(parse("Patient", [("identifier", "|7")], strict=True), resource)
    assert not matches(parse("Patient", [("identifier", f"{LOCAL}|7")], strict=True), resource)
    standard = "http://hl7.org/fhir/administrative-gender|male"
    assert matches(parse("Patient", [("gender", standard)], strict=True), resource)
    assert not matches(parse("Patient", [("gender", f"{LOCAL}|male")], strict=True), resource)


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
    assert matches(query, resource) is is_found


@pytest.mark.parametrize(
    "wanted",
    [
        "today",
        "04.05.2026",
        "2026-13",
        "2026-02-30",
        "0000",
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
    ("name", "value", "reported"),
    [
        ("shoe-size", "23", "shoe-size"),
        ("_content", "x", "_content"),
        ("_sort", "status", "_sort=status"),
        ("_sort", "shoe-size", "_sort=shoe-size"),
        ("identifier", "", "identifier"),
    ],
)
def test_what_is_not_honoured_is_reported(name: str, value: str, reported: str) -> None:
    assert parse("Task", [(name, value)], strict=False).ignored == (reported,)
    with pytest.raises(InvalidContent):
        parse("Task", [(name, value)], strict=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_total", "roughly"),
        ("_summary", "some"),
        ("_count", "-1"),
        ("_count", "²"),
        ("_elements", "a b"),
        ("_include", "Task"),
        ("_include", "Task:status"),
        ("_include", "Task:patient:Child"),
        ("_include:always", "Task:patient"),
        ("_sort", "_id,_id,_id,_id"),
        ("identifier", ",".join("x" * 101)),
        ("identifier", "|"),
        ("patient", ","),
    ],
)
def test_a_result_parameter_or_a_value_that_means_nothing_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidContent):
        parse("Task", [(name, value)], strict=False)


def test_a_summary_and_elements_cannot_be_asked_for_together() -> None:
    assert parse("Task", [("_summary", "count")], strict=True).only_total
    assert not parse("Task", [("_summary", "text")], strict=True).only_total
    with pytest.raises(InvalidContent):
        parse("Task", [("_summary", "text"), ("_elements", "status")], strict=False)


def test_a_page_has_five_hundred_matches_at_most() -> None:
    assert parse("Task", [("_count", "100000")], strict=True).count == MAX_COUNT == 500
    assert parse("Task", [], strict=True).count == 50


def test_the_types_that_can_be_searched_are_those_of_r4() -> None:
    assert {kind for kind in resource_types() if resource_model(kind) is None} == set()
    assert len(resource_types()) == 128


@pytest.mark.parametrize("kind", sorted(resource_types()))
def test_every_path_of_the_table_names_an_element_of_its_type(kind: str) -> None:
    for parameter in search_parameters(kind).values():
        for path in parameter.paths:
            assert data_type_at(kind, path.text.split(".")) == path.kind, (parameter.name, path.text)


def data_type_at(kind: str, names: list[str]) -> str:
    model = resource_model(kind)
    for name in names[:-1]:
        assert model is not None
        model = elements_of(model)[name.split("[")[0]].child
    assert model is not None
    return elements_of(model)[names[-1].split("[")[0]].kind


TOKENS = {
    "resourceType": "Observation",
    "id": "1",
    "status": "final",
    "code": {
        "coding": [{"system": "http://loinc.org", "code": "718-7", "display": "Hämoglobin"}],
        "text": "Hb",
    },
    "identifier": [
        {
            "type": {"coding": [{"system": LOCAL, "code": "MR"}], "text": "Record number"},
            "system": "https://hospital.example/id",
            "value": "7",
        }
    ],
    "subject": {"reference": "Patient/p1", "identifier": {"system": LOCAL, "value": "9"}},
    "focus": [{"reference": "Patient/p2/_history/3"}, {"reference": "https://other.example/fhir/Patient/p3"}],
    "effectivePeriod": {"start": "2026-03"},
    "meta": {
        "profile": ["https://a.example/b/c"],
        "tag": [{"system": LOCAL, "code": "t"}],
        "source": "urn:x",
    },
}


@pytest.mark.parametrize(
    ("name", "value", "is_found"),
    [
        ("code:text", "hamo", True),
        ("code:text", "HB", True),
        ("code:text", "moglobin", False),
        ("identifier:text", "record", True),
        ("code:not", "718-7", False),
        ("code:not", "x,http://loinc.org|718-7", False),
        ("code:not", "x,y", True),
        ("value-concept:not", "x", True),
        ("identifier:of-type", f"{LOCAL}|MR|7", True),
        ("identifier:of-type", f"{LOCAL}|MR|8", False),
        ("subject:identifier", f"{LOCAL}|9", True),
        ("subject:identifier", "9", True),
        ("subject:identifier", "|9", False),
        ("subject:Patient", "p1", True),
        ("subject:Patient", "Patient/p1", True),
        ("subject:Group", "p1", False),
        ("patient", "Group/p1", False),
        ("patient", f"{BASE}/Patient/p1", True),
        ("patient", "https://other.example/fhir/Patient/p1", False),
        ("focus", "Patient/p2", True),
        ("focus", "p2", True),
        ("focus", "https://other.example/fhir/Patient/p3", True),
        ("focus", "Patient/p3", False),
        ("focus:missing", "false", True),
        ("encounter:missing", "true", True),
        ("_profile", "https://a.example/b/c", True),
        ("_profile:below", "https://a.example/b", True),
        ("_profile:below", "https://a.example/b/c/d", False),
        ("_profile:above", "https://a.example/b/c/d", True),
        ("_profile:above", "https://a.example/b", False),
        ("_tag", "t", True),
        ("_source", "urn:x", True),
        ("_id:not", "1", False),
        ("_id:missing", "false", True),
        ("_lastUpdated:missing", "true", False),
        ("_lastUpdated", "2026-05-04T12:00:00.000Z", True),
        ("status", "http://hl7.org/fhir/observation-status|", True),
        ("status", f"{LOCAL}|", False),
        ("date", "gt2030", True),
        ("date", "eb2030", False),
        ("date", "2026", False),
        ("date", "ap2026-04", True),
        ("date", "ap1990", False),
    ],
)
def test_modifiers_and_forms_mean_what_the_standard_says(name: str, value: str, is_found: bool) -> None:
    assert matches(parse("Observation", [(name, value)], strict=True), TOKENS) is is_found
