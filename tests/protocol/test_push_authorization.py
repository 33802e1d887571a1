"""The gateway as a SMART backend service: it gets a token from the hospital's own server before it pushes there."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from gateway.auth import routes
from gateway.errors import PeerRefused, PeerUnreachable
from gateway.services import PushOverFhir, Services
from gateway.store.partners import Registration
from tests.support.authorization import CLIENT_ID, SCOPES, Authorization
from tests.support.fhir_receiver import Answer, FhirReceiver
from tests.support.gateway_process import free_port
from tests.support.in_process import migrated_services, serving

REPORT = {
    "resource": {"resourceType": "DiagnosticReport"},
    "request": {"method": "POST", "url": "DiagnosticReport", "ifNoneExist": "identifier=urn:x|1"},
}
BUNDLE = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [REPORT]}).encode()


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """With /oauth/jwks over HTTP."""
    built = migrated_services(tmp_path_factory.mktemp("push-authorization"), http_port=free_port())
    app = Flask("own-keys")
    app.register_blueprint(routes.blueprint(built))
    with serving(app, built.config.http_port):
        yield built


@dataclass
class Hospital:
    """A hospital's server that wants a token, and the gateway that pushes there."""

    receiver: FhirReceiver
    authorization: Authorization
    sender: PushOverFhir

    def push(self, **changed: Any) -> str:
        registered = {
            "fhir_endpoint": self.receiver.url,
            "fhir_token_url": self.receiver.token_url,
            "fhir_client_id": CLIENT_ID,
        } | changed
        return self.sender(Registration("hospital", "Hospital", **registered), self.receiver.url, BUNDLE)

    def tokens_used(self) -> list[str]:
        return [headers["Authorization"].removeprefix("Bearer ") for _, headers, _ in self.receiver.received]


@pytest.fixture
def hospital(services: Services) -> Iterator[Hospital]:
    """The gateway has no token yet."""
    authorization = Authorization(f"{services.config.base_url}/oauth/jwks")
    with FhirReceiver(authorization) as receiver:
        yield Hospital(receiver, authorization, PushOverFhir(services.keyring))


def test_the_report_goes_with_a_token_that_the_own_key_has_bought(hospital: Hospital) -> None:
    assert hospital.push() == "201 DiagnosticReport/0/_history/1"
    assert hospital.tokens_used() == hospital.authorization.issued
    assert [form["scope"] for form in hospital.authorization.asked] == [SCOPES]


def test_the_assertion_is_what_smart_asks_for(hospital: Hospital, services: Services) -> None:
    hospital.push()
    [header], [claims] = hospital.authorization.headers, hospital.authorization.claims
    assert header == {"alg": "ES384", "typ": "JWT", "kid": services.keyring.assertion_key().kid}
    assert claims.pop("exp") - claims.pop("iat") <= 300
    assert claims.pop("jti")
    assert claims == {"iss": CLIENT_ID, "sub": CLIENT_ID, "aud": hospital.receiver.token_url}


def test_without_a_token_the_hospital_takes_nothing(hospital: Hospital) -> None:
    """Otherwise the tests above would prove nothing."""
    with pytest.raises(PeerRefused, match=r"^The receiver refused the report with 401 \(security\)\.$"):
        hospital.push(fhir_token_url="", fhir_client_id="")
    assert "Authorization" not in hospital.receiver.received[0][1]


def test_a_token_is_used_again(hospital: Hospital) -> None:
    for _ in range(3):
        hospital.push()
    assert hospital.tokens_used() == hospital.authorization.issued * 3


@pytest.mark.parametrize(
    ("expires_in", "asked"),
    [(3600, 1), (10**400, 1), (61, 1), (60, 2), (0, 2), (-1, 2), (..., 2), ("300", 2), (True, 2), (float("nan"), 2)],
)  # fmt: skip
def test_a_token_is_used_again_only_while_it_lasts_another_minute(
    hospital: Hospital, expires_in: Any, asked: int
) -> None:
    hospital.authorization.expires_in = expires_in
    hospital.push()
    hospital.push()
    assert len(hospital.authorization.asked) == asked
    assert hospital.tokens_used()[-1] == hospital.authorization.issued[-1]


def test_a_token_that_has_become_too_old_is_replaced_before_it_is_refused(hospital: Hospital) -> None:
    hospital.authorization.expires_in = 60.2
    hospital.push()
    time.sleep(0.25)
    hospital.push()
    assert hospital.tokens_used() == hospital.authorization.issued
    assert len(hospital.authorization.issued) == 2


def test_after_a_401_a_new_token_is_fetched_and_the_report_sent_again(hospital: Hospital) -> None:
    hospital.push()
    hospital.authorization.revoke()
    assert hospital.push().startswith("200 ")
    first, second = hospital.authorization.issued
    assert hospital.tokens_used() == [first, first, second]
    assert len(hospital.receiver.of_type("DiagnosticReport")) == 1


