"""What an operator changes of a partner holds at once on the running gateway, and what failed for it is made good."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pynetdicom.sop_class import CTImageStorage

from tests.support.authorization import CLIENT_ID, Authorization
from tests.support.bundles import FhirClient
from tests.support.dimse import TEST_FILES, association, dcmtk, new_instance
from tests.support.fhir_receiver import FhirReceiver
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner
from tests.support.receiving import Receiving, receiving_hospital

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
NOT_AUTHORISED = 0x0124  # PS3.7 Annex C


@pytest.fixture
def hospital(gateway: GatewayProcess) -> Partner:
    """Registered with the AE title CT_ and its own number."""
    number = uuid4().hex[:8].upper()
    return gateway.add_partner(f"changing-{number}", ae_title=f"CT_{number}")


@pytest.fixture
def authorization(gateway: GatewayProcess) -> Authorization:
    return Authorization(f"{gateway.base_url}/oauth/jwks", client_id="second-opinion-gateway")


@pytest.fixture
def receiving(gateway: GatewayProcess, authorization: Authorization) -> Iterator[Receiving]:
    """Its server knows the gateway by another client id than the operator has typed."""
    assert authorization.client_id != CLIENT_ID
    with receiving_hospital(gateway, uuid4().hex[:8], authorization) as registered:
        yield registered


def try_again(receiving: Receiving, case_id: str) -> None:
    delivery_id = receiving.delivery(case_id)["id"]
    answer = receiving.scene.intake.post(f"cases/{case_id}/retry", delivery_id=delivery_id)
    assert answer.status_code == 200, answer.text


def test_a_mistyped_client_id_is_corrected_and_the_report_is_delivered(
    gateway: GatewayProcess, receiving: Receiving, authorization: Authorization
) -> None:
    case_id = receiving.sign_a_case(uuid4().hex[:8])
    failed = receiving.wait_until(case_id, "failed")
    assert failed["last_error"] == "The token endpoint refused the gateway with 401 (invalid_client)."
    partner_id = receiving.scene.ehr.partner.id
    gateway.command("partner", "change", partner_id, "--fhir-client-id", authorization.client_id)
    try_again(receiving, case_id)
    assert receiving.wait_until(case_id, "delivered")["attempts"] == 2
    assert len(receiving.receiver.of_type("DiagnosticReport")) == 1


def test_a_mistyped_endpoint_is_corrected_and_nothing_more_is_sent_there(gateway: GatewayProcess) -> None:
    with receiving_hospital(gateway, uuid4().hex[:8]) as receiving, FhirReceiver() as right:
        case_id = receiving.sign_a_case(uuid4().hex[:8])
        receiving.wait_until(case_id, "delivered")
        gateway.command("partner", "change", receiving.scene.ehr.partner.id, "--fhir-endpoint", right.url)
        before = len(receiving.receiver.received)
        second = receiving.sign_a_case(uuid4().hex[:8])
        delivered = receiving.wait_until(second, "delivered")
        assert delivered["address"] == right.url
        assert len(right.of_type("DiagnosticReport")) == 1
        assert len(receiving.receiver.received) == before


def test_a_running_token_is_narrowed_with_the_scopes(gateway: GatewayProcess, hospital: Partner) -> None:
    ehr = FhirClient(gateway, hospital)
    assert ehr.get("Patient").status_code == 200
    gateway.command("partner", "change", hospital.id, "--scope", "system/Task.rs")
    assert ehr.get("Patient").status_code == 403
    assert ehr.get("Task").status_code == 200


def test_rotated_keys_hold_and_the_former_ones_do_not(
    gateway: GatewayProcess, hospital: Partner, tmp_path: Path
) -> None:
    successor = Partner(hospital.id, hospital.name, "", gateway.base_url)
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(successor.jwks()))
    assert successor.request_token().status_code == 401
    gateway.command("partner", "change", hospital.id, "--jwks", str(jwks))
    assert hospital.request_token().status_code == 401
    assert successor.request_token().status_code == 200


@pytest.mark.parametrize("disabling", [True, False], ids=["disabled", "ae-removed"])
def test_an_open_association_stores_nothing_more(
    gateway: GatewayProcess, hospital: Partner, tmp_path: Path, disabling: bool
) -> None:
    change = ("change", hospital.id, "--remove-ae", hospital.ae_title)
    files = [new_instance(tmp_path / f"{n}.dcm", TEST_FILES / "CT_small.dcm") for n in range(2)]
    with association(gateway, [(CTImageStorage, EXPLICIT_LITTLE)], hospital.ae_title) as assoc:
        assert assoc.send_c_store(files[0]).Status == 0x0000
        gateway.command("partner", *(("disable", hospital.id) if disabling else change))
        assert assoc.send_c_store(files[1]).Status == NOT_AUTHORISED
    refused = dcmtk("echoscu", gateway, calling=hospital.ae_title)
    assert "Calling AE Title Not Recognized" in refused.stdout
    undo = ("enable", hospital.id) if disabling else ("change", hospital.id, "--ae", hospital.ae_title)
    gateway.command("partner", *undo)
    assert dcmtk("storescu", gateway, files[1], calling=hospital.ae_title).returncode == 0


def test_images_of_an_ae_that_was_given_to_another_hospital_go_to_neither_until_it_calls_anew(
    gateway: GatewayProcess, hospital: Partner, tmp_path: Path
) -> None:
    heir = gateway.add_partner(f"{hospital.id}-heir")
    file = new_instance(tmp_path / "1.dcm", TEST_FILES / "CT_small.dcm")
    with association(gateway, [(CTImageStorage, EXPLICIT_LITTLE)], hospital.ae_title) as assoc:
        gateway.command("partner", "change", hospital.id, "--remove-ae", hospital.ae_title)
        gateway.command("partner", "change", heir.id, "--ae", hospital.ae_title)
        assert assoc.send_c_store(file).Status == NOT_AUTHORISED


def test_a_disabled_partner_has_no_door_until_it_is_enabled(
    gateway: GatewayProcess, hospital: Partner
) -> None:
    ehr = FhirClient(gateway, hospital)
    assert ehr.get("Task").status_code == 200
    gateway.command("partner", "disable", hospital.id)
    assert ehr.get("Task").status_code == 401
    assert hospital.request_token().status_code == 401
    gateway.command("partner", "enable", hospital.id)
    assert ehr.get("Task").status_code == 200
