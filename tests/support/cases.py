"""Cases for unit tests: a complete one, from which a test takes away what it is about."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway.case.model import (
    Case,
    Coded,
    Contact,
    Demographics,
    Identifier,
    Instance,
    Name,
    Person,
    Question,
    Record,
    Series,
    Source,
    Study,
)

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SOURCE = Source("receipt-1", "0" * 64, "Bundle.entry[0].resource", reference="Patient/p1")
ISSUER = "https://hospital.example/mrn"
CHILD = Demographics(
    names=(Name("Amara Okafor", "Okafor", ("Amara",)),),
    birth_date="2018-03-09",
    sex="female",
    identifiers=(Identifier("123", ISSUER),),
    source=SOURCE,
)
QUESTION = Question("Is surgery possible?", (), (Coded("Hepatoblastoma"),), "routine", SOURCE)
PHYSICIAN = Person("Dr Adaeze Obi", contacts=(Contact("email", "a.obi@hospital.example"),), source=SOURCE)


def instance(number: int, position: float | None = None, **changes: Any) -> Instance:
    uid = f"1.2.826.0.1.3680043.8.498.{number}"
    return replace(Instance(uid, "1.2.840.10008.5.1.4.1.1.2", number, position, 1, "0" * 64), **changes)


def stack(count: int, step: float = 2.0, without: tuple[int, ...] = (), uid: str = "1.2.3.1") -> Series:
    """A CT series of ``count`` slices ``step`` mm apart, ``without`` some of them (from 0)."""
    slices = tuple(instance(i + 1, i * step) for i in range(count) if i not in without)
    return Series(uid, 1, "CT", "Abdomen", "ABDOMEN", slices)


def study(*series: Series, patient: Demographics = CHILD, uid: str = "1.2.3", **changes: Any) -> Study:
    made = Study("study-1", uid, None, "CT abdomen", "20260401", patient, (), series or (stack(20),))
    return replace(made, **changes)


def case(record: Record | None = None, **changes: Any) -> Case:
    """Nothing is missing in it; ``changes`` are fields of Case."""
    complete = Record(patient=CHILD, physicians=(PHYSICIAN,), questions=(QUESTION,))
    made = Case("SO-TEST0001", "hospital-a", "Hospital A", "received", NOON, NOON, record or complete)
    return replace(made, **changes)


def with_record(**changes: Any) -> Case:
    """The complete case with changes to its Record."""
    complete = case()
    return replace(complete, record=replace(complete.record, **changes))
