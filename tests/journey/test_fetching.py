"""A referral that says where its images are, to a running gateway: progress, another try, and a break in the middle."""

import json
import re
import threading
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from tests.support.bundles import FhirClient, wait_for
from tests.support.fetching import Imaging
from tests.support.fhir_receiver import Answer
from tests.support.gateway_process import INTAKE, SPECIALIST, GatewayProcess
from tests.support.hospital import Staff
from tests.support.middleman import Middleman
from tests.support.orthanc import Orthanc
from tests.support.pages import PageVisitor


@pytest.fixture(scope="module")
def gateway(middleman: Middleman) -> Iterator[GatewayProcess]:
    with GatewayProcess() as process:
        process.add_partner("hospital-a", options=("--dicomweb", middleman.url))
        process.add_user(INTAKE)
        process.add_user(SPECIALIST)
        yield process


@pytest.fixture(scope="module")
def intake(gateway: GatewayProcess) -> Staff:
    return Staff(gateway, INTAKE)


@pytest.fixture
def imaging(orthanc: Orthanc) -> Imaging:
    made = Imaging(6)
    orthanc.upload(*made.files)
    return made


def send(gateway: GatewayProcess, archive: Middleman, imaging: Imaging) -> str:
    ehr = FhirClient(gateway, gateway.partners["hospital-a"])
    return ehr.open_case(imaging.referral(archive.url, listed=True))


def fetch_of(intake: Staff, case_id: str) -> dict[str, Any]:
    found = intake.case(case_id)["fetches"]
    return found[0] if found else {"state": "", "here": 0}


def wait_until(intake: Staff, case_id: str, state: str) -> dict[str, Any]:
    wait_for(lambda: fetch_of(intake, case_id)["state"] == state, 40)
    return fetch_of(intake, case_id)


class HeldUp:
    """Nobody is given the instance before it is let go."""

    def __init__(self, archive: Middleman, uid: str) -> None:
        self.reached, self.released = threading.Event(), threading.Event()
        self._uid = uid
        archive.instead = self._instead

    def _instead(self, path: str) -> Answer | None:
        if path.endswith(self._uid):
            self.reached.set()
            self.released.wait(60)
        return None


def test_progress_is_told_on_the_page_in_the_api_and_by_the_command(
    gateway: GatewayProcess, intake: Staff, archive: Middleman, imaging: Imaging
) -> None:
    held = HeldUp(archive, imaging.uids[2])
    case_id = send(gateway, archive, imaging)
    assert held.reached.wait(30)
    under_way = wait_until(intake, case_id, "pending")
    assert (under_way["expected"], under_way["next_try_at"], under_way["problem"]) == (6, None, None)
    assert under_way["here"] >= 1
    page = PageVisitor(gateway.base_url, INTAKE)
    shown = unescape(page.get(f"/cases/{case_id}").text)
    assert "Being fetched" in shown
    assert re.search(r"[1-6] of 6 images are here", shown)
    assert "The gateway is fetching it." in shown
    again = page.get(f"/cases/{case_id}/fetches").text
    assert 'hx-trigger="every 3s"' in again
    printed = gateway.command("case", "show", case_id).stdout
    assert re.search(rf"fetch pending  {imaging.study} [1-6] of 6", printed)
    held.released.set()
    whole = wait_until(intake, case_id, "complete")
    assert (whole["here"], whole["expected"], whole["missing"]) == (6, 6, [])
    wait_for(lambda: not intake.open_checks(case_id))
    assert 'hx-trigger="every 3s"' not in page.get(f"/cases/{case_id}/fetches").text
    acts = [act["action"] for act in intake.get(f"cases/{case_id}/timeline")["acts"]]
    assert [act for act in acts if act.startswith("fetch")] == ["fetch-begun", "fetch-complete"]


def test_intake_has_it_tried_again(
    gateway: GatewayProcess, intake: Staff, archive: Middleman, imaging: Imaging
) -> None:
    archive.instead = lambda _path: Answer(403)
    case_id = send(gateway, archive, imaging)
    failed = wait_until(intake, case_id, "failed")
    page = PageVisitor(gateway.base_url, INTAKE)
    shown = unescape(page.get(f"/cases/{case_id}").text)
    assert "Could not be fetched" in shown
    assert "The archive refused with 403." in shown
    assert imaging.uids[0] in shown
    specialist = Staff(gateway, SPECIALIST).post(f"cases/{case_id}/fetch", fetch_id=failed["id"])
    assert specialist.status_code == 403
    assert intake.post(f"cases/{case_id}/fetch", fetch_id="of-nobody").status_code == 404
    archive.forget()
    [form] = re.findall(r'<form class="retry".*?</form>', page.get(f"/cases/{case_id}").text, re.S)
    answer = page.post(f"/cases/{case_id}/fetch", **dict(re.findall(r'name="(\w+)" value="([^"]+)"', form)))
    assert answer.status_code == 302, answer.text
    wait_until(intake, case_id, "complete")
    again = intake.post(f"cases/{case_id}/fetch", fetch_id=failed["id"])
    assert (again.status_code, again.json()["detail"]) == (409, "All of this study is here already.")
    acts = [(act["who"], act["action"]) for act in intake.get(f"cases/{case_id}/timeline")["acts"]]
    assert [act for act in acts if act[1].startswith("fetch")] == [
        ("The gateway", "fetch-begun"),
        ("The gateway", "fetch-failed"),
        (INTAKE.name, "fetch"),
        ("The gateway", "fetch-complete"),
    ]


