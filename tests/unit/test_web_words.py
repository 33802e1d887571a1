"""The pages have a word for everything that the rules and the store can say."""

from gateway import errors
from gateway.case.access import Role
from gateway.case.model import Content, DeliveryState, ItemKind, Severity
from gateway.case.status import TRANSITIONS, Action, CaseStatus
from gateway.store import placements, studies
from gateway.web import words
from gateway.web.acts import ACTS


def test_every_code_that_a_page_can_show_has_its_words() -> None:
    assert set(words.STATUS) == set(CaseStatus)
    assert set(words.SEVERITY) == set(Severity)
    assert set(words.ROLE) == set(Role)
    assert set(words.ITEM_KIND) == set(ItemKind)
    assert set(words.CONTENT) == set(Content)
    assert set(words.DELIVERY) == set(DeliveryState)
    assert set(words.STUDY_STATE) == {*placements.UNPLACED, studies.JOINED}


def test_every_act_of_a_person_has_its_words() -> None:
    by_people = {action for _, action, role in TRANSITIONS if role in set(Role)}
    assert set(words.ACTION) == by_people
    assert set(words.DONE) == set(ACTS) | {"draft", "sign"}
    assert set(words.DID) >= set(Action) | set(ACTS)


def test_every_cause_of_a_refused_receipt_has_its_words() -> None:
    contents = {kind.__name__ for kind in errors.InvalidContent.__subclasses__()} - {"BodyBroken"}
    assert set(words.CAUSE) == contents | {"InvalidContent", "UnsupportedMediaType", "Unexpected"}
