"""Signed reports pushed to a hospital's FHIR server over real HTTP, whatever that server does."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from gateway.case.access import NO_ORIGIN, SYSTEM_ACTOR, Origin, User
from gateway.case.confirmation import fingerprint
from gateway.case.model import Case, Delivery, DeliveryState, Record
from gateway.case.status import CaseStatus
from gateway.clock import utc_now
from gateway.config import Config
from gateway.errors import Conflict, Forbidden, NotFound, PeerRefused, PeerUnreachable
from gateway.processes import prepare
from gateway.senders.fhir_rest import push_transaction
from gateway.senders.transport import Patience
from gateway.services import Services, build_services
from gateway.store import cases, opinions, partners, receipts, resources, trail, users
from gateway.store.objects import read_bytes
from gateway.store.partners import Registration
from gateway.store.resources import NewVersion
from gateway.store.tables import PartnerRow
from gateway.workflow import deliver, opinion
from gateway.workflow.intake import check_case
from tests.support.fhir_receiver import Answer, FhirReceiver
from tests.support.gateway_process import free_port
from tests.support.reviewed_case import OPINION, RECORD

NOTHING = b'{"entry":[]}'
HOSPITAL = "https://hospital.example.org"
OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [
        {"severity": "error", "code": "processing", "diagnostics": "Layla Haddad is not known here"},
        {"severity": "error", "code": "<b>not a code</b>"},
    ],
}
REQUEST = {
    "resourceType": "ServiceRequest",
    "identifier": [{"system": f"{HOSPITAL}/order", "value": "R-1"}],
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/p1"},
}
CHILD = {"resourceType": "Patient", "identifier": [{"system": f"{HOSPITAL}/mrn", "value": "70012345"}]}


@dataclass
class Signed:
    """A case whose opinion is signed, at a gateway that pushes to ``receiver``."""

    services: Services
    receiver: FhirReceiver
    specialist: User
    intake: User
    case_id: str
    opinion_id: str

    def case(self) -> Case:
        with self.services.database.reading() as session:
            return cases.load(session, SYSTEM_ACTOR, self.case_id)

    def delivery(self, channel: str = opinion.FHIR_PUSH) -> Delivery:
        return next(d for d in self.case().deliveries if d.channel == channel)

    def attempt(self, *, last: bool = False) -> bool:
        return deliver.attempt(self.services, self.delivery().id, last)

    def retry(self, user: User) -> None:
        deliver.retry(self.services, user, self.case_id, self.delivery().id, NO_ORIGIN)

    def register(self, endpoint: str) -> None:
        """The hospital's FHIR endpoint changes."""
        with self.services.database.transaction() as session:
            session.get_one(PartnerRow, self.case().partner_id).fhir_endpoint = endpoint

    def signed_report(self) -> dict[str, Any]:
        with self.services.database.reading() as session:
            key = opinions.row(session, self.opinion_id).report_key
        return resources.loads(read_bytes(self.services.objects, key))

    def audited(self) -> list[str]:
        with self.services.database.reading() as session:
            return [row.action for row in trail.of_case(session, SYSTEM_ACTOR, self.case_id)]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    config = Config(data_dir=tmp_path_factory.mktemp("push"), http_port=free_port())
    prepare.migrate(config)
    return build_services(config)


@pytest.fixture(scope="module")
def staff(services: Services) -> tuple[User, User]:
    with services.database.transaction() as session:
        return (
            users.add(session, "specialist", "Prof. Ana Beltrán", "-", frozenset({"specialist"})),
            users.add(session, "intake", "Ines Morel", "-", frozenset({"intake"})),
        )


@pytest.fixture
def receiver() -> Iterator[FhirReceiver]:
    with FhirReceiver() as running:
        yield running


@pytest.fixture
def signed(services: Services, staff: tuple[User, User], receiver: FhirReceiver, request) -> Signed:
    specialist, intake = staff
    partner_id = f"hospital-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"
    case_id = open_case(services, partner_id, receiver.url, specialist)
    texts = (OPINION.findings_text, OPINION.conclusion, OPINION.recommendations)
    opinion.draft(services, specialist, case_id, *texts, NO_ORIGIN)
    check_case(services, case_id)
    with services.database.reading() as session:
        seen = fingerprint(cases.load(session, specialist, case_id))
    opinion_id = opinion.sign(services, specialist, case_id, seen, NO_ORIGIN)
    return Signed(services, receiver, specialist, intake, case_id, opinion_id)


