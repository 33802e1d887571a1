"""Every code that FHIR R4 allows passes: lists that fhir.resources cuts short are given whole."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
from fhir.resources import R4B
from fhir_core.fhirabstractmodel import FHIRAbstractModel

from gateway.fhir.validation import faults
from mappings.fhir_definitions import elements_of
from mappings.fhir_required_codes import OPEN_CODES, REQUIRED_CODES

STATUSES: dict[str, tuple[dict[str, Any], str]] = {
    "Observation": (
        {"code": {"text": "AFP"}},
        "registered preliminary final amended corrected cancelled entered-in-error unknown",
    ),
    "DiagnosticReport": (
        {"code": {"text": "CT"}},
        "registered partial preliminary final amended corrected appended cancelled entered-in-error unknown",
    ),
    "Task": (
        {"intent": "order"},
        "draft requested received accepted rejected ready cancelled in-progress on-hold failed completed "
        "entered-in-error",
    ),
    "Encounter": (
        {"class": {"code": "IMP"}},
        "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown",
    ),
    "RiskAssessment": (
        {"subject": {"reference": "Patient/1"}},
        "registered preliminary final amended corrected cancelled entered-in-error unknown",
    ),
    "DetectedIssue": (
        {},
        "registered preliminary final amended corrected cancelled entered-in-error unknown mitigated",
    ),
    "DeviceUseStatement": (
        {"subject": {"reference": "Patient/1"}, "device": {"reference": "Device/1"}},
        "active completed entered-in-error intended stopped on-hold",
    ),
    "SupplyRequest": (
        {"itemCodeableConcept": {"text": "Gauze"}, "quantity": {"value": 1}},
        "draft active suspended cancelled completed entered-in-error unknown",
    ),
}


@pytest.mark.parametrize(
    ("type_name", "status"), [(name, code) for name, (_, codes) in STATUSES.items() for code in codes.split()]
)
def test_every_status_that_r4_has_is_allowed(type_name: str, status: str) -> None:
    assert faults({"resourceType": type_name, "status": status} | STATUSES[type_name][0], "R") == []


@pytest.mark.parametrize("type_name", STATUSES)
def test_another_status_is_a_fault(type_name: str) -> None:
    resource = {"resourceType": type_name, "status": "perhaps"} | STATUSES[type_name][0]
    assert [(issue.code, issue.expression) for issue in faults(resource, "R")] == [
        ("code-invalid", "R.status")
    ]


@pytest.mark.parametrize(
    "resource",
    [
        {
            "resourceType": "Device",
            "udiCarrier": [{"entryType": code} for code in ("barcode", "card", "self-reported", "unknown")],
        },
        {
            "resourceType": "Questionnaire",
            "status": "active",
            "item": [
                {"linkId": code, "type": code}
                for code in ("string", "text", "url", "choice", "open-choice", "attachment", "quantity")
            ],
        },
        {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"code": "IMP"},
            "statusHistory": [{"status": "unknown", "period": {"start": "2026-01-01"}}],
        },
    ],
    ids=lambda resource: resource["resourceType"],
)
def test_codes_inside_a_resource_are_whole_too(resource: dict[str, Any]) -> None:
    assert faults(resource, "R") == []


def listed() -> Iterator[tuple[type[FHIRAbstractModel], str, list[str]]]:
    """Every list of codes in the models: model, element, codes."""
    for module in iter_modules(R4B.__path__):
        if module.ispkg:
            continue
        for model in vars(import_module(f"fhir.resources.R4B.{module.name}")).values():
            if isinstance(model, type) and issubclass(model, FHIRAbstractModel):
                for name, field in model.model_fields.items():
                    extra = field.json_schema_extra
                    if isinstance(extra, dict) and isinstance(codes := extra.get("enum_values"), list):
                        yield model, field.alias or name, [str(code) for code in codes]


def test_no_list_that_is_cut_short_is_ever_checked() -> None:
    cut = {(model.__name__, name) for model, name, codes in listed() if any("+" in code for code in codes)}
    assert cut == set(REQUIRED_CODES)
    for model, name, codes in listed():
        checked = elements_of(model)[name].codes
        if (model.__name__, name) in OPEN_CODES:
            assert not checked
        else:
            assert checked >= {code for code in codes if "+" not in code}
            assert not any("+" in code or "etc" in code for code in checked)
