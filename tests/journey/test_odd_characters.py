"""A NUL, or half a surrogate pair, in any text that a request carries: refused in the door's own form on PostgreSQL."""

from collections.abc import Iterator

import pytest
import requests

from gateway.web.api_routes import FOR_STAFF
from tests.support.bundles import referral
from tests.support.gateway_process import INTAKE, SPECIALIST, GatewayProcess
from tests.support.hospital import Scene
from tests.support.pages import PageVisitor
from tests.support.postgres import PostgresCluster

NUL, HALF_A_PAIR = "a\0b", "a\ud800b"
FHIR, JSON, PAGE = "application/fhir+json", "application/json", "text/html"


@pytest.fixture(scope="module")
def scene(postgres_cluster: PostgresCluster) -> Iterator[Scene]:
    with GatewayProcess(environment={"GATEWAY_DATABASE_URL": postgres_cluster.create_database()}) as gateway:
        gateway.add_partner("hospital-a", name="Hospital A", ae_title="HOSPITAL_A")
        gateway.add_user(INTAKE)
        gateway.add_user(SPECIALIST)
        yield Scene(gateway, gateway.partners["hospital-a"])


@pytest.fixture(scope="module")
def case_id(scene: Scene) -> str:
    return scene.ehr.open_case(referral())


@pytest.fixture(scope="module")
def intake_page(scene: Scene) -> PageVisitor:
    return PageVisitor(scene.intake.base.removesuffix("/api"), INTAKE)


def refused(answer: requests.Response, media_type: str) -> None:
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"].partition(";")[0] == media_type
    if media_type == FHIR:
        assert answer.json()["resourceType"] == "OperationOutcome"
    if media_type == JSON:
        assert set(answer.json()) > {"error", "detail"}


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/fhir/Patient/%00", FHIR),
        ("/fhir/Patient?identifier=a%00b", FHIR),
        ("/fhir/%00", FHIR),
        ("/dicom-web/studies?PatientID=a%00b", JSON),
        ("/dicom-web/studies/%00/metadata", JSON),
        ("/dicom-web/studies?%00=1", JSON),
    ],
)
def test_an_address_with_a_nul_is_refused_to_a_hospital(scene: Scene, path: str, media_type: str) -> None:
    headers = scene.ehr.partner.headers()
    answer = requests.get(scene.ehr.base.removesuffix("/fhir") + path, headers=headers, timeout=20)
    refused(answer, media_type)


def test_a_search_form_with_a_nul_is_refused(scene: Scene) -> None:
    headers = scene.ehr.partner.headers()
    form = {"identifier": NUL}
    refused(requests.post(f"{scene.ehr.base}/Patient/_search", data=form, headers=headers, timeout=20), FHIR)


def test_a_body_that_nobody_reads_as_a_form_is_kept_as_it_came(
    scene: Scene, intake_page: PageVisitor
) -> None:
    headers = scene.ehr.partner.headers() | {"Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(scene.ehr.base, data=b"resource=%00", headers=headers, timeout=20)
    assert answer.status_code == 415, answer.text
    refused_page = intake_page.get("/refused").text
    assert "A media type that is not read here." in refused_page
    assert "12 bytes" in refused_page


@pytest.mark.parametrize("path", ["cases/%00", "cases/%00/timeline", "users?role=%00", "studies?state=%00"])
def test_an_address_of_the_api_with_a_nul_is_refused(scene: Scene, path: str) -> None:
    refused(scene.intake.http.get(f"{scene.intake.base}/{path}", timeout=20), JSON)


BODIES = {
    "ask": {"text": "?", "finding_ids": ["?"]},
    "assign": {"specialist_id": "?"},
    "decline": {"because": "?"},
    "waive": {"finding_id": "?", "because": "?"},
    "draft": {"findings_text": "?", "conclusion": "?", "recommendations": "?"},
    "sign": {"confirmed": "?"},
    "join-study": {"study_id": "?", "because": "?"},
    "part-study": {"study_id": "?", "because": "?"},
    "retry": {"delivery_id": "?"},
    "fetch": {"fetch_id": "?"},
}


def test_the_list_of_acts_is_whole() -> None:
    acts = {rule.rpartition("/")[2] for method, rule, _ in FOR_STAFF if method == "POST"}
    assert acts == set(BODIES) | {"accept", "close"}


@pytest.mark.parametrize("text", [NUL, HALF_A_PAIR], ids=["nul", "half a pair"])
@pytest.mark.parametrize(("act", "field"), [(act, field) for act, body in BODIES.items() for field in body])
def test_no_act_of_the_api_takes_it(scene: Scene, case_id: str, act: str, field: str, text: str) -> None:
    body = {name: ["x"] if isinstance(value, list) else "x" for name, value in BODIES[act].items()}
    body[field] = [text] if isinstance(BODIES[act][field], list) else text
    refused(scene.intake.post(f"cases/{case_id}/{act}", **body), JSON)


@pytest.mark.parametrize("field", ["login", "password"])
@pytest.mark.parametrize("text", [NUL, HALF_A_PAIR], ids=["nul", "half a pair"])
def test_nobody_signs_in_with_it(scene: Scene, field: str, text: str) -> None:
    refused(scene.intake.post("session", **({"login": "x", "password": "x"} | {field: text})), JSON)


@pytest.mark.parametrize(
    "path", ["/cases/%00", "/cases/%00/changes", "/worklist?status=%00", "/?status=%00", "/sign-in?next=%00"]
)
def test_an_address_of_a_page_with_a_nul_is_refused(intake_page: PageVisitor, path: str) -> None:
    refused(intake_page.get(path), PAGE)


@pytest.mark.parametrize("act", ["ask", "decline"])
def test_a_form_with_a_nul_is_refused(intake_page: PageVisitor, case_id: str, act: str) -> None:
    intake_page.get(f"/cases/{case_id}")
    refused(intake_page.post(f"/cases/{case_id}/{act}", text=NUL, because=NUL), PAGE)


def test_a_token_request_with_a_nul_is_refused_as_oauth_says(scene: Scene) -> None:
    answer = requests.post(
        f"{scene.intake.base.removesuffix('/api')}/oauth/token", data={"grant_type": NUL}, timeout=20
    )
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
