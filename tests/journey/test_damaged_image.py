"""A damaged image is kept, its sender is warned, and its case says so until whole images have come."""

from tests.support.bundles import imaging_study, referral
from tests.support.gateway_process import GatewayProcess
from tests.support.hospital import Scene, images
from tests.support.partner import Partner

STUDY = "2.25.271828182845904523"


def test_a_damaged_image_is_a_finding_of_its_case(gateway: GatewayProcess, partner: Partner) -> None:
    scene, series = Scene(gateway, partner), f"{STUDY}.1"
    mrn = "77310"
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(STUDY, {series: 2})))
    whole, damaged = images(mrn, 2, STUDY, series)
    answer = scene.pacs.store(whole, damaged[:-5])
    assert answer.status_code == 202
    scene.wait_for_study(case_id)
    scene.wait_for_checks(case_id, "instance-damaged")
    findings = [one["finding"] for one in scene.intake.case(case_id)["findings"]]
    (found,) = [one for one in findings if one["check"] == "instance-damaged"]
    assert found["severity"] == "limits"
    assert found["text"].startswith("1 images arrived damaged, or with text that may be shown wrongly.")
    assert f"{series}.2" in str(found["evidence"])
    assert "The file ends early: element (7FE0,0010)" in str(found["evidence"])
