"""A case from referral to delivered report on SQLite and on PostgreSQL, sent all at once, and far too long."""

import json
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.support.bundles import imaging_study, patient, referral, wait_for
from tests.support.gateway_process import INTAKE, SPECIALIST, GatewayProcess
from tests.support.hospital import Scene, images

AT_ONCE = 8


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    environment = {}
    if request.param == "postgresql":
        environment["GATEWAY_DATABASE_URL"] = request.getfixturevalue("postgres_cluster").create_database()
    with GatewayProcess(environment=environment) as gateway:
        gateway.add_partner("hospital-a", name="Hospital A", ae_title="HOSPITAL_A")
        gateway.add_user(INTAKE)
        gateway.add_user(SPECIALIST)
        yield Scene(gateway, gateway.partners["hospital-a"])


def uid() -> str:
    return f"2.25.{secrets.randbits(96)}"


def at_once(act: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(act, range(AT_ONCE)))


def test_the_same_bundle_sent_by_many_at_once_is_one_case(scene: Scene) -> None:
    body = json.dumps(referral()).encode()
    answers = at_once(lambda _: scene.ehr.post(body))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert len({answer.text for answer in answers}) == 1


def test_the_same_referral_in_differing_bytes_sent_at_once_is_one_case(scene: Scene) -> None:
    sent = referral()
    answers = at_once(lambda n: scene.ehr.post(json.dumps(sent, indent=n + 1).encode()))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["Location"] for answer in answers}) == 1


def test_a_study_sent_in_pieces_at_once_is_one_whole_study_of_its_case(scene: Scene) -> None:
    mrn, study, series = uuid4().hex[:10], uid(), uid()
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {series: AT_ONCE})))
    stack = images(mrn, AT_ONCE, study, series)
    answers = at_once(lambda n: scene.pacs.store(stack[n]))
    assert {answer.status_code for answer in answers} == {200}
    found = scene.wait_for_study(case_id)
    assert found["study_instance_uid"] == study
    scene.wait_for_checks(case_id)
    assert len(scene.pacs.instances(study)) == AT_ONCE


def test_texts_of_any_length_and_numbers_of_any_size_are_kept(scene: Scene) -> None:
    mrn, study, series = uuid4().hex[:10], uid(), uid()
    long_name = "Wolfeschlegelsteinhausenbergerdorff" * 27
    child = patient(
        mrn,
        name=[{"family": long_name, "given": ["Amara"]}],
        identifier=[{"system": "https://hospital-a.example/" + "x" * 3000, "value": "9" * 3000}],
    )
    sent = referral(mrn, patient=child, imaging=imaging_study(study, {series: 1}))
    case_id = scene.ehr.open_case(sent)
    assert scene.ehr.open_case(sent) == case_id
    odd = {
        "PatientName": f"{long_name}^Amara",
        "StudyDescription": "x" * 500,
        "SeriesDescription": "y" * 500,
        "AccessionNumber": "z" * 300,
        "InstanceNumber": 99_999_999_999,
        "SeriesNumber": -99_999_999_999,
    }
    answer = scene.pacs.store(*images(mrn, 1, study, series, **odd))
    assert answer.status_code == 200, answer.text
    assert scene.wait_for_study(case_id)["description"] == "x" * 500


def test_from_referral_to_delivered_report(scene: Scene) -> None:
    mrn = uuid4().hex[:10]
    case_id = scene.ehr.open_case(referral(mrn))
    assert scene.intake.post(f"cases/{case_id}/accept").ok
    [specialist] = scene.intake.get("users?role=specialist")["users"]
    assert scene.intake.post(f"cases/{case_id}/assign", specialist_id=specialist["id"]).ok
    written = {"findings_text": "None.", "conclusion": "Resectable.", "recommendations": ""}
    assert scene.specialist.post(f"cases/{case_id}/draft", **written).ok
    seen = scene.specialist.case(case_id)["fingerprint"]
    signed = at_once(lambda _: scene.specialist.post(f"cases/{case_id}/sign", confirmed=seen).status_code)
    assert sorted(signed) == [200] + [409] * (AT_ONCE - 1)
    [entry] = scene.ehr.get(f"DiagnosticReport?patient={scene.ehr.task(case_id)['for']['reference']}").json()[
        "entry"
    ]
    assert entry["resource"]["conclusion"] == "Resectable."
    wait_for(lambda: scene.intake.case(case_id)["status"] == "delivered")
    assert scene.intake.post(f"cases/{case_id}/close").ok
    [line] = scene.intake.get("cases?status=closed")["cases"]
    assert (line["id"], line["found_after_signing"]) == (case_id, 0)
