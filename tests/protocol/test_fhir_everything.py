"""Patient/[id]/$everything: all of one child of one hospital, and nothing of another child."""

from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.support.bundles import FhirClient, bundle, document_reference, issues, patient, referral
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess, partner: Partner) -> FhirClient:
    return FhirClient(gateway, partner)


def observation(subject: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "identifier": [{"system": "https://hospital-a.example/result", "value": uuid4().hex}],
        "status": "final",
        "code": {"text": "Hemoglobin"},
        "subject": {"reference": subject},
    } | more


@pytest.fixture(scope="module")
def sent(ehr: FhirClient) -> dict[str, str]:
    """References by type of a child's referral, of which an observation wrongly names another child's."""
    other = uuid4().hex[:10]
    answer = ehr.post(
        bundle(
            "transaction",
            {
                "urn:uuid:11111111-0000-4000-8000-000000000001": patient(other, birthDate="2012-12-12"),
                "urn:uuid:11111111-0000-4000-8000-000000000002": observation(
                    "urn:uuid:11111111-0000-4000-8000-000000000001"
                ),
            },
        )
    )
    wrong_child, wrong = references(answer)
    answer = ehr.post(
        referral(
            uuid4().hex[:10],
            document=document_reference(b"%PDF-1.4"),
            observation=lambda urls: observation(
                urls["patient"], hasMember=[{"reference": wrong}], focus=[{"reference": wrong_child}]
            ),
        )
    )
    found = {reference.split("/")[0]: reference for reference in references(answer)}
    return found | {"case": answer.headers["Location"].split("/")[-1], "wrong": wrong, "other": wrong_child}


def references(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [entry["response"]["location"].split("/_history")[0] for entry in answer.json()["entry"]]


def told(page: dict[str, Any]) -> dict[str, str]:
    return {
        f"{entry['resource']['resourceType']}/{entry['resource']['id']}": entry["search"]["mode"]
        for entry in page.get("entry", [])
    }


def test_everything_of_a_child_is_what_was_sent_about_it_what_was_made_of_it_and_what_these_refer_to(
    ehr: FhirClient, sent: dict[str, str]
) -> None:
    page = ehr.get(f"{sent['Patient']}/$everything").json()
    assert (page["type"], [link["relation"] for link in page["link"]]) == ("searchset", ["self"])
    assert told(page) == {
        sent["Patient"]: "match",
        f"Task/{sent['case']}": "match",
        sent["ServiceRequest"]: "match",
        sent["DocumentReference"]: "match",
        sent["Observation"]: "match",
        sent["Practitioner"]: "include",
    }


def test_nothing_of_another_child_is_there_whoever_refers_to_it(
    ehr: FhirClient, sent: dict[str, str]
) -> None:
    page = ehr.get(f"{sent['Patient']}/$everything").text
    assert sent["wrong"] in page
    assert not {sent["wrong"], sent["other"]} & told(ehr.get(f"{sent['Patient']}/$everything").json()).keys()


def test_it_comes_in_pages_of_the_count(ehr: FhirClient, sent: dict[str, str]) -> None:
    whole = ehr.get(f"{sent['Patient']}/$everything").json()
    url, seen = f"{sent['Patient']}/$everything?_count=2", []
    while url:
        page = ehr.get(url).json()
        matches = [reference for reference, mode in told(page).items() if mode == "match"]
        assert len(matches) <= 2
        seen += matches
        links = {link["relation"]: link["url"] for link in page["link"]}
        url = links.get("next", "").partition("/fhir/")[2]
    assert seen == [reference for reference, mode in told(whole).items() if mode == "match"]


def test_types_and_a_moment_limit_it(ehr: FhirClient, sent: dict[str, str]) -> None:
    def everything(more: str) -> set[str]:
        return set(told(ehr.get(f"{sent['Patient']}/$everything?{more}").json()))

    assert everything("_type=Observation,Task") == {sent["Observation"], f"Task/{sent['case']}"}
    assert everything("_since=2100-01-01T00:00:00Z") == set()
    assert sent["Observation"] in everything("_since=2020-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "more", ["_type=Child", "_since=soon", "_count=0", "_count=x", "start=2020", "_page=x"]
)
def test_what_is_not_understood_is_refused(ehr: FhirClient, sent: dict[str, str], more: str) -> None:
    answer = ehr.get(f"{sent['Patient']}/$everything?{more}")
    assert answer.status_code == 400
    assert issues(answer)


def test_another_hospital_has_nothing_of_it(
    gateway: GatewayProcess, other_partner: Partner, sent: dict[str, str]
) -> None:
    answer = FhirClient(gateway, other_partner).get(f"{sent['Patient']}/$everything")
    assert answer.status_code == 404


def test_types_that_the_token_may_not_read_are_not_there(
    ehr: FhirClient, partner: Partner, sent: dict[str, str]
) -> None:
    headers = partner.headers("system/Patient.r system/Observation.r")
    url = f"{ehr.base}/{sent['Patient']}/$everything"
    assert set(told(requests.get(url, headers=headers, timeout=20).json())) == {
        sent["Patient"],
        sent["Observation"],
    }
    refused = requests.get(url, headers=partner.headers("system/Observation.r"), timeout=20)
    assert refused.status_code == 403
