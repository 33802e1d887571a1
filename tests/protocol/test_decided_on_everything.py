"""Accepting and signing with the worker stopped: what has arrived and was not looked at yet counts all the same."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from gateway.case.access import NO_ORIGIN, Origin, Partner, User
from gateway.case.confirmation import fingerprint
from gateway.case.model import Case
from gateway.config import Config
from gateway.errors import Conflict, Forbidden, NotFound, ReviewBlocked
from gateway.fhir.bundle import read_submission
from gateway.fhir.json_format import read_json
from gateway.processes import prepare
from gateway.services import Services, build_services
from gateway.store import cases, partners, users
from gateway.store.partners import Registration
from gateway.workflow import intake, opinion, review
from gateway.workflow.receive import receive_instance
from gateway.workflow.receive_bundle import receive_bundle
from tests.support.bundles import FHIR_JSON, document_reference, imaging_study, referral
from tests.support.hospital import CHECKLIST, images

CHANGED = "has changed since you looked at it"


@dataclass
class Desk:
    """A case of one hospital at a gateway whose worker does not run."""

    services: Services
    hospital: Partner
    intake: User
    specialist: User
    mrn: str
    study: str
    case_id: str = ""

    def post(self, bundle: dict[str, Any]) -> str:
        content = json.dumps(bundle).encode()
        with self.services.objects.spool() as spool:
            spool.write(content)
            submission = read_submission(read_json(content))
            got = receive_bundle(self.services, self.hospital, spool, submission, Origin("fhir"), FHIR_JSON)
        return got.case_ids[0]

    def store(self, number: int, **told: str) -> None:
        """The next image of the study."""
        image = images(self.mrn, number, self.study, f"{self.study}.1", **told)[-1]
        with self.services.objects.spool() as spool:
            spool.write(image)
            receive_instance(self.services, self.hospital, spool, Origin("stow-rs"))

    def case(self) -> Case:
        with self.services.database.reading() as session:
            return cases.load(session, self.intake, self.case_id)

    def checks(self) -> set[str]:
        """But for the checklists: the records are bare."""
        return {f.finding.check for f in self.case().open_findings} - {CHECKLIST}

    def accept(self, user: User | None = None) -> None:
        review.accept(self.services, user or self.intake, self.case_id, NO_ORIGIN)

    def sign(self, seen: str, user: User | None = None) -> str:
        return opinion.sign(self.services, user or self.specialist, self.case_id, seen, NO_ORIGIN)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    config = Config(data_dir=tmp_path_factory.mktemp("no-worker"))
    prepare.migrate(config)
    return build_services(config)


@pytest.fixture(scope="module")
def staff(services: Services) -> tuple[User, User]:
    with services.database.transaction() as session:
        return (
            users.add(session, "intake", "Ines Morel", "-", frozenset({"intake"})),
            users.add(session, "specialist", "Prof. Ana Beltrán", "-", frozenset({"specialist"})),
        )


@pytest.fixture
def desk(services: Services, staff: tuple[User, User]) -> Desk:
    partner_id = f"hospital-{uuid4().hex[:8]}"
    with services.database.transaction() as session:
        partners.add(session, Registration(partner_id, "Hospital"))
        hospital = partners.get(session, partner_id).partner
    study = f"2.25.{secrets.randbits(96)}"
    desk = Desk(services, hospital, *staff, uuid4().hex[:10], study)
    desk.case_id = desk.post(referral(desk.mrn, imaging=imaging_study(study, {f"{study}.1": 1})))
    return desk


@pytest.fixture
def drafted(desk: Desk) -> Desk:
    """With one image of the study, and a draft that could be signed."""
    desk.store(1)
    desk.accept()
    review.assign(desk.services, desk.intake, desk.case_id, desk.specialist.id, NO_ORIGIN)
    opinion.draft(desk.services, desk.specialist, desk.case_id, "A mass.", "Operable.", "", NO_ORIGIN)
    assert [s.instance_count for s in desk.case().studies] == [1]
    assert desk.checks() == set()
    return desk


def test_another_child_s_image_that_nobody_has_looked_at_yet_is_not_signed_over(drafted: Desk) -> None:
    drafted.store(2, PatientName="Eze^Chidi", PatientBirthDate="20150101")
    with pytest.raises(ReviewBlocked):
        drafted.sign(fingerprint(drafted.case()))
    assert drafted.checks()
    assert drafted.case().status == "in-review"


def test_an_empty_document_that_nobody_has_looked_at_yet_is_not_signed_over(drafted: Desk) -> None:
    drafted.post(referral(drafted.mrn, document=document_reference(b"%PDF-1.7 and then nothing")))
    seen = fingerprint(drafted.case())
    with pytest.raises(Conflict, match=CHANGED):
        drafted.sign(seen)
    assert drafted.checks() == {"attachment-unreadable"}
    assert drafted.sign(fingerprint(drafted.case()))
    declared = {f.finding.check for f in drafted.case().unresolved_findings}
    assert declared - {CHECKLIST} == {"attachment-unreadable"}


def test_a_named_study_that_has_come_and_was_not_placed_yet_is_in_the_case_before_it_is_signed(
    drafted: Desk,
) -> None:
    drafted.study = f"2.25.{secrets.randbits(96)}"
    drafted.post(referral(drafted.mrn, imaging=imaging_study(drafted.study, {f"{drafted.study}.1": 1})))
    intake.check_case(drafted.services, drafted.case_id)
    seen = fingerprint(drafted.case())
    drafted.store(1)
    with pytest.raises(Conflict, match=CHANGED):
        drafted.sign(seen)
    assert drafted.study in {s.study_instance_uid for s in drafted.case().studies}


def test_what_arrives_while_the_report_is_made_is_not_signed_over(
    drafted: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Callable[..., Any] = opinion._make_report

    def make_and_receive(*given: Any) -> Any:
        drafted.post(referral(drafted.mrn, document=document_reference(None)))
        return made(*given)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(opinion, "_make_report", make_and_receive)
        with pytest.raises(Conflict, match=CHANGED):
            drafted.sign(fingerprint(drafted.case()))
    assert drafted.case().signed_opinion is None


def test_what_arrives_just_after_everything_was_looked_at_is_not_signed_over(
    drafted: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafted.store(2, PatientName="Eze^Chidi", PatientBirthDate="20150101")
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(intake, "catch_up", lambda *_: None)
        with pytest.raises(Conflict, match=CHANGED):
            drafted.sign(fingerprint(drafted.case()))
    assert drafted.case().signed_opinion is None


def test_a_case_is_not_accepted_over_another_child_s_study_that_nobody_has_looked_at_yet(desk: Desk) -> None:
    desk.store(1, PatientName="Eze^Chidi", PatientBirthDate="20150101")
    with pytest.raises(ReviewBlocked):
        desk.accept()
    assert desk.case().status == "received"


def test_only_who_may_act_has_the_case_looked_at(drafted: Desk) -> None:
    drafted.store(2, PatientName="Eze^Chidi", PatientBirthDate="20150101")
    with pytest.raises(Forbidden):
        drafted.accept(drafted.specialist)
    with pytest.raises((Forbidden, NotFound)):
        drafted.sign(fingerprint(drafted.case()), drafted.intake)
    assert drafted.checks() == set()