def open_case(
    services: Services, partner_id: str, endpoint: str, specialist: User, record: Record = RECORD
) -> str:
    with services.database.transaction() as session:
        partners.add(session, Registration(partner_id, "Cedar Valley Hospital", fhir_endpoint=endpoint))
        partner = partners.get(session, partner_id).partner
        with services.objects.spool() as spool:
            spool.write(partner_id.encode())
            stored = services.objects.keep(spool)
        receipt = receipts.add(session, partner, stored, Origin("fhir"), "application/fhir+json")
        sent = [
            NewVersion("Patient", "p1", "p1", "Bundle.entry[0].resource", CHILD | {"id": "p1"}),
            NewVersion("ServiceRequest", "s1", "s1", "Bundle.entry[1].resource", REQUEST | {"id": "s1"}),
        ]
        resources.save(session, partner, receipt, sent, utc_now())
        row = cases.open_case(session, partner, "ServiceRequest/s1", utc_now())
        row.record, row.status, row.assignee_id = (
            cases.dump_record(read_from(receipt.id, record)),
            CaseStatus.ASSIGNED,
            specialist.id,
        )
        return row.id


def read_from(receipt_id: str, record: Record) -> Record:
    """The record as if it had been read from what ``open_case`` keeps."""
    assert record.patient is not None
    child = replace(record.patient.source, receipt_id=receipt_id)
    [question] = record.questions
    order = replace(question.source, receipt_id=receipt_id, path="Bundle.entry[1].resource")
    return replace(
        record,
        patient=replace(record.patient, source=child),
        questions=(replace(question, source=order),),
    )


def send_again(signed: Signed, kind: str, content: dict[str, Any]) -> None:
    """The hospital puts other content in the place of what it sent."""
    with signed.services.database.transaction() as session:
        partner = partners.get(session, signed.case().partner_id).partner
        with signed.services.objects.spool() as spool:
            spool.write(json.dumps(content).encode())
            stored = signed.services.objects.keep(spool)
        receipt = receipts.add(session, partner, stored, Origin("fhir"), "application/fhir+json")
        fhir_id = content["id"]
        new = NewVersion(kind, fhir_id, fhir_id, "Bundle.entry[0].resource", content)
        resources.save(session, partner, receipt, [new], utc_now())


def test_a_patient_put_in_place_of_the_reviewed_one_after_signing_does_not_go_out_with_the_report(
    signed: Signed,
):
    dirk = {"identifier": [{"system": f"{HOSPITAL}/mrn", "value": "99"}], "name": [{"text": "Dirk"}]}
    send_again(signed, "Patient", {"resourceType": "Patient", "id": "p1"} | dirk)
    send_again(signed, "ServiceRequest", REQUEST | {"id": "s1", "priority": "stat"})
    assert signed.attempt() is True
    assert signed.receiver.of_type("Patient") == [CHILD]
    assert "priority" not in signed.receiver.of_type("ServiceRequest")[0]
    assert b"Dirk" not in signed.receiver.received[0][2]


def test_what_is_sent_are_the_very_bytes_that_were_made_when_the_opinion_was_signed(signed: Signed):
    with signed.services.database.reading() as session:
        frozen = opinions.row(session, signed.opinion_id)
    parcel = read_bytes(signed.services.objects, frozen.parcel_key)
    assert hashlib.sha256(parcel).hexdigest() == frozen.parcel_sha256
    signed.attempt()
    assert signed.receiver.received[0][2] == parcel


def test_the_report_arrives_as_it_was_signed_with_its_receipt_on_the_case(signed: Signed):
    assert signed.attempt() is True
    delivery = signed.delivery()
    assert delivery.state is DeliveryState.DELIVERED
    assert (delivery.attempts, delivery.last_error) == (1, "")
    assert delivery.receipt == "201 DiagnosticReport/2/_history/1"
    assert signed.case().status == CaseStatus.DELIVERED
    assert signed.audited()[-1] == "deliver"
    arrived, was_signed = signed.receiver.of_type("DiagnosticReport")[0], signed.signed_report()
    for name in ("identifier", "issued", "conclusion", "presentedForm", "text", "contained", "code"):
        assert arrived[name] == was_signed[name]
    pdf = arrived["presentedForm"][1]
    content = base64.b64decode(pdf["data"])
    assert content.startswith(b"%PDF")
    assert pdf["size"] == len(content)


