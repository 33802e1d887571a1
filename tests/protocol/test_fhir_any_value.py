"""Bundles whose resources hold any JSON anywhere: the gateway takes or refuses them, and never fails on them."""

import sqlite3
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.app import create_app
from gateway.store.resources import dumps
from gateway.workflow import receive_bundle
from tests.support.any_value import places, put, real_resources
from tests.support.bundles import FHIR_JSON, FhirClient, bundle, issues, referral
from tests.support.gateway_process import GatewayProcess
from tests.support.in_process import migrated_services
from tests.support.partner import Partner

BUNDLES, IN_EACH = 30, 8
VALUES: tuple[Any, ...] = (
    5, -1, 10**30, True, None, "", "x", "#x", "Patient/x", [], {}, [[{}]], [5], [None], {"a": [5]},
    {"reference": 5}, {"coding": 5}, {"coding": [{"code": [5]}]}, "y" * 5000,
)  # fmt: skip


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess, other_partner: Partner) -> FhirClient:
    return FhirClient(gateway, other_partner)


def faulty_bundle(chance: Random, resources: tuple[dict[str, Any], ...], bundle_type: str) -> dict[str, Any]:
    found = {}
    for number in range(IN_EACH):
        resource = chance.choice(resources)
        for _ in range(chance.randint(1, 3)):
            resource = put(resource, chance.choice(places(resource)), chance.choice(VALUES))
        found[f"urn:uuid:{number}"] = resource
    made = bundle(bundle_type, found)
    made["entry"] += referral(bundle_type=bundle_type)["entry"]
    entry = chance.choice(made["entry"])
    if chance.random() < 0.3:
        entry[chance.choice(["fullUrl", "request", "search", "id"])] = chance.choice(VALUES)
    return made


@pytest.mark.parametrize("bundle_type", ["collection", "batch", "transaction"])
def test_no_bundle_makes_the_gateway_fail(
    gateway: GatewayProcess, ehr: FhirClient, shared_data: Path, bundle_type: str
) -> None:
    chance = Random(f"any value in a {bundle_type}")
    resources = real_resources(shared_data)
    for _ in range(BUNDLES):
        body = dumps(faulty_bundle(chance, resources, bundle_type))
        answer = ehr.post(body.encode())
        assert answer.status_code in (200, 201, 400, 415), (answer.text, body)
    assert gateway.readiness()[0] == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"identifier": 5},
        {"name": [{"given": 5, "prefix": True}]},
        {"address": [{"line": 5}]},
        {"contained": 5},
        {"id": {"x": 5}},
    ],
    ids=str,
)
def test_a_patient_with_an_ill_typed_element_is_kept_with_its_fault(
    ehr: FhirClient, changes: dict[str, Any]
) -> None:
    sent = referral(bundle_type="collection")
    sent["entry"][0]["resource"] |= changes
    assert ehr.post(sent).status_code == 201


def test_a_request_with_an_ill_typed_status_is_kept_with_its_fault(ehr: FhirClient) -> None:
    sent = referral(bundle_type="collection")
    sent["entry"][2]["resource"]["status"] = [[{}]]
    assert ehr.post(sent).status_code == 201


def test_a_number_of_thousands_of_digits_is_refused_in_words(ehr: FhirClient) -> None:
    body = dumps(referral()).replace('"status":"active"', f'"status":{"1" * 5000}').encode()
    answer = ehr.post(body)
    assert answer.status_code == 400
    assert "digits" in issues(answer)[0][1]


def test_a_put_to_no_place_is_named(ehr: FhirClient) -> None:
    sent = referral()
    sent["entry"][0]["request"] = {"method": "PUT", "url": "Patient"}
    answer = ehr.post(sent)
    assert answer.status_code == 400
    assert issues(answer)[0][0] == "Bundle.entry[0].request.url"


def test_what_the_gateway_itself_failed_on_is_kept_as_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = migrated_services(tmp_path, dev=True)

    def fail(*_: object) -> None:
        raise ZeroDivisionError("Jane Doe")

    monkeypatch.setattr(receive_bundle.place_bundle, "place_bundle", fail)
    body = dumps(referral()).encode()
    peer = create_app(services).test_client()
    answer = peer.post("/fhir", data=body, content_type=FHIR_JSON, base_url=services.config.base_url)
    services.database.close()
    assert answer.status_code == 500
    assert "Reference:" in answer.text
    assert "Jane" not in answer.text
    with sqlite3.connect(tmp_path / "gateway.sqlite") as database:
        [(key, detail)] = database.execute(
            "select r.object_key, a.detail from receipt r join audit a on a.subject = 'receipt:' || r.id "
            "where r.state = 'refused'"
        ).fetchall()
        assert database.execute("select count(*) from fhir_resource").fetchone() == (0,)
    assert (tmp_path / "objects" / key).read_bytes() == body
    assert '"Unexpected"' in detail
