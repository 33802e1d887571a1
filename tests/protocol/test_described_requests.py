"""Requests made from what the gateway says of itself: the staff API's OpenAPI, and the CapabilityStatement's types.

By schemathesis, as they are described and otherwise. What is answered is what is described, and never a failure.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.bundles import FhirClient, document_reference, referral
from tests.support.gateway_process import INTAKE, GatewayProcess
from tests.support.hospital import Staff
from tests.support.mutations import few
from tests.support.partner import Partner

MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
AS_DESCRIBED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
FHIR_TYPES = ("Patient", "ServiceRequest", "DocumentReference", "Task", "ImagingStudy", "Binary")


@dataclass
class Door:
    """``known`` are values of path parameters that lead to something."""

    url: str
    operations: list[APIOperation] = field(repr=False)
    session: requests.Session
    known: dict[str, str]

    def draw(self, chosen: st.DataObject, operation: APIOperation) -> schemathesis.Case:
        mode = chosen.draw(st.sampled_from(MODES), label="mode")
        try:
            case = chosen.draw(operation.as_strategy(generation_mode=mode))
        except schemathesis.errors.SchemathesisError:  # there is nothing that it does not describe
            case = chosen.draw(operation.as_strategy())
        for name in self.known.keys() & case.path_parameters.keys():
            if chosen.draw(st.booleans(), label="known"):
                case.path_parameters[name] = self.known[name]
        return case


def operations_of(description: dict[str, Any]) -> list[APIOperation]:
    schema = schemathesis.openapi.from_dict(description)
    return [found.ok() for found in schema.get_all_operations()]


@pytest.fixture(scope="module")
def case_id(gateway: GatewayProcess, partner: Partner) -> str:
    return FhirClient(gateway, partner).open_case(referral(letter=document_reference(b"%PDF-1.4")))


@pytest.fixture(scope="module")
def staff_api(gateway: GatewayProcess, case_id: str) -> Door:
    description = requests.get(f"{gateway.base_url}/api/openapi.json", timeout=20).json()
    operations = [one for one in operations_of(description) if "session" not in one.path]
    return Door(gateway.base_url, operations, Staff(gateway, INTAKE).http, {"case_id": case_id})


@pytest.fixture(scope="module")
def fhir(gateway: GatewayProcess, partner: Partner, case_id: str) -> Door:
    session = requests.Session()
    session.headers.update(partner.headers())
    statement = session.get(f"{gateway.fhir_url}/metadata", timeout=20).json()
    known = {"id": case_id}
    return Door(gateway.fhir_url, operations_of(as_openapi(statement)), session, known)


def as_openapi(statement: dict[str, Any]) -> dict[str, Any]:
    """The interactions of a few types of a CapabilityStatement."""
    paths = {}
    body = {"content": {"application/fhir+json": {"schema": {"type": "object"}}}}
    by_id = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    for told in statement["rest"][0]["resource"]:
        if (kind := told["type"]) not in FHIR_TYPES:
            continue
        asked = [
            {"name": p["name"], "in": "query", "schema": {"type": "string"}} for p in told["searchParam"]
        ]
        condition = {"name": "If-None-Exist", "in": "header", "schema": {"type": "string"}}
        paths[f"/{kind}"] = {
            "get": _operation(asked),
            "post": _operation([condition]) | {"requestBody": body},
        }
        paths[f"/{kind}/{{id}}"] = {
            "get": _operation(by_id),
            "put": _operation(by_id) | {"requestBody": body},
        }
        paths[f"/{kind}/{{id}}/_history"] = {"get": _operation(by_id)}
        paths[f"/{kind}/$validate"] = {"post": _operation([]) | {"requestBody": body}}
    return {"openapi": "3.0.3", "info": {"title": "FHIR", "version": "1"}, "paths": paths}


def _operation(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {"parameters": parameters, "responses": {"default": {"description": "FHIR"}}}


@pytest.fixture(scope="module", autouse=True)
def well_afterwards(gateway: GatewayProcess) -> Iterator[None]:
    yield
    assert gateway.readiness()[0] == 200
    assert "Traceback" not in gateway.log_text


@few(70)
@given(chosen=st.data())
def test_the_staff_api_answers_as_it_is_described(staff_api: Door, chosen: st.DataObject) -> None:
    operation = chosen.draw(st.sampled_from(staff_api.operations), label="operation")
    case = staff_api.draw(chosen, operation)
    answer = case.call(base_url=staff_api.url, session=staff_api.session)
    case.validate_response(answer, checks=AS_DESCRIBED)


@few(70)
@given(chosen=st.data())
def test_the_fhir_door_answers_any_request_of_its_interactions(fhir: Door, chosen: st.DataObject) -> None:
    operation = chosen.draw(st.sampled_from(fhir.operations), label="operation")
    case = fhir.draw(chosen, operation)
    answer = case.call(base_url=fhir.url, session=fhir.session)
    case.validate_response(answer, checks=[not_a_server_error])
    assert answer.status_code in (200, 201, 400, 404, 405, 406, 412, 413, 414, 415, 422), (
        case.as_curl_command()
    )