def test_what_is_sent_is_a_transaction_in_fhir_json_to_the_registered_address(signed: Signed):
    signed.attempt()
    path, headers, body = signed.receiver.received[0]
    assert path == "/fhir"
    assert headers["Content-Type"] == "application/fhir+json"
    assert "Authorization" not in headers
    bundle = json.loads(body)
    Bundle.model_validate(bundle)
    assert bundle["type"] == "transaction"
    assert [e["request"]["url"] for e in bundle["entry"]] == ["Patient", "ServiceRequest", "DiagnosticReport"]


def test_a_server_that_fails_twice_and_then_accepts_gets_the_report_once(signed: Signed):
    signed.receiver.answers = [Answer(503, b""), Answer(429, b"")]
    assert signed.attempt() is False
    assert signed.delivery().state is DeliveryState.PENDING
    assert signed.delivery().last_error == "The receiver answered 503."
    assert signed.attempt() is False
    assert signed.attempt() is True
    assert (signed.delivery().state, signed.delivery().attempts) == (DeliveryState.DELIVERED, 3)
    assert signed.delivery().last_error == ""
    assert len(signed.receiver.of_type("DiagnosticReport")) == 1


def test_a_second_sending_after_a_crash_before_the_record_makes_no_second_report(
    signed: Signed, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as crash:
        crash.setattr(deliver, "_record", _die)
        with pytest.raises(KeyboardInterrupt):
            signed.attempt()
    assert signed.delivery().state is DeliveryState.PENDING
    assert signed.attempt() is True
    bodies = [body for _, _, body in signed.receiver.received]
    assert bodies[0] == bodies[1]
    assert len(signed.receiver.of_type("DiagnosticReport")) == 1
    assert signed.delivery().receipt.startswith("200 ")


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_was_delivered_is_not_sent_again(signed: Signed):
    signed.attempt()
    assert signed.attempt() is True
    assert len(signed.receiver.received) == 1
    assert signed.delivery().attempts == 1


def test_a_refusal_waits_for_a_person_and_repeats_none_of_the_peers_words(signed: Signed):
    signed.receiver.answers = [Answer(422, json.dumps(OUTCOME).encode())]
    assert signed.attempt() is True
    delivery = signed.delivery()
    assert delivery.state is DeliveryState.FAILED
    assert delivery.last_error == "The receiver refused the report with 422 (processing, unknown)."
    assert signed.case().status == CaseStatus.SIGNED
    assert signed.audited()[-1] == "deliver-failed"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 422])
def test_these_answers_are_refusals(receiver: FhirReceiver, status: int):
    receiver.answers = [Answer(status, json.dumps(OUTCOME).encode())]
    with pytest.raises(PeerRefused) as refusal:
        push_transaction(receiver.url, NOTHING)
    assert [(issue.severity, issue.code, issue.text) for issue in refusal.value.issues] == [
        ("error", "processing", ""),
        ("error", "unknown", ""),
    ]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_after_these_answers_it_may_succeed_later(receiver: FhirReceiver, status: int):
    receiver.answers = [Answer(status, b"")]
    with pytest.raises(PeerUnreachable, match=str(status)):
        push_transaction(receiver.url, NOTHING)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>OK</html>",
        b"[]",
        b'{"resourceType":"Bundle","type":"transaction-response"}',
        b'{"resourceType":"Bundle","type":"transaction-response","entry":[{"response":{"status":"422"}}]}',
        b'{"resourceType":"Bundle","type":"batch-response","entry":[{"response":{"status":"201"}}]}',
        b'{"type":"transaction-response","entry":[7]}',
        b"[" * 100_000,
    ],
    ids=["empty", "page", "list", "no-entry", "entry-refused", "batch", "not-an-entry", "deep"],
)
def test_a_success_that_does_not_say_that_the_report_is_kept_is_none(receiver: FhirReceiver, body: bytes):
    receiver.answers = [Answer(200, body)]
    with pytest.raises(PeerRefused, match="did not say that it keeps the report"):
        push_transaction(receiver.url, NOTHING)


