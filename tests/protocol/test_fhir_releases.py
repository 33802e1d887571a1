"""R5, STU3 and R4B at the door: taken in each, read as R4, answered in the release that is asked for."""

import copy
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from gateway.fhir.validation import faults
from gateway.fhir.xml_format import read_xml, to_xml
from mappings.fhir_conversion import Conversion
from mappings.fhir_definitions import Release, resource_model
from tests.support.bundles import MRN, FhirClient, bundle, issues, patient, referral
from tests.support.gateway_process import GatewayProcess
from tests.support.hospital import Scene
from tests.support.partner import Partner

EXAMPLES = Path(__file__).resolve().parents[2] / "conformance" / "examples" / "other-releases"
DATA = Path(__file__).parents[1] / "data"
OTHERS = [Release.R5, Release.STU3, Release.R4B]


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess, partner: Partner) -> FhirClient:
    return FhirClient(gateway, partner)


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess) -> Scene:
    """A hospital of its own, that has sent nothing before."""
    return Scene(gateway, gateway.add_partner("releases", name="Hospital of two releases"))


def media_type(release: Release | str, kind: str = "json") -> str:
    version = release.value if isinstance(release, Release) else release
    return f"application/fhir+{kind}; fhirVersion={version}"


def sent_in(release: Release, mrn: str | None = None) -> dict[str, Any]:
    """The referral that other tests send, in another release."""
    sent = referral(mrn or uuid4().hex[:10])
    for entry in sent["entry"]:
        made = Conversion(Release.R4, release).resource(entry["resource"], "R")
        assert made is not None
        assert faults(made, "R", release) == []
        entry["resource"] = made
        entry["request"]["url"] = made["resourceType"]
    return sent


def told(answer: requests.Response, release: Release) -> dict[str, Any]:
    """An answer that says that it is of a release, and is."""
    assert f"fhirVersion={release.value};" in answer.headers["Content-Type"], answer.headers["Content-Type"]
    found: dict[str, Any] = answer.json()
    assert_valid(found, release)
    return found


def assert_valid(resource: dict[str, Any], release: Release) -> None:
    """A Bundle with what stands in it."""
    shell = {key: value for key, value in resource.items() if key != "entry"}
    assert faults(shell, "R", release) == []
    for entry in resource.get("entry", ()):
        if "resource" in entry:
            assert faults(entry["resource"], "R", release) == []
        if outcome := entry.get("response", {}).get("outcome"):
            assert faults(outcome, "R", release) == []


@pytest.mark.parametrize("release", OTHERS, ids=str)
def test_a_referral_of_each_release_opens_a_case_and_is_answered_in_it(
    ehr: FhirClient, release: Release
) -> None:
    answer = ehr.post(sent_in(release), **{"Content-Type": media_type(release)})
    assert answer.status_code == 200, answer.text
    response = told(answer, release)
    assert len(response["entry"]) == 3
    task = ehr.get(f"Task/{answer.headers['Location'].split('/')[-1]}", Accept=media_type(release))
    assert told(task, release)["focus"]["reference"] == "/".join(
        response["entry"][2]["response"]["location"].split("/")[:2]
    )


@pytest.mark.parametrize("release", [Release.R5, Release.STU3], ids=str)
def test_a_release_is_recognised_by_what_only_it_has(ehr: FhirClient, release: Release) -> None:
    answer = ehr.post(sent_in(release))
    assert answer.status_code == 200, answer.text
    told(answer, release)


def test_what_could_be_of_any_release_is_r4(ehr: FhirClient) -> None:
    sent = bundle("transaction", {f"urn:uuid:{uuid4()}": patient(uuid4().hex[:10])})
    told(ehr.post(sent), Release.R4)


