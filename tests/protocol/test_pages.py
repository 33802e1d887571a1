"""The staff's pages over HTTP: who may see them, what the forms do and refuse, and that no record is ever code."""

import re
import threading
from dataclasses import dataclass
from datetime import datetime
from html import unescape
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from gateway.web import page_routes
from gateway.web.acts import ACTS
from gateway.web.format import instant
from tests.support.bundles import (
    PDF,
    attachment,
    document_reference,
    imaging_study,
    patient,
    referral,
    wait_for,
)
from tests.support.gateway_process import INTAKE, SPECIALIST, GatewayProcess, StaffLogin
from tests.support.hospital import Scene, Staff, images
from tests.support.pages import PageVisitor
from tests.support.partner import Partner

OTHER_SPECIALIST = StaffLogin("pages-other", "Dr Other Specialist", "correct horse other", ("specialist",))
SECOND_SPECIALIST = StaffLogin("pages-second", "Dr Second Opinion", "correct horse second", ("specialist",))
CONCLUSION = "Surgery is possible."
TEMPLATES = Path(page_routes.__file__).parent / "templates"


@dataclass(frozen=True)
class Cases:
    in_review: str
    signed: str
    document: str


@dataclass(frozen=True)
class People:
    nobody: PageVisitor
    unassigned: PageVisitor
    assigned: PageVisitor
    intake: PageVisitor


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess, partner: Partner) -> Scene:
    return Scene(gateway, partner)


@pytest.fixture(scope="module")
def people(gateway: GatewayProcess) -> People:
    gateway.add_user(OTHER_SPECIALIST)
    return People(
        PageVisitor(gateway.base_url),
        PageVisitor(gateway.base_url, OTHER_SPECIALIST),
        PageVisitor(gateway.base_url, SPECIALIST),
        PageVisitor(gateway.base_url, INTAKE),
    )


def assigned_case(scene: Scene, **parts: object) -> str:
    """A new case that SPECIALIST has."""
    case_id = scene.ehr.open_case(referral(**parts))
    specialist = next(
        u for u in scene.intake.get("users?role=specialist")["users"] if u["name"] == SPECIALIST.name
    )
    for act, body in (("accept", {}), ("assign", {"specialist_id": specialist["id"]})):
        answer = scene.intake.post(f"cases/{case_id}/{act}", **body)
        assert answer.status_code == 200, answer.text
    return case_id


def drafted_case(scene: Scene, **parts: object) -> str:
    case_id = assigned_case(scene, **parts)
    answer = scene.specialist.post(f"cases/{case_id}/draft", findings_text="A mass.", conclusion=CONCLUSION)
    assert answer.status_code == 200, answer.text
    return case_id


@pytest.fixture(scope="module")
def cases(scene: Scene) -> Cases:
    in_review = drafted_case(scene, document=document_reference(PDF))
    signed = drafted_case(scene)
    answer = scene.specialist.sign(signed)
    assert answer.status_code == 200, answer.text
    document = scene.intake.case(in_review)["record"]["documents"][0]["id"]
    return Cases(in_review, signed, document)


# rule -> (case, status for a specialist who has another case, for the one who has this, for intake)
WHO_MAY_SEE = {
    "/": ("", 200, 200, 200),
    "/worklist": ("", 200, 200, 200),
    "/imaging": ("", 403, 403, 200),
    "/refused": ("", 403, 403, 200),
    "/cases/<case_id>": ("in_review", 404, 200, 200),
    "/cases/<case_id>/changes": ("in_review", 404, 200, 200),
    "/cases/<case_id>/fetches": ("in_review", 404, 200, 200),
    "/cases/<case_id>/draft": ("in_review", 404, 200, 404),
    "/cases/<case_id>/sign": ("in_review", 404, 200, 404),
    "/cases/<case_id>/opinion": ("signed", 404, 200, 200),
    "/cases/<case_id>/documents/<document_id>": ("in_review", 404, 200, 200),
    "/cases/<case_id>/report.html": ("signed", 404, 200, 200),
    "/cases/<case_id>/report.pdf": ("signed", 404, 200, 200),
    "/cases/<case_id>/report.json": ("signed", 404, 200, 200),
    "/cases/<case_id>/preview.html": ("in_review", 404, 200, 200),
}


