"""A hospital that is sent its reports, from the specialist's signature on, by a running gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.authorization import CLIENT_ID, Authorization
from tests.support.bundles import imaging_study, referral, wait_for
from tests.support.fhir_receiver import FhirReceiver
from tests.support.gateway_process import GatewayProcess
from tests.support.hospital import Scene, images

STUDY = "2.25.314159265358979"


@dataclass
class Receiving:
    """The hospital's own server, beside its systems that send and the programme's staff."""

    scene: Scene
    receiver: FhirReceiver

    def sign_a_case(self, mrn: str) -> str:
        """Referral, one image, opinion, signature; returns the case's number."""
        scene, study = self.scene, f"{STUDY}{int(mrn, 36)}"
        case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {f"{study}.1": 1})))
        assert scene.pacs.store(*images(mrn, 1, study, f"{study}.1")).ok
        scene.wait_for_study(case_id)
        scene.wait_for_checks(case_id)
        scene.sign(case_id)
        return case_id

    def delivery(self, case_id: str) -> dict[str, Any]:
        deliveries = self.scene.intake.case(case_id)["deliveries"]
        found: dict[str, Any] = next(d for d in deliveries if d["channel"] == "fhir-push")
        return found

    def wait_until(self, case_id: str, state: str) -> dict[str, Any]:
        wait_for(lambda: self.delivery(case_id)["state"] == state)
        return self.delivery(case_id)


@contextmanager
def receiving_hospital(
    gateway: GatewayProcess, name: str, authorization: Authorization | None = None
) -> Iterator[Receiving]:
    """Registered as ``receiving-<name>`` with its endpoint and, where there is one, its token endpoint."""
    with FhirReceiver(authorization) as receiver:
        push = ["--fhir-endpoint", receiver.url]
        if authorization is not None:
            push += ["--fhir-token-url", receiver.token_url, "--fhir-client-id", CLIENT_ID]
        partner = gateway.add_partner(
            f"receiving-{name.replace('_', '-').strip('-')[:40]}", options=tuple(push)
        )
        yield Receiving(Scene(gateway, partner), receiver)
