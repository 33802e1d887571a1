"""A report counts as fetched when its bytes went out to its hospital, and by nothing less."""

from uuid import uuid4

import pytest
import requests

from tests.support.bundles import referral, wait_for
from tests.support.gateway_process import SPECIALIST, GatewayProcess
from tests.support.hospital import Scene
from tests.support.partner import Partner


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess, partner: Partner) -> Scene:
    return Scene(gateway, partner)


@pytest.fixture
def case_id(scene: Scene) -> str:
    """A case whose report waits to be fetched."""
    case_id = scene.ehr.open_case(referral(uuid4().hex[:10]))
    users = scene.intake.get("users?role=specialist")["users"]
    specialist_id = next(user["id"] for user in users if user["name"] == SPECIALIST.name)
    assert scene.intake.post(f"cases/{case_id}/accept").ok
    assert scene.intake.post(f"cases/{case_id}/assign", specialist_id=specialist_id).ok
    assert scene.specialist.post(f"cases/{case_id}/draft", conclusion="Resectable.").ok
    assert scene.specialist.sign(case_id).ok
    return case_id


def ask(scene: Scene, partner: Partner, method: str, path: str, **headers: str) -> requests.Response:
    url = f"{scene.gateway.fhir_url}/{path}"
    return requests.request(method, url, headers=partner.headers() | headers, timeout=20)


def report_of(scene: Scene, case_id: str) -> str:
    return f"DiagnosticReport/{scene.intake.case(case_id)['opinions'][0]['id']}"


def is_delivered(scene: Scene, case_id: str) -> bool:
    case = scene.intake.case(case_id)
    states = {d["state"] for d in case["deliveries"]}
    assert (case["status"], states) in (("signed", {"available"}), ("delivered", {"delivered"}))
    return states == {"delivered"}


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 200),
        ("GET", {"If-None-Match": 'W/"1"'}, 304),
        ("GET", {"Accept": "text/turtle"}, 406),
    ],
    ids=["head", "not-modified", "not-acceptable"],
)
def test_a_read_whose_answer_does_not_carry_the_report_is_no_delivery(
    scene: Scene, partner: Partner, case_id: str, method: str, headers: dict[str, str], status: int
) -> None:
    path = report_of(scene, case_id)
    assert ask(scene, partner, method, path, **headers).status_code == status
    assert not is_delivered(scene, case_id)
    assert ask(scene, partner, "GET", path).status_code == 200
    assert is_delivered(scene, case_id)


@pytest.mark.parametrize(
    ("method", "more"),
    [("HEAD", ""), ("GET", "&_count=0"), ("GET", "&_elements=status"), ("GET", "&_summary=text")],
    ids=["head", "count-0", "elements", "summary"],
)
def test_a_search_whose_answer_does_not_carry_the_report_is_no_delivery(
    scene: Scene, partner: Partner, case_id: str, method: str, more: str
) -> None:
    search = f"DiagnosticReport?_id={report_of(scene, case_id).split('/')[1]}"
    assert ask(scene, partner, method, search + more).status_code == 200
    assert not is_delivered(scene, case_id)
    assert ask(scene, partner, "GET", search).json()["total"] == 1
    assert is_delivered(scene, case_id)


def test_a_search_by_form_that_carries_the_report_is_its_delivery(
    scene: Scene, partner: Partner, case_id: str
) -> None:
    form = {"_id": report_of(scene, case_id).split("/")[1]}
    url = f"{scene.gateway.fhir_url}/DiagnosticReport/_search"
    assert requests.post(url, data=form, headers=partner.headers(), timeout=20).json()["total"] == 1
    assert is_delivered(scene, case_id)


def test_a_report_is_delivered_by_the_file_of_an_export_that_carries_it(
    scene: Scene, partner: Partner, case_id: str
) -> None:
    kicked_off = ask(scene, partner, "GET", "$export?_type=DiagnosticReport", Prefer="respond-async")
    url = kicked_off.headers["Content-Location"].removeprefix(f"{scene.gateway.fhir_url}/")
    manifest = wait_for(
        lambda: (answer := ask(scene, partner, "GET", url)).status_code == 200 and answer
    ).json()
    [item] = manifest["output"]
    path = item["url"].removeprefix(f"{scene.gateway.fhir_url}/")
    assert ask(scene, partner, "HEAD", path).status_code == 200
    assert not is_delivered(scene, case_id)
    assert report_of(scene, case_id).split("/")[1] in ask(scene, partner, "GET", path).text
    assert is_delivered(scene, case_id)
