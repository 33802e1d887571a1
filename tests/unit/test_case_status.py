"""The one transition table, and who may see a case."""

import pytest

from gateway.case.access import SYSTEM_ACTOR, Partner, Scope, User, require_author, scope
from gateway.case.status import TRANSITIONS, Action, CaseStatus, actions_for, move
from gateway.errors import Forbidden, TransitionRefused
from tests.support.cases import case

INTAKE = User("u1", "Ines", frozenset({"intake"}))
SPECIALIST = User("u2", "Sam", frozenset({"specialist"}))


def test_every_status_but_the_last_ones_leads_somewhere() -> None:
    left = {status for status, _, _ in TRANSITIONS}
    assert set(CaseStatus) - left == {CaseStatus.CLOSED, CaseStatus.DECLINED}


def test_every_status_can_be_reached() -> None:
    assert set(TRANSITIONS.values()) | {CaseStatus.RECEIVED} == set(CaseStatus)


def test_an_act_that_is_not_possible_says_what_is() -> None:
    with pytest.raises(TransitionRefused, match="accept, ask, decline"):
        move("received", Action.SIGN, frozenset({"intake"}))


def test_only_specialists_sign_and_only_intake_accepts() -> None:
    assert {r for _, a, r in TRANSITIONS if a is Action.SIGN} == {"specialist"}
    assert {r for _, a, r in TRANSITIONS if a is Action.ACCEPT} == {"intake"}


def test_a_signed_case_is_never_drafted_or_signed_again() -> None:
    everyone = frozenset({"intake", "specialist", "system"})
    for status in ("signed", "delivered", "closed"):
        assert not actions_for(status, everyone) & {Action.DRAFT, Action.SIGN}


def test_a_specialist_sees_only_assigned_cases_and_a_partner_only_its_own() -> None:
    assert scope(SPECIALIST) is Scope.ASSIGNED
    assert scope(INTAKE) is Scope.ALL
    assert scope(User("u3", "Both", frozenset({"intake", "specialist"}))) is Scope.ALL
    assert scope(User("u4", "Nothing", frozenset())) is Scope.ASSIGNED
    assert scope(SYSTEM_ACTOR) is Scope.ALL
    assert scope(Partner("hospital-a", "A", "a")) is Scope.OWN


def test_intake_does_not_write_opinions_even_on_a_case_assigned_to_them() -> None:
    with pytest.raises(Forbidden):
        require_author(INTAKE, case(assignee_id="u1"))
