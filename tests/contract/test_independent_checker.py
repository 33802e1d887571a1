"""Medplum's validator (Apache-2.0, by others) finds nothing wrong in anything that the gateway sends out."""

import json
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gateway.case.subscription import Content, Event, NotificationType, SubscriptionStatus, Topic
from mappings.case_to_task import to_task
from mappings.operation_definitions import operation_definitions
from mappings.opinion_to_report import report_of, to_diagnostic_report
from mappings.own_profiles import claim
from mappings.own_terminology import code_systems, value_sets
from mappings.report_to_bundle import to_transaction
from mappings.search_parameter_resources import search_parameter_resources
from mappings.structure_definitions import structure_definitions
from mappings.study_to_imaging_study import to_imaging_study
from mappings.subscription_notification import Told, to_entry, to_notification, to_searchset, to_status
from mappings.subscription_topics import TOPICS, to_basic
from tests.protocol.test_fhir_messages import message
from tests.support.bundles import PDF, FhirClient, document_reference, patient, referral, wait_for
from tests.support.gateway_process import SPECIALIST, GatewayProcess
from tests.support.hospital import Scene
from tests.support.reviewed_case import CT, OPINION, PROGRAMME, SIGNED_AT, reviewed_case
from tests.support.subscriber import subscription

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
CHECKER = ROOT / "tests" / "checker"


def is_of_the_checker(expression: str, words: str) -> bool:
    """What it does not look at as R4 does, by its source.

    It does not look for a reference by fullUrl among the entries of its bundle (2.36.4.1), takes the scheme of an
    absolute one for the type (2.3.0.1), and tells slices apart by the type of the value itself only, not by that of an
    element of it (5.1.0.13).
    """
    absolute = tuple(f'Invalid reference: got "{scheme}:' for scheme in ("urn:uuid", "http", "https"))
    return words.startswith(absolute) or (expression == "Bundle.entry" and "provided for slice" in words)


