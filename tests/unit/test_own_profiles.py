"""The gateway's own profiles: what they say, that what is made keeps them, and that each row of them is looked at."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Issue
from gateway.fhir.profiles import profile_faults
from gateway.fhir.validate import compared, findings
from gateway.fhir.validation import faults
from mappings.case_to_task import to_enquiry_task, to_task
from mappings.fhir_profiles import profiles
from mappings.operation_definitions import operation_definitions
from mappings.opinion_to_report import report_of, to_diagnostic_report
from mappings.own_profiles import Constraint, canonical, own_profiles
from mappings.own_terminology import code_systems, value_sets
from mappings.report_to_bundle import to_transaction
from mappings.structure_definitions import structure_definitions
from tests.support.reviewed_case import ENQUIRY, OPINION, PROGRAMME, SIGNED_AT, WAIVED_FINDING, reviewed_case

Json = dict[str, Any]
BASE = "https://opinions.example.org/fhir"
EXAMPLES = Path(__file__).resolve().parents[2] / "conformance" / "examples"
DEFINITIONS = [
    *structure_definitions().values(),
    *operation_definitions().values(),
    *code_systems().values(),
    *value_sets().values(),
]


def is_optional(asked: Constraint) -> bool:
    return asked.must and asked.card.partition("..")[0] in ("", "0")


ROWS = [(name, path) for name, profile in own_profiles().items() for path in profile.elements]


def example(name: str) -> Json:
    return json.loads((EXAMPLES / f"{name}.json").read_bytes())


def signed_report() -> Json:
    case = reviewed_case(findings=(WAIVED_FINDING,))
    return to_diagnostic_report(report_of(case, OPINION, SIGNED_AT, PROGRAMME), BASE, b"<p/>", b"%PDF")


@cache
def samples() -> dict[str, Json]:
    """What keeps each profile and has all of its elements; what the gateway makes is as it makes it."""
    transaction, document = example("referral-transaction"), example("referral-document")
    [request] = [
        e["resource"] for e in transaction["entry"] if e["resource"]["resourceType"] == "ServiceRequest"
    ]
    signed = reviewed_case(opinions=(replace(OPINION, signed_at=SIGNED_AT),), status="declined")
    report = signed_report()
    return {
        "referral-request": request | {"doNotPerform": False},
        "referral-transaction": transaction,
        "referral-document": document,
        "coordination-task": to_task(replace(signed, declined_because="Not a child."), BASE),
        "enquiry-task": to_enquiry_task(reviewed_case(), ENQUIRY, BASE),
        "finding": report["contained"][2],
        "opinion-report": report,
    }


def told(resource: Json, name: str) -> list[Issue]:
    profile = profiles()[canonical("StructureDefinition", name)]
    return list(profile_faults(resource, profile, profile.type))


def errors(resource: Json, name: str) -> set[str]:
    return {issue.code for issue in told(resource, name) if issue.severity == "error"}


@pytest.mark.parametrize("name", own_profiles())
def test_what_keeps_a_profile_passes(name: str) -> None:
    sample = samples()[name]
    assert errors(sample, name) == set()
    assert [i for i in findings(sample) if i.severity == "error"] == []


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("coordination-task", to_task(reviewed_case(), BASE)),
        ("coordination-task", to_task(reviewed_case(service_request="", findings=()), BASE)),
        ("enquiry-task", to_enquiry_task(reviewed_case(), replace(ENQUIRY, finding_ids=()), BASE)),
        ("opinion-report", signed_report()),
        ("referral-transaction", example("referral-transaction")),
        ("referral-document", example("referral-document")),
    ],
)
def test_what_is_made_and_shown_claims_its_profile_and_keeps_it(name: str, made: Json) -> None:
    assert made["meta"]["profile"] == [canonical("StructureDefinition", name)]
    assert [i for i in compared(made) if i.severity == "error"] == []


def test_the_report_that_is_pushed_keeps_its_profile_and_claims_none() -> None:
    """A hospital's server may refuse what claims a profile that it does not know."""
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:x", "value": "1"}]}
    sent = to_transaction(signed_report(), patient, None, [])["entry"][-1]["resource"]
    assert "meta" not in sent
    assert errors(sent, "opinion-report") == set()


def place(sample: Json, path: str) -> tuple[Any, Any]:
    """The holder of an element's first value, and its key there."""
    node: Any = sample
    for step in path.split("."):
        name, _, slice_name = step.partition(":")
        key = next(k for k in node if k == name or (name.endswith("[x]") and k.startswith(name[:-3])))
        holder, node = node, node[key]
        if isinstance(node, list):
            index = next(i for i, one in enumerate(node) if not slice_name or is_of(one, slice_name))
            holder, key, node = node, index, node[index]
    return holder, key


SLICES: dict[str, Callable[[Json], bool]] = {
    "child": lambda one: one["resource"]["resourceType"] == "Patient",
    "request": lambda one: one["resource"]["resourceType"] == "ServiceRequest",
    "document": lambda one: one["resource"]["resourceType"] == "DocumentReference",
    "imaging": lambda one: one["resource"]["resourceType"] == "ImagingStudy",
    "composition": lambda one: one["resource"]["resourceType"] == "Composition",
    "specialist": lambda one: one["resourceType"] == "Practitioner",
    "programme": lambda one: one["resourceType"] == "Organization",
    "finding": lambda one: one["resourceType"] == "DetectedIssue",
    "opinion": lambda one: "OTH" in str(one),
    "own": lambda one: one["system"] == "urn:second-opinion:finding",
    "page": lambda one: one["contentType"] == "text/html",
    "print": lambda one: one["contentType"] == "application/pdf",
}