def test_a_new_token_is_fetched_once_only(hospital: Hospital) -> None:
    hospital.receiver.answers = [Answer(401, b""), Answer(401, b"")]
    with pytest.raises(PeerRefused, match=r"^The receiver refused the report with 401\.$"):
        hospital.push()
    assert hospital.tokens_used() == hospital.authorization.issued
    assert len(hospital.authorization.issued) == 2


def test_each_registration_has_its_own_token(hospital: Hospital) -> None:
    hospital.push()
    hospital.authorization.client_id = "another"
    hospital.push(fhir_client_id="another")
    assert len(set(hospital.tokens_used())) == 2


def test_the_scopes_that_are_registered_are_asked(hospital: Hospital) -> None:
    hospital.authorization.scopes = "system/DiagnosticReport.c system/*.s"
    hospital.push(fhir_scopes=("system/DiagnosticReport.c", "system/*.s"))
    assert hospital.authorization.asked[0]["scope"] == "system/DiagnosticReport.c system/*.s"


def test_a_client_that_the_hospital_does_not_know_is_refused_and_the_report_stays_here(
    hospital: Hospital,
) -> None:
    with pytest.raises(PeerRefused) as refusal:
        hospital.push(fhir_client_id="stranger")
    assert str(refusal.value) == "The token endpoint refused the gateway with 401 (invalid_client)."
    assert hospital.receiver.received == []


def test_a_scope_that_the_hospital_does_not_grant_is_refused(hospital: Hospital) -> None:
    with pytest.raises(
        PeerRefused, match=r"^The token endpoint refused the gateway with 400 \(invalid_scope\)"
    ):
        hospital.push(fhir_scopes=("system/*.cruds",))


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error":7}', b'{"error":"Layla Haddad <b>"}', b"[" * 100_000]
)
def test_a_refusal_repeats_none_of_the_hospital_s_words(hospital: Hospital, body: bytes) -> None:
    hospital.receiver.token_answers = [Answer(403, body)]
    with pytest.raises(PeerRefused, match=r"^The token endpoint refused the gateway with 403\.$"):
        hospital.push()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_after_these_answers_there_may_be_a_token_later(hospital: Hospital, status: int) -> None:
    hospital.receiver.token_answers = [Answer(status, b'{"error":"invalid_client"}')]
    with pytest.raises(PeerUnreachable, match=rf"^The token endpoint answered {status}\.$"):
        hospital.push()
    assert hospital.receiver.received == []
    assert hospital.push().startswith("201 ")


def test_where_nobody_listens_there_may_be_a_token_later(hospital: Hospital) -> None:
    with pytest.raises(
        PeerUnreachable, match=r"^The token endpoint could not be reached \(ConnectionError\)\.$"
    ):
        hospital.push(fhir_token_url=f"http://127.0.0.1:{free_port()}/token")
    assert hospital.receiver.received == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"token_type":"bearer"}',
        b'{"access_token":"","token_type":"bearer"}',
        b'{"access_token":7,"token_type":"bearer"}',
        b'{"access_token":"x"}',
        b'{"access_token":"x","token_type":"mac"}',
        b'{"access_token":"x\\r\\nHost: elsewhere","token_type":"bearer"}',
        b'{"access_token":"x y","token_type":"bearer"}',
    ],
)
def test_an_answer_without_a_bearer_token_is_a_refusal(hospital: Hospital, body: bytes) -> None:
    hospital.receiver.token_answers = [Answer(200, body)]
    with pytest.raises(PeerRefused, match="without a bearer token"):
        hospital.push()
    assert hospital.receiver.received == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_assertion_does_not_follow_a_redirect(hospital: Hospital, status: int) -> None:
    with FhirReceiver() as elsewhere:
        hospital.receiver.token_answers = [Answer(status, b"", {"Location": elsewhere.url})]
        with pytest.raises(PeerRefused, match=str(status)):
            hospital.push()
        assert elsewhere.received == []


def test_the_token_does_not_follow_a_redirect(hospital: Hospital) -> None:
    with FhirReceiver() as elsewhere:
        hospital.receiver.answers = [Answer(307, b"", {"Location": elsewhere.url})]
        with pytest.raises(PeerRefused, match="307"):
            hospital.push()
        assert elsewhere.received == []


def test_an_endless_answer_is_refused(hospital: Hospital) -> None:
    hospital.receiver.token_answers = [Answer(200, b"x" * (5 * 1024 * 1024))]
    with pytest.raises(PeerRefused, match="The token endpoint answered 200 with far too many bytes"):
        hospital.push()


@pytest.mark.parametrize("token_url", ["http://hospital.example.org/token", "ftp://127.0.0.1/token"])
def test_an_assertion_is_not_sent_in_the_clear(hospital: Hospital, token_url: str) -> None:
    with pytest.raises(PeerRefused, match="The token endpoint's address is not https"):
        hospital.push(fhir_token_url=token_url)
