"""A hospital that speaks IHE MHD: it provides documents (ITI-65), and staff see them on a case."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fhir.resources.R4B.bundle import Bundle

from gateway.fhir.xml_format import read_xml, to_xml
from tests.support.bundles import MRN, issues, patient
from tests.support.documents import IHE, mhd_list, of_type, provide_bundle
from tests.support.gateway_process import INTAKE, GatewayProcess
from tests.support.hospital import Scene
from tests.support.pages import PageVisitor

SUMMARY = Path(__file__).resolve().parents[2] / "conformance" / "examples" / "patient-summary.json"
LETTER, TRANSLATION = b"Brief vom 3. Mai", b"Letter of 3 May"


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess) -> Scene:
    """A hospital of its own."""
    return Scene(gateway, gateway.add_partner("mhd", name="Document hospital"))


def documents_of(scene: Scene, case_id: str) -> dict[str, dict[str, Any]]:
    found = scene.intake.case(case_id)["record"]["documents"]
    return {document["title"]: document for document in found}


def provided(scene: Scene, sent: dict[str, Any]) -> tuple[str, list[str]]:
    """The case, and the references of the entries in order."""
    answer = scene.ehr.post(sent)
    assert answer.status_code == 200, answer.text
    locations = [e["response"]["location"].split("/_history/")[0] for e in answer.json()["entry"]]
    return answer.headers["Location"].rsplit("/", 1)[1], locations


def refused(scene: Scene, sent: dict[str, Any]) -> str:
    """The words of all faults; nothing of the bundle is in force."""
    answer = scene.ehr.post(sent)
    assert answer.status_code == 400, answer.text
    return " ".join(words for _, words in issues(answer))


def with_title(sent: dict[str, Any], *titles: str) -> dict[str, Any]:
    for entry, title in zip(of_type(sent, "DocumentReference"), titles, strict=True):
        entry["resource"]["content"][0]["attachment"]["title"] = title
    return sent


def test_provided_documents_become_a_case_that_intake_sees_without_a_question(scene: Scene) -> None:
    letters = [(f"{uuid4()}".encode(), {}) for _ in range(2)]
    sent = with_title(provide_bundle(uuid4().hex[:10], *letters), "Brief", "Letter")
    answer = scene.ehr.post(sent)
    assert answer.status_code == 200, answer.text
    response = Bundle.model_validate(answer.json())
    assert response.type == "transaction-response"
    assert [e.response.status for e in response.entry] == ["201 Created"] * len(sent["entry"])
    kinds = [e.response.location.split("/")[0] for e in response.entry]
    assert kinds == [e["resource"]["resourceType"] for e in sent["entry"]]
    case_id = answer.headers["Location"].rsplit("/", 1)[1]
    scene.wait_for_checks(case_id, "no-question", "no-reachable-physician")
    assert {title: d["content"] for title, d in documents_of(scene, case_id).items()} == {
        "Brief": "present",
        "Letter": "present",
    }


def test_the_same_in_xml(scene: Scene) -> None:
    sent = to_xml(provide_bundle(uuid4().hex[:10], (uuid4().bytes, {})))
    answer = scene.ehr.post(
        sent, **{"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
    )
    assert answer.status_code == 200, answer.text
    assert [e["response"]["status"] for e in read_xml(answer.content)["entry"]] == ["201 Created"] * 4


def test_a_replaced_document_is_superseded_and_a_translation_is_linked_to_its_original(scene: Scene) -> None:
    mrn = uuid4().hex[:10]
    case_id, [_, _, first, _] = provided(scene, with_title(provide_bundle(mrn, (LETTER, {})), "Brief"))
    relations = [{"code": "replaces", "target": {"reference": first}}]
    second = with_title(provide_bundle(mrn, (LETTER + b", verbessert", {"relatesTo": relations})), "Brief 2")
    again, [_, _, corrected, _] = provided(scene, second)
    relations = [{"code": "transforms", "target": {"reference": corrected}}]
    third = with_title(provide_bundle(mrn, (TRANSLATION, {"relatesTo": relations})), "Letter")
    assert {again, provided(scene, third)[0]} == {case_id}
    found = documents_of(scene, case_id)
    assert {title: d["superseded"] for title, d in found.items()} == {
        "Brief": True,
        "Brief 2": False,
        "Letter": False,
    }
    assert found["Letter"]["relations"] == [{"code": "transforms", "target": corrected}]
    page = PageVisitor(scene.gateway.base_url, INTAKE).get(f"/cases/{case_id}").text
    assert "Translation or other form of:" in page
    assert "Replaces:" in page


@pytest.mark.parametrize("by_patch", [True, False])
def test_the_replaced_document_may_be_marked_in_the_same_transaction(scene: Scene, by_patch: bool) -> None:
    mrn = uuid4().hex[:10]
    case_id, [_, _, first, _] = provided(scene, with_title(provide_bundle(mrn, (LETTER, {})), "Brief"))
    operation = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "DocumentReference.status"},
        {"name": "value", "valueCode": "superseded"},
    ]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": operation}]}
    sent = with_title(provide_bundle(mrn, (LETTER + b", verbessert", {})), "Brief 2")
    changed = patch if by_patch else scene.ehr.get(first).json() | {"status": "superseded"}
    sent["entry"].append(
        {"resource": changed, "request": {"method": "PATCH" if by_patch else "PUT", "url": first}}
    )
    assert provided(scene, sent)[0] == case_id
    assert {title: d["superseded"] for title, d in documents_of(scene, case_id).items()} == {
        "Brief": True,
        "Brief 2": False,
    }


def test_bytes_that_are_not_what_hash_and_size_say_refuse_all_of_it(scene: Scene) -> None:
    sent = provide_bundle(uuid4().hex[:10], (LETTER, {}), (TRANSLATION, {}))
    attachment = of_type(sent, "DocumentReference")[1]["resource"]["content"][0]["attachment"]
    attachment |= {"size": 999, "hash": "Ck1VqNd45QIvq3AZd8XYQLvEhtA="}
    words = refused(scene, sent)
    assert "The record says 999 bytes, and 15 arrived." in words
    assert "The record says the SHA-1 hash Ck1VqNd45QIvq3AZd8XYQLvEhtA=, and the bytes have " in words
    assert (
        scene.ehr.get(
            f"Patient?identifier={MRN}|{sent['entry'][1]['resource']['identifier'][0]['value']}"
        ).json()["total"]
        == 0
    )


def test_a_hash_in_hex_and_one_in_base64_of_hex_are_the_same_hash(scene: Scene) -> None:
    sent = provide_bundle(uuid4().hex[:10], (b"Hello World", {}), (b"Hello World ", {}))
    spelt = [
        "0a4d55a8d778e5022fab701977c5d840bbc486d0",
        "MGE0ZDU1YThkNzc4ZTUwMjJmYWI3MDE5NzdjNWQ4NDBiYmM0ODZkMA==",
    ]
    for entry, told, url in zip(
        of_type(sent, "DocumentReference"), spelt, of_type(sent, "Binary"), strict=True
    ):
        url["resource"]["data"] = "SGVsbG8gV29ybGQ="
        entry["resource"]["content"][0]["attachment"] |= {"hash": told, "size": 11}
    provided(scene, sent)


def _two_submissions(sent: dict[str, Any]) -> None:
    sent["entry"].append(dict(sent["entry"][0], fullUrl=f"urn:uuid:{uuid4()}"))


def _without_documents(sent: dict[str, Any]) -> None:
    sent["entry"] = sent["entry"][:2]
    sent["entry"][0]["resource"]["entry"] = []


def _two_children(sent: dict[str, Any]) -> None:
    other = dict(sent["entry"][1], fullUrl=f"urn:uuid:{uuid4()}")
    sent["entry"].append(other)
    of_type(sent, "DocumentReference")[0]["resource"]["subject"] = {"reference": other["fullUrl"]}


def _without_binary(sent: dict[str, Any]) -> None:
    sent["entry"].remove(of_type(sent, "Binary")[0])


def _inline(sent: dict[str, Any]) -> None:
    attachment = of_type(sent, "DocumentReference")[0]["resource"]["content"][0]["attachment"]
    attachment["data"] = "SGVsbG8gV29ybGQ="
    del attachment["url"]


def _batch(sent: dict[str, Any]) -> None:
    sent["type"] = "batch"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_two_submissions, "was expected, and 2 stand here"),
        (_without_documents, "At least one DocumentReference was expected"),
        (_two_children, "one submission is about one patient"),
        (_two_children, "One Patient at most was expected, and 2 stand here"),
        (_without_binary, "names no Binary and no document Bundle of this bundle"),
        (_inline, "The document's address is missing"),
        (_batch, "is a transaction, and this is a batch"),
    ],
)
def test_what_would_lose_or_mix_up_a_document_refuses_the_transaction(
    scene: Scene, change: Any, words: str
) -> None:
    sent = provide_bundle(uuid4().hex[:10], (LETTER, {}))
    change(sent)
    assert words in refused(scene, sent)


def test_metadata_that_its_level_asks_for_is_told_and_refuses_nothing(scene: Scene) -> None:
    sent = provide_bundle(uuid4().hex[:10], (LETTER, {"masterIdentifier": None}))
    del of_type(sent, "DocumentReference")[0]["resource"]["masterIdentifier"]
    sent["meta"]["profile"] = [f"{IHE}IHE.MHD.Comprehensive.ProvideBundle"]
    answer = scene.ehr.post(sent)
    assert answer.status_code == 200, answer.text
    outcomes = [e["response"].get("outcome", {"issue": []})["issue"] for e in answer.json()["entry"]]
    assert {i["severity"] for issue in outcomes for i in issue} == {"warning"}
    of_document = " ".join(i["details"]["text"] for i in outcomes[2])
    assert "'masterIdentifier' is missing; IHE.MHD.Comprehensive asks for it." in of_document
    assert "'context.practiceSetting' is missing" in of_document
    assert "'extension:ihe-designationType' is missing" in outcomes[0][0]["details"]["text"]


def _inside(child: dict[str, Any]) -> dict[str, Any]:
    return {
        "contained": [child | {"id": "who"}],
        "context": {"sourcePatientInfo": {"reference": "#who"}},
        "subject": {"reference": "Patient/on-another-server"},
    }


def _about_elsewhere(sent: dict[str, Any]) -> dict[str, Any]:
    """The bundle without its Patient, who is inside of each document."""
    child = sent["entry"].pop(1)["resource"]
    for entry in (*of_type(sent, "DocumentReference"), *of_type(sent, "List")):
        entry["resource"]["subject"] = {"reference": "Patient/on-another-server"}
    for entry in of_type(sent, "DocumentReference"):
        entry["resource"] |= _inside(child)
    return sent


def test_a_patient_of_another_server_is_known_by_what_the_documents_tell(scene: Scene) -> None:
    mrn = uuid4().hex[:10]
    case_id, _ = provided(scene, _about_elsewhere(provide_bundle(mrn, (LETTER, {}))))
    assert provided(scene, _about_elsewhere(provide_bundle(mrn, (TRANSLATION, {}))))[0] == case_id
    record = scene.intake.case(case_id)["record"]
    assert record["patient"]["identifiers"] == [{"value": mrn, "issuer": MRN}]
    assert (len(record["documents"]), record["excluded"]) == (2, [])
    other = _about_elsewhere(provide_bundle(uuid4().hex[:10], (LETTER, {})))
    assert provided(scene, other)[0] != case_id


def test_a_document_that_tells_of_another_child_inside_itself_is_not_shown_as_this_one_s(
    scene: Scene,
) -> None:
    sent = provide_bundle(uuid4().hex[:10], (LETTER, {}), (TRANSLATION, {}))
    child = of_type(sent, "Patient")[0]["resource"]
    strange = of_type(sent, "DocumentReference")[1]["resource"]
    strange |= {k: v for k, v in _inside(child | {"birthDate": "2011-01-01"}).items() if k != "subject"}
    case_id, _ = provided(scene, sent)
    record = scene.intake.case(case_id)["record"]
    assert (len(record["documents"]), len(record["excluded"])) == (1, 1)


def test_a_patient_who_is_nowhere_refuses_the_documents(scene: Scene) -> None:
    sent = _about_elsewhere(provide_bundle(uuid4().hex[:10], (LETTER, {})))
    del of_type(sent, "DocumentReference")[0]["resource"]["contained"]
    del of_type(sent, "DocumentReference")[0]["resource"]["context"]
    assert "neither an entry of this bundle nor a resource that you sent before" in refused(scene, sent)


def test_folders_are_kept_with_their_documents(scene: Scene) -> None:
    sent = provide_bundle(
        uuid4().hex[:10], (LETTER, {}), folder=lambda urls, child: mhd_list("folder", child, urls)
    )
    _, references = provided(scene, sent)
    assert references[-1].startswith("List/")


def _as_fhir_document(sent: dict[str, Any], document: dict[str, Any], *, in_binary: bool) -> dict[str, Any]:
    """The bundle with that FHIR document in place of its letter."""
    binary, [reference] = of_type(sent, "Binary")[0], of_type(sent, "DocumentReference")
    attachment: dict[str, Any] = {"url": binary["fullUrl"], "contentType": "application/fhir+json"}
    if in_binary:
        content = json.dumps(document).encode()
        binary["resource"]["data"] = base64.b64encode(content).decode()
        attachment |= {"size": len(content), "hash": hashlib.sha1(content, usedforsecurity=False).hexdigest()}
    else:
        binary["resource"], binary["request"]["url"] = document, "Bundle"
    reference["resource"]["content"] = [{"attachment": attachment}]
    return sent


def _summary(mrn: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(SUMMARY.read_bytes())
    child = next(e["resource"] for e in made["entry"] if e["resource"]["resourceType"] == "Patient")
    child |= patient(mrn)
    return made


@pytest.mark.parametrize("in_binary", [True, False])
def test_a_fhir_document_is_a_document_and_its_facts_are_the_child_s(scene: Scene, in_binary: bool) -> None:
    mrn = uuid4().hex[:10]
    sent = _as_fhir_document(provide_bundle(mrn, (LETTER, {})), _summary(mrn), in_binary=in_binary)
    case_id, references = provided(scene, sent)
    assert references[-1].split("/")[0] == ("Binary" if in_binary else "Bundle")
    scene.wait_for_checks(case_id, "no-question", "no-reachable-physician", "section-not-told")
    record = scene.intake.case(case_id)["record"]
    [document] = record["documents"]
    [fact] = record["items"]
    assert (document["content"], fact["concept"]["text"]) == ("present", "Acute lymphoblastic leukaemia")
    assert fact["source"]["reference"] == document["source"]["reference"]
    assert {s["title"]: s["told"] for s in record["sections"]}["Allergies"] == "none known"
    read = PageVisitor(scene.gateway.base_url, INTAKE).get(f"/cases/{case_id}/documents/{document['id']}")
    assert json.loads(read.content)["entry"][0]["resource"]["title"] == "Patient summary of Elsa"


@pytest.mark.parametrize("in_binary", [True, False])
def test_a_fhir_document_of_another_child_is_not_shown_as_this_one_s(scene: Scene, in_binary: bool) -> None:
    strange = _summary(uuid4().hex[:10])
    sent = _as_fhir_document(provide_bundle(uuid4().hex[:10], (LETTER, {})), strange, in_binary=in_binary)
    case_id, _ = provided(scene, sent)
    record = scene.intake.case(case_id)["record"]
    assert (record["documents"], record["items"], record["sections"]) == ([], [], [])
    assert len(record["excluded"]) == 1


def test_the_examples_of_ihe_are_taken(scene: Scene, shared_data: Path | None) -> None:
    if shared_data is None:
        pytest.skip("the shared data are not here")
    folder = shared_data / "fhir" / "mhd-iti65"
    for name, count in (("minimal*Simple", 1), ("comprehensive*Multiple", 2)):
        [file] = folder.glob(f"Bundle-ex-{name}.json")
        answer = scene.ehr.post(file.read_bytes())
        assert answer.status_code == 200, answer.text
        assert {e["response"]["status"] for e in answer.json()["entry"]} <= {"201 Created", "200 OK"}
        case_id = answer.headers["Location"].rsplit("/", 1)[1]
        record = scene.intake.case(case_id)["record"]
        assert record["patient"]["names"][0]["text"] == "Dee Schmidt"
        assert [d["content"] for d in record["documents"]][-count:] == ["present"] * count
    [answered] = folder.glob("Bundle-ex-response*.json")
    assert scene.ehr.post(answered.read_bytes()).status_code == 400


def test_what_the_hospital_wrote_with_its_documents_is_read_and_is_no_request(scene: Scene) -> None:
    sent = provide_bundle(uuid4().hex[:10], (LETTER, {}))
    extensions = sent["entry"][0]["resource"]["extension"]
    extensions.append(
        {"url": f"{IHE}ihe-intendedRecipient", "valueReference": {"reference": sent["entry"][1]["fullUrl"]}}
    )
    sent["entry"][0]["resource"] |= {"title": "For Dr Obi", "note": [{"text": "Is surgery possible?"}]}
    answer = scene.ehr.post(sent)
    [issue] = answer.json()["entry"][0]["response"]["outcome"]["issue"]
    assert issue["details"]["text"].startswith("UnknownRecipient: ")
    case_id = answer.headers["Location"].rsplit("/", 1)[1]
    scene.wait_for_checks(case_id, "no-question", "no-reachable-physician")
    page = PageVisitor(scene.gateway.base_url, INTAKE).get(f"/cases/{case_id}").text
    for words in ("Written with the documents", "For Dr Obi", "Is surgery possible?"):
        assert words in page


def found(scene: Scene, query: str) -> list[str]:
    answer = scene.ehr.get(query)
    assert answer.status_code == 200, answer.text
    assert [e for e in answer.json().get("entry", []) if e["search"]["mode"] == "outcome"] == []
    return [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in answer.json().get("entry", [])]


def test_lists_and_documents_are_found_and_retrieved(scene: Scene) -> None:
    mrn, content = uuid4().hex[:10], uuid4().hex.encode()
    sent = provide_bundle(
        mrn, (content, {}), folder=lambda urls, child: mhd_list("folder", child, urls, title="All")
    )
    designation = {"coding": [{"system": "http://snomed.info/sct", "code": "225728007"}]}
    for entry in of_type(sent, "List"):
        extensions = entry["resource"]["extension"]
        extensions.append({"url": f"{IHE}ihe-designationType", "valueCodeableConcept": designation})
    document = of_type(sent, "DocumentReference")[0]["resource"]
    document["content"][0]["attachment"]["creation"] = "2026-11-02T08:00:00Z"
    document["type"] = {"coding": [{"system": "http://loinc.org", "code": "57133-1"}]}
    _, [submission, child, reference, binary, folder] = provided(scene, sent)

    of_child = f"patient.identifier={MRN}|{mrn}&status=current"
    assert found(scene, f"List?{of_child}&code=submissionset") == [submission]
    assert found(scene, f"List?patient={child}&code=folder&status=current") == [folder]
    meant = "designationType=http://snomed.info/sct|225728007&sourceId=urn:oid:1.2.3.4"
    assert set(found(scene, f"List?{of_child}&{meant}&date=ge2026-11-20")) == {submission, folder}
    asked = f"DocumentReference?{of_child}&type=http://loinc.org|57133-1"
    assert found(scene, f"{asked}&creation=2026-11-02") == [reference]
    assert found(scene, f"{asked}&creation=lt2026-11-02") == []
    assert found(scene, f"DocumentReference?patient.identifier={MRN}|nobody&status=current") == []
    [attachment] = [c["attachment"] for c in scene.ehr.get(reference).json()["content"]]
    assert attachment["url"] == binary
    assert scene.ehr.get(binary, Accept="text/plain").content == content


def test_another_hospital_finds_none_of_it(scene: Scene, gateway: GatewayProcess) -> None:
    mrn = uuid4().hex[:10]
    provided(scene, provide_bundle(mrn, (LETTER, {})))
    other = Scene(gateway, gateway.add_partner("mhd-other", name="Another document hospital"))
    assert found(other, f"DocumentReference?patient.identifier={MRN}|{mrn}&status=current") == []


@pytest.mark.parametrize(
    "chain", ["patient.name.family", "status.x", "patient.nothing", "nothing.x", "patient:List.x"]
)
def test_a_chain_that_is_not_offered_is_refused(scene: Scene, chain: str) -> None:
    assert scene.ehr.get(f"DocumentReference?{chain}=x").status_code == 400