def test_a_location_that_is_no_location_is_not_kept(receiver: FhirReceiver):
    entry = {"response": {"status": "201 Created", "location": "x" * 600 + "\n"}}
    receiver.answers = [Answer(200, json.dumps({"type": "transaction-response", "entry": [entry]}).encode())]
    assert str(push_transaction(receiver.url, NOTHING)) == "201"


def test_an_answer_that_breaks_off_is_tried_later(receiver: FhirReceiver):
    receiver.answers = [Answer(200, b"{", {"Content-Length": "100"})]
    with pytest.raises(PeerUnreachable):
        push_transaction(receiver.url, NOTHING)


def test_the_last_try_fails_for_good_and_a_person_can_have_it_tried_again(signed: Signed):
    signed.receiver.answers = [Answer(500, b"")]
    assert signed.attempt(last=True) is True
    assert signed.delivery().state is DeliveryState.FAILED
    with pytest.raises(Forbidden):
        signed.retry(signed.specialist)
    signed.retry(signed.intake)
    assert signed.delivery().state is DeliveryState.PENDING
    assert signed.audited()[-1] == "retry"
    assert signed.attempt() is True
    assert signed.delivery().state is DeliveryState.DELIVERED


def test_only_a_failed_delivery_can_be_tried_again(signed: Signed):
    with pytest.raises(Conflict, match="this one is pending"):
        signed.retry(signed.intake)


def test_a_delivery_is_tried_again_only_from_its_own_case(signed: Signed):
    signed.receiver.answers = [Answer(422, b"")]
    signed.attempt()
    with pytest.raises(NotFound):
        deliver.retry(signed.services, signed.intake, "SO-NOTHERE0", signed.delivery().id, NO_ORIGIN)
    other = open_case(signed.services, f"{signed.case().partner_id}-x", "", signed.specialist)
    with pytest.raises(NotFound, match="No such delivery"):
        deliver.retry(signed.services, signed.intake, other, signed.delivery().id, NO_ORIGIN)


def test_giving_up_is_a_change_of_the_case(signed: Signed):
    before = signed.case().updated_at
    signed.receiver.answers = [Answer(503, b""), Answer(422, b"")]
    signed.attempt()
    assert signed.case().updated_at == before
    signed.attempt()
    assert signed.case().updated_at > before
    assert [d.id for d in signed.case().failed_deliveries] == [signed.delivery().id]


def test_a_disabled_hospital_is_sent_nothing_until_it_is_enabled_and_a_person_tries_again(signed: Signed):
    with signed.services.database.transaction() as session:
        partners.set_disabled(session, signed.case().partner_id, True)
    assert signed.attempt() is True
    assert signed.delivery().state is DeliveryState.FAILED
    assert signed.delivery().last_error == "The hospital is disabled, and is sent nothing."
    assert signed.receiver.received == []
    with signed.services.database.transaction() as session:
        partners.set_disabled(session, signed.case().partner_id, False)
    signed.retry(signed.intake)
    signed.attempt()
    assert signed.delivery().state is DeliveryState.DELIVERED


def test_the_report_goes_to_where_the_hospital_is_registered_now(signed: Signed):
    signed.receiver.answers = [Answer(503, b"")]
    signed.attempt()
    with FhirReceiver() as moved:
        signed.register(moved.url)
        assert signed.attempt() is True
        assert len(moved.of_type("DiagnosticReport")) == 1
        assert signed.delivery().address == moved.url
    assert len(signed.receiver.received) == 1


def test_a_hospital_that_is_registered_without_an_endpoint_meanwhile_is_sent_nothing(signed: Signed):
    signed.register("")
    assert signed.attempt() is True
    delivery = signed.delivery()
    assert (delivery.state, delivery.address) == (DeliveryState.FAILED, signed.receiver.url)
    assert delivery.last_error == "No FHIR endpoint is registered for the hospital any more."
    assert signed.receiver.received == []


def test_nobody_listening_is_tried_again(signed: Signed):
    signed.register(f"http://127.0.0.1:{free_port()}/fhir")
    assert signed.attempt() is False
    assert signed.delivery().last_error == "The receiver could not be reached (ConnectionError)."


def test_a_stored_report_that_is_not_what_was_signed_is_not_sent(signed: Signed):
    with signed.services.database.transaction() as session:
        opinions.row(session, signed.opinion_id).parcel_sha256 = "0" * 64
    assert signed.attempt() is False
    assert signed.delivery().last_error == "The stored report is not the one that was signed."
    assert signed.receiver.received == []