def test_what_waits_for_its_next_try_can_be_had_now(
    gateway: GatewayProcess, intake: Staff, archive: Middleman, imaging: Imaging
) -> None:
    archive.instead = lambda _path: Answer(503)
    case_id = send(gateway, archive, imaging)
    waiting = wait_for(lambda: fetch if (fetch := fetch_of(intake, case_id)).get("next_try_at") else None)
    assert (waiting["state"], waiting["problem"]) == ("pending", "unreachable")
    archive.forget()
    assert intake.post(f"cases/{case_id}/fetch", fetch_id=waiting["id"]).ok
    wait_until(intake, case_id, "complete")
    assert archive.instances_asked() == imaging.uids


def test_by_itself_it_is_tried_again(
    gateway: GatewayProcess, intake: Staff, archive: Middleman, imaging: Imaging
) -> None:
    refusing = iter([Answer(503)])
    archive.instead = lambda path: next(refusing, None) if path.endswith(imaging.uids[4]) else None
    case_id = send(gateway, archive, imaging)
    wait_until(intake, case_id, "complete")
    assert archive.instances_asked() == [*imaging.uids, imaging.uids[4]]


def test_a_worker_that_is_killed_goes_on_and_fetches_nothing_twice(
    gateway: GatewayProcess, intake: Staff, archive: Middleman, imaging: Imaging
) -> None:
    held = HeldUp(archive, imaging.uids[3])
    case_id = send(gateway, archive, imaging)
    assert held.reached.wait(30)
    gateway.kill_part("worker")
    held.released.set()
    wait_until(intake, case_id, "complete")
    assert archive.instances_asked() == [*imaging.uids[:4], *imaging.uids[3:]]
    [study] = wait_for(lambda: intake.case(case_id)["studies"])
    assert sum(len(series["instances"]) for series in study["series"]) == 6


def test_an_archive_that_dies_in_the_middle_is_asked_for_the_rest(
    gateway: GatewayProcess, intake: Staff, archive: Middleman, imaging: Imaging
) -> None:
    upstream = archive.upstream

    def die(path: str) -> Answer | None:
        archive.upstream = "http://127.0.0.1:9" if path.endswith(imaging.uids[2]) else archive.upstream
        return None

    archive.instead = die
    try:
        case_id = send(gateway, archive, imaging)
        waiting = wait_for(lambda: fetch if (fetch := fetch_of(intake, case_id)).get("next_try_at") else None)
        assert (waiting["here"], waiting["problem"]) == (2, "unreachable")
    finally:
        archive.upstream = upstream
    archive.forget()
    wait_until(intake, case_id, "complete")
    assert archive.instances_asked() == imaging.uids[2:]


def test_a_gateway_that_is_stopped_in_the_middle_goes_on_when_it_starts(
    gateway: GatewayProcess, orthanc: Orthanc, archive: Middleman
) -> None:
    imaging = Imaging(30)
    orthanc.upload(*imaging.files)
    archive.instead = slowly
    case_id = send(gateway, archive, imaging)
    wait_for(lambda: len(archive.instances_asked()) >= 3)
    assert gateway.stop() == 0
    asked = archive.instances_asked()
    assert len(asked) < 30
    gateway.start()
    archive.instead = lambda _path: None
    wait_until(Staff(gateway, INTAKE), case_id, "complete")
    assert archive.instances_asked() == imaging.uids


def test_what_a_peer_says_and_uids_are_in_no_log(
    gateway: GatewayProcess, intake: Staff, archive: Middleman, orthanc: Orthanc
) -> None:
    imaging = Imaging(1)
    orthanc.upload(*imaging.files)
    found = [{"0020000E": {"Value": [imaging.series]}, "00080018": {"Value": imaging.uids}}]
    headers = {"Content-Type": "application/dicom+json", "Warning": '299 - "said by the peer"'}
    listing = Answer(200, json.dumps(found).encode(), headers)
    refusals = iter([Answer(503), Answer(404, b"said by the peer")])
    archive.instead = lambda path: listing if "offset" in path else next(refusals, None)
    ehr = FhirClient(gateway, gateway.partners["hospital-a"])
    case_id = ehr.open_case(imaging.referral(archive.url))
    waiting = wait_for(lambda: fetch if (fetch := fetch_of(intake, case_id)).get("next_try_at") else None)
    intake.post(f"cases/{case_id}/fetch", fetch_id=waiting["id"])
    waiting = wait_for(lambda: fetch if (fetch := fetch_of(intake, case_id)).get("next_try_at") else None)
    intake.post(f"cases/{case_id}/fetch", fetch_id=waiting["id"])
    wait_until(intake, case_id, "complete")
    assert "said by the peer" not in gateway.log_text
    assert imaging.study not in gateway.log_text


def slowly(_path: str) -> None:
    threading.Event().wait(0.2)