def check(resources: dict[str, Json]) -> list[tuple[str, str, str]]:
    """(name, expression, words) of everything that it finds."""
    lines = "\n".join(json.dumps({"name": name, "resource": one}) for name, one in resources.items())
    done = subprocess.run(
        ["node", "check.mjs"],
        cwd=CHECKER,
        input=lines,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told = map(json.loads, done.stdout.splitlines())
    found = [(t["name"], t["expression"], t["text"]) for t in told]
    return [one for one in found if not is_of_the_checker(*one[1:])]


def definitions() -> Iterator[tuple[str, Json]]:
    for made in (structure_definitions(), operation_definitions(), code_systems(), value_sets()):
        yield from ((one["url"], one) for one in made.values())
    yield from ((f"topic {topic}", to_basic(one)) for topic, one in TOPICS.items())
    yield from ((f"SearchParameter {name}", one) for name, one in search_parameter_resources().items())


def examples() -> Iterator[tuple[str, Json]]:
    for file in [
        *(ROOT / "conformance" / "examples").glob("*.json"),
        *(ROOT / "conformance" / "fhir").glob("*.json"),
    ]:
        yield file.name, json.loads(file.read_bytes())


def inner_parts() -> Iterator[tuple[str, Json]]:
    """What stands inside others and is promised all the same, each by itself."""
    for one in pushed()["entry"][-1]["resource"]["contained"]:
        if one["resourceType"] == "DetectedIssue":
            yield one["id"], one | {"meta": claim("finding")}
    example = json.loads((ROOT / "conformance" / "examples" / "referral-transaction.json").read_bytes())
    [request] = [e["resource"] for e in example["entry"] if e["resource"]["resourceType"] == "ServiceRequest"]
    yield "request", request | {"meta": claim("referral-request")}


def notifications() -> Iterator[tuple[str, Json]]:
    """What a subscriber is told, of each kind and with each content."""
    base, at = "https://opinions.example.org/fhir", SIGNED_AT
    task = to_task(reviewed_case(), base, PROGRAMME)
    event = Event(1, at, f"Task/{task['id']}", "Task/SO-22222222", task["id"])
    for topic, content, kind in product(Topic, Content, NotificationType):
        events = (event,) if kind in (NotificationType.EVENT, NotificationType.QUERY_EVENT) else ()
        told = Told("s1", topic, SubscriptionStatus.ACTIVE, content, 1, "The subscriber answered 503.")
        status = to_status(told, kind, str(uuid4()), base, events)
        full = events if content is Content.FULL_RESOURCE else ()
        entries = [to_entry(one.focus, task, topic, base) for one in full]
        yield f"{kind} of {topic}, {content}", to_notification(status, str(uuid4()), at, entries)
        yield f"$status of {topic}, {content}", to_searchset([status], str(uuid4()), at, f"{base}/$status")


def pushed() -> Json:
    """What goes to a hospital's own server."""
    report = report_of(reviewed_case(), OPINION, SIGNED_AT, PROGRAMME)
    made = to_diagnostic_report(report, "https://opinions.example.org/fhir", b"<p/>", PDF)
    study = to_imaging_study(CT, "Patient/p1", "https://opinions.example.org/dicom-web")
    request = referral()["entry"][2]["resource"]
    return to_transaction(made, patient("7") | {"id": "p1"}, request, [study])


def signed_case(scene: Scene) -> str:
    """A case with a question to the hospital, waived findings and a signed report."""
    mrn = uuid4().hex[:10]
    sent = referral(mrn, document=document_reference(PDF[:40]), practitioner=None)
    del sent["entry"][1]["resource"]["requester"]
    case_id = scene.ehr.open_case(sent)
    wait_for(lambda: len(scene.intake.case(case_id)["findings"]) >= 2)
    [specialist] = [
        u for u in scene.intake.get("users?role=specialist")["users"] if u["name"] == SPECIALIST.name
    ]
    ids = [finding["id"] for finding in scene.intake.case(case_id)["findings"]]
    assert scene.intake.post(f"cases/{case_id}/ask", text="Who asks?", finding_ids=ids[:1]).ok
    for finding_id in ids:
        waived = {"finding_id": finding_id, "because": "The hospital has none."}
        assert scene.intake.post(f"cases/{case_id}/waive", **waived).ok
    for path, body in (("accept", {}), ("assign", {"specialist_id": specialist["id"]})):
        assert scene.intake.post(f"cases/{case_id}/{path}", **body).ok
    assert scene.specialist.post(f"cases/{case_id}/draft", conclusion="Resectable.").ok
    assert scene.specialist.sign(case_id).ok
    return case_id


def answers(scene: Scene) -> Iterator[tuple[str, Json]]:
    """One of each kind of answer on the wire."""
    ehr, case_id = scene.ehr, signed_case(scene)
    child = ehr.task(case_id)["for"]["reference"]
    for path in (
        "metadata",
        "$versions",
        f"Task/{case_id}",
        f"Task?_id={case_id}&_include=*&_revinclude=Task:part-of",
        "DiagnosticReport?_sort=-_lastUpdated&_count=3&_include=*",
        f"{child}/$everything",
        f"{child}/_history",
        "Patient?unknown=1",
        "Patient/none",
        "Patient?birthdate=then",
    ):
        yield path, ehr.get(path).json()
    unreadable = referral(document=document_reference(None)) | {"meta": claim("referral-transaction")}
    sent = subscription("report", "https://hook.hospital.example/notifications")
    created = ehr.post(sent, "/Subscription").json()
    yield "Subscription", created
    yield "$events", ehr.get(f"Subscription/{created['id']}/$events").json()
    yield "$status", ehr.get("Subscription/$status").json()
    yield "$check", ehr.post(unreadable, "/$check").json()
    yield "$validate", ehr.post({"resourceType": "Patient", "gender": "girl"}, "/Patient/$validate").json()
    yield "transaction-response", ehr.post(referral()).json()
    yield "batch-response", ehr.post(referral(bundle_type="batch")).json()
    yield "Task of a collection", ehr.post(referral(bundle_type="collection")).json()
    yield "refused", ehr.post(referral(request={"resourceType": "ServiceRequest"})).json()
    yield "response message", ehr.post(message()).json()
    faulty = message()
    faulty["entry"] = faulty["entry"][:1]
    yield "refused message", ehr.post(faulty, "/$process-message").json()
    yield "with each resource", ehr.post(referral(), Prefer="return=representation").json()
    yield "later", later(ehr, referral())
    yield "later, refused", later(ehr, referral(request={"resourceType": "ServiceRequest"}))
    yield "later, a message", later(ehr, message(), "/$process-message")


def later(ehr: FhirClient, body: Json, path: str = "") -> Json:
    """The answer to what need not be answered at once."""
    url = (
        ehr.post(body, path, Prefer="respond-async").headers["Content-Location"].removeprefix(f"{ehr.base}/")
    )
    wait_for(lambda: ehr.get(url).status_code == 200)
    found: Json = ehr.get(url).json()
    return found


@pytest.fixture(scope="module")
def found(gateway: GatewayProcess) -> list[tuple[str, str, str]]:
    """Everything sent, and three that are broken, in one run: reading HL7's definitions takes a second.

    To a hospital of its own: what others sent goes out as it came.
    """
    sent = dict(answers(Scene(gateway, gateway.add_partner("hospital-checked"))))
    reports = [
        e["resource"] for e in sent["DiagnosticReport?_sort=-_lastUpdated&_count=3&_include=*"]["entry"]
    ]
    assert any(one["resourceType"] == "DiagnosticReport" and len(one["contained"]) > 2 for one in reports)
    report = next(one for one in reports if one["resourceType"] == "DiagnosticReport")
    task = {k: v for k, v in sent["Task of a collection"].items() if k != "businessStatus"}
    profile = json.loads(json.dumps(structure_definitions()["finding"]))
    del profile["snapshot"]["element"][3]["definition"]
    broken = {
        "broken task": task,
        "broken profile": profile | {"derivation": "specialization"},
        "broken report": report | {"presentedForm": report["presentedForm"][:1] * 2},
    }
    made = {"pushed": pushed(), **dict(inner_parts()), **dict(notifications())}
    return check({**dict(definitions()), **dict(examples()), **made, **sent, **broken})


def test_nothing_is_wrong_in_what_is_sent_out(found: list[tuple[str, str, str]]) -> None:
    assert [one for one in found if not one[0].startswith("broken")] == []


def test_what_breaks_a_rule_of_r4_or_an_own_profile_is_noticed(found: list[tuple[str, str, str]]) -> None:
    assert {name for name, _, _ in found} >= {"broken task", "broken profile", "broken report"}