@pytest.mark.parametrize("release", OTHERS, ids=str)
def test_what_was_sent_in_a_release_is_read_back_in_it_as_it_was(ehr: FhirClient, release: Release) -> None:
    sent = sent_in(release)
    answer = ehr.post(sent, **{"Content-Type": media_type(release)})
    location = answer.json()["entry"][2]["response"]["location"].split("/_history/")[0]
    read = told(ehr.get(location, Accept=media_type(release)), release)
    request = sent["entry"][2]["resource"]
    own = {key: request[key] for key in ("resourceType", "identifier", "status", "code", "note")}
    assert {key: read[key] for key in own} == own


@pytest.mark.parametrize("release", OTHERS, ids=str)
def test_the_same_referral_in_r4_and_in_another_release_is_one_case(
    ehr: FhirClient, release: Release
) -> None:
    mrn = uuid4().hex[:10]
    first = ehr.post(referral(mrn))
    second = ehr.post(sent_in(release, mrn), **{"Content-Type": media_type(release)})
    assert second.headers["Location"] == first.headers["Location"]
    places = [entry["response"]["location"].split("/")[1] for entry in second.json()["entry"]]
    assert places == [entry["response"]["location"].split("/")[1] for entry in first.json()["entry"]]


@pytest.mark.parametrize("release", [Release.R5, Release.STU3], ids=str)
def test_another_release_in_xml_is_read_and_answered(ehr: FhirClient, release: Release) -> None:
    body = to_xml(sent_in(release), release)
    for content_type in (media_type(release, "xml"), "application/fhir+xml"):
        answer = ehr.post(body, **{"Content-Type": content_type})
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == f"{media_type(release, 'xml')}; charset=utf-8"
        assert_valid(read_xml(answer.content, release), release)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (media_type(Release.R5), Release.R5),
        (media_type("5.0.0"), Release.R5),
        (media_type(Release.STU3), Release.STU3),
        (media_type(Release.R4B), Release.R4B),
        (media_type(Release.R4), Release.R4),
        ("application/fhir+json", Release.R4),
        ("*/*", Release.R4),
        (f"{media_type('6.0')}, {media_type(Release.R5)};q=0.5", Release.R5),
        (f"{media_type(Release.STU3)};q=0.1, {media_type(Release.R5)}", Release.R5),
    ],
)
def test_a_read_is_answered_in_the_release_that_accept_asks_for(
    ehr: FhirClient, asked: str, answered: Release
) -> None:
    mrn = uuid4().hex[:10]
    case_id = ehr.open_case(referral(mrn))
    told(ehr.get(f"Task/{case_id}", Accept=asked), answered)
    found = told(ehr.get(f"Patient?identifier={MRN}|{mrn}", Accept=asked), answered)
    assert found["total"] == 1


def test_the_release_may_stand_in_the_address(ehr: FhirClient) -> None:
    address = f"metadata?_format=application/fhir%2Bjson;%20fhirVersion={Release.R5.value}"
    assert told(ehr.get(address), Release.R5)["fhirVersion"] == "5.0.0"


@pytest.mark.parametrize("release", list(Release), ids=str)
def test_the_capability_statement_is_told_in_each_release(ehr: FhirClient, release: Release) -> None:
    statement = told(ehr.get("metadata", Accept=media_type(release)), release)
    assert statement["fhirVersion"] == release.version
    types = {resource["type"] for resource in statement["rest"][0]["resource"]}
    requests_ = {"ProcedureRequest", "ReferralRequest"} if release is Release.STU3 else {"ServiceRequest"}
    assert requests_ <= types
    assert all(resource_model(name, release) is not None for name in types)


def test_the_releases_are_told_by_the_operation_versions(ehr: FhirClient) -> None:
    parameters = told(ehr.get("$versions"), Release.R4)["parameter"]
    assert {p["valueCode"] for p in parameters if p["name"] == "version"} == {"3.0", "4.0", "4.3", "5.0"}
    assert [p["valueCode"] for p in parameters if p["name"] == "default"] == ["4.0"]


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("application/json+fhir", "DSTU2"),
        ("application/xml+fhir", "DSTU2"),
        (media_type("1.0"), "DSTU2"),
        (media_type("0.0"), "DSTU1"),
        (media_type("6.0"), "R6"),
        (media_type("4.6"), "unknown"),
    ],
)
def test_a_release_that_is_not_spoken_is_named(ehr: FhirClient, content_type: str, name: str) -> None:
    answer = ehr.post(referral(), **{"Content-Type": content_type})
    assert answer.status_code == 415
    [(_, words)] = issues(answer)
    assert name in words
    assert "STU3 (3.0), R4 (4.0), R4B (4.3), R5 (5.0)" in words


