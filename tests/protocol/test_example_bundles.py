"""Every bundle in conformance/examples/ at the real door: a case of the right child, and the findings told of it."""

from pathlib import Path

import pytest

from tests.support.bundles import FhirClient
from tests.support.gateway_process import GatewayProcess
from tests.support.hospital import Scene

EXAMPLES = Path(__file__).resolve().parents[2] / "conformance" / "examples"
OPENED_BY = {
    "referral-document.json": ("Beatriz EXEMPLO", set()),
    "referral-message.json": ("Amal NAMOUDHAJ", set()),
    "referral-batch.json": ("Max MUSTERMANN", set()),
    "referral-collection.json": ("Deniz ÖRNEK", {"no-question"}),
    "patient-summary.json": ("Elsa EXEMPEL", {"no-question", "section-not-told"}),
    "provide-documents.json": ("Louise EXEMPLE", {"no-question", "no-reachable-physician"}),
    "referral-transaction.json": ("Haru MIHON", {"attachment-unreadable", "study-not-received"}),
}
"""Those without findings come first: they have been checked when the later ones have."""


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess) -> Scene:
    """A hospital of its own, that has sent nothing before."""
    return Scene(gateway, gateway.add_partner("examples", name="Example hospital"))


def open_case(ehr: FhirClient, name: str) -> str:
    answer = ehr.post((EXAMPLES / name).read_bytes())
    assert answer.status_code in (200, 201), answer.text
    return answer.headers["Location"].rsplit("/", 1)[1]


def test_each_example_opens_a_case_with_the_findings_that_the_readme_tells(scene: Scene) -> None:
    opened = {name: open_case(scene.ehr, name) for name in OPENED_BY}
    for name, (child, checks) in reversed(OPENED_BY.items()):
        scene.wait_for_checks(opened[name], *checks)
        assert scene.intake.case(opened[name])["record"]["patient"]["names"][0]["text"] == child
    assert len(set(opened.values())) == len(OPENED_BY)


@pytest.mark.parametrize("name", OPENED_BY)
def test_an_example_sent_again_is_the_same_case(scene: Scene, name: str) -> None:
    assert open_case(scene.ehr, name) == open_case(scene.ehr, name)


def test_the_supplement_brings_the_report_that_was_empty(scene: Scene) -> None:
    case_id = open_case(scene.ehr, "referral-transaction.json")
    assert open_case(scene.ehr, "supplement.json") == case_id
    scene.wait_for_checks(case_id, "study-not-received")
    documents = scene.intake.case(case_id)["record"]["documents"]
    assert sorted((d["language"], d["content"], d["superseded"]) for d in documents) == [
        ("en", "present", False),
        ("en", "present", False),
        ("ja", "empty", True),
        ("ja", "present", False),
        ("ja", "present", False),
    ]


def test_the_supplement_before_its_referral_is_refused_with_every_reference_that_leads_nowhere(
    gateway: GatewayProcess,
) -> None:
    other = FhirClient(gateway, gateway.add_partner("examples-early", name="Another hospital"))
    answer = other.post((EXAMPLES / "supplement.json").read_bytes())
    assert answer.status_code == 400
    places = {issue["expression"][0] for issue in answer.json()["issue"]}
    assert "Bundle.entry[0].resource.subject.reference" in places
    assert "Bundle.entry[0].resource.relatesTo[0].target.reference" in places
