"""Only who calls the gateway by its own name is answered: DNS rebinding must not make a stranger's page ours."""

from pathlib import Path

import pytest
import requests
from flask.testing import FlaskClient

from gateway.app import create_app
from tests.support.bundles import referral
from tests.support.gateway_process import GatewayProcess
from tests.support.in_process import migrated_services

EVIL = "evil.example"
DOORS = (
    "/",
    "/sign-in",
    "/api/cases",
    "/fhir/metadata",
    "/fhir/Task",
    "/dicom-web/studies",
    "/oauth/jwks",
    "/none",
)


def client(folder: Path, **config: object) -> FlaskClient:
    app = create_app(migrated_services(folder, **config))
    return app.test_client()


@pytest.mark.parametrize("path", DOORS)
def test_in_development_a_request_by_another_name_is_refused_at_every_door(
    dev_gateway: GatewayProcess, path: str
) -> None:
    answer = requests.get(
        dev_gateway.base_url + path,
        headers={
            "Host": f"{EVIL}:{dev_gateway.http_port}",
            "Origin": f"http://{EVIL}:{dev_gateway.http_port}",
        },
        timeout=20,
    )
    assert answer.status_code == 400, answer.text


def test_in_development_a_rebound_page_cannot_send_records(dev_gateway: GatewayProcess) -> None:
    answer = requests.post(
        dev_gateway.fhir_url,
        json=referral(),
        headers={"Host": EVIL, "Content-Type": "application/fhir+json"},
        timeout=20,
    )
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8080", "LOCALHOST:8080"])
def test_in_development_any_name_of_this_machine_is_answered(dev_gateway: GatewayProcess, host: str) -> None:
    answer = requests.get(dev_gateway.base_url + "/api/cases", headers={"Host": host}, timeout=20)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("opinions.example.org", 401),
        ("opinions.example.org:443", 401),
        ("10.0.0.5:8080", 401),
        ("localhost:8080", 401),
        (EVIL, 400),
        ("opinions.example.org.evil.example", 400),
        ("[", 400),
    ],
)
def test_otherwise_the_public_name_and_the_listening_address_are_answered(
    tmp_path: Path, host: str, status: int
) -> None:
    site = client(tmp_path, host="10.0.0.5", public_url="https://opinions.example.org")
    assert site.get("/api/cases", headers={"Host": host}).status_code == status


def test_a_probe_may_call_the_container_by_its_address(tmp_path: Path) -> None:
    site = client(tmp_path, public_url="https://opinions.example.org")
    assert site.get("/healthz", headers={"Host": "10.244.0.9:8080"}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://opinions.example.org", 401), ("https://10.0.0.5", 403), ("http://opinions.example.org", 403)],
)
def test_the_api_compares_the_origin_with_the_configured_one_and_not_with_the_host_header(
    tmp_path: Path, origin: str, status: int
) -> None:
    site = client(tmp_path, host="10.0.0.5", public_url="https://opinions.example.org:443")
    answer = site.get("/api/cases", base_url="https://10.0.0.5", headers={"Origin": origin})
    assert answer.status_code == status
