"""Subscriptions at the door and what is sent to subscribers, whatever their servers do (R5 Backport 1.1.0)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from random import Random
from typing import Any
from uuid import uuid4

import pytest
import requests

from gateway.case.access import NO_ORIGIN, Partner
from gateway.case.model import Demographics, Record, Source
from gateway.case.status import CaseStatus
from gateway.clock import utc_now
from gateway.config import Config
from gateway.errors import Conflict, InvalidContent, NotFound, PeerRefused, PeerUnreachable
from gateway.fhir.validate import findings
from gateway.fhir.xml_format import read_xml
from gateway.processes import prepare
from gateway.senders.notification import post_notification
from gateway.services import Services, build_services
from gateway.store import cases, partners, subscriptions
from gateway.store.partners import Registration
from gateway.store.resources import dumps
from gateway.store.tables import AuditRow, CaseRow, SubscriptionRow
from gateway.workflow import notify, notify_send, notify_subscribe
from tests.protocol.test_fhir_any_value import VALUES
from tests.support.any_value import places, put
from tests.support.bundles import FhirClient, issues, referral
from tests.support.fhir_receiver import Answer
from tests.support.gateway_process import GatewayProcess, free_port
from tests.support.partner import Partner as Hospital
from tests.support.subscriber import (
    EXTENSION,
    TOPIC,
    Subscriber,
    events,
    filtered_by,
    foci,
    numbers,
    said,
    subscription,
)

Json = dict[str, Any]
WRONG_CONTENT = {"extension": [{"url": f"{EXTENSION}payload-content", "valueCode": "everything"}]}
PUBLIC = "https://hook.hospital.invalid/notifications"


# --- at the door ---


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess, partner: Hospital) -> FhirClient:
    """Of a hospital of which no endpoint is registered."""
    return FhirClient(gateway, partner)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"criteria": "http://example.org/topic/admission"}, "Subscription.criteria"),
        ({"criteria": "Task?status=completed"}, "Subscription.criteria"),
        ({"criteria": f"{TOPIC}case-status|9.0"}, "Subscription.criteria"),
        ({"status": "error"}, "Subscription.status"),
        ({"status": "off"}, "Subscription.status"),
        ({"end": "2020-01-01T00:00:00Z"}, "Subscription.end"),
        ({"_criteria": filtered_by("Task?owner=Organization/1")}, "Subscription.criteria.extension"),
        ({"_criteria": filtered_by("Observation?patient=Patient/1")}, "Subscription.criteria.extension"),
        ({"channel": {"type": "websocket"}}, "Subscription.channel.type"),
        (
            {
                "channel": {
                    "_type": {
                        "extension": [{"url": f"{EXTENSION}channel-type", "valueCoding": {"code": "zulip"}}]
                    }
                }
            },
            "Subscription.channel.type",
        ),
        ({"channel": {"payload": "text/plain"}}, "Subscription.channel.payload"),
        ({"channel": {"_payload": WRONG_CONTENT}}, "Subscription.channel.payload"),
        (
            {"channel": {"extension": [{"url": f"{EXTENSION}heartbeat-period", "valueUnsignedInt": 5}]}},
            "Subscription.channel.extension",
        ),
        ({"channel": {"header": ["Host: inner.example"]}}, "Subscription.channel.header"),
        ({"channel": {"header": ["X-A: b\r\nX-C: d"]}}, "Subscription.channel.header"),
        ({"channel": {"endpoint": "http://hook.hospital.example/"}}, "Subscription.channel.endpoint"),
        ({"channel": {"endpoint": "https://10.1.2.3/hook"}}, "Subscription.channel.endpoint"),
        ({"channel": {"endpoint": "https://169.254.169.254/latest"}}, "Subscription.channel.endpoint"),
        ({"channel": {"endpoint": "https://[::ffff:127.0.0.1]/"}}, "Subscription.channel.endpoint"),
        ({"channel": {"endpoint": "http://127.0.0.1:8080/"}}, "Subscription.channel.endpoint"),
        ({"channel": {"endpoint": "https://localhost/"}}, "Subscription.channel.endpoint"),
        ({"channel": {"endpoint": "https://user:pw@hook.example/"}}, "Subscription.channel.endpoint"),
        ({"channel": {"endpoint": "mailto:someone@hospital.example"}}, "Subscription.channel.endpoint"),
        ({"channel": None}, "Subscription.channel"),
    ],
)
def test_what_cannot_be_had_is_refused_with_its_place(ehr: FhirClient, changes: Json, where: str) -> None:
    sent = subscription("case-status", PUBLIC)
    for name, value in changes.items():
        sent[name] = sent[name] | value if isinstance(value, dict) and name == "channel" else value
    sent = {name: value for name, value in sent.items() if value is not None}
    answer = ehr.post(sent, "/Subscription")
    assert answer.status_code == 400, answer.text
    assert where in [place for place, _ in issues(answer)]


def test_every_fault_is_told_at_once(ehr: FhirClient) -> None:
    channel = {"payload": "text/plain", "type": "sms", "_payload": WRONG_CONTENT}
    answer = ehr.post(subscription("nothing", PUBLIC, channel=channel), "/Subscription")
    places = {place for place, _ in issues(answer)}
    assert places == {"Subscription.criteria", "Subscription.channel.type", "Subscription.channel.payload"}


def test_only_a_subscription_of_r4_is_taken_there_and_none_inside_a_bundle(ehr: FhirClient) -> None:
    r5 = {
        "resourceType": "Subscription",
        "status": "requested",
        "topic": f"{TOPIC}report",
        "endpoint": PUBLIC,
    }
    r5_type = {"Content-Type": "application/fhir+json; fhirVersion=5.0"}
    assert ehr.post(r5, "/Subscription", **r5_type).status_code == 400
    assert ehr.post({"resourceType": "Patient"}, "/Subscription").status_code == 400
    bundle = referral(uuid4().hex[:10], subscription=subscription("report", PUBLIC))
    answer = ehr.post(bundle)
    assert answer.status_code == 400
    assert any("POST to [base]/Subscription" in words for _, words in issues(answer))


def test_who_may_not_read_what_events_are_about_may_not_subscribe_to_it(
    gateway: GatewayProcess, partner: Hospital
) -> None:
    def post(scope: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {partner.token(scope)}", "Content-Type": "application/fhir+json"}
        body = json.dumps(subscription("report", PUBLIC))
        return requests.post(f"{gateway.fhir_url}/Subscription", body, headers=headers, timeout=60)

    assert post("system/DiagnosticReport.r").status_code == 403
    assert post("system/Subscription.cruds system/Task.r").status_code == 403


def test_a_number_beyond_31_bits_is_never_a_failure(ehr: FhirClient) -> None:
    for name, kind in (
        ("heartbeat-period", "valueUnsignedInt"),
        ("timeout", "valueUnsignedInt"),
        ("max-count", "valuePositiveInt"),
    ):
        channel = {"extension": [{"url": f"{EXTENSION}{name}", kind: 10**30}]}
        answer = ehr.post(subscription("report", PUBLIC, channel=channel), "/Subscription")
        assert answer.status_code in (201, 400), answer.text


def test_no_value_anywhere_makes_it_fail(ehr: FhirClient) -> None:
    chance = Random("any value in a subscription")
    sent = subscription("report", PUBLIC, _criteria=filtered_by("patient=p1"), end="2040-01-01T00:00:00Z")
    for _ in range(80):
        body = dumps(put(sent, chance.choice(places(sent)), chance.choice(VALUES)))
        answer = ehr.post(body, "/Subscription")
        assert answer.status_code in (201, 400, 415), (answer.text, body)
        if answer.status_code == 201:
            url = f"{ehr.base}/Subscription/{answer.json()['id']}"
            assert requests.delete(url, headers=ehr.partner.headers(), timeout=60).status_code == 204


@pytest.mark.parametrize("release", ["3.0", "4.0", "4.3", "5.0"])
def test_one_is_read_and_told_of_in_every_release(ehr: FhirClient, release: str) -> None:
    created = ehr.post(subscription("report", PUBLIC), "/Subscription", Prefer="return=minimal")
    assert (created.status_code, created.content) == (201, b"")
    own_id = created.headers["Location"].split("/")[-3]
    accept = {"Accept": f"application/fhir+json; fhirVersion={release}"}
    for path in ("", "/$status", "/$events", "/_history"):
        answer = ehr.get(f"Subscription/{own_id}{path}", **accept)
        assert (answer.status_code, answer.headers["Content-Type"].split(";")[1]) == (
            200,
            f" fhirVersion={release}",
        )
    url = f"{ehr.base}/Subscription/{own_id}"
    assert requests.delete(url, headers=ehr.partner.headers(), timeout=60).status_code == 204


def test_profile_and_tags_that_it_was_sent_with_stay(ehr: FhirClient) -> None:
    meta = {"profile": ["http://example.org/p"], "tag": [{"code": "mine"}], "versionId": "7"}
    made = ehr.post(subscription("report", PUBLIC) | {"meta": meta}, "/Subscription").json()
    url = f"{ehr.base}/Subscription/{made['id']}"
    assert requests.delete(url, headers=ehr.partner.headers(), timeout=60).status_code == 204
    assert made["meta"] == {**meta, "versionId": "1", "lastUpdated": made["meta"]["lastUpdated"]}


def test_what_is_not_there_is_not_made_by_put_and_not_deleted(ehr: FhirClient) -> None:
    sent = subscription("report", PUBLIC) | {"id": "nothing"}
    headers = ehr.partner.headers() | {"Content-Type": "application/fhir+json"}
    url = f"{ehr.base}/Subscription/nothing"
    assert requests.put(url, json.dumps(sent), headers=headers, timeout=60).status_code == 405
    assert requests.put(url, json.dumps(sent | {"id": "x"}), headers=headers, timeout=60).status_code == 400
    assert requests.delete(url, headers=headers, timeout=60).status_code == 404
    for path in ("Subscription/nothing/$status", "Subscription/nothing/$events", "Subscription/nothing"):
        assert ehr.get(path).status_code == 404
    assert ehr.get("Subscription/$status?status=asleep").status_code == 400


def test_each_topic_is_announced_by_its_canonical_url_and_described_as_a_basic(ehr: FhirClient) -> None:
    [rest] = ehr.get("metadata").json()["rest"]
    offered = next(r for r in rest["resource"] if r["type"] == "Subscription")
    canonicals = {one["valueCanonical"] for one in offered["extension"]}
    assert canonicals == {f"{TOPIC}case-status", f"{TOPIC}question", f"{TOPIC}report"}
    found = ehr.get("Basic?code=SubscriptionTopic").json()["entry"]
    described = {e["resource"]["extension"][0]["valueUri"] for e in found}
    assert described == canonicals
    for entry in found:
        assert [i for i in findings(entry["resource"]) if i.severity == "error"] == []


# --- what is sent ---


@dataclass
class Scene:
    """A hospital whose hook's host is registered, at a gateway whose worker is this test."""

    services: Services
    subscriber: Subscriber
    partner: Partner
    row_id: str = ""

    def subscribe(self, topic: str = "case-status", content: str = "id-only", **changes: Any) -> str:
        """Requested; the handshake is not sent yet."""
        sent = subscription(topic, self.subscriber.hook, content, **changes)
        self.row_id = notify_subscribe.subscribe(self.services, self.partner, sent, NO_ORIGIN).id
        return self.row_id

    def activate(self, *wanted: Any, **changes: Any) -> str:
        self.subscribe(*wanted, **changes)
        assert self.attempt() is True
        assert self.row().status == "active"
        return self.row_id

    def change(self, **changes: Any) -> None:
        sent = subscription(self.row().topic, self.subscriber.hook, **changes)
        notify_subscribe.change(self.services, self.partner, self.row_id, sent, "", NO_ORIGIN)

    def attempt(self, *, last: bool = False) -> bool:
        return notify_send.attempt(self.services, f"{self.row_id}/{self.row().round}", last)

    def row(self) -> SubscriptionRow:
        with self.services.database.reading() as session:
            return subscriptions.row(session, self.row_id)

    def set(self, **columns: Any) -> None:
        with self.services.database.transaction() as session:
            row = subscriptions.row(session, self.row_id, lock=True)
            for name, value in columns.items():
                setattr(row, name, value)

    def open_case(self, patient: str = "p1") -> str:
        with self.services.database.transaction() as session:
            row = cases.open_case(session, self.partner, f"ServiceRequest/{patient}", utc_now())
            source = Source("receipt", "0" * 64, "Bundle", reference=f"Patient/{patient}")
            cases.set_record(row, Record(patient=Demographics(source=source)))
            notify.tell_status(self.services, session, row)
            return row.id

    def move(self, case_id: str, status: CaseStatus) -> None:
        with self.services.database.transaction() as session:
            row = session.get_one(CaseRow, case_id)
            row.status = status
            notify.tell_status(self.services, session, row)
            notify.tell_status(self.services, session, row)

    def audited(self) -> list[tuple[str, str | None, Any]]:
        with self.services.database.reading() as session:
            rows = session.query(AuditRow).filter(AuditRow.subject == f"subscription:{self.row_id}")
            return [(r.action, r.case_id, r.detail.get("event")) for r in rows.order_by(AuditRow.id)]

    def register(self, **fields: Any) -> None:
        with self.services.database.transaction() as session:
            partners.change(session, replace(partners.get(session, self.partner.id, lock=True), **fields))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    config = Config(data_dir=tmp_path_factory.mktemp("notify"), http_port=free_port())
    prepare.migrate(config)
    return build_services(config)


