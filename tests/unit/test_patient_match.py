"""Is this the same child? Verdicts, and the traps that must never join by themselves."""

from dataclasses import replace

import pytest

from gateway.case.model import Demographics, Identifier, Name
from gateway.case.patient_match import Verdict, contradictions, match, same_name
from tests.support.cases import CHILD, ISSUER

NAMED = ("the referral names this study",)


def name(text: str) -> tuple[Name, ...]:
    return (Name(text),)


def test_the_same_identifier_and_person_are_the_same_child() -> None:
    found = match(CHILD, replace(CHILD, names=name("OKAFOR^AMARA")))
    assert found.verdict is Verdict.SAME
    assert f"same identifier of issuer {ISSUER}" in found.evidence_for


def test_a_study_that_the_referral_names_joins_when_the_person_agrees() -> None:
    unknown_number = replace(CHILD, identifiers=(Identifier("X9", "pacs"),))
    assert match(CHILD, unknown_number, NAMED).verdict is Verdict.SAME


def test_the_same_number_of_another_issuer_is_no_evidence() -> None:
    stranger = Demographics(
        name("Somebody Else"), "2018-03-09", "female", (Identifier("123", "another hospital"),)
    )
    assert match(CHILD, stranger).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize(
    "changes", [{"birth_date": "2017-09-03"}, {"sex": "male"}, {"names": name("Chidi Okeke")}]
)
def test_strong_evidence_with_a_contradiction_never_joins_by_itself(changes: dict[str, object]) -> None:
    found = match(CHILD, replace(CHILD, **changes), NAMED)
    assert found.verdict is Verdict.CONTRADICTED
    assert found.evidence_against
    assert found.reasons[0].startswith("against: ")


def test_name_and_birth_date_alone_wait_for_a_person() -> None:
    assert match(CHILD, replace(CHILD, identifiers=())).verdict is Verdict.POSSIBLE


def test_what_is_too_long_for_a_name_is_left_to_a_person() -> None:
    seen = replace(CHILD, names=name("Ab" * 300_000))
    assert match(CHILD, seen).verdict is Verdict.POSSIBLE
    assert match(seen, seen).verdict is Verdict.POSSIBLE


def test_twins_with_one_family_name_and_birth_date_are_not_joined() -> None:
    twin = replace(CHILD, names=name("Okafor Ify"), identifiers=(Identifier("124", ISSUER),))
    assert match(CHILD, twin).verdict is Verdict.DIFFERENT


def test_an_anonymous_study_that_the_referral_names_waits_for_a_person() -> None:
    assert match(CHILD, Demographics(), NAMED).verdict is Verdict.POSSIBLE


def test_nothing_in_common_is_different() -> None:
    assert match(CHILD, Demographics(name("Li Wei"), "2015-01-01", "male")).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Amara Okafor", "OKAFOR^AMARA", True),
        ("José Núñez", "Nunez Jose", True),
        ("Anna Maria Schmidt", "Schmidt^Anna", True),
        ("Müller-Lüdenscheidt, Hans", "hans muller ludenscheidt", True),
        ("Amara Okafor", "Ify Okafor", False),
        ("Amara Okafor", "Okafor", None),
        ("Boy 1 Muster", "MUSTER^Boy 2", False),
        ("Дарья Иванова", "Daria Ivanova", True),
        ("Дарья Иванова", "Maria Petrova", None),
        ("王小明", "Wang Xiaoming", True),
        ("王小明", "Li Wei", None),
        ("Mueller Jørgen", "MÜLLER^JORGEN", True),
        ("O'Connor Mary Jane", "oconnor maryjane", True),
        ("Maria de la Cruz", "CRUZ^MARIA", True),
        ("Dr. Amara Okafor", "Okafor^Amara", True),
        ("Amara Okafor", "Amara Okafo", False),
        ("ANONYMOUS", "Amara Okafor", None),
        ("Patient 17", "Amara Okafor", None),
        ("王小明", "王小明", True),
        ("王小明", "李小明", False),
        ("", "Amara Okafor", None),
    ],
)
def test_names_agree_in_any_order_case_and_accent(one: str, other: str, same: bool | None) -> None:
    assert same_name(name(one), name(other)) is same


def test_one_script_in_common_is_enough_to_compare() -> None:
    both = (Name("Daria Ivanova"), Name("Дарья Иванова"))
    assert same_name(both, name("ИВАНОВА ДАРЬЯ")) is True


@pytest.mark.parametrize(
    ("one", "other", "contrary"),
    [
        ("2018", "2018-03-09", False),
        ("2018-03", "2018-04-01", True),
        ("", "2018-03-09", False),
        ("2018", "2017", True),
    ],
)
def test_partial_birth_dates_contradict_only_where_they_differ(one: str, other: str, contrary: bool) -> None:
    found = match(replace(CHILD, birth_date=one), replace(CHILD, birth_date=other))
    assert bool(found.evidence_against) is contrary


@pytest.mark.parametrize("written", ["2018-01-01", "2018-09-03", "2018-03-08"])
def test_a_likely_slip_of_the_birth_date_is_never_joined_and_a_person_is_told(written: str) -> None:
    seen = replace(CHILD, birth_date=written)
    assert match(CHILD, seen, NAMED).verdict is Verdict.POSSIBLE
    assert "birth date" in contradictions(CHILD, seen)
