"""What holds for every HTTP answer: security headers, a name for the request, and no inside told."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask, jsonify, request
from pydantic import SecretStr

from gateway.app import create_app
from gateway.config import Config
from gateway.processes import logs
from gateway.services import build_services
from tests.support.gateway_process import GatewayProcess
from tests.support.in_process import migrated_services

EDGES = [
    "/healthz",
    "/fhir/metadata",
    "/fhir/nowhere",
    "/dicom-web/studies",
    "/api/openapi.json",
    "/nowhere",
    "/sign-in",
]


@pytest.mark.parametrize("path", EDGES)
def test_every_answer_is_hardened(gateway: GatewayProcess, path: str) -> None:
    headers = requests.get(gateway.base_url + path, timeout=20).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "'unsafe" not in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers  # this gateway is not reached by https
    assert not any(letter.isdigit() for letter in headers["Server"])


def test_a_request_keeps_the_name_that_its_sender_gave_it(gateway: GatewayProcess) -> None:
    given = {"X-Request-ID": "0b5b0d0e-order.7"}
    assert (
        requests.get(f"{gateway.base_url}/healthz", headers=given, timeout=20).headers["X-Request-ID"]
        == given["X-Request-ID"]
    )


@pytest.mark.parametrize("given", [None, "x" * 65, "a b", "<script>", "é"])
def test_a_request_gets_a_name_where_it_has_none_that_is_harmless(
    gateway: GatewayProcess, given: str | None
) -> None:
    headers = {"X-Request-ID": given.encode()} if given else {}
    named = requests.get(f"{gateway.base_url}/healthz", headers=headers, timeout=20).headers["X-Request-ID"]
    assert named
    assert named != given


def test_an_unknown_address_is_not_found_as_json_or_as_a_page(gateway: GatewayProcess) -> None:
    address = f"{gateway.base_url}/nowhere"
    program = requests.get(address, timeout=20)
    browser = requests.get(address, headers={"Accept": "text/html,*/*;q=0.8"}, timeout=20)
    assert (program.status_code, program.json()) == (404, {"error": "Not Found"})
    assert browser.status_code == 404
    assert browser.headers["Content-Type"].startswith("text/html")
    assert "There is no page at this address" in browser.text


def test_a_wrong_method_is_told_the_right_ones(gateway: GatewayProcess) -> None:
    answer = requests.post(f"{gateway.base_url}/healthz", timeout=20)
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_readiness_tells_each_part(gateway: GatewayProcess) -> None:
    answer = requests.get(f"{gateway.base_url}/readyz", timeout=20)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json() == {
        "status": "ready",
        "parts": {
            "web": "ready",
            "objects": "ready",
            "database": "ready",
            "dimse": "ready",
            "worker": "ready",
        },
    }


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """The application behind one proxy that speaks https, with a page that breaks."""
    services = migrated_services(tmp_path, public_url="https://opinions.example.org", proxies=1)
    made = create_app(services)

    @made.get("/broken")
    def broken() -> None:
        raise ValueError("Jane Doe, born 2019-05-01")

    @made.get("/seen")
    def seen() -> object:
        return jsonify(address=request.remote_addr, scheme=request.scheme, host=request.host)

    yield made
    services.database.close()


@pytest.fixture
def process_logging() -> Iterator[Callable[[], None]]:
    """Sets logging up as a process of the gateway does; undone afterwards."""
    root = logging.getLogger()
    before = root.handlers, logging.raiseExceptions
    yield logs.configure
    root.handlers, logging.raiseExceptions = before


def test_without_its_database_each_door_asks_to_try_again(tmp_path: Path) -> None:
    lost = build_services(Config(data_dir=tmp_path, database_url=SecretStr("sqlite:////nowhere/x")))
    peer = create_app(lost).test_client()
    token = {"Authorization": "Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30.AAAA"}
    fhir = peer.get("/fhir/Task", headers=token)
    dicomweb = peer.get("/dicom-web/studies", headers=token)
    assert (fhir.status_code, fhir.json["issue"][0]["code"]) == (503, "transient")
    assert (dicomweb.status_code, dicomweb.json["error"]) == (503, "StoreUnavailable")
    assert fhir.headers["Retry-After"]
    assert dicomweb.headers["Retry-After"]


def test_an_unexpected_error_tells_the_peer_its_reference_only(
    app: Flask, process_logging: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    process_logging()
    answer = app.test_client().get("/broken?name=Jane")
    assert answer.status_code == 500
    told = answer.get_json()
    assert set(told) == {"error", "reference"}
    assert "Jane" not in answer.text
    (line,) = [line for line in capfd.readouterr().err.splitlines() if told["reference"] in line]
    assert "Jane" not in line
    logged = json.loads(line)
    assert logged["exception"][0]["type"] == "ValueError"
    assert logged["exception"][0]["stack"][-1].endswith(" broken")


def test_an_unexpected_error_is_a_page_for_a_person(app: Flask) -> None:
    answer = app.test_client().get("/broken", headers={"Accept": "text/html"})
    assert answer.status_code == 500
    assert answer.mimetype == "text/html"
    assert "Reference:" in answer.text
    assert "Jane" not in answer.text


def test_behind_https_browsers_are_held_to_it(app: Flask) -> None:
    headers = app.test_client().get("/healthz").headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert app.config["SESSION_COOKIE_SECURE"] is True
    assert app.config["SESSION_COOKIE_HTTPONLY"] is True


def test_a_configured_proxy_is_believed_and_a_further_one_is_not(app: Flask) -> None:
    forwarded = {
        "X-Forwarded-For": "203.0.113.9, 198.51.100.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "opinions.example.org",
    }
    assert app.test_client().get("/seen", headers=forwarded).get_json() == {
        "address": "198.51.100.7",
        "scheme": "https",
        "host": "opinions.example.org",
    }


def test_nobody_is_believed_where_no_proxy_is_configured(gateway: GatewayProcess) -> None:
    forwarded = {"X-Forwarded-Host": "evil.example.org", "X-Forwarded-Proto": "https"}
    answer = requests.get(
        f"{gateway.base_url}/", headers=forwarded | {"Accept": "text/html"}, allow_redirects=False, timeout=20
    )
    assert "evil.example.org" not in answer.text + answer.headers.get("Location", "")
