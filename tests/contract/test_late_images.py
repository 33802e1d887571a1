"""Images of another child, or of nobody, in a study: whenever they come, the study is in no case by itself."""

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import select, update

from gateway.case.access import NO_ORIGIN, SYSTEM_ACTOR
from gateway.case.model import Case
from gateway.errors import ReviewBlocked
from gateway.store import placements
from gateway.store.tables import AuditRow, CaseRow, StudyRow
from gateway.workflow import intake, place_study, review
from tests.support.bundles import imaging_study, referral
from tests.support.fetching import INTAKE, Gateway, Imaging, gateway_by_hand

SIBLING = {
    "PatientID": "OTHER99",
    "PatientName": "Eze^Chidi",
    "PatientBirthDate": "20110202",
    "PatientSex": "M",
}
NOBODY = {"PatientID": "", "PatientName": "", "PatientBirthDate": "", "PatientSex": ""}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway_by_hand(tmp_path_factory.mktemp("late")) as made:
        yield made


class Scene:
    """A case, and a study of three images of its child; ``named`` where the referral names the study."""

    def __init__(self, gateway: Gateway, named: bool = True) -> None:
        self.gateway, self.own = gateway, Imaging(3)
        announced = imaging_study(self.own.study, {self.own.series: 3}) if named else None
        self.case_id = gateway.send(referral(self.own.mrn, **({"imaging": announced} if announced else {})))

    def of_somebody(self, **patient: Any) -> bytes:
        """The third image, with another patient in its header."""
        return self.own.attributed(2, **patient)

    def store(self, *files: bytes) -> Case:
        """One after the other, all that follows from each done before the next comes."""
        for file in files:
            self.gateway.store(file)
            with self.gateway.services.database.reading() as session:
                query = select(StudyRow.id).where(StudyRow.study_instance_uid == self.own.study)
                study_id = session.scalars(query).one()
            place_study.place_study(self.gateway.services, study_id)
            intake.check_case(self.gateway.services, self.case_id)
        return self.gateway.case(self.case_id)

    def status(self, status: str) -> None:
        with self.gateway.services.database.transaction() as session:
            session.execute(update(CaseRow).where(CaseRow.id == self.case_id).values(status=status))


def checks(case: Case) -> set[str]:
    return {
        f.finding.check for f in case.open_findings if f.finding.check.startswith(("identity", "study-held"))
    }


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("somebody", [SIBLING, NOBODY])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_in_whatever_order_they_come_the_study_is_held(
    gateway: Gateway, order: tuple[int, ...], somebody: dict[str, str], named: bool
) -> None:
    scene = Scene(gateway, named)
    files = [*scene.own.files[:2], scene.of_somebody(**somebody)]
    case = scene.store(*(files[at] for at in order))
    assert case.studies == ()
    assert [held.study.study_instance_uid for held in case.held_studies] == [scene.own.study]
    assert checks(case) == {"study-held"}
    (held,) = [f for f in case.open_findings if f.finding.check == "study-held"]
    assert held.finding.severity == ("blocks" if somebody is SIBLING else "limits")


def test_what_is_taken_out_says_so_on_the_page_and_on_the_trail(gateway: Gateway) -> None:
    scene = Scene(gateway)
    assert len(scene.store(*scene.own.files[:2]).studies) == 1
    (held,) = scene.store(scene.of_somebody(**SIBLING)).held_studies
    assert held.reasons[0] == place_study.TAKEN_OUT
    assert any(reason.startswith("against: ") for reason in held.reasons)
    with gateway.services.database.reading() as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.case_id == scene.case_id))
        acts = [row.action for row in rows if row.action in ("study-joined", "study-held")]
        (place,) = placements.of_case(session, SYSTEM_ACTOR, scene.case_id).values()
    assert acts == ["study-joined", "study-held"]
    assert place.state == "held"


@pytest.mark.parametrize("status", ["accepted", "assigned", "in-review"])
def test_a_case_under_review_can_not_be_signed_until_a_person_has_decided(
    gateway: Gateway, status: str
) -> None:
    scene = Scene(gateway)
    scene.store(*scene.own.files[:2])
    scene.status(status)
    case = scene.store(scene.of_somebody(**SIBLING))
    assert (case.studies, checks(case), case.status) == ((), {"study-held"}, status)
    with gateway.services.database.reading() as session, pytest.raises(ReviewBlocked):
        review.refuse_if_blocked(session, scene.case_id)


@pytest.mark.parametrize("status", ["signed", "delivered"])
def test_what_a_signed_opinion_rests_on_stays_and_the_finding_tells(gateway: Gateway, status: str) -> None:
    scene = Scene(gateway)
    scene.store(*scene.own.files[:2])
    scene.status(status)
    case = scene.store(scene.of_somebody(**SIBLING))
    assert len(case.studies) == 1
    assert checks(case) == {"identity-differs"}


def test_what_a_person_joined_stays_and_the_finding_tells(gateway: Gateway) -> None:
    scene = Scene(gateway)
    (held,) = scene.store(scene.own.files[0], scene.of_somebody(**SIBLING)).held_studies
    study_id, because = held.study.id, "telephoned"
    review.join_study(gateway.services, INTAKE, scene.case_id, study_id, because, NO_ORIGIN)
    case = scene.store(scene.own.files[1])
    assert len(case.studies) == 1
    assert checks(case) == {"identity-differs"}


def test_what_a_person_waived_of_a_study_stays_waived_until_something_else_comes(gateway: Gateway) -> None:
    """As after an update of the gateway: the study joined, and the images of somebody else in it."""
    scene = Scene(gateway)
    scene.store(*scene.own.files[:1])
    scene.status("signed")
    scene.store(scene.of_somebody(**SIBLING))
    scene.status("received")
    (finding,) = [
        f for f in gateway.case(scene.case_id).open_findings if f.finding.check == "identity-differs"
    ]
    review.waive(gateway.services, INTAKE, scene.case_id, finding.id, "it is the married name", NO_ORIGIN)
    assert len(scene.store(scene.own.files[1]).studies) == 1
    stranger = scene.own.attributed(
        0, SOPInstanceUID=f"{scene.own.series}.9", **SIBLING | {"PatientName": "Wu^Li"}
    )
    assert scene.store(stranger).studies == ()
