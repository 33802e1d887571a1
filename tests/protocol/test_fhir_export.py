"""$export of a hospital's own data (Bulk Data Access 2.0.0): asked for, followed, fetched, cancelled."""

import gzip
import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.support.bundles import FhirClient, document_reference, issues, referral
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

ASYNC = {"Prefer": "respond-async", "Accept": "application/fhir+json"}
LENIENT = ASYNC | {"Prefer": "respond-async, handling=lenient"}


@pytest.fixture(scope="module")
def hospital(gateway: GatewayProcess) -> Partner:
    """A hospital of which everything there is was sent here."""
    return gateway.add_partner(f"exporting-{uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess, hospital: Partner) -> FhirClient:
    return FhirClient(gateway, hospital)


@pytest.fixture(scope="module")
def children(ehr: FhirClient) -> list[dict[str, str]]:
    """References by type of two children's referrals; the second one has a document in a Binary."""
    found = []
    for number in range(2):
        answer = ehr.post(
            referral(
                document=lambda urls: (
                    document_reference(None)(urls) | {"content": [{"attachment": {"url": urls["binary"]}}]}
                ),
                binary={"resourceType": "Binary", "contentType": "application/pdf", "data": "JVBERi0="},
                organization={"resourceType": "Organization", "name": f"Ward {number}"},
            )
            if number
            else referral()
        )
        assert answer.status_code == 200, answer.text
        sent = [entry["response"]["location"].split("/_history")[0] for entry in answer.json()["entry"]]
        found.append({one.split("/")[0]: one for one in sent} | {"Task": answer.headers["Location"]})
    return found


def ask(ehr: FhirClient, path: str = "$export", **headers: str) -> str:
    """The address of the status."""
    answer = ehr.get(path, **(ASYNC | headers))
    assert answer.status_code == 202, answer.text
    return answer.headers["Content-Location"]


def complete(partner: Partner, url: str, scope: str = "system/*.cruds") -> requests.Response:
    """The status once it is no longer 202."""
    deadline = time.monotonic() + 30
    while (answer := requests.get(url, headers=partner.headers(scope), timeout=20)).status_code == 202:
        assert answer.headers["X-Progress"] in ("waiting", "in progress")
        assert int(answer.headers["Retry-After"]) > 0
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return answer


def lines(partner: Partner, items: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What stands in the files, by type."""
    found: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        answer = requests.get(item["url"], headers=partner.headers(), timeout=20)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/fhir+ndjson")
        told = [json.loads(line) for line in answer.text.splitlines()]
        assert len(told) == item["count"]
        assert {one["resourceType"] for one in told} == {item["type"]}
        found.setdefault(item["type"], []).extend(told)
    return found


def exported(ehr: FhirClient, path: str = "$export", **headers: str) -> dict[str, list[dict[str, Any]]]:
    manifest = complete(ehr.partner, ask(ehr, path, **headers)).json()
    return lines(ehr.partner, manifest["output"])


def references(found: dict[str, list[dict[str, Any]]]) -> set[str]:
    return {f"{one['resourceType']}/{one['id']}" for some in found.values() for one in some}


def test_all_that_a_hospital_sent_and_what_was_made_of_it_is_in_files_of_one_type_each(
    ehr: FhirClient, children: list[dict[str, str]], hospital: Partner
) -> None:
    url = ask(ehr)
    answer = complete(hospital, url)
    assert answer.headers["Content-Type"] == "application/json"
    expires = datetime.strptime(answer.headers["Expires"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert expires > datetime.now(UTC) + timedelta(hours=23)
    manifest = answer.json()
    assert manifest["request"] == f"{ehr.base}/$export"
    assert manifest["requiresAccessToken"] is True
    assert manifest["error"] == []
    assert datetime.fromisoformat(manifest["transactionTime"]) <= datetime.now(UTC)
    found = lines(hospital, manifest["output"])
    told = {one.partition("/fhir/")[2] or one for child in children for one in child.values()}
    assert references(found) == {one for one in told if not one.startswith("Binary/")}
    [document] = found["DocumentReference"]
    attachment = document["content"][0]["attachment"]
    assert attachment["url"] == f"{ehr.base}/{children[1]['Binary']}"
    assert ehr.get(children[1]["Binary"]).json()["data"] == "JVBERi0="


def test_of_patients_is_what_is_in_their_compartments(
    ehr: FhirClient, children: list[dict[str, str]]
) -> None:
    found = exported(ehr, "Patient/$export")
    assert found.keys() == {"Patient", "ServiceRequest", "DocumentReference", "Task"}


def test_of_a_patient_who_is_named_nothing_of_another_child_is_there(
    ehr: FhirClient, children: list[dict[str, str]], hospital: Partner
) -> None:
    first, second = children
    parameters = [
        {"name": "patient", "valueReference": {"reference": first["Patient"]}},
        {"name": "_type", "valueString": "Patient,ServiceRequest"},
    ]
    answer = ehr.post({"resourceType": "Parameters", "parameter": parameters}, "/Patient/$export", **ASYNC)
    assert answer.status_code == 202, answer.text
    manifest = complete(hospital, answer.headers["Content-Location"]).json()
    assert manifest["request"] == f"{ehr.base}/Patient/$export"
    assert references(lines(hospital, manifest["output"])) == {first["Patient"], first["ServiceRequest"]}
    assert second["Patient"] not in json.dumps(manifest)


def test_a_patient_who_is_not_the_hospital_s_own_is_refused(
    gateway: GatewayProcess, other_partner: Partner, children: list[dict[str, str]]
) -> None:
    named = {"name": "patient", "valueReference": {"reference": children[0]["Patient"]}}
    other = FhirClient(gateway, other_partner)
    answer = other.post({"resourceType": "Parameters", "parameter": [named]}, "/Patient/$export", **ASYNC)
    assert answer.status_code == 400
    assert "1 of the patients are not yours" in answer.text


def test_types_a_moment_and_searches_limit_it(ehr: FhirClient, children: list[dict[str, str]]) -> None:
    assert exported(ehr, "$export?_type=Practitioner&_type=Organization").keys() == {
        "Practitioner",
        "Organization",
    }
    assert exported(ehr, "$export?_since=2100-01-01T00:00:00Z") == {}
    named = exported(
        ehr,
        "$export?_type=Organization,Patient&_typeFilter=Organization%3Fname%3DWard,Patient%3Fgender%3Dmale",
    )
    assert references(named) == {children[1]["Organization"]}


def test_what_comes_later_is_in_the_next_export_and_not_again_what_was_there(
    ehr: FhirClient, children: list[dict[str, str]], hospital: Partner
) -> None:
    first = complete(hospital, ask(ehr, "$export?_type=Organization")).json()
    answer = ehr.post(referral(organization={"resourceType": "Organization", "name": "Later"}))
    assert answer.status_code == 200, answer.text
    since = first["transactionTime"].replace("+", "%2B")
    found = exported(ehr, f"$export?_type=Organization&_since={since}")
    assert [one["name"] for one in found["Organization"]] == ["Later"]


def test_another_hospital_sees_neither_status_nor_files_and_cannot_cancel(
    ehr: FhirClient, children: list[dict[str, str]], hospital: Partner, other_partner: Partner
) -> None:
    url = ask(ehr, "$export?_type=Patient")
    manifest = complete(hospital, url).json()
    for address in (url, manifest["output"][0]["url"]):
        assert requests.get(address, headers=other_partner.headers(), timeout=20).status_code == 404
        assert requests.get(address, timeout=20).status_code == 401
    assert requests.delete(url, headers=other_partner.headers(), timeout=20).status_code == 404
    assert complete(hospital, url).status_code == 200


def test_only_types_that_the_token_may_read_and_search_are_exported_and_fetched(
    ehr: FhirClient, children: list[dict[str, str]], hospital: Partner
) -> None:
    headers = hospital.headers("system/Patient.rs system/Practitioner.r") | ASYNC
    answer = requests.get(f"{ehr.base}/$export", headers=headers, timeout=20)
    manifest = complete(hospital, answer.headers["Content-Location"]).json()
    assert [item["type"] for item in manifest["output"]] == ["Patient"]
    other = hospital.headers("system/Organization.rs")
    for address in (manifest["output"][0]["url"], answer.headers["Content-Location"]):
        assert requests.get(address, headers=other, timeout=20).status_code == 403
    refused = requests.get(f"{ehr.base}/$export?_type=Practitioner", headers=headers, timeout=20)
    assert refused.status_code == 403


def test_what_was_asked_and_what_was_fetched_is_on_the_audit_trail(
    gateway: GatewayProcess, ehr: FhirClient, children: list[dict[str, str]], hospital: Partner
) -> None:
    url = ask(ehr, "$export?_type=Patient")
    [item] = complete(hospital, url).json()["output"]
    requests.get(item["url"], headers=hospital.headers(), timeout=20)
    requests.delete(url, headers=hospital.headers(), timeout=20)
    own = f"async-request:{url.rsplit('/', 1)[1]}"
    query = "SELECT actor, action, subject FROM audit WHERE subject LIKE ? ORDER BY id"
    with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite")) as database:
        rows = database.execute(query, (f"{own}%",)).fetchall()
    actor = f"partner:{hospital.id}"
    assert rows == [
        (actor, "ask-async", own),
        ("system", "async-done", own),
        (actor, "export", f"{own}/1"),
        (actor, "cancel-async", own),
    ]


def test_files_come_in_gzip_to_who_takes_it(
    ehr: FhirClient, children: list[dict[str, str]], hospital: Partner
) -> None:
    [item] = complete(hospital, ask(ehr, "$export?_type=Patient")).json()["output"]
    plain = requests.get(item["url"], headers=hospital.headers(Accept_Encoding="identity"), timeout=20)
    assert "Content-Encoding" not in plain.headers
    assert int(plain.headers["Content-Length"]) == len(plain.content)
    headers = hospital.headers(Accept_Encoding="gzip", Accept="application/fhir+ndjson")
    with requests.get(item["url"], headers=headers, timeout=20, stream=True) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.raw.read(decode_content=False)) == plain.content
    xml = requests.get(item["url"], headers=hospital.headers(Accept="application/fhir+xml"), timeout=20)
    assert xml.status_code == 406


def test_what_was_cancelled_or_is_done_with_is_not_there_any_more(
    gateway: GatewayProcess, ehr: FhirClient, children: list[dict[str, str]], hospital: Partner
) -> None:
    url = ask(ehr, "$export?_type=Patient")
    [item] = complete(hospital, url).json()["output"]
    folder = gateway.data_dir / "objects" / "lent" / url.rsplit("/", 1)[1]
    assert folder.is_dir()
    assert requests.delete(url, headers=hospital.headers(), timeout=20).status_code == 202
    for address in (url, item["url"]):
        gone = requests.get(address, headers=hospital.headers(), timeout=20)
        assert gone.status_code == 404
        assert gone.json()["resourceType"] == "OperationOutcome"
    assert requests.delete(url, headers=hospital.headers(), timeout=20).status_code == 404
    assert not folder.exists()


@pytest.mark.parametrize(
    "path",
    [
        "$export?_outputFormat=text/csv",
        "$export?_since=soon",
        "$export?_type=Horse,Binary",
        "$export?_elements=id",
        "$export?includeAssociatedData=LatestProvenanceResources",
        "$export?patient=Patient/1",
        "Patient/$export?_type=Organization",
        "$export?_typeFilter=Horse%3Fname%3Da",
        "$export?_typeFilter=Patient%3F_sort%3Dname",
        "$export?_type=Patient&_typeFilter=Observation%3Fstatus%3Dfinal",
    ],
)
def test_what_cannot_be_honoured_refuses_it(ehr: FhirClient, path: str) -> None:
    answer = ehr.get(path, **ASYNC)
    assert answer.status_code == 400
    assert issues(answer)


def test_under_lenient_handling_it_is_left_out_and_told_in_the_export(
    ehr: FhirClient, children: list[dict[str, str]], hospital: Partner
) -> None:
    manifest = complete(hospital, ask(ehr, "$export?_type=Patient,Horse&_elements=id", **LENIENT)).json()
    assert [item["type"] for item in manifest["output"]] == ["Patient"]
    [told] = lines(hospital, manifest["error"]).values()
    words = " ".join(outcome["issue"][0]["details"]["text"] for outcome in told)
    assert "'Horse'" in words
    assert "'_elements'" in words


def test_it_is_answered_later_only(ehr: FhirClient) -> None:
    answer = ehr.get("$export")
    assert answer.status_code == 400
    assert "respond-async" in answer.text


@pytest.mark.parametrize("path", ["$export", "Patient/$export"])
def test_a_head_begins_none(ehr: FhirClient, path: str) -> None:
    headers = ehr.partner.headers() | ASYNC
    answer = requests.head(f"{ehr.base}/{path}", headers=headers, timeout=20)
    assert (answer.status_code, answer.headers["Allow"].split(", ")[:2]) == (405, ["GET", "POST"])
    assert "Content-Location" not in answer.headers


def test_a_group_has_no_export(ehr: FhirClient) -> None:
    assert ehr.get("Group/1/$export", **ASYNC).status_code == 405


@pytest.mark.parametrize(
    "name", ["ndjson", "application/ndjson", "application/fhir%2Bndjson", "application/fhir+ndjson"]
)
def test_ndjson_has_three_names(ehr: FhirClient, name: str, hospital: Partner) -> None:
    url = ask(ehr, f"$export?_type=Organization&_outputFormat={name}")
    assert requests.delete(url, headers=hospital.headers(), timeout=20).status_code == 202
