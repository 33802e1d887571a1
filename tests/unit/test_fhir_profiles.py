"""The profiles of the International Patient Summary (hl7.fhir.uv.ips 2.0.0) on resources that claim them."""

from copy import deepcopy
from typing import Any

import pytest

from gateway.fhir.preflight import of_validation
from gateway.fhir.profiles import contains
from gateway.fhir.validate import compared, findings
from mappings.fhir_definitions import Release, data_type, elements_of, resource_model
from mappings.fhir_profiles import Part, profiles

Json = dict[str, Any]
IPS = "http://hl7.org/fhir/uv/ips/StructureDefinition"
LOINC = "http://loinc.org"


def claims(name: str) -> Json:
    return {"meta": {"profile": [f"{IPS}/{name}|2.0.0"]}}


PATIENT: Json = {
    "resourceType": "Patient",
    **claims("Patient-uv-ips"),
    "name": [{"family": "Okafor"}],
    "birthDate": "2018-03-09",
}
LABORATORY = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]
}
RESULT: Json = {
    "resourceType": "Observation",
    **claims("Observation-results-laboratory-pathology-uv-ips"),
    "status": "final",
    "category": [{"text": "blood"}, LABORATORY],
    "code": {"text": "AFP"},
    "subject": {"reference": "Patient/1"},
    "effectiveDateTime": "2026-01-01",
    "performer": [{"reference": "Organization/1"}],
    "valueString": "high",
}


def section(code: str) -> Json:
    return {
        "title": "Section",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">None known</div>'},
        "entry": [{"reference": "https://hospital.example/fhir/Condition/1"}],
    }


COMPOSITION: Json = {
    "resourceType": "Composition",
    **claims("Composition-uv-ips"),
    "status": "final",
    "type": {"coding": [{"system": LOINC, "code": "60591-5"}]},
    "subject": {"reference": "Patient/1"},
    "date": "2026-01-01",
    "author": [{"reference": "Practitioner/1"}],
    "title": "Summary",
    "section": [section("11450-4"), section("48765-2"), section("10160-0")],
}


DOCUMENT: Json = {
    "resourceType": "Bundle",
    **claims("Bundle-uv-ips"),
    "identifier": {"system": "https://hospital.example/documents", "value": "1"},
    "type": "document",
    "timestamp": "2026-01-01T10:00:00Z",
    "entry": [
        {"fullUrl": "https://hospital.example/fhir/Composition/1", "resource": COMPOSITION},
        {"fullUrl": "https://hospital.example/fhir/Patient/1", "resource": PATIENT},
    ],
}


def with_entries(*more: Json) -> Json:
    return DOCUMENT | {"entry": [*DOCUMENT["entry"], *more]}


def another(resource: Json) -> Json:
    return {"fullUrl": f"https://hospital.example/fhir/{resource['resourceType']}/2", "resource": resource}


def without(resource: Json, *names: str) -> Json:
    return {key: value for key, value in resource.items() if key not in names}


def with_section(index: int, **changes: Any) -> Json:
    made = deepcopy(COMPOSITION)
    made["section"][index] = {k: v for k, v in (made["section"][index] | changes).items() if v is not None}
    return made


def errors(resource: Json) -> list[tuple[str, str | None]]:
    return [(i.code, i.expression) for i in findings(resource) if i.severity == "error"]


@pytest.mark.parametrize(
    ("bundle", "fault"),
    [
        (without(DOCUMENT, "identifier"), ("required", "Bundle.identifier")),
        (without(DOCUMENT, "timestamp"), ("required", "Bundle.timestamp")),
        (DOCUMENT | {"type": "collection"}, ("value", "Bundle.type")),
        (DOCUMENT | {"entry": DOCUMENT["entry"][:1]}, ("required", "Bundle.entry")),
        (with_entries(another(COMPOSITION)), ("invariant", "Bundle")),
        (with_entries({"resource": RESULT}), ("required", "Bundle.entry[2].fullUrl")),
        (
            with_entries(another(RESULT) | {"search": {"mode": "match"}}),
            ("structure", "Bundle.entry[2].search"),
        ),
    ],
)
def test_what_breaks_the_profile_of_the_whole_summary_is_named(bundle: Json, fault: tuple[str, str]) -> None:
    assert fault in profile_errors(bundle)


def test_a_summary_that_keeps_its_profile_passes_and_its_composition_need_not_claim_one() -> None:
    assert profile_errors(with_entries(another(RESULT))) == []
    unclaimed = COMPOSITION | {"meta": {}, "section": COMPOSITION["section"][:2]}
    bundle = DOCUMENT | {"entry": [another(unclaimed), DOCUMENT["entry"][1]]}
    assert set(profile_errors(bundle)) == {("required", "Bundle.entry[0].resource.section")}


