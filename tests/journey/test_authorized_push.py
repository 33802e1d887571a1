"""From the specialist's signature to a hospital's server that takes nothing without a token, on the running gateway."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.authorization import CLIENT_ID, Authorization
from tests.support.bundles import imaging_study, referral, wait_for
from tests.support.fhir_receiver import Answer, FhirReceiver
from tests.support.gateway_process import SPECIALIST, GatewayProcess
from tests.support.hospital import Scene, images

STUDY = "2.25.314159265358979"


@dataclass
class Receiving:
    """A hospital that is registered with its token endpoint."""

    scene: Scene
    receiver: FhirReceiver
    authorization: Authorization

    def sign_a_case(self, mrn: str) -> str:
        """Referral, one image, opinion, signature; returns the case's number."""
        scene, study = self.scene, f"{STUDY}{int(mrn, 36)}"
        case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {f"{study}.1": 1})))
        assert scene.pacs.store(*images(mrn, 1, study, f"{study}.1")).ok
        scene.wait_for_study(case_id)
        scene.wait_for_checks(case_id)
        users = scene.intake.get("users?role=specialist")["users"]
        specialist_id = next(user["id"] for user in users if user["name"] == SPECIALIST.name)
        assert scene.intake.post(f"cases/{case_id}/accept").ok
        assert scene.intake.post(f"cases/{case_id}/assign", specialist_id=specialist_id).ok
        written = {"findings_text": "A lesion.", "conclusion": "Resectable.", "recommendations": "Surgery."}
        assert scene.specialist.post(f"cases/{case_id}/draft", **written).ok
        signed = scene.specialist.post(f"cases/{case_id}/sign")
        assert signed.ok, signed.text
        return case_id

    def delivery(self, case_id: str) -> dict[str, Any]:
        deliveries = self.scene.intake.case(case_id)["deliveries"]
        found: dict[str, Any] = next(d for d in deliveries if d["channel"] == "fhir-push")
        return found

    def wait_until(self, case_id: str, state: str) -> dict[str, Any]:
        wait_for(lambda: self.delivery(case_id)["state"] == state)
        return self.delivery(case_id)


@pytest.fixture
def receiving(gateway: GatewayProcess, request: pytest.FixtureRequest) -> Iterator[Receiving]:
    authorization = Authorization(f"{gateway.base_url}/oauth/jwks")
    with FhirReceiver(authorization) as receiver:
        partner = gateway.add_partner(
            f"receiving-{request.node.name.replace('_', '-')[:40]}",
            options=(
                *("--fhir-endpoint", receiver.url),
                *("--fhir-token-url", receiver.token_url, "--fhir-client-id", CLIENT_ID),
            ),
        )
        yield Receiving(Scene(gateway, partner), receiver, authorization)


def test_the_report_arrives_with_a_token_that_covers_all_of_it(receiving: Receiving) -> None:
    case_id = receiving.sign_a_case("ap1")
    delivery = receiving.wait_until(case_id, "delivered")
    assert delivery["attempts"] == 1
    kept = sorted(resource["resourceType"] for resource in receiving.receiver.kept.values())
    assert kept == ["DiagnosticReport", "ImagingStudy", "Patient", "ServiceRequest"]
    [header] = receiving.authorization.headers
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


def test_a_hospital_that_does_not_know_the_client_is_a_matter_for_a_person(receiving: Receiving) -> None:
    receiving.authorization.client_id = "another"
    case_id = receiving.sign_a_case("ap3")
    delivery = receiving.wait_until(case_id, "failed")
    assert delivery["last_error"] == "The token endpoint refused the gateway with 401 (invalid_client)."
    assert receiving.receiver.received == []
    assert receiving.scene.intake.case(case_id)["status"] == "signed"