def path_of(rule: str, cases: Cases) -> str:
    case_id = getattr(cases, WHO_MAY_SEE[rule][0], "")
    return rule.replace("<case_id>", case_id).replace("<document_id>", cases.document)


def test_every_page_stands_in_the_table_of_who_may_see_it() -> None:
    assert {rule for rule, _ in page_routes.LOOKS} == set(WHO_MAY_SEE)


@pytest.mark.parametrize("rule", WHO_MAY_SEE)
def test_only_those_who_may_see_a_page_see_it(rule: str, people: People, cases: Cases) -> None:
    path = path_of(rule, cases)
    _, unassigned, assigned, intake = WHO_MAY_SEE[rule]
    assert people.nobody.get(path).status_code == 303
    assert people.nobody.get(path).headers["Location"].startswith("/sign-in")
    assert people.unassigned.get(path).status_code == unassigned
    assert people.assigned.get(path).status_code == assigned
    assert people.intake.get(path).status_code == intake


def test_a_specialist_sees_on_the_worklist_only_what_is_assigned_to_them(
    people: People, cases: Cases
) -> None:
    assert cases.in_review in people.assigned.get("/").text
    assert cases.in_review in people.intake.get("/").text
    shown = people.unassigned.get("/?status=all").text
    assert cases.in_review not in shown
    assert "No case is assigned to you." in shown


def test_a_partners_token_opens_no_page(gateway: GatewayProcess, partner: Partner, cases: Cases) -> None:
    for path in ("/", f"/cases/{cases.signed}", f"/cases/{cases.signed}/report.pdf"):
        url = f"{gateway.base_url}{path}"
        answer = requests.get(url, headers=partner.headers(), allow_redirects=False, timeout=20)
        assert answer.status_code == 303, path


FORMS = [f"/cases/<case_id>/{act}" for act in ACTS] + [
    "/cases/<case_id>/draft",
    "/cases/<case_id>/sign",
    "/imaging",
]


def test_every_form_is_among_those_tried_without_a_token() -> None:
    plain = {rule for rule, _ in page_routes.FORMS if "<any" not in rule}
    assert plain <= set(FORMS)


@pytest.mark.parametrize("rule", FORMS)
def test_a_form_without_its_token_or_of_a_stranger_changes_nothing(
    rule: str, people: People, cases: Cases, scene: Scene
) -> None:
    path = rule.replace("<case_id>", cases.in_review)
    before = scene.intake.case(cases.in_review)
    for token in ("", "ImZvcmdlZCI.aBcD.forged"):
        answer = people.assigned.post(path, csrf_token=token, because="x", text="x", conclusion="forged")
        assert answer.status_code == 400
        assert "not of your present session" in answer.text
    answer = people.nobody.post(path, because="x", text="x", conclusion="forged")
    assert answer.status_code == 303
    assert people.unassigned.post(path, because="x", text="x", confirmed="x", read="yes").status_code in (
        403,
        404,
    )
    assert scene.intake.case(cases.in_review) == before


def test_sign_in_takes_no_form_without_its_token(gateway: GatewayProcess) -> None:
    visitor = PageVisitor(gateway.base_url)
    visitor.token = ""
    assert visitor.sign_in(INTAKE.login, INTAKE.password).status_code == 400


def test_a_wrong_password_is_said_so_and_signs_nobody_in(gateway: GatewayProcess) -> None:
    visitor = PageVisitor(gateway.base_url)
    answer = visitor.sign_in(INTAKE.login, "wrong horse")
    assert answer.status_code == 401
    assert "Login or password is wrong." in answer.text
    assert visitor.get("/").status_code == 303


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "evil",
     "/\t/evil.example", "", "/%0d%0aSet-Cookie:x=1\r\nX: y"],
)  # fmt: skip
def test_sign_in_never_sends_people_to_another_site(gateway: GatewayProcess, target: str) -> None:
    visitor = PageVisitor(gateway.base_url)
    answer = visitor.sign_in(INTAKE.login, INTAKE.password, then=target)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/"