@pytest.mark.parametrize("version", ["1.0", "6.0", "x"])
def test_an_answer_in_a_release_that_is_not_spoken_is_406(ehr: FhirClient, version: str) -> None:
    assert ehr.get("Patient", Accept=media_type(version)).status_code == 406
    assert ehr.get(f"metadata?_format={media_type(version)}").status_code == 406
    assert ehr.post(referral(), Accept=media_type(version)).status_code == 406


def test_what_is_of_another_release_than_the_media_type_says_is_refused(ehr: FhirClient) -> None:
    answer = ehr.post(sent_in(Release.STU3), **{"Content-Type": media_type(Release.R4)})
    assert answer.status_code == 415
    assert issues(answer) == [
        ("Bundle.entry[2].resource", "The media type says FHIR R4, and this is FHIR STU3.")
    ]


@pytest.mark.parametrize("release", [Release.R5, Release.STU3], ids=str)
def test_faults_are_those_of_the_release_that_was_sent_at_their_place_in_it(
    ehr: FhirClient, release: Release
) -> None:
    sent = sent_in(release)
    sent["entry"][2]["resource"] |= {"shoeSize": 3, "occurrenceDateTime": "yesterday"}
    answer = ehr.post(sent, **{"Content-Type": media_type(release)})
    assert answer.status_code == 400
    told(answer, release)
    told_at = dict(issues(answer))
    assert told_at["Bundle.entry[2].resource.shoeSize"].startswith(
        f"There is no such element here in FHIR {release}."
    )
    assert "Bundle.entry[2].resource.occurrenceDateTime" in told_at


def test_a_type_that_r4_has_not_is_kept_and_shown_to_a_person(scene: Scene) -> None:
    sent = sent_in(Release.R5)
    study = {
        "resourceType": "GenomicStudy",
        "status": "available",
        "subject": {"reference": sent["entry"][0]["fullUrl"]},
    }
    url = f"urn:uuid:{uuid4()}"
    sent["entry"].append(
        {"fullUrl": url, "resource": study, "request": {"method": "POST", "url": "GenomicStudy"}}
    )
    answer = scene.ehr.post(sent, **{"Content-Type": media_type(Release.R5)})
    assert answer.status_code == 200, answer.text
    outcome = told(answer, Release.R5)["entry"][3]["response"]["outcome"]
    assert outcome["issue"][0]["severity"] == "warning"
    assert "GenomicStudy" in outcome["issue"][0]["details"]["text"]
    case_id = answer.headers["Location"].split("/")[-1]
    assert "GenomicStudy" in json.dumps(scene.intake.case(case_id)["record"]["faults"])


def test_what_changes_the_meaning_is_told_and_what_became_an_extension_is_not_a_fault(scene: Scene) -> None:
    sent = sent_in(Release.R5)
    subject = {"reference": sent["entry"][0]["fullUrl"]}
    tasks = [
        {"resourceType": "Procedure", "status": "completed", "subject": subject, "focus": subject},
        {
            "resourceType": "Task",
            "status": "requested",
            "intent": "order",
            "doNotPerform": True,
            "for": subject,
        },
    ]
    for resource in tasks:
        request = {"method": "POST", "url": resource["resourceType"]}
        sent["entry"].append({"fullUrl": f"urn:uuid:{uuid4()}", "resource": resource, "request": request})
    answer = scene.ehr.post(sent, **{"Content-Type": media_type(Release.R5)})
    entries = told(answer, Release.R5)["entry"]
    assert "outcome" not in entries[3]["response"]
    [issue] = entries[4]["response"]["outcome"]["issue"]
    assert (issue["severity"], issue["expression"]) == ("warning", ["Bundle.entry[4].resource.doNotPerform"])


