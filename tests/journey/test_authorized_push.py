"""From the specialist's signature to a hospital's server that takes nothing without a token, on the running gateway."""

from collections.abc import Iterator

import pytest

from tests.support.authorization import Authorization
from tests.support.bundles import wait_for
from tests.support.fhir_receiver import Answer
from tests.support.gateway_process import GatewayProcess
from tests.support.receiving import Receiving, receiving_hospital


@pytest.fixture
def authorization(gateway: GatewayProcess) -> Authorization:
    return Authorization(f"{gateway.base_url}/oauth/jwks")


@pytest.fixture
def receiving(
    gateway: GatewayProcess, authorization: Authorization, request: pytest.FixtureRequest
) -> Iterator[Receiving]:
    with receiving_hospital(gateway, request.node.name, authorization) as registered:
        yield registered


def test_the_report_arrives_with_a_token_that_covers_all_of_it(
    receiving: Receiving, authorization: Authorization
) -> None:
    case_id = receiving.sign_a_case("ap1")
    delivery = receiving.wait_until(case_id, "delivered")
    assert delivery["attempts"] == 1
    kept = sorted(resource["resourceType"] for resource in receiving.receiver.kept.values())
    assert kept == ["DiagnosticReport", "ImagingStudy", "Patient", "ServiceRequest"]
    [header] = authorization.headers
    assert header["alg"] == "ES384"
    assert receiving.scene.intake.case(case_id)["status"] == "delivered"


def test_while_the_token_endpoint_is_down_the_report_waits_and_then_arrives(receiving: Receiving) -> None:
    receiving.receiver.token_answers = [Answer(503, b"")]
    case_id = receiving.sign_a_case("ap2")
    wait_for(lambda: receiving.delivery(case_id)["last_error"] == "The token endpoint answered 503.")
    assert receiving.delivery(case_id)["state"] == "pending"
    assert receiving.receiver.received == []
    delivery = receiving.wait_until(case_id, "delivered")
    assert (delivery["attempts"], delivery["last_error"]) == (2, "")


def test_a_hospital_that_does_not_know_the_client_is_a_matter_for_a_person(
    receiving: Receiving, authorization: Authorization
) -> None:
    authorization.client_id = "another"
    case_id = receiving.sign_a_case("ap3")
    delivery = receiving.wait_until(case_id, "failed")
    assert delivery["last_error"] == "The token endpoint refused the gateway with 401 (invalid_client)."
    assert receiving.receiver.received == []
    assert receiving.scene.intake.case(case_id)["status"] == "signed"