def test_an_unknown_fault_is_told_by_reference_and_ends_with_a_person(signed: Signed):
    def broken(_partner: Registration, _endpoint: str, _bundle: bytes) -> str:
        raise RuntimeError("Layla Haddad")

    services = replace(signed.services, push=broken)
    assert deliver.attempt(services, signed.delivery().id, False) is False
    assert deliver.attempt(services, signed.delivery().id, True) is True
    assert signed.delivery().state is DeliveryState.FAILED
    assert "Layla" not in signed.delivery().last_error


def test_two_workers_at_once_record_one_delivery(signed: Signed):
    delivery_id = signed.delivery().id
    threads = [
        threading.Thread(target=deliver.attempt, args=(signed.services, delivery_id, False)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert signed.delivery().attempts == 1
    assert signed.audited().count("deliver") == 1


def test_the_first_fetch_by_the_hospital_is_the_receipt(signed: Signed):
    with signed.services.database.reading() as session:
        hospital = partners.get(session, signed.case().partner_id).partner
    deliver.record_read(signed.services, hospital, signed.opinion_id, Origin("fhir", "192.0.2.7"))
    first = signed.delivery(opinion.PORTAL)
    assert first.state is DeliveryState.DELIVERED
    assert first.receipt.endswith("UTC from 192.0.2.7")
    assert signed.case().status == CaseStatus.DELIVERED
    deliver.record_read(signed.services, hospital, signed.opinion_id, Origin("fhir", "192.0.2.8"))
    assert signed.delivery(opinion.PORTAL) == first
    assert signed.audited().count("deliver") == 1
    assert signed.attempt() is True  # the push still goes out, to a case that is delivered already
    assert signed.delivery().state is DeliveryState.DELIVERED


def test_a_fetch_by_another_hospital_is_none(signed: Signed):
    with signed.services.database.transaction() as session:
        partners.add(session, Registration(f"{signed.case().partner_id}-x", "Another"))
        stranger = partners.get(session, f"{signed.case().partner_id}-x").partner
    with pytest.raises(NotFound):
        deliver.record_read(signed.services, stranger, signed.opinion_id, NO_ORIGIN)
    assert signed.delivery(opinion.PORTAL).state is DeliveryState.AVAILABLE


def test_a_slow_server_is_given_up_and_tried_later(receiver: FhirReceiver):
    receiver.answers = [Answer(wait_seconds=1.5)]
    with pytest.raises(PeerUnreachable, match=r"ReadTimeout|ConnectionError"):
        push_transaction(receiver.url, NOTHING, Patience(read=0.3))


def test_an_answer_that_drips_without_end_is_cut_off(receiver: FhirReceiver):
    receiver.answers = [Answer(200, b"x" * 40, drip=True)]
    with pytest.raises(PeerUnreachable, match="too long"):
        push_transaction(receiver.url, NOTHING, Patience(read=5, total=0.3))


def test_an_answer_of_far_too_many_bytes_is_refused(receiver: FhirReceiver):
    receiver.answers = [Answer(200, b"x" * (5 * 1024 * 1024))]
    with pytest.raises(PeerRefused, match="too many bytes"):
        push_transaction(receiver.url, NOTHING)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: FhirReceiver, status: int):
    with FhirReceiver() as elsewhere:
        receiver.answers = [Answer(status, b"", {"Location": elsewhere.url})]
        with pytest.raises(PeerRefused, match=str(status)):
            push_transaction(receiver.url, NOTHING)
        assert elsewhere.received == []


@pytest.mark.parametrize(
    "endpoint",
    ["http://hospital.example.org/fhir", "ftp://127.0.0.1/fhir", "https://[x/fhir", "", "127.0.0.1"],
)
def test_a_report_is_not_sent_in_the_clear(endpoint: str):
    with pytest.raises(PeerRefused, match="not https"):
        push_transaction(endpoint, b"{}")


def test_the_credentials_of_a_netrc_file_are_not_sent(
    receiver: FhirReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    receiver.answers = [Answer(500, b"")]
    with pytest.raises(PeerUnreachable):
        push_transaction(receiver.url, NOTHING)
    assert "Authorization" not in receiver.received[0][1]