def profile_errors(bundle: Json) -> list[tuple[str, str | None]]:
    return [(i.code, i.expression) for i in compared(bundle) if i.severity == "error"]


@pytest.mark.parametrize("resource", [PATIENT, RESULT, COMPOSITION], ids=lambda r: r["resourceType"])
def test_what_keeps_a_profile_passes(resource: Json) -> None:
    assert errors(resource) == []


@pytest.mark.parametrize(
    ("resource", "fault"),
    [
        (without(PATIENT, "birthDate"), ("required", "Patient.birthDate")),
        (PATIENT | {"name": [{"use": "official"}]}, ("invariant", "Patient.name[0]")),
        (without(RESULT, "effectiveDateTime"), ("required", "Observation.effective")),
        (RESULT | {"category": [{"text": "blood"}]}, ("required", "Observation.category")),
        (RESULT | {"category": [LABORATORY, LABORATORY]}, ("structure", "Observation.category")),
        (without(RESULT, "valueString"), ("invariant", "Observation")),
        (RESULT | {"subject": {"display": "x"}}, ("required", "Observation.subject.reference")),
        (COMPOSITION | {"type": {"text": "Summary"}}, ("value", "Composition.type")),
        (COMPOSITION | {"section": COMPOSITION["section"][:2]}, ("required", "Composition.section")),
        (with_section(1, entry=None), ("invariant", "Composition.section[1]")),
        (with_section(2, title=None), ("required", "Composition.section[2].title")),
        (with_section(0, section=[section("1")]), ("structure", "Composition.section[0].section")),
        (
            COMPOSITION | {"section": [*COMPOSITION["section"], section("11450-4")]},
            ("structure", "Composition.section"),
        ),
    ],
)
def test_what_breaks_a_profile_is_named_with_its_place(resource: Json, fault: tuple[str, str]) -> None:
    assert fault in errors(resource)


@pytest.mark.parametrize("value", ["x", 5, None, [], {}, [None], [[]], {"a": None}])
def test_a_wrong_type_at_any_place_is_no_failure(value: Any) -> None:
    for resource in (PATIENT, RESULT, COMPOSITION):
        for name in without(resource, "resourceType", "meta"):
            assert findings(resource | {name: value})


def test_must_support_elements_that_are_absent_are_listed() -> None:
    [told] = [i for i in findings(PATIENT) if i.severity == "information"]
    assert "gender" in told.text
    assert "birthDate" not in told.text


def test_a_profile_can_be_asked_for_and_one_that_is_not_known_is_told() -> None:
    def asked(url: str) -> str:
        parameters = [
            {"name": "resource", "resource": {"resourceType": "Patient"}},
            {"name": "profile", "valueUri": url},
        ]
        sent = {"resourceType": "Parameters", "parameter": parameters}
        return str(of_validation(sent, "Patient", Release.R4))

    assert "Patient.birthDate" in asked(f"{IPS}/Patient-uv-ips")
    assert "another type of resource was found" in asked(f"{IPS}/Composition-uv-ips")
    assert "it is not known here" in asked("https://hospital.example/p")


def test_a_claim_of_another_profile_changes_nothing() -> None:
    assert errors({"resourceType": "Patient", "meta": {"profile": ["https://hospital.example/p", 5]}}) == [
        ("value", "Patient.meta.profile[1]")
    ]


def test_a_pattern_is_contained_in_any_order_and_beside_anything() -> None:
    assert contains({"coding": [{"code": "a"}, {"code": "b", "system": "s"}]}, {"coding": [{"code": "b"}]})
    assert not contains({"coding": [{"code": "a"}]}, {"coding": [{"code": "b"}]})
    assert not contains({"coding": "b"}, {"coding": [{"code": "b"}]})
    assert not contains(1, True)


def test_each_element_of_the_profiles_is_one_of_its_type() -> None:
    for profile in profiles().values():
        model = resource_model(profile.type)
        assert model is not None
        _known(profile.root, model.__name__)


def _known(part: Part, type_name: str) -> None:
    model = data_type(type_name, Release.R4)
    elements = elements_of(model) if model else {}
    for name, child in part.parts.items():
        found = [e for key, e in elements.items() if (e.choice or key) == name.removesuffix("[x]")]
        assert found, (type_name, name)
        for one in (child, *child.slices.values()):
            if found[0].child is not None:
                _known(one, found[0].child.__name__)