def test_sign_in_goes_on_to_the_page_that_was_asked_for(people: People, gateway: GatewayProcess) -> None:
    asked = people.nobody.get("/imaging?x=1").headers["Location"]
    visitor = PageVisitor(gateway.base_url)
    form = visitor.get(asked).text
    assert 'name="next" value="/imaging?x=1"' in form
    answer = visitor.sign_in(INTAKE.login, INTAKE.password, then="/imaging?x=1")
    assert answer.headers["Location"] == "/imaging?x=1"


def test_the_session_cookie_is_out_of_reach_and_ends_with_signing_out(gateway: GatewayProcess) -> None:
    visitor = PageVisitor(gateway.base_url)
    answer = visitor.sign_in(INTAKE.login, INTAKE.password)
    cookie = next(c for c in answer.raw.headers.getlist("Set-Cookie") if c.startswith("gateway_staff="))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    visitor.get("/")
    stolen = requests.Session()
    stolen.cookies.update(visitor.http.cookies)
    assert visitor.post("/sign-out").status_code == 302
    assert visitor.get("/").status_code == 303
    assert stolen.get(f"{gateway.base_url}/", allow_redirects=False, timeout=20).status_code == 303


def test_a_refreshing_fragment_sends_a_signed_out_page_to_sign_in(people: People) -> None:
    answer = people.nobody.get("/worklist", **{"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/sign-in"


def test_pages_run_no_foreign_code_and_stay_in_no_cache(people: People, cases: Cases) -> None:
    for path in ("/", "/sign-in", f"/cases/{cases.in_review}", "/imaging", "/cases/SO-NOTHERE0"):
        answer = people.intake.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_static_files_are_kept_by_their_content(people: People) -> None:
    address = re.search(r'href="(/assets/gateway\.css\?v=\w+)"', people.nobody.get("/sign-in").text)
    assert address is not None
    answer = people.nobody.get(address[1])
    assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("template", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.name)
def test_templates_hold_no_inline_script_or_style_and_trust_no_text(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"\|\s*safe\b|autoescape|Markup", text)


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def hostile_document(urls: dict[str, str]) -> dict[str, object]:
    page = attachment(b"<script>alert(1)</script>", contentType="text/html", title=HOSTILE)
    kind = {"text": HOSTILE, "coding": [{"system": HOSTILE, "code": HOSTILE}]}
    made: dict[str, object] = document_reference(PDF)(urls)
    return made | {"content": [{"attachment": page}], "type": kind}


@pytest.fixture(scope="module")
def hostile_case(scene: Scene) -> str:
    """Every text that a hospital can send tries to be code."""
    case_id = drafted_case(
        scene,
        patient=patient(uuid4().hex[:10], name=[{"text": HOSTILE, "family": HOSTILE}]),
        document=hostile_document,
        condition=lambda urls: {
            "resourceType": "Condition",
            "code": {"text": HOSTILE},
            "subject": {"reference": urls["patient"]},
            "note": [{"text": HOSTILE}],
        },
        guardian=lambda urls: {
            "resourceType": "RelatedPerson",
            "patient": {"reference": urls["patient"]},
            "name": [{"text": HOSTILE}],
            "telecom": [
                {"system": "email", "value": HOSTILE},
                {"system": "phone", "value": "javascript:alert(1)"},
            ],
        },
    )
    answer = scene.specialist.post(
        f"cases/{case_id}/draft", findings_text=HOSTILE, conclusion=HOSTILE, recommendations=HOSTILE
    )
    assert answer.status_code == 200
    assert scene.specialist.post(f"cases/{case_id}/ask", text=HOSTILE).status_code == 200
    return case_id


@pytest.mark.parametrize(
    "path", ["/", "/cases/{}", "/cases/{}/draft", "/cases/{}/sign", "/cases/{}/preview.html"]
)
def test_what_a_hospital_sends_is_shown_and_never_run(path: str, people: People, hostile_case: str) -> None:
    text = people.assigned.get(path.format(hostile_case)).text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "javascript:alert(1)" not in re.findall(r'href="([^"]*)"', text)
    assert "alert(1)" in unescape(text)


def test_a_document_is_given_as_it_was_sent(people: People, cases: Cases) -> None:
    path = f"/cases/{cases.in_review}/documents/{cases.document}"
    saved, shown = people.assigned.get(path), people.assigned.get(f"{path}?view")
    assert saved.content == shown.content == PDF
    assert saved.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''Letter.pdf")
    assert saved.headers["Content-Type"] == "application/octet-stream"
    assert shown.headers["Content-Disposition"].startswith("inline;")
    assert shown.headers["Content-Type"] == "application/pdf"
    for answer in (saved, shown):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_document_that_is_a_page_is_only_saved(people: People, hostile_case: str, scene: Scene) -> None:
    document = scene.specialist.case(hostile_case)["record"]["documents"][0]
    answer = people.assigned.get(f"/cases/{hostile_case}/documents/{document['id']}?view")
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("document_id", ["nothing-0", "0", "-1", "%2e%2e"])
def test_a_document_of_no_such_name_is_not_found(people: People, cases: Cases, document_id: str) -> None:
    assert people.intake.get(f"/cases/{cases.in_review}/documents/{document_id}").status_code == 404


def test_a_document_of_one_case_is_not_given_under_another(people: People, cases: Cases) -> None:
    assert people.intake.get(f"/cases/{cases.signed}/documents/{cases.document}").status_code == 404


def test_the_report_opens_in_its_three_forms(people: People, cases: Cases) -> None:
    html = people.assigned.get(f"/cases/{cases.signed}/report.html")
    assert CONCLUSION in html.text
    assert "sandbox" in html.headers["Content-Security-Policy"]
    assert people.assigned.get(f"/cases/{cases.signed}/report.pdf").content.startswith(b"%PDF-")
    assert people.assigned.get(f"/cases/{cases.signed}/report.json").json()["conclusion"] == CONCLUSION


def test_looking_is_on_the_trail_once_and_refreshing_is_not(people: People, scene: Scene) -> None:
    case_id = assigned_case(scene)

    def looks() -> list[str]:
        acts = scene.intake.get(f"cases/{case_id}/timeline")["acts"]
        return [act["subject"] for act in acts if act["action"] == "read" and act["channel"] == "page"]

    page = people.intake.get(f"/cases/{case_id}").text
    assert looks() == [f"case:{case_id}"]
    seen = re.search(r'hx-get="(/cases/[^"]+/changes[^"]+)"', page)
    assert seen is not None
    assert people.intake.get(unescape(seen[1])).status_code == 204
    assert people.intake.get("/worklist").status_code == 200
    assert looks() == [f"case:{case_id}"]


def test_an_open_case_page_says_when_the_case_has_changed(people: People, scene: Scene) -> None:
    case_id = assigned_case(scene)
    seen = re.search(r'hx-get="(/cases/[^"]+/changes[^"]+)"', people.assigned.get(f"/cases/{case_id}").text)
    assert seen is not None
    assert scene.specialist.post(f"cases/{case_id}/draft", conclusion="New.").status_code == 200
    assert "has changed since you opened it" in people.assigned.get(unescape(seen[1])).text


def test_the_worklist_fragment_comes_only_when_something_changed(people: People, scene: Scene) -> None:
    def refresh_address(text: str) -> str:
        found = re.search(r'hx-get="(/worklist[^"]*)"', text)
        assert found is not None
        return unescape(found[1])

    address = refresh_address(people.intake.get("/").text)
    case_id = scene.ehr.open_case(referral())
    changed = people.intake.get(address)
    assert changed.status_code == 200
    assert case_id in changed.text
    wait_for(
        lambda: people.intake.get(refresh_address(people.intake.get("/worklist").text)).status_code == 204
    )


def test_the_worklist_filters_by_status(people: People, cases: Cases) -> None:
    assert cases.in_review in people.intake.get("/?status=in-review").text
    assert cases.in_review not in people.intake.get("/?status=received").text
    assert "No case is" in people.intake.get("/?status=nonsense").text


def test_a_reason_that_is_missing_is_asked_for_and_nothing_happens(people: People, scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral())
    answer = people.intake.post(f"/cases/{case_id}/decline", because="  ")
    assert answer.status_code == 400
    assert "The reason for declining is missing." in answer.text
    assert scene.intake.case(case_id)["status"] == "received"


def test_a_question_that_cannot_be_asked_comes_back_with_its_words(people: People, scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral())
    answer = people.intake.post(f"/cases/{case_id}/ask", text="Where is the biopsy?", finding_id="of-nobody")
    assert answer.status_code == 404
    assert "Where is the biopsy?</textarea>" in answer.text


def test_a_finding_is_asked_for_and_waived_with_a_reason_and_stays_on_the_page(
    people: People, scene: Scene
) -> None:
    case_id = scene.ehr.open_case(referral(document=document_reference(None)))
    wait_for(lambda: scene.intake.open_checks(case_id))
    finding = next(iter(scene.intake.findings(case_id, "open")))
    page = people.intake.get(f"/cases/{case_id}").text
    assert re.search(rf'name="finding_id" value="{finding["id"]}" checked', page)
    assert (
        people.intake.post(
            f"/cases/{case_id}/ask", text="Again, please.", finding_id=finding["id"]
        ).status_code
        == 302
    )
    form = {"finding_id": finding["id"], "because": "No other copy exists."}
    assert people.intake.post(f"/cases/{case_id}/waive", **form).status_code == 302
    page = people.intake.get(f"/cases/{case_id}").text
    assert "No other copy exists." in page
    assert "Again, please." in page


def test_a_blocked_case_cannot_be_accepted_and_says_why(people: People, scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral(request=None, document=document_reference(PDF)))
    wait_for(lambda: scene.intake.open_checks(case_id))
    assert "Cannot be accepted while" in people.intake.get(f"/cases/{case_id}").text
    answer = people.intake.post(f"/cases/{case_id}/accept")
    assert answer.status_code == 409
    assert "block review" in answer.text
    assert scene.intake.case(case_id)["status"] == "received"


def test_a_draft_saved_in_another_window_is_not_overwritten(people: People, scene: Scene) -> None:
    case_id = assigned_case(scene)
    based_on = re.search(
        r'name="based_on" value="([^"]*)"', people.assigned.get(f"/cases/{case_id}/draft").text
    )
    assert based_on is not None
    form = {"based_on": based_on[1], "findings_text": "", "recommendations": ""}
    assert people.assigned.post(f"/cases/{case_id}/draft", conclusion="First.", **form).status_code == 302
    answer = people.assigned.post(f"/cases/{case_id}/draft", conclusion="Second.", **form)
    assert answer.status_code == 409
    assert "Second.</textarea>" in answer.text
    assert scene.specialist.case(case_id)["opinions"][0]["conclusion"] == "First."


def confirmed_on(page: str) -> str:
    found = re.search(r'name="confirmed" value="(\w+)"', page)
    assert found is not None
    return found[1]


def test_only_what_was_shown_is_signed(people: People, scene: Scene) -> None:
    case_id = drafted_case(scene)
    page = people.assigned.get(f"/cases/{case_id}/sign").text
    form = {"confirmed": confirmed_on(page), "read": "yes"}
    assert scene.specialist.post(f"cases/{case_id}/draft", conclusion="Changed.").status_code == 200
    answer = people.assigned.post(f"/cases/{case_id}/sign", **form)
    assert answer.status_code == 409
    assert "has changed since you looked at it" in answer.text
    assert scene.specialist.case(case_id)["status"] == "in-review"
    form["confirmed"] = confirmed_on(answer.text)
    assert people.assigned.post(f"/cases/{case_id}/sign", **form).status_code == 302
    assert scene.specialist.case(case_id)["opinions"][0]["conclusion"] == "Changed."


def test_nobody_signs_without_having_confirmed(people: People, cases: Cases, scene: Scene) -> None:
    for form in ({"confirmed": "x"}, {"read": "yes"}):
        answer = people.assigned.post(f"/cases/{cases.in_review}/sign", **form)
        assert answer.status_code == 400
        assert "Confirm that you have read the report" in answer.text
    assert scene.specialist.case(cases.in_review)["status"] == "in-review"


def test_the_case_page_shows_the_checklist_and_leads_from_what_is_missing_to_its_finding(
    people: People, scene: Scene
) -> None:
    case_id = scene.ehr.open_case(referral())
    told = wait_for(lambda: scene.intake.case(case_id)["findings"])
    [missing] = [f["id"] for f in told if f["finding"]["key"] == "checklist-item:allergies"]
    page = people.intake.get(f"/cases/{case_id}").text
    section = page.split('id="checklist"')[1].split("</section>")[0]
    assert "Allergies and intolerances" in section
    assert f'href="#finding-{missing}"' in section
    assert f'id="finding-{missing}"' in page


def test_the_sign_page_names_the_limits_that_the_report_declares(people: People, scene: Scene) -> None:
    case_id = drafted_case(scene, document=document_reference(None))
    wait_for(lambda: scene.specialist.open_checks(case_id))
    limits = [f["finding"]["text"] for f in scene.specialist.case(case_id)["findings"]]
    page = unescape(people.assigned.get(f"/cases/{case_id}/sign").text)
    preview = unescape(people.assigned.get(f"/cases/{case_id}/preview.html").text)
    for limit in limits:
        assert limit in page
        assert limit in preview


def assign(scene: Scene, case_id: str, login: StaffLogin) -> None:
    users = scene.intake.get("users?role=specialist")["users"]
    [specialist_id] = [user["id"] for user in users if user["name"] == login.name]
    assert scene.intake.post(f"cases/{case_id}/assign", specialist_id=specialist_id).status_code == 200


@pytest.fixture(scope="module")
def other_specialist(scene: Scene) -> Staff:
    scene.gateway.add_user(SECOND_SPECIALIST)
    return Staff(scene.gateway, SECOND_SPECIALIST)


@pytest.fixture(scope="module")
def others_pages(scene: Scene, other_specialist: Staff) -> PageVisitor:
    return PageVisitor(scene.gateway.base_url, SECOND_SPECIALIST)


def test_a_draft_stays_its_author_s_when_the_case_goes_to_another(
    scene: Scene, people: People, other_specialist: Staff, others_pages: PageVisitor
) -> None:
    case_id = drafted_case(scene)
    assign(scene, case_id, SECOND_SPECIALIST)
    assert other_specialist.case(case_id)["opinions"] == []
    assert "A mass." not in others_pages.get(f"/cases/{case_id}/draft").text
    assert others_pages.get(f"/cases/{case_id}/preview.html").status_code == 404
    assert other_specialist.post(f"cases/{case_id}/draft", conclusion="Not operable.").status_code == 200
    first, second = scene.intake.case(case_id)["opinions"]
    assert (first["author_name"], first["findings_text"]) == (SPECIALIST.name, "A mass.")
    assert (second["author_name"], second["conclusion"]) == (SECOND_SPECIALIST.name, "Not operable.")
    assert "A mass." in people.intake.get(f"/cases/{case_id}").text
    shown = others_pages.get(f"/cases/{case_id}").text
    assert "A mass." not in shown
    assert SPECIALIST.name not in shown.split('id="opinion"')[1].split('id="timeline"')[0]


def test_nobody_signs_the_draft_of_another(scene: Scene, other_specialist: Staff) -> None:
    case_id = drafted_case(scene)
    assign(scene, case_id, SECOND_SPECIALIST)
    assert other_specialist.sign(case_id).status_code == 409
    assert other_specialist.post(f"cases/{case_id}/draft").status_code == 200
    assert other_specialist.sign(case_id).status_code == 400
    assert other_specialist.post(f"cases/{case_id}/draft", conclusion="Not operable.").status_code == 200
    assert other_specialist.sign(case_id).status_code == 200
    [own] = other_specialist.case(case_id)["opinions"]
    assert (own["author_name"], own["conclusion"]) == (SECOND_SPECIALIST.name, "Not operable.")
    earlier = [o for o in scene.intake.case(case_id)["opinions"] if o["id"] != own["id"]]
    assert [(o["conclusion"], o["signed_at"]) for o in earlier] == [(CONCLUSION, None)]


def test_a_case_that_comes_back_goes_on_with_the_draft_of_before(
    scene: Scene, people: People, other_specialist: Staff
) -> None:
    case_id = drafted_case(scene)
    assign(scene, case_id, SECOND_SPECIALIST)
    assert (
        scene.specialist.http.get(f"{scene.specialist.base}/cases/{case_id}", timeout=20).status_code == 404
    )
    assert people.assigned.get(f"/cases/{case_id}").status_code == 404
    assert other_specialist.post(f"cases/{case_id}/draft", conclusion="Not operable.").status_code == 200
    assign(scene, case_id, SPECIALIST)
    assert "A mass." in people.assigned.get(f"/cases/{case_id}/draft").text
    assert [o["conclusion"] for o in scene.specialist.case(case_id)["opinions"]] == [CONCLUSION]


@pytest.mark.parametrize(
    ("told", "shown"),
    [({"deceasedBoolean": True}, "date not given"), ({"deceasedDateTime": "2024-02-11"}, "11 Feb 2024")],
)
def test_that_a_child_has_died_is_shown_before_anything_else_and_stops_the_case(
    people: People, scene: Scene, told: dict[str, object], shown: str
) -> None:
    case_id = scene.ehr.open_case(referral(patient=patient(uuid4().hex[:10], **told)))
    wait_for(lambda: "child-deceased" in scene.intake.open_checks(case_id))
    page = people.intake.get(f"/cases/{case_id}").text
    banner = page.split('class="banner"')[1].split("</section>")[0]
    assert re.search(rf"Deceased</span>\s*{shown}", banner)
    assert "years)" not in banner
    assert scene.intake.post(f"cases/{case_id}/accept").status_code == 409
    assert people.unassigned.get(f"/cases/{case_id}").status_code == 404
    assert people.nobody.get(f"/cases/{case_id}").status_code == 303


def test_what_is_found_after_the_signature_is_told_as_such_and_blocks_nothing(
    people: People, scene: Scene
) -> None:
    mrn, uid, series = uuid4().hex[:10], f"2.25.{uuid4().int}", f"2.25.{uuid4().int}"
    named = {"imaging": imaging_study(uid, {series: 1}), "document": document_reference(None)}
    case_id = drafted_case(scene, mrn=mrn, **named)
    assert scene.specialist.sign(case_id).status_code == 200
    [signed] = scene.specialist.case(case_id)["opinions"]
    assert scene.pacs.store(*images(mrn, 1, uid, series, PatientName="Eze^Chidi")).ok
    wait_for(lambda: "study-held" in scene.intake.open_checks(case_id))
    page = people.assigned.get(f"/cases/{case_id}").text
    assert "Blocks review" not in page
    assert "Limits the opinion" not in page
    late, declared = page.split("Found after the opinion was signed")[1].split(
        "Declared in the signed report"
    )
    on = instant(datetime.fromisoformat(signed["signed_at"]))
    assert f"after the opinion was signed on {on}: the report does not tell it" in late
    assert "CT abdomen" in late
    assert "after the opinion was signed" not in declared.split("</section>")[0]
    assert "made after it was signed" in people.assigned.get(f"/cases/{case_id}/opinion").text
    line = people.intake.get("/?status=all").text.split(f'id="case-{case_id}"')[1].split("</tr>")[0]
    assert "found after signing" in line
    assert "blocking" not in line
    assert people.unassigned.get(f"/cases/{case_id}/opinion").status_code == 404
    assert people.nobody.get(f"/cases/{case_id}/opinion").status_code == 303


@pytest.fixture
def held_study(scene: Scene) -> tuple[str, str]:
    """A case, and a study that its referral names and whose images are of an older sister."""
    mrn, uid, series = uuid4().hex[:10], f"2.25.{uuid4().int}", f"2.25.{uuid4().int}"
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(uid, {series: 2})))
    sister = {"PatientName": "Okafor^Zara", "PatientID": "another", "PatientBirthDate": "20150101"}
    assert scene.pacs.store(*images(mrn, 2, uid, series, **sister)).status_code == 200
    held = wait_for(lambda: scene.intake.case(case_id)["held_studies"])
    return case_id, held[0]["study"]["id"]