@pytest.fixture(scope="module")
def server() -> Iterator[Subscriber]:
    with Subscriber() as running:
        yield running


@pytest.fixture
def scene(services: Services, server: Subscriber) -> Scene:
    server.status, server.taken, server.refused, server.received = 200, [], [], []
    new = Registration(f"hospital-{uuid4().hex[:10]}", "Hospital", notify_endpoints=(server.url,))
    with services.database.transaction() as session:
        partners.add(session, new)
        return Scene(services, server, partners.get(session, new.id).partner)


def test_the_handshake_makes_it_active_and_each_notification_is_on_the_trail(scene: Scene) -> None:
    scene.subscribe()
    assert scene.row().status == "requested"
    assert scene.attempt() is True
    assert scene.row().status == "active"
    case_id = scene.open_case()
    assert scene.attempt() is True
    assert [(said(one)["type"], said(one)["status"]) for one in scene.subscriber.taken] == [
        ("handshake", "requested"),
        ("event-notification", "active"),
    ]
    assert scene.audited() == [("subscribe", None, None), ("notify", None, None), ("notify", case_id, 1)]


@pytest.mark.parametrize("status", [404, 500, 302])
def test_a_handshake_that_fails_is_an_error_until_the_hospital_asks_again(scene: Scene, status: int) -> None:
    scene.subscriber.status = status
    scene.subscribe()
    assert scene.attempt() is True
    assert (scene.row().status, scene.row().last_error) == ("error", f"The subscriber answered {status}.")
    case_id = scene.open_case()
    assert scene.attempt() is True
    assert (len(scene.subscriber.refused), scene.subscriber.taken) == (1, []) if status != 302 else True
    scene.subscriber.status = 200
    scene.change()
    assert scene.attempt() is True
    assert (scene.row().status, scene.row().last_error) == ("active", "")
    assert [foci(one) for one in scene.subscriber.of("event-notification")] == [[f"Task/{case_id}"]]


