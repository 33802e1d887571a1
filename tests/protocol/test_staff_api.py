"""The staff's JSON API: the way of a case, its refusals in one shape, and its own description."""

import re
from typing import Any
from uuid import uuid4

import pytest
import requests

from gateway import errors
from gateway.web import api_routes
from gateway.web.status import HTTP_STATUS, http_status
from tests.support.bundles import PDF, document_reference, referral, wait_for
from tests.support.gateway_process import INTAKE, SPECIALIST, GatewayProcess
from tests.support.hospital import Scene, Staff, images
from tests.support.partner import Partner

RULES = [(method, f"/api{rule}") for method, rule, _ in api_routes.FOR_STAFF]


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess, partner: Partner) -> Scene:
    return Scene(gateway, partner)


@pytest.fixture(scope="module")
def description(gateway: GatewayProcess) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{gateway.base_url}/api/openapi.json", timeout=20).json()
    return found


def refusal(answer: requests.Response, status: int, error: str) -> dict[str, Any]:
    """The body of an error answer, which always has the same three parts."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"error", "detail", "issues"}
    assert body["error"] == error
    assert body["detail"]
    return body


def all_subclasses(kind: type) -> set[type]:
    return {kind}.union(*(all_subclasses(sub) for sub in kind.__subclasses__()))


def test_every_error_has_its_http_status() -> None:
    expected = all_subclasses(errors.GatewayError) - {errors.GatewayError}
    assert set(HTTP_STATUS) == expected
    for kind in expected:
        assert 400 <= http_status(kind("x")) < 600


def test_a_case_goes_its_way_from_acceptance_to_signature(scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral(document=document_reference(PDF)))
    assert scene.intake.case(case_id)["actions"] == ["accept", "ask", "decline"]
    specialist = scene.intake.get("users?role=specialist")["users"][0]
    for staff, act, body, status in (
        (scene.intake, "ask", {"text": "Which side?"}, "awaiting-information"),
        (scene.intake, "accept", {}, "accepted"),
        (scene.intake, "assign", {"specialist_id": _id(scene)}, "assigned"),
        (scene.specialist, "draft", {"conclusion": "Operable."}, "in-review"),
        (scene.specialist, "sign", None, "signed"),
    ):
        answer = staff.sign(case_id) if body is None else staff.post(f"cases/{case_id}/{act}", **body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == status
    assert specialist["roles"] == ["specialist"]
    signed = scene.specialist.case(case_id)["opinions"][0]
    assert signed["conclusion"] == "Operable."
    assert signed["signed_at"].endswith("Z")
    assert len(signed["report_sha256"]) == 64


def _id(scene: Scene) -> str:
    found = scene.intake.get("users?role=specialist")["users"]
    return str(next(user["id"] for user in found if user["name"] == SPECIALIST.name))


def test_every_fact_of_a_case_names_its_source(scene: Scene) -> None:
    record = scene.intake.case(scene.ehr.open_case(referral(document=document_reference(PDF))))["record"]
    for fact in (record["patient"], record["physicians"][0], record["questions"][0], record["documents"][0]):
        assert re.fullmatch(r"[0-9a-f]{64}", fact["source"]["sha256"])
        assert re.fullmatch(r"Bundle\.entry\[\d]\.resource", fact["source"]["path"])


def test_the_timeline_tells_who_did_what_and_who_looked(scene: Scene, gateway: GatewayProcess) -> None:
    case_id = scene.ehr.open_case(referral())
    scene.intake.case(case_id)
    gateway.command("case", "show", case_id)
    assert scene.intake.post(f"cases/{case_id}/decline", because="Outside the programme.").status_code == 200
    acts = scene.intake.get(f"cases/{case_id}/timeline")["acts"]
    assert [
        (a["who"], a["action"]) for a in acts if a["action"] in ("bundle-received", "read", "decline")
    ] == [
        ("Hospital A", "bundle-received"),
        (INTAKE.name, "read"),
        ("The operator", "read"),
        (INTAKE.name, "decline"),
        (INTAKE.name, "read"),
    ]


def test_the_list_of_cases_filters_by_status(scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral())
    received = scene.intake.get("cases?status=received")["cases"]
    assert case_id in [line["id"] for line in received]
    assert {line["status"] for line in received} == {"received"}
    both = scene.intake.get("cases?status=signed&status=accepted")["cases"]
    assert case_id not in [line["id"] for line in both]


def test_a_study_is_joined_and_parted(scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral())
    uid = f"2.25.{uuid4().int}"
    assert scene.pacs.store(*images("nobody", 1, uid, f"2.25.{uuid4().int}")).status_code == 200

    def waiting() -> list[dict[str, Any]]:
        found = scene.intake.get("studies?state=waiting")["studies"]
        return [place for place in found if place["study"]["study_instance_uid"] == uid]

    study_id = wait_for(waiting)[0]["study"]["id"]
    body = {"study_id": study_id, "because": "The ward says so."}
    assert scene.intake.post(f"cases/{case_id}/join-study", **body).status_code == 200
    assert [study["id"] for study in scene.intake.case(case_id)["studies"]] == [study_id]
    refusal(scene.intake.post(f"cases/{case_id}/join-study", **body), 409, "Conflict")
    assert scene.intake.post(f"cases/{case_id}/part-study", **body).status_code == 200
    assert scene.intake.case(case_id)["studies"] == []
    refused = scene.intake.get("studies?state=refused")["studies"]
    assert next(p for p in refused if p["study"]["id"] == study_id)["reasons"] == ["The ward says so."]


@pytest.mark.parametrize(("method", "rule"), RULES)
def test_nobody_gets_an_answer_without_a_session(gateway: GatewayProcess, method: str, rule: str) -> None:
    url = gateway.base_url + rule.replace("<case_id>", "SO-NOTHERE0")
    refusal(
        requests.request(method, url, json={} if method == "POST" else None, timeout=20),
        401,
        "Unauthenticated",
    )


def test_a_partners_token_is_no_session(gateway: GatewayProcess, partner: Partner) -> None:
    answer = requests.get(f"{gateway.base_url}/api/cases", headers=partner.headers(), timeout=20)
    refusal(answer, 401, "Unauthenticated")


def test_a_specialist_sees_no_case_that_is_not_assigned(scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral())
    for path in (f"cases/{case_id}", f"cases/{case_id}/timeline"):
        refusal(scene.specialist.http.get(f"{scene.specialist.base}/{path}", timeout=20), 404, "NotFound")
    refusal(scene.specialist.post(f"cases/{case_id}/draft", conclusion="x"), 404, "NotFound")
    assert case_id not in str(scene.specialist.get("cases"))


def test_only_intake_sees_imaging_that_is_in_no_case(scene: Scene) -> None:
    answer = scene.specialist.http.get(f"{scene.specialist.base}/studies", timeout=20)
    refusal(answer, 403, "Forbidden")


def test_only_the_assigned_specialist_writes(scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral())
    refusal(scene.intake.post(f"cases/{case_id}/draft", conclusion="x"), 403, "Forbidden")


def test_an_act_that_the_status_does_not_allow_says_what_is_possible(scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral())
    body = refusal(scene.intake.post(f"cases/{case_id}/close"), 409, "TransitionRefused")
    assert "possible now: accept, ask, decline" in body["detail"]


def test_a_blocked_case_is_not_accepted(scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral(request=None, document=document_reference(PDF)))
    wait_for(lambda: scene.intake.open_checks(case_id))
    refusal(scene.intake.post(f"cases/{case_id}/accept"), 409, "ReviewBlocked")


@pytest.fixture
def drafted(scene: Scene) -> str:
    """A case whose opinion waits for its signature."""
    case_id = scene.ehr.open_case(referral())
    assert scene.intake.post(f"cases/{case_id}/accept").status_code == 200
    assert scene.intake.post(f"cases/{case_id}/assign", specialist_id=_id(scene)).status_code == 200
    assert scene.specialist.post(f"cases/{case_id}/draft", conclusion="First.").status_code == 200
    return case_id


@pytest.mark.parametrize(
    "body",
    [{}, {"confirmed": ""}, {"confirmed": "0" * 63}, {"confirmed": "G" * 64}, {"confirmed": None}],
    ids=["nothing", "empty", "short", "not-hexadecimal", "null"],
)
def test_nobody_signs_without_naming_what_they_have_seen(scene: Scene, drafted: str, body: Any) -> None:
    refusal(scene.specialist.post(f"cases/{drafted}/sign", **body), 400, "InvalidContent")
    refusal(scene.specialist.post(f"cases/{drafted}/sign", confirmed="0" * 64), 409, "Conflict")
    assert scene.specialist.case(drafted)["status"] == "in-review"


def test_signing_what_has_changed_since_is_refused(scene: Scene, drafted: str) -> None:
    case_id = drafted
    seen = scene.specialist.case(case_id)["fingerprint"]
    assert scene.specialist.post(f"cases/{case_id}/draft", conclusion="Second.").status_code == 200
    refusal(scene.specialist.post(f"cases/{case_id}/sign", confirmed=seen), 409, "Conflict")
    now = scene.specialist.case(case_id)["fingerprint"]
    assert scene.specialist.post(f"cases/{case_id}/sign", confirmed=now).status_code == 200


def test_all_faults_of_a_body_are_told_at_once_without_repeating_it(scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral())
    body = refusal(
        scene.intake.post(f"cases/{case_id}/waive", because=" ", more="Amara Okafor"), 400, "InvalidContent"
    )
    assert {issue["expression"] for issue in body["issues"]} == {"because", "more", "finding_id"}
    assert "Okafor" not in str(body)


@pytest.mark.parametrize("query", ["cases?status=lost", "studies?state=joined", "users", "users?role=king"])
def test_an_unknown_filter_is_refused(scene: Scene, query: str) -> None:
    refusal(scene.intake.http.get(f"{scene.intake.base}/{query}", timeout=20), 400, "InvalidContent")


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_refused(scene: Scene, content: bytes) -> None:
    url = f"{scene.intake.base}/cases/SO-NOTHERE0/decline"
    headers = {"Content-Type": "application/json"}
    answer = scene.intake.http.post(url, data=content, headers=headers, timeout=20)
    assert "JSON object" in refusal(answer, 400, "InvalidContent")["detail"]


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_what_a_form_of_another_site_could_send_is_not_read(scene: Scene, content_type: str) -> None:
    case_id = scene.ehr.open_case(referral())
    answer = scene.intake.http.post(
        f"{scene.intake.base}/cases/{case_id}/decline",
        data=b'{"because":"forged"}',
        headers={"Content-Type": content_type},
        timeout=20,
    )
    refusal(answer, 415, "UnsupportedMediaType")
    assert scene.intake.case(case_id)["status"] == "received"


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_page_of_another_site_cannot_act(scene: Scene, headers: dict[str, str]) -> None:
    case_id = scene.ehr.open_case(referral())
    url = f"{scene.intake.base}/cases/{case_id}/decline"
    answer = scene.intake.http.post(url, json={"because": "forged"}, headers=headers, timeout=20)
    refusal(answer, 403, "Forbidden")
    assert scene.intake.case(case_id)["status"] == "received"


def test_a_page_of_this_site_can_act(scene: Scene, gateway: GatewayProcess) -> None:
    case_id = scene.ehr.open_case(referral())
    headers = {"Origin": gateway.base_url, "Sec-Fetch-Site": "same-origin"}
    url = f"{scene.intake.base}/cases/{case_id}/decline"
    answer = scene.intake.http.post(url, json={"because": "x"}, headers=headers, timeout=20)
    assert answer.status_code == 200


def test_signing_out_ends_the_session(gateway: GatewayProcess) -> None:
    staff = Staff(gateway, INTAKE)
    stolen = requests.Session()
    stolen.cookies.update(staff.http.cookies)
    assert staff.http.delete(f"{staff.base}/session", timeout=20).status_code == 204
    refusal(stolen.get(f"{staff.base}/cases", timeout=20), 401, "Unauthenticated")


def test_a_wrong_password_opens_no_session(gateway: GatewayProcess) -> None:
    body = {"login": INTAKE.login, "password": "wrong horse"}
    answer = requests.post(f"{gateway.base_url}/api/session", json=body, timeout=20)
    refusal(answer, 401, "Unauthenticated")
    assert "Set-Cookie" not in answer.headers


def test_what_is_not_there_or_not_offered_answers_in_the_same_shape(scene: Scene) -> None:
    refusal(scene.intake.http.get(f"{scene.intake.base}/nothing", timeout=20), 404, "NotFound")
    refusal(scene.intake.http.get(f"{scene.intake.base}/cases/SO-NOTHERE0", timeout=20), 404, "NotFound")


def test_no_answer_may_be_cached_or_framed(scene: Scene) -> None:
    answer = scene.intake.http.get(f"{scene.intake.base}/cases", timeout=20)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_the_description_names_every_address_and_what_it_answers(description: dict[str, Any]) -> None:
    described = {(m.upper(), p) for p, item in description["paths"].items() for m in item}
    rules = {(method, re.sub(r"<(\w+)>", r"{\1}", rule)) for method, rule in RULES}
    assert described == rules | {("POST", "/api/session"), ("DELETE", "/api/session")}
    for path, item in description["paths"].items():
        for operation in item.values():
            assert operation["summary"].endswith(".")
            assert {"200", "204"} & set(operation["responses"])
            assert {"400", "401", "403", "404", "409"} <= set(operation["responses"])
            declared = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))


def test_the_description_is_whole(description: dict[str, Any]) -> None:
    assert description["openapi"] == "3.1.0"
    schemas = description["components"]["schemas"]
    references = _references(description)
    assert {r.removeprefix("#/components/schemas/") for r in references} <= set(schemas)
    assert {"CaseAnswer", "ErrorAnswer", "Study", "Finding", "Source"} <= set(schemas)
    operations = [o["operationId"] for item in description["paths"].values() for o in item.values()]
    assert len(set(operations)) == len(operations)
    assert {"list_cases", "read_case", "sign", "open_session"} <= set(operations)
    assert description["components"]["securitySchemes"]["session"]["in"] == "cookie"


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_references(part) for part in value.values()))
    return set().union(*(_references(part) for part in value)) if isinstance(value, list) else set()


def test_answers_have_the_parts_that_the_description_promises(
    scene: Scene, description: dict[str, Any]
) -> None:
    case_id = scene.ehr.open_case(referral(document=document_reference(PDF)))
    promised = description["components"]["schemas"]
    assert set(scene.intake.case(case_id)) == set(promised["CaseAnswer"]["properties"])
    line = scene.intake.get("cases")["cases"][0]
    assert set(line) == set(promised["CaseLine"]["properties"])