def test_the_r5_example_is_read_as_what_it_says(scene: Scene) -> None:
    answer = scene.ehr.post((EXAMPLES / "referral-r5.json").read_bytes())
    assert answer.status_code == 200, answer.text
    record = scene.intake.case(answer.headers["Location"].split("/")[-1])["record"]
    [question] = record["questions"]
    assert "listed for transplantation" in question["text"]
    assert [reason["text"] for reason in question["reasons"]] == ["Dilated cardiomyopathy of unknown cause"]
    assert record["physicians"][0]["contacts"][0]["value"] == "jana.vzorova@priklad.example"
    items = {item["concept"]["text"]: (item["status"], item["date"]) for item in record["items"]}
    assert items == {
        "Dilated cardiomyopathy": ("active", "2026-08"),
        "Carvedilol": ("active", ""),
        "Endomyocardial biopsy": ("completed", "2026-09-14"),
    }


def test_the_stu3_example_is_read_as_what_it_says(scene: Scene) -> None:
    answer = scene.ehr.post((EXAMPLES / "referral-stu3.json").read_bytes())
    assert answer.status_code == 200, answer.text
    record = scene.intake.case(answer.headers["Location"].split("/")[-1])["record"]
    [question] = record["questions"]
    assert question["text"] == "Is he a candidate for temporal lobe resection?"
    assert [one["text"] for one in question["specialties"]] == ["Paediatric epilepsy surgery"]
    assert record["physicians"][0]["name"] == "Dr. Aino ESIMERKKI"
    items = {item["concept"]["text"]: item["status"] for item in record["items"]}
    assert items == {
        "Focal epilepsy, drug resistant": "active",
        "Levetiracetam": "active",
        "Stereo-EEG": "not-done",
        "Video EEG": "final",
    }


def test_a_referral_request_is_read_by_its_own_name(scene: Scene) -> None:
    answer = scene.ehr.post((EXAMPLES / "referral-stu3.json").read_bytes())
    location = told(answer, Release.STU3)["entry"][7]["response"]["location"].split("/_history/")[0]
    assert location.startswith("ReferralRequest/")
    read = scene.ehr.get(location, Accept="application/fhir+json")
    assert told(read, Release.STU3)["description"] == "Is he a candidate for temporal lobe resection?"
    assert read.headers["Content-Location"].startswith(f"{scene.ehr.base}/{location}/_history/")
    system = "https://esimerkki.example/referral"
    found = told(scene.ehr.get(f"ReferralRequest?identifier={system}|L-90"), Release.STU3)
    assert [e["fullUrl"] for e in found["entry"]] == [f"{scene.ehr.base}/{location}"]
    by_id = told(scene.ehr.get(f"ReferralRequest?_id={location.split('/')[1]}&_count=1"), Release.STU3)
    assert [e["fullUrl"] for e in by_id["entry"]] == [f"{scene.ehr.base}/{location}"]
    assert by_id["link"][0]["url"].startswith(f"{scene.ehr.base}/ReferralRequest?")
    by_focus = scene.ehr.get(f"Task?focus={location}", Accept=media_type(Release.STU3))
    assert [e["resource"]["focus"]["reference"] for e in told(by_focus, Release.STU3)["entry"]] == [location]
    history = told(scene.ehr.get(f"{location}/_history"), Release.STU3)
    assert history["entry"][0]["fullUrl"] == f"{scene.ehr.base}/{location}"
    assert history["entry"][0]["response"]["location"] == f"{scene.ehr.base}/{location}/_history/1"
    other = told(scene.ehr.get(f"ProcedureRequest?identifier={system}|L-90"), Release.STU3)
    assert other["total"] == 0


