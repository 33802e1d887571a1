"""International Patient Summaries, of the standard and of real vendors: all of it on the case, absences included."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.bundles import FhirClient, issues, patient, wait_for
from tests.support.gateway_process import INTAKE, GatewayProcess
from tests.support.hospital import Scene
from tests.support.pages import PageVisitor

EXAMPLE = Path(__file__).resolve().parents[2] / "conformance" / "examples" / "patient-summary.json"


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess) -> Scene:
    """A hospital of its own."""
    return Scene(gateway, gateway.add_partner("ips", name="Summary hospital"))


def summary() -> dict[str, Any]:
    """The example, of another child each time."""
    made: dict[str, Any] = json.loads(EXAMPLE.read_bytes())
    made["identifier"]["value"] = f"urn:uuid:{uuid4()}"
    child = next(e["resource"] for e in made["entry"] if e["resource"]["resourceType"] == "Patient")
    child |= {k: v for k, v in patient(uuid4().hex[:10]).items() if k in ("identifier", "name")}
    return made


def test_a_summary_becomes_a_case_with_its_facts_its_absences_and_its_words(scene: Scene) -> None:
    answer = scene.ehr.post(summary())
    assert answer.status_code == 201, answer.text
    case_id = answer.json()["id"]
    scene.wait_for_checks(case_id, "no-question", "section-not-told")
    record = scene.intake.case(case_id)["record"]
    assert [i["concept"]["text"] for i in record["items"]] == ["Acute lymphoblastic leukaemia"]
    assert {s["title"]: s["told"] for s in record["sections"]} == {
        "Problems": "entries",
        "Allergies": "none known",
        "Medication": "unknown",
        "History of the illness": "words",
    }
    page = PageVisitor(scene.gateway.base_url, INTAKE).get(f"/cases/{case_id}").text
    for words in ("Said to be absent", "No known allergies", "Said to be unknown", "Withheld"):
        assert words in page
    [document] = record["documents"]
    text = PageVisitor(scene.gateway.base_url, INTAKE).get(
        f"/cases/{case_id}/documents/{document['id']}?view"
    )
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Fever and bruises since March." in text.text


def test_a_corrected_summary_replaces_the_earlier_one(scene: Scene) -> None:
    sent = summary()
    case_id = scene.ehr.open_case(sent)
    [before] = scene.intake.case(case_id)["record"]["documents"]
    sent["identifier"]["value"] = f"urn:uuid:{uuid4()}"
    leader = sent["entry"][0]["resource"]
    leader["title"] = "Corrected summary"
    target = {"reference": f"Composition/{before['id'].rsplit('-', 1)[0]}"}
    leader["relatesTo"] = [{"code": "replaces", "targetReference": target}]
    assert scene.ehr.open_case(sent) == case_id
    found = scene.intake.case(case_id)["record"]
    assert {d["title"]: d["superseded"] for d in found["documents"]} == {
        before["title"]: True,
        "Corrected summary": False,
    }
    assert len(found["sections"]) == 4


def test_a_document_whose_own_elements_are_faulty_is_taken_with_warnings(scene: Scene) -> None:
    answer = scene.ehr.post(summary() | {"timestamp": "yesterday", "nonsense": 1})
    assert answer.status_code == 201, answer.text
    case_id = answer.json()["id"]
    wait_for(lambda: "record-fault" in scene.intake.open_checks(case_id))


def test_a_document_without_its_composition_is_refused(scene: Scene) -> None:
    sent = summary()
    del sent["entry"][0]
    answer = scene.ehr.post(sent)
    assert answer.status_code == 400
    assert any("The first entry of a document must be a Composition" in words for _, words in issues(answer))


REAL = ("ips-connectathon/*.json", "ips-2.0.0-package/example/Bundle-*.json")


def test_every_real_summary_is_taken_and_read_whole(
    gateway: GatewayProcess, shared_data: Path | None
) -> None:
    if shared_data is None:
        pytest.skip("the shared data are not here")
    files = sorted(f for pattern in REAL for f in (shared_data / "fhir").glob(pattern))
    assert len(files) > 10
    for file in files:
        scene = Scene(gateway, gateway.add_partner(f"ips-{file.stem[:40]}", name=file.stem))
        sent = json.loads(file.read_bytes())
        answer = FhirClient(gateway, scene.ehr.partner).post(file.read_bytes())
        assert answer.status_code == 201, (file.name, answer.text)
        record = scene.intake.case(answer.json()["id"])["record"]
        leader = sent["entry"][0]["resource"]
        assert record["patient"] is not None, file.name
        titles = {s["title"] for s in leader["section"]}
        assert titles <= {s["title"] for s in record["sections"]}, file.name
        assert {s["told"] for s in record["sections"] if s["title"] in titles} <= {
            *("entries", "words", "none known", "unknown"),
        }, file.name
        assert leader["title"] in {d["title"] for d in record["documents"]}, file.name
        assert record["excluded"] == [], file.name
