"""What of FHIR R4 is checked in each resource, and what is not looked at yet."""

from typing import Any

import pytest

from gateway.errors import GatewayError, InvalidContent, NotFhir
from gateway.fhir.bundle import MAX_ENTRIES, read_submission
from gateway.fhir.json_format import read_json
from gateway.fhir.outcome import of_error
from gateway.fhir.validation import MAX_DEPTH, faults
from gateway.store.resources import dumps

PATIENT: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "Okafor"}], "birthDate": "2018-03"}
OBSERVATION: dict[str, Any] = {"resourceType": "Observation", "status": "final", "code": {"text": "AFP"}}


def found(resource: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(issue.code, issue.expression) for issue in faults(resource, "R")]


@pytest.mark.parametrize("resource", [PATIENT, OBSERVATION, OBSERVATION | {"valueString": "x"}])
def test_a_sound_resource_has_no_fault(resource: dict[str, Any]) -> None:
    assert found(resource) == []


@pytest.mark.parametrize(
    ("resource", "fault"),
    [
        (PATIENT | {"shoeSize": 23}, ("structure", "R.shoeSize")),
        (PATIENT | {"name": {"family": "Okafor"}}, ("structure", "R.name")),
        (PATIENT | {"birthDate": "09.03.2018"}, ("value", "R.birthDate")),
        (PATIENT | {"active": "perhaps"}, ("value", "R.active")),
        (PATIENT | {"gender": "girl"}, ("code-invalid", "R.gender")),
        ({"resourceType": "Observation", "status": "final"}, ("required", "R.code")),
        (PATIENT | {"link": [{"type": "seealso"}]}, ("required", "R.link[0].other")),
        (OBSERVATION | {"valueString": "x", "valueInteger": 1}, ("structure", "R.value")),
        (PATIENT | {"contained": [{"resourceType": "Wizard"}]}, ("structure", "R")),
        ({"resourceType": "Citation"}, ("structure", "R")),
        ({"resourceType": "DomainResource"}, ("structure", "R")),
        ({}, ("structure", "R")),
    ],
)
def test_a_fault_is_told_with_its_place(resource: dict[str, Any], fault: tuple[str, str]) -> None:
    assert fault in found(resource)


def nested(levels: int) -> dict[str, Any]:
    extension: dict[str, Any] = {"url": "https://hospital.example/x", "valueString": "x"}
    for _ in range(levels):
        extension = {"url": "https://hospital.example/x", "extension": [extension]}
    return PATIENT | {"extension": [extension]}


def test_a_resource_is_read_to_a_depth_of_64() -> None:
    assert found(nested(20)) == []
    assert MAX_DEPTH == 64
    assert found(nested(MAX_DEPTH)) == [("structure", "R")]


def test_a_bundle_has_5_000_entries_at_most() -> None:
    assert MAX_ENTRIES == 5_000
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{}] * (MAX_ENTRIES + 1)}
    with pytest.raises(InvalidContent) as refused:
        read_submission(read_json(dumps(bundle).encode()))
    assert "more than 5000 entries" in refused.value.issues[0].text


def bundle(kind: str, *entries: dict[str, Any]) -> bytes:
    return dumps({"resourceType": "Bundle", "type": kind, "entry": list(entries)}).encode()


def sent(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return read_json(bundle(kind, *entries))


def test_where_a_body_is_no_json_is_told_in_whole_words() -> None:
    with pytest.raises(NotFhir, match=r"not JSON: invalid control character at line 1, column 3\."):
        read_json(b'{"\x01": 1}')


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "structure"),
        (b"{", "structure"),
        (b"\xff", "structure"),
        (b"[]", "structure"),
        (b'{"resourceType": "Patient"}', "structure"),
        (b'{"resourceType": "Bundle"}', "required"),
        (bundle("searchset", {}), "not-supported"),
        (bundle("collection"), "invalid"),
    ],
)
def test_each_refusal_of_a_body_has_its_code(body: bytes, code: str) -> None:
    with pytest.raises(GatewayError) as refused:
        read_submission(read_json(body))
    assert [issue["code"] for issue in of_error(refused.value)["issue"]] == [code]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"method": "DELETE", "url": "Patient/1"}, "not-supported"),
        ({"method": "PATCH", "url": "Patient/1"}, "not-supported"),
        ({"method": "PUT", "url": "Patient?identifier=1"}, "not-supported"),
        ({"method": "POST", "url": "Patient", "ifNoneExist": "name=x"}, "not-supported"),
        ({"method": "POST", "url": "Patient", "ifMatch": 'W/"1"'}, "not-supported"),
        ({"method": "POST", "url": "Patient", "ifNoneMatch": "*"}, "not-supported"),
        ({"method": "POST", "url": "Patient", "ifModifiedSince": "2026-01-01T00:00:00Z"}, "not-supported"),
        ({"method": "POST", "url": "Observation"}, "value"),
        ({}, "required"),
    ],
)
def test_each_refusal_of_a_request_has_its_code(request_: dict[str, str], code: str) -> None:
    entry = {"fullUrl": "urn:uuid:1", "resource": PATIENT, "request": request_}
    found = read_submission(sent("transaction", entry)).faults
    assert [issue.code for issue in found] == [code]


def test_the_same_full_url_twice_is_a_duplicate() -> None:
    entry = {"fullUrl": "urn:uuid:1", "resource": PATIENT, "request": {"method": "POST", "url": "Patient"}}
    assert [issue.code for issue in read_submission(sent("transaction", entry, entry)).faults] == [
        "duplicate"
    ]


@pytest.mark.parametrize(
    "resource",
    [
        pytest.param(OBSERVATION | {"meta": {"profile": ["https://x.example/p"]}}, id="profiles"),
        pytest.param(
            OBSERVATION | {"code": {"coding": [{"system": "http://loinc.org", "code": "no-such"}]}},
            id="terminology",
        ),
        pytest.param(
            PATIENT | {"extension": [{"url": "https://x.example/undefined", "valueString": "x"}]},
            id="extensions",
        ),
    ],
)
def test_what_is_not_looked_at_yet_passes(resource: dict[str, Any]) -> None:
    """conformance/fhir/fhir.md says that this is not checked; when it is, that page must say so."""
    assert found(resource) == []