def test_events_are_numbered_without_gaps_and_no_more_are_in_one_than_wanted(scene: Scene) -> None:
    channel = {"extension": [{"url": f"{EXTENSION}max-count", "valuePositiveInt": 2}]}
    scene.activate(channel=channel)
    case_id = scene.open_case()
    for status in (CaseStatus.ACCEPTED, CaseStatus.ASSIGNED, CaseStatus.ASSIGNED, CaseStatus.IN_REVIEW):
        scene.move(case_id, status)
    assert scene.attempt() is True
    told = scene.subscriber.of("event-notification")
    assert [numbers(one) for one in told] == [[1, 2], [3, 4]]
    assert [said(one)["events-since-subscription-start"] for one in told] == ["2", "4"]


def test_while_the_server_is_down_events_are_counted_and_then_sent_in_their_order(scene: Scene) -> None:
    scene.activate()
    scene.subscriber.status = 503
    case_id = scene.open_case()
    assert scene.attempt() is False
    assert (scene.row().status, scene.row().last_error) == ("active", "The subscriber answered 503.")
    scene.move(case_id, CaseStatus.ACCEPTED)
    assert scene.attempt() is False
    scene.subscriber.status = 200
    assert scene.attempt() is True
    assert scene.subscriber.numbers() == [1, 2]
    assert (scene.row().last_error, scene.row().failing_since) == ("", None)
    assert ("notify-delayed", case_id, 1) in scene.audited()