def test_a_type_that_a_release_has_not_is_406_in_it(scene: Scene) -> None:
    sent = referral()
    media = {
        "resourceType": "Media",
        "status": "completed",
        "subject": {"reference": sent["entry"][0]["fullUrl"]},
        "content": {"contentType": "image/png", "url": "https://hospital-a.example/image"},
    }
    request = {"method": "POST", "url": "Media"}
    sent["entry"].append({"fullUrl": f"urn:uuid:{uuid4()}", "resource": media, "request": request})
    location = scene.ehr.post(sent).json()["entry"][3]["response"]["location"].split("/_history/")[0]
    assert told(scene.ehr.get(location), Release.R4)["resourceType"] == "Media"
    assert told(scene.ehr.get(location, Accept=media_type(Release.STU3)), Release.STU3)
    answer = scene.ehr.get(location, Accept=media_type(Release.R5))
    assert answer.status_code == 406
    assert "FHIR R5 has no Media" in issues(answer)[0][1]


def test_two_requests_with_the_same_id_stay_two(scene: Scene) -> None:
    """A server may number its referrals and its procedure requests from 1."""
    mrn = uuid4().hex[:10]
    url = f"urn:uuid:{uuid4()}"
    entries = [
        {"fullUrl": url, "resource": patient(mrn), "request": {"method": "POST", "url": "Patient"}},
    ]
    for type_name in ("ReferralRequest", "ProcedureRequest"):
        resource = {
            "resourceType": type_name,
            "id": "1",
            "status": "active",
            "intent": "order",
            "subject": {"reference": url},
        }
        resource |= {"code": {"text": type_name}} if type_name == "ProcedureRequest" else {}
        request = {"method": "PUT", "url": f"{type_name}/1"}
        entries.append({"resource": resource, "request": request})
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    response = told(scene.ehr.post(sent, **{"Content-Type": media_type(Release.STU3)}), Release.STU3)
    assert [e["response"]["location"] for e in response["entry"][1:]] == [
        "ReferralRequest/1/_history/1",
        "ProcedureRequest/1/_history/1",
    ]
    for type_name in ("ReferralRequest", "ProcedureRequest"):
        assert told(scene.ehr.get(f"{type_name}/1"), Release.STU3)["resourceType"] == type_name


def test_real_stu3_files_are_taken_and_answered_in_stu3(
    gateway: GatewayProcess, shared_data: Path | None
) -> None:
    ehr = FhirClient(gateway, gateway.add_partner("stu3", name="Hospital of STU3"))
    files = [DATA / "stu3-bundle.json"]
    if shared_data is not None:
        files += (shared_data / "fhir" / "synthea-stu3").glob("*.json")
        assert len(files) > 1
    for file in files:
        answer = ehr.post(file.read_bytes())
        assert answer.status_code in (200, 201), answer.text
        assert told(answer, Release.STU3)["resourceType"] == "Task"


def test_bytes_of_another_release_are_kept_as_they_came(gateway: GatewayProcess, ehr: FhirClient) -> None:
    body = json.dumps(sent_in(Release.R5), indent=3).encode()
    assert ehr.post(body).status_code == 200
    kept = [path for path in (gateway.data_dir / "objects").rglob("*") if path.is_file()]
    assert any(path.stat().st_size == len(body) and path.read_bytes() == body for path in kept)


@pytest.mark.parametrize("release", [Release.R5, Release.STU3], ids=str)
def test_a_collection_with_a_faulty_entry_is_kept_in_each_release(ehr: FhirClient, release: Release) -> None:
    sent = copy.deepcopy(sent_in(release))
    sent["type"] = "collection"
    for entry in sent["entry"]:
        del entry["request"]
    sent["entry"][0]["resource"]["shoeSize"] = 23
    answer = ehr.post(sent, **{"Content-Type": media_type(release)})
    assert answer.status_code == 201, answer.text
    assert told(answer, release)["resourceType"] == "Task"