def test_a_held_study_is_compared_side_by_side_and_refused_with_a_reason(
    people: People, scene: Scene, held_study: tuple[str, str]
) -> None:
    case_id, study_id = held_study
    page = people.intake.get(f"/cases/{case_id}").text
    for words in ("Referral says", "Images say", "Okafor", "Zara", "1 Jan 2015", "9 Mar 2018", "differs"):
        assert words in page
    assert study_id in people.intake.get("/imaging").text
    answer = people.intake.post(f"/cases/{case_id}/part-study", study_id=study_id, because="")
    assert answer.status_code == 400
    form = {"study_id": study_id, "because": "The ward says that it is the sister."}
    assert people.intake.post(f"/cases/{case_id}/part-study", **form).status_code == 302
    assert scene.intake.case(case_id)["held_studies"] == []
    imaging = people.intake.get("/imaging").text
    assert "The ward says that it is the sister." in imaging


def test_a_study_in_no_case_is_placed_with_a_reason(people: People, scene: Scene) -> None:
    case_id = scene.ehr.open_case(referral())
    uid, series = f"2.25.{uuid4().int}", f"2.25.{uuid4().int}"
    assert scene.pacs.store(*images("nobody", 1, uid, series)).status_code == 200

    def waiting() -> list[str]:
        found = scene.intake.get("studies?state=waiting")["studies"]
        return [p["study"]["id"] for p in found if p["study"]["study_instance_uid"] == uid]

    study_id = wait_for(waiting)[0]
    for form in (
        {"because": "It is hers."},
        {"case_id": case_id},
        {"case_id": "SO-NOTHERE0", "because": "x"},
    ):
        assert people.intake.post("/imaging", study_id=study_id, **form).status_code in (400, 404)
    done = people.intake.post("/imaging", study_id=study_id, case_id=case_id, because="The ward says so.")
    assert done.status_code == 302
    assert scene.wait_for_study(case_id)["study_instance_uid"] == uid
    assert "The ward says so." in people.intake.get(f"/cases/{case_id}").text


def test_what_could_not_be_taken_is_listed_with_sender_and_cause(people: People, scene: Scene) -> None:
    assert scene.pacs.store(b"this is no image").status_code == 409
    page = people.intake.get("/refused").text
    assert "Hospital A" in page
    assert "Not a DICOM file" in page


def test_many_can_look_while_the_gateway_writes(
    people: People, cases: Cases, gateway: GatewayProcess
) -> None:
    statuses: list[int] = []

    def look() -> None:
        session = requests.Session()
        session.cookies.update(people.intake.http.cookies)
        statuses.append(session.get(f"{gateway.base_url}/cases/{cases.signed}", timeout=60).status_code)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 8


def test_whoever_signs_in_to_the_api_is_signed_in_to_the_pages(gateway: GatewayProcess) -> None:
    staff = Staff(gateway, INTAKE)
    answer = staff.http.get(f"{gateway.base_url}/", allow_redirects=False, timeout=20)
    assert INTAKE.name in answer.text