def test_an_event_while_it_fails_is_tried_at_once_and_only_its_own_try_goes_on(scene: Scene) -> None:
    scene.activate()
    scene.subscriber.status = 503
    case_id = scene.open_case()
    earlier = scene.row().round
    assert scene.attempt() is False
    scene.move(case_id, CaseStatus.ACCEPTED)
    assert scene.row().round == earlier + 1
    scene.subscriber.status = 200
    assert notify_send.attempt(scene.services, f"{scene.row_id}/{earlier}", False) is True
    assert scene.subscriber.numbers() == []
    assert scene.attempt() is True
    assert scene.subscriber.numbers() == [1, 2]


def test_the_last_try_ends_in_an_error_that_a_person_sees_and_nothing_is_lost(scene: Scene) -> None:
    scene.activate()
    scene.subscriber.status = 503
    case_id = scene.open_case()
    assert scene.attempt(last=True) is True
    assert scene.row().status == "error"
    assert scene.audited()[-1] == ("notify-failed", case_id, 1)
    scene.move(case_id, CaseStatus.ACCEPTED)
    assert scene.row().events == 2
    scene.subscriber.status = 200
    assert scene.attempt() is True
    assert scene.subscriber.numbers() == []
    scene.change()
    assert scene.attempt() is True
    assert scene.subscriber.numbers() == [1, 2]
    assert said(scene.subscriber.of("handshake")[-1])["events-since-subscription-start"] == "2"


