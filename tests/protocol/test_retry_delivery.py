"""A report that a hospital's server refused: it is seen in the worklist, and a person has it tried again."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from uuid import uuid4

import pytest

from tests.support.fhir_receiver import Answer
from tests.support.gateway_process import INTAKE, SPECIALIST, GatewayProcess
from tests.support.hospital import Staff
from tests.support.pages import PageVisitor
from tests.support.receiving import Receiving, receiving_hospital

REASON = "The receiver refused the report with 422."
BADGE = "not delivered"


@pytest.fixture(scope="module")
def receiving(gateway: GatewayProcess) -> Iterator[Receiving]:
    with receiving_hospital(gateway, "retry") as registered:
        yield registered


@pytest.fixture
def failed(receiving: Receiving) -> str:
    """A signed case whose report the hospital's server refused once; it would take it now."""
    receiving.receiver.answers = [Answer(422, b"")]
    case_id = receiving.sign_a_case(uuid4().hex[:8])
    receiving.wait_until(case_id, "failed")
    return case_id


@pytest.fixture(scope="module")
def intake(gateway: GatewayProcess) -> PageVisitor:
    return PageVisitor(gateway.base_url, INTAKE)


@pytest.fixture(scope="module")
def specialist(gateway: GatewayProcess) -> PageVisitor:
    return PageVisitor(gateway.base_url, SPECIALIST)


def worklist_row(page: str, case_id: str) -> str:
    [row] = [row for row in re.findall(r"<tr>.*?</tr>", page, re.S) if f'id="case-{case_id}"' in row]
    return str(row)


def worklist_line(staff: Staff, case_id: str) -> dict[str, Any]:
    lines = staff.get("cases")["cases"]
    found: dict[str, Any] = next(line for line in lines if line["id"] == case_id)
    return found


def form_of(page: str) -> dict[str, str]:
    """The hidden fields of the form that has it tried again."""
    [form] = re.findall(r'<form class="retry".*?</form>', page, re.S)
    return dict(re.findall(r'name="(\w+)" value="([^"]+)"', form))


def test_on_the_pages_it_is_seen_and_told_why_and_tried_again(
    receiving: Receiving, intake: PageVisitor, failed: str
) -> None:
    assert BADGE in worklist_row(intake.get("/").text, failed)
    page = unescape(intake.get(f"/cases/{failed}").text)
    assert REASON in page
    assert "The report did not reach the hospital" in page
    assert "Nothing is to be done" not in page
    answer = intake.post(f"/cases/{failed}/retry", **form_of(page))
    assert answer.status_code == 302
    assert "on its way again" in intake.get(answer.headers["Location"]).text
    receiving.wait_until(failed, "delivered")
    assert BADGE not in worklist_row(intake.get("/").text, failed)
    assert 'class="retry"' not in intake.get(f"/cases/{failed}").text


def test_by_the_api_it_is_seen_and_told_why_and_tried_again(receiving: Receiving, failed: str) -> None:
    staff = receiving.scene.intake
    assert worklist_line(staff, failed)["failed_deliveries"] == 1
    delivery = receiving.delivery(failed)
    assert (delivery["state"], delivery["last_error"]) == ("failed", REASON)
    answer = staff.post(f"cases/{failed}/retry", delivery_id=delivery["id"])
    assert answer.status_code == 200, answer.text
    assert answer.json()["case_id"] == failed
    delivered = receiving.wait_until(failed, "delivered")
    assert (delivered["attempts"], delivered["last_error"]) == (2, "")
    assert staff.case(failed)["status"] == "delivered"
    assert worklist_line(staff, failed)["failed_deliveries"] == 0
    acts = [(act["who"], act["action"]) for act in staff.get(f"cases/{failed}/timeline")["acts"]]
    told = [act for act in acts if act[1] in ("deliver-failed", "retry", "deliver")]
    assert told == [
        ("The gateway", "deliver-failed"),
        (INTAKE.name, "retry"),
        ("The gateway", "deliver"),
    ]


def test_a_second_click_is_told_that_it_is_done_already(
    receiving: Receiving, intake: PageVisitor, failed: str
) -> None:
    form = form_of(intake.get(f"/cases/{failed}").text)
    assert intake.post(f"/cases/{failed}/retry", **form).status_code == 302
    receiving.wait_until(failed, "delivered")
    sent = len(receiving.receiver.received)
    again = intake.post(f"/cases/{failed}/retry", delivery_id=form["delivery_id"])
    assert again.status_code == 409
    assert "this one is delivered" in again.text
    assert len(receiving.receiver.received) == sent


def test_where_the_hospital_has_fetched_it_only_the_sending_has_failed(
    receiving: Receiving, intake: PageVisitor, failed: str
) -> None:
    opinion_id = receiving.delivery(failed)["opinion_id"]
    assert receiving.scene.ehr.get(f"DiagnosticReport/{opinion_id}").status_code == 200
    row = worklist_row(intake.get("/").text, failed)
    assert BADGE not in row
    assert "sending failed" in row
    page = intake.get(f"/cases/{failed}").text
    assert "did not reach the hospital" not in page
    assert intake.post(f"/cases/{failed}/retry", **form_of(page)).status_code == 302
    receiving.wait_until(failed, "delivered")


def test_only_intake_has_it_tried_again_and_only_as_part_of_its_case(
    receiving: Receiving, specialist: PageVisitor, intake: PageVisitor, failed: str
) -> None:
    staff, delivery_id = receiving.scene.intake, receiving.delivery(failed)["id"]
    for path in (f"/cases/{failed}", f"/cases/{failed}/opinion"):
        seen = specialist.get(path).text
        assert REASON in seen
        assert "Intake can have it tried again." in seen
        assert 'class="retry"' not in seen
        assert 'class="retry"' in intake.get(path).text
    assert specialist.post(f"/cases/{failed}/retry", delivery_id=delivery_id).status_code == 403
    refused = receiving.scene.specialist.post(f"cases/{failed}/retry", delivery_id=delivery_id)
    assert (refused.status_code, refused.json()["error"]) == (403, "Forbidden")
    for case_id, subject in ((failed, "of-nobody"), ("SO-NOTHERE0", delivery_id)):
        assert staff.post(f"cases/{case_id}/retry", delivery_id=subject).status_code == 404
        assert intake.post(f"/cases/{case_id}/retry", delivery_id=subject).status_code == 404
    assert staff.post(f"cases/{failed}/retry").status_code == 400
    assert receiving.delivery(failed)["state"] == "failed"
