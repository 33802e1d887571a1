"""The gateway's own profiles, operations and codes are read, searched and compared with over HTTP."""

from typing import Any
from urllib.parse import quote

import pytest
import requests

from gateway.fhir.xml_format import read_xml
from mappings.own_profiles import canonical, claim, own_profiles
from tests.support.bundles import FhirClient, issues, referral, wait_for
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

PROFILE = canonical("StructureDefinition", "referral-request")
KINDS = ("StructureDefinition", "OperationDefinition", "CodeSystem", "ValueSet")


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess, partner: Partner) -> FhirClient:
    return FhirClient(gateway, partner)


def found(ehr: FhirClient, query: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in ehr.get(query).json().get("entry", [])]


@pytest.mark.parametrize("kind", KINDS)
def test_a_definition_is_read_and_found_by_each_name_that_it_has(ehr: FhirClient, kind: str) -> None:
    definitions = found(ehr, f"{kind}?version=1.0.0&status=active")
    assert definitions
    for made in definitions:
        assert ehr.get(f"{kind}/{made['id']}").json() == made
        for name in ("url", "name", "_id", "title"):
            value = made[name.removeprefix("_")]
            assert made in found(ehr, f"{kind}?{name}={quote(value)}"), name
    assert found(ehr, f"{kind}?url=urn:x:none") == found(ehr, f"{kind}?version=0.9") == []


def test_every_definition_that_is_claimed_or_named_can_be_read(ehr: FhirClient) -> None:
    served = {made["url"] for kind in KINDS for made in found(ehr, f"{kind}?_count=500")}
    statement = requests.get(f"{ehr.base}/metadata", timeout=20).json()["rest"][0]
    supported = {url for one in statement["resource"] for url in one.get("supportedProfile", ())}
    claimed = {url for url in supported if url.startswith("urn:")}
    assert claimed == {profile.url for profile in own_profiles().values()}
    own = {one["definition"] for one in statement["operation"] if one["definition"].startswith("urn:")}
    assert claimed | own <= served
    profiles = found(ehr, "StructureDefinition?_count=500")
    bound = {
        e["binding"]["valueSet"] for p in profiles for e in p["differential"]["element"] if "binding" in e
    }
    assert bound <= served


def test_they_are_everybodys_and_need_a_token_as_all_reads_do(
    gateway: GatewayProcess, other_partner: Partner, ehr: FhirClient
) -> None:
    stranger = FhirClient(gateway, other_partner)
    assert found(stranger, f"StructureDefinition?url={PROFILE}") == found(
        ehr, f"StructureDefinition?url={PROFILE}"
    )
    assert ehr.get("StructureDefinition/finding", Authorization="").status_code == 401


@pytest.mark.parametrize("release", ["3.0", "4.3", "5.0"])
def test_one_is_answered_in_xml_and_in_every_release(ehr: FhirClient, release: str) -> None:
    as_xml = ehr.get("StructureDefinition/finding", Accept="application/fhir+xml")
    assert read_xml(as_xml.content)["url"] == canonical("StructureDefinition", "finding")
    for kind, name in (
        ("StructureDefinition", "opinion-report"),
        ("ValueSet", "specialty"),
        ("CodeSystem", "check"),
    ):
        answer = ehr.get(f"{kind}/{name}", Accept=f"application/fhir+json; fhirVersion={release}")
        assert (answer.status_code, answer.json()["id"]) == (200, name), answer.text


def request(**changes: Any) -> dict[str, Any]:
    made = referral()["entry"][2]["resource"] | {"subject": {"reference": "Patient/1"}}
    made["requester"] = {"reference": "Practitioner/1"}
    return {key: value for key, value in (made | changes).items() if value is not None}


@pytest.mark.parametrize("how", ["in the address", "in Parameters", "claimed"])
def test_a_resource_is_compared_with_a_profile_however_it_is_named(ehr: FhirClient, how: str) -> None:
    sent, path = request(code=None), "/ServiceRequest/$validate"
    if how == "claimed":
        sent["meta"] = claim("referral-request")
    elif how == "in Parameters":
        named = [
            {"name": "resource", "resource": sent},
            {"name": "profile", "valueCanonical": f"{PROFILE}|1.0.0"},
        ]
        sent = {"resourceType": "Parameters", "parameter": named}
    else:
        path = f"{path}?profile={PROFILE}"
    answer = ehr.post(sent, path)
    assert (
        "ServiceRequest.code",
        "At least 1 'code' was expected, and 0 found. (profile referral-request)",
    ) in issues(answer)
    told = {(i["severity"], i["code"]) for i in answer.json()["issue"]}
    assert ("error", "required") in told
    assert ("information", "informational") in told


def test_a_profile_that_is_not_known_is_told(ehr: FhirClient) -> None:
    answer = ehr.post(request(), "/ServiceRequest/$validate?profile=urn:x:none&mode=delete")
    words = " ".join(words for _, words in issues(answer))
    assert "it is not known here" in words
    assert "Only the modes" in words
    assert "it is not known here" in ehr.post(referral(), "/$check?profile=urn:x:none").text


@pytest.mark.parametrize("how", ["in the address", "in Parameters", "claimed"])
def test_a_check_tells_what_a_profile_asks_for_and_refuses_nothing_for_it(ehr: FhirClient, how: str) -> None:
    sent, path, profile = referral(), "/$check", canonical("StructureDefinition", "referral-transaction")
    sent["entry"][2]["resource"]["status"] = "on-hold"
    body = sent
    if how == "claimed":
        sent["meta"] = claim("referral-transaction")
    elif how == "in Parameters":
        named = [{"name": "content", "resource": sent}, {"name": "profile", "valueUri": profile}]
        body = {"resourceType": "Parameters", "parameter": named}
    else:
        path = f"{path}?profile={profile}"
    answer = ehr.post(body, path)
    assert answer.status_code == 200, answer.text
    told = [
        (i["severity"], i["code"], i["expression"][0]) for i in answer.json()["issue"] if "expression" in i
    ]
    assert ("warning", "value", "Bundle.entry[2].resource.status") in told
    assert "error" not in {severity for severity, _, _ in told}
    assert ehr.post(sent).status_code == 200


def test_what_is_made_of_a_referral_claims_its_profile_in_every_answer(ehr: FhirClient) -> None:
    case_id = ehr.open_case(referral(practitioner=None, request=None))
    wait_for(lambda: ehr.task(case_id).get("note"))
    own = claim("coordination-task")["profile"]
    assert ehr.task(case_id)["meta"]["profile"] == own
    [searched] = found(ehr, f"Task?_id={case_id}&_profile={quote(own[0])}")
    assert searched["meta"]["profile"] == own
    answered = ehr.post(referral(bundle_type="collection")).json()
    validated = ehr.post(answered, "/Task/$validate").json()["issue"]
    assert {i["severity"] for i in validated} == {"information"}
    assert answered["meta"]["profile"] == own
