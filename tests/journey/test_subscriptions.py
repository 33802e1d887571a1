"""A hospital subscribes, and is told of its case from referral to report: over the wire, at the running gateway."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests

from gateway.fhir.validate import findings
from tests.support.bundles import FhirClient, imaging_study, referral, wait_for
from tests.support.gateway_process import GatewayProcess
from tests.support.hospital import Scene, images
from tests.support.partner import Partner
from tests.support.subscriber import Subscriber, events, foci, numbers, said, subscription

Json = dict[str, Any]


@pytest.fixture(scope="module")
def subscriber() -> Iterator[Subscriber]:
    with Subscriber() as server:
        yield server


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess, subscriber: Subscriber) -> Scene:
    """A hospital whose FHIR endpoint, and with it the host of its hook, the operator has registered."""
    options = ("--fhir-endpoint", subscriber.url)
    return Scene(gateway, gateway.add_partner("subscribing-hospital", options=options))


def subscribe(scene: Scene, resource: Json) -> str:
    """Until the handshake is answered; the Subscription's id."""
    answer = scene.ehr.post(resource, "/Subscription")
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"] == "requested"
    subscription_id: str = answer.json()["id"]
    wait_for(lambda: read(scene, subscription_id)["status"] == "active")
    return subscription_id


def read(scene: Scene, subscription_id: str) -> Json:
    found: Json = scene.ehr.get(f"Subscription/{subscription_id}").json()
    return found


def delete(scene: Scene, subscription_id: str) -> requests.Response:
    headers = scene.ehr.partner.headers()
    return requests.delete(f"{scene.ehr.base}/Subscription/{subscription_id}", headers=headers, timeout=60)


def test_a_hospital_is_told_of_its_case_from_referral_to_report_and_fetches_what_it_missed(
    scene: Scene, subscriber: Subscriber, other_partner: Partner
) -> None:
    status = subscribe(scene, subscription("case-status", subscriber.hook))
    question = subscribe(scene, subscription("question", subscriber.hook, "empty"))
    report = subscribe(scene, subscription("report", subscriber.hook, "full-resource"))
    assert len(subscriber.of("handshake")) == 3
    assert {said(one)["status"] for one in subscriber.taken} == {"requested"}
    assert {said(one)["events-since-subscription-start"] for one in subscriber.taken} == {"0"}

    mrn, study = uuid4().hex[:10], f"2.25.{uuid4().int}"[:40]
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {f"{study}.1": 1})))
    [opened] = subscriber.wait_for("event-notification")
    assert (numbers(opened), foci(opened)) == ([1], [f"Task/{case_id}"])
    assert said(opened)["subscription"]["reference"] == f"{scene.ehr.base}/Subscription/{status}"
    stranger = FhirClient(scene.gateway, other_partner)
    stranger.open_case(referral(uuid4().hex[:10]))

    scene.wait_for_checks(case_id, "study-not-received")
    [finding] = scene.intake.findings(case_id)
    asked = {"text": "Please send the CT.", "finding_ids": [finding["id"]]}
    assert scene.intake.post(f"cases/{case_id}/ask", **asked).ok
    subscriber.wait_for("event-notification", 3)
    [told] = [one for one in subscriber.of("event-notification") if question in str(one)]
    assert numbers(told) == [1]
    assert case_id not in str(told)
    assert "Task/" not in str(told)

    subscriber.status = 503
    scene.pacs.store(*images(mrn, 1, study, f"{study}.1"))
    wait_for(lambda: scene.intake.case(case_id)["status"] == "received")
    scene.wait_for_checks(case_id)
    wait_for(lambda: subscriber.refused)
    scene.sign(case_id)
    missed = scene.ehr.get(f"Subscription/{status}/$events?eventsSinceNumber=3&eventsUntilNumber=5").json()
    assert said(missed)["type"] == "query-event"
    assert (numbers(missed), foci(missed)) == ([3, 4, 5], [f"Task/{case_id}"] * 3)

    subscriber.status = 200
    wait_for(lambda: any(report in str(one) for one in subscriber.of("event-notification")))
    wait_for(lambda: sorted(n for one in of(subscriber, status) for n in numbers(one)) == list(range(1, 9)))
    [signed] = of(subscriber, report)
    resource = signed["entry"][1]["resource"]
    assert resource == scene.ehr.get(f"DiagnosticReport/{resource['id']}").json()
    assert resource["conclusion"] == "Resectable."
    assert events(signed)[0]["additional-context"]["reference"].endswith(f"/Task/{case_id}")
    for bundle in subscriber.taken:
        assert [i for i in findings(bundle) if i.severity == "error"] == []
        assert case_id in str(bundle) or said(bundle)["type"] == "handshake" or question in str(bundle)
        assert "Okafor" not in str(bundle) or report in str(bundle)
    assert {h["Authorization"] for p, h, _ in subscriber.received if p == "/notifications"} == {
        "Bearer secret-of-the-hook"
    }
    [one] = scene.ehr.get(f"Subscription/{status}/$status").json()["entry"]
    told = {p["name"]: p for p in one["resource"]["parameter"]}
    assert told["events-since-subscription-start"]["valueString"] == "8"
    assert (told["type"]["valueCode"], told["status"]["valueCode"]) == ("query-status", "active")
    asked = {"resourceType": "Parameters", "parameter": [{"name": "id", "valueId": status}]}
    of_type = scene.ehr.post(asked, "/Subscription/$status").json()
    assert (of_type["type"], of_type["total"]) == ("searchset", 1)
    assert [i for i in findings(of_type) if i.severity == "error"] == []
    assert scene.ehr.get("Subscription/$status?status=active").json()["total"] == 3
    assert scene.ehr.get("Subscription/$status?status=error,off").json()["total"] == 0
    assert scene.ehr.get("Subscription?status=active").json()["total"] == 3
    assert [i for i in findings(read(scene, status)) if i.severity == "error"] == []
    trail = scene.gateway.command("subscription", "list").stdout
    assert f"{status}\tactive\t" in trail
    assert stranger.get(f"Subscription/{status}").status_code == 404
    assert stranger.get(f"Subscription/{status}/$events").status_code == 404
    assert delete(scene, status).status_code == 204
    assert scene.ehr.get(f"Subscription/{status}").status_code == 404


def of(subscriber: Subscriber, subscription_id: str) -> list[Json]:
    """The event notifications of one subscription, in the order in which they came."""
    return [one for one in subscriber.of("event-notification") if subscription_id in str(one)]