def is_of(one: Json, slice_name: str) -> bool:
    return SLICES[slice_name](one)


def another(value: Any) -> Any:
    """A value of the same JSON type that is not what is asked for."""
    if isinstance(value, bool):
        return not value
    return {"text": "another"} if isinstance(value, dict) else "another"


Change = Callable[[Any, Any], object]


def violations(path: str, asked: Constraint) -> Iterator[tuple[Change, set[str]]]:
    """Changes at the place of an element that the row does not allow, with the codes of which one is told."""
    low, _, high = asked.card.partition("..")
    if low not in ("", "0") and not path.endswith(".resource"):
        yield lambda holder, key: take_away(holder, key, path), {"required"}
    if high == "1" and ":" in path.rpartition(".")[2]:
        yield lambda holder, key: holder.append(holder[key]), {"structure"}
    if asked.pattern is not None or asked.fixed is not None:
        yield lambda holder, key: holder.__setitem__(key, another(holder[key])), {"value", "required"}
    if asked.targets:
        yield lambda holder, key: holder.__setitem__(key, {"reference": "Observation/1"}), {"value"}
    if asked.types and path.endswith("[x]"):
        yield lambda holder, key: holder.__setitem__(f"{stem(path)}Period", holder.pop(key)), {"value"}
    if asked.strength == "required":
        wrong = {"coding": [{"system": "urn:x", "code": "received"}]}
        yield lambda holder, key: holder.__setitem__(key, wrong), {"code-invalid"}
    if asked.profile and "[x]" not in path and asked.types:
        yield lambda holder, key: holder[key].pop("code"), {"required"}


def stem(path: str) -> str:
    return path.rpartition(".")[2].removesuffix("[x]")


def take_away(holder: Any, key: Any, path: str) -> None:
    """The element, or all values of its slice."""
    name = path.rpartition(":")[2]
    if name in SLICES:
        holder[:] = [one for one in holder if not is_of(one, name)]
    elif isinstance(holder, list):
        holder.clear()
    else:
        del holder[key]


def changed(sample: Json, path: str, change: Change) -> Json:
    made = deepcopy(sample)
    change(*place(made, path))
    return made


@pytest.mark.parametrize(("name", "path"), [row for row in ROWS if not row[1].endswith("result")])
def test_each_row_of_a_profile_is_looked_at(name: str, path: str) -> None:
    sample, asked = samples()[name], own_profiles()[name].elements[path]
    broken = list(violations(path, asked))
    for change, codes in broken:
        assert errors(changed(sample, path, change), name) & codes, codes
    assert broken or asked.must or asked.slices or path.endswith(".resource")


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, path) for name, path in ROWS if is_optional(own_profiles()[name].elements[path])],
)
def test_what_must_be_supported_and_is_absent_is_listed(name: str, path: str) -> None:
    sample = changed(samples()[name], path, lambda holder, key: take_away(holder, key, path))
    listed = [i for i in told(sample, name) if path in i.text]
    assert {i.severity for i in listed} <= {"information", "error"}
    assert listed


def test_a_report_has_no_results() -> None:
    made = signed_report() | {"result": [{"reference": "Observation/1"}]}
    assert [(i.code, i.expression) for i in compared(made)] == [("structure", "DiagnosticReport.result")]


@pytest.mark.parametrize("value", ["x", 5, None, [], {}, [None], [[]], {"a": None}, [{"resource": []}]])
def test_a_wrong_type_at_any_place_is_no_failure(value: Any) -> None:
    for name, sample in samples().items():
        for key in sample:
            if key not in ("resourceType", "meta"):
                told(sample | {key: value}, name)


@pytest.mark.parametrize("made", DEFINITIONS, ids=lambda made: made["url"])
def test_a_definition_is_valid_and_has_an_address_of_its_own(made: Json) -> None:
    assert faults(made, made["resourceType"]) == []
    assert [other["url"] for other in DEFINITIONS].count(made["url"]) == 1


@pytest.mark.parametrize("made", structure_definitions().values(), ids=lambda made: made["id"])
def test_a_snapshot_has_all_of_r4_and_the_differential_in_its_order(made: Json) -> None:
    ids = [element["id"] for element in made["snapshot"]["element"]]
    named = [element["id"] for element in made["differential"]["element"]]
    assert len(set(ids)) == len(ids)
    places = [ids.index(name) for name in named]
    assert all(before < after for before, after in pairwise(places))
    for element in made["snapshot"]["element"]:
        assert {"path", "definition", "min", "max", "base"} <= element.keys()
        assert ":" not in element["path"]
        low, high = element["base"]["min"], element["base"]["max"]
        assert element["min"] >= low or "sliceName" in element
        assert high == "*" or (element["max"] != "*" and int(element["max"]) <= int(high))


def test_a_row_that_names_no_element_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(own_profiles()["finding"], elements={"finding": Constraint("x")})
    monkeypatch.setattr("mappings.structure_definitions.own_profiles", lambda: {"finding": wrong})
    with pytest.raises(ValueError, match=r"DetectedIssue\.finding is no element of R4"):
        structure_definitions.__wrapped__()


def test_every_value_set_that_a_profile_names_is_there() -> None:
    named = {c.binding for p in own_profiles().values() for c in p.elements.values() if c.binding}
    assert named == set(value_sets())