def test_a_server_that_has_failed_for_days_is_given_up_whichever_try_it_is(scene: Scene) -> None:
    scene.activate()
    scene.subscriber.status = 503
    scene.open_case()
    scene.set(failing_since=utc_now() - timedelta(days=6))
    assert scene.attempt() is True
    assert scene.row().status == "error"


def test_a_server_that_is_gone_is_given_up_at_once(scene: Scene) -> None:
    scene.activate()
    scene.subscriber.status = 410
    scene.open_case()
    assert scene.attempt() is True
    assert scene.row().status == "error"


def test_who_is_sending_is_not_joined_by_another(scene: Scene) -> None:
    scene.activate()
    scene.open_case()
    scene.set(busy_until=utc_now() + timedelta(minutes=1))
    assert scene.attempt() is False
    assert scene.subscriber.numbers() == []
    scene.set(busy_until=utc_now() - timedelta(seconds=1))
    assert scene.attempt() is True
    assert scene.subscriber.numbers() == [1]


def test_a_heartbeat_is_sent_when_nothing_was_for_the_period_and_is_no_event(scene: Scene) -> None:
    channel = {"extension": [{"url": f"{EXTENSION}heartbeat-period", "valueUnsignedInt": 3600}]}
    scene.activate(channel=channel)
    scene.open_case()
    assert scene.attempt() is True
    assert scene.subscriber.of("heartbeat") == []
    scene.set(tried_at=utc_now() - timedelta(hours=1))
    notify_send.sweep(scene.services)
    assert scene.attempt() is True
    [beat] = scene.subscriber.of("heartbeat")
    assert (said(beat)["events-since-subscription-start"], events(beat)) == ("1", [])
    assert [i for i in findings(beat) if i.severity == "error"] == []
    scene.set(tried_at=utc_now() - timedelta(hours=1))
    scene.subscriber.status = 503
    assert scene.attempt() is True
    assert (scene.row().status, scene.row().last_error) == ("active", "The subscriber answered 503.")


def test_it_ends_at_its_end_and_when_it_is_deleted(scene: Scene) -> None:
    scene.activate(end=(utc_now() + timedelta(days=1)).isoformat())
    scene.open_case()
    scene.set(end_at=utc_now() - timedelta(seconds=1))
    assert scene.attempt() is True
    scene.open_case()
    notify_send.sweep(scene.services)
    assert (scene.row().status, scene.row().events, scene.subscriber.numbers()) == ("off", 1, [])
    scene.activate()
    scene.open_case()
    notify_subscribe.unsubscribe(scene.services, scene.partner, scene.row_id, NO_ORIGIN)
    assert scene.attempt() is True
    scene.open_case()
    assert (scene.row().events, scene.subscriber.numbers()) == (1, [])
    with pytest.raises(NotFound):
        scene.change()


def test_switched_off_it_is_sent_nothing_and_requested_again_it_goes_on(scene: Scene) -> None:
    scene.activate()
    scene.change(status="off")
    scene.open_case()
    assert scene.attempt() is True
    assert (scene.row().status, scene.row().events) == ("off", 0)
    scene.change()
    scene.open_case()
    assert scene.attempt() is True
    assert scene.subscriber.numbers() == [1]


@pytest.mark.parametrize(
    ("criteria", "told"),
    [
        (["Task?patient=Patient/p1"], [1, 2]),
        (["patient=p1", "Task?business-status=accepted,signed"], [1]),
        (["Task?patient=p1&business-status=urn:second-opinion:case-status|received"], [1]),
        (["Task?focus=ServiceRequest/p2"], [1]),
        (["Task?patient=Patient/p3"], []),
    ],
)
def test_filters_narrow_the_events_and_those_that_pass_are_numbered_without_gaps(
    scene: Scene, criteria: list[str], told: list[int]
) -> None:
    scene.activate(_criteria=filtered_by(*criteria))
    scene.move(scene.open_case("p1"), CaseStatus.ACCEPTED)
    scene.open_case("p2")
    assert scene.attempt() is True
    assert scene.subscriber.numbers() == told


def test_events_of_another_hospital_s_cases_are_none(scene: Scene) -> None:
    scene.activate()
    with scene.services.database.transaction() as session:
        partners.add(session, Registration(f"other-{uuid4().hex[:8]}", "Other"))
        other = partners.every(session)[-1].partner
    replace(scene, partner=other if other.id != scene.partner.id else Partner("demo", "", "")).open_case()
    assert scene.row().events == 0


def test_empty_content_names_neither_topic_nor_resource(scene: Scene) -> None:
    scene.activate(content="empty")
    case_id = scene.open_case()
    assert scene.attempt() is True
    [told] = scene.subscriber.of("event-notification")
    assert [sorted(event) for event in events(told)] == [["event-number", "timestamp"]]
    assert len(told["entry"]) == 1
    assert case_id not in str(told)
    assert "topic" not in said(told)


def test_full_content_holds_the_task_as_it_is_read_once_for_all_its_events(scene: Scene) -> None:
    scene.activate(content="full-resource")
    case_id = scene.open_case()
    scene.move(case_id, CaseStatus.ACCEPTED)
    assert scene.attempt() is True
    [told] = scene.subscriber.of("event-notification")
    assert numbers(told) == [1, 2]
    [_, entry] = told["entry"]
    assert entry["fullUrl"].endswith(f"/fhir/Task/{case_id}")
    assert entry["resource"]["businessStatus"]["coding"][0]["code"] == "accepted"
    assert entry["request"] == {"method": "PUT", "url": f"Task/{case_id}"}
    assert [i for i in findings(told) if i.severity == "error"] == []


def test_it_comes_in_xml_where_that_is_asked_for_with_the_headers_of_the_subscription(scene: Scene) -> None:
    scene.activate(
        channel={"payload": "application/fhir+xml", "header": ["X-Ward: 7", "Authorization: Basic x"]}
    )
    scene.open_case()
    assert scene.attempt() is True
    _, headers, body = scene.subscriber.received[-1]
    assert headers["Content-Type"] == "application/fhir+xml"
    assert (headers["X-Ward"], headers["Authorization"]) == ("7", "Basic x")
    told = read_xml(body)
    assert numbers(told) == [1]
    assert [i for i in findings(told) if i.severity == "error"] == []


def test_a_hospital_that_is_disabled_or_may_read_no_more_is_told_nothing(scene: Scene) -> None:
    scene.activate()
    scene.register(scopes=("system/DiagnosticReport.cruds",))
    scene.open_case()
    assert scene.attempt() is True
    assert (scene.row().status, scene.subscriber.numbers()) == ("error", [])
    assert scene.row().last_error == "The hospital may not read Task any more."
    scene.change()
    with scene.services.database.transaction() as session:
        partners.set_disabled(session, scene.partner.id, True)
    assert scene.attempt() is True
    assert (scene.row().status, scene.subscriber.numbers()) == ("error", [])


def test_an_endpoint_that_is_registered_no_more_is_sent_nothing(scene: Scene) -> None:
    scene.activate()
    scene.register(notify_endpoints=("https://elsewhere.example/fhir",))
    scene.open_case()
    assert scene.attempt() is True
    assert (scene.row().status, scene.subscriber.numbers()) == ("error", [])


def test_a_change_for_another_version_or_to_another_topic_changes_nothing(scene: Scene) -> None:
    scene.activate()
    sent = subscription("report", scene.subscriber.hook)
    with pytest.raises(InvalidContent):
        notify_subscribe.change(scene.services, scene.partner, scene.row_id, sent, "", NO_ORIGIN)
    sent = subscription("case-status", scene.subscriber.hook)
    with pytest.raises(Conflict):
        notify_subscribe.change(scene.services, scene.partner, scene.row_id, sent, 'W/"1"', NO_ORIGIN)
    assert scene.row().status == "active"


def test_a_hospital_has_a_hundred_at_most(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MAX_OF_PARTNER", 2)
    scene.subscribe()
    scene.subscribe()
    with pytest.raises(Conflict):
        scene.subscribe()


# --- on its way ---


def post(url: str, *, is_registered: bool = False, allow_loopback: bool = False) -> None:
    post_notification(url, b"{}", {}, 5, is_registered=is_registered, allow_loopback=allow_loopback)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "[::1]", "169.254.169.254"])
def test_an_inner_host_that_is_not_registered_is_not_called(server: Subscriber, host: str) -> None:
    server.received = []
    port = server.url.split(":")[2].split("/")[0]
    with pytest.raises(PeerRefused):
        post(f"https://{host}:{port}/notifications")
    assert server.received == []


def test_nothing_is_sent_in_the_clear_to_another_machine() -> None:
    for is_registered in (True, False):
        with pytest.raises(PeerRefused):
            post("http://192.0.2.1/notifications", is_registered=is_registered)


def test_the_connection_goes_to_the_address_that_was_checked_by_the_name_of_the_host(
    server: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server.received, server.status = [], 200
    url = server.hook.replace("127.0.0.1", "localhost")
    post(url, allow_loopback=True)
    [(_, headers, _)] = server.received
    assert headers["Host"] == url.split("/")[2]


def test_a_host_that_is_not_known_may_be_known_later() -> None:
    with pytest.raises(PeerUnreachable):
        post("https://no-such-host.invalid/")


class _Redirecting(Subscriber):
    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self._write(handler, Answer(307, headers={"Location": "/elsewhere"}), b"")


def test_a_redirect_is_not_followed() -> None:
    with _Redirecting() as redirecting:
        with pytest.raises(PeerUnreachable):
            post(redirecting.hook, is_registered=True)
        assert [path for path, _, _ in redirecting.received] == ["/notifications"]
