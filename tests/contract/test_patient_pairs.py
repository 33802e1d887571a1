"""The right child: what must hold of every labelled pair of tests/support/patient_pairs.py."""

from collections import Counter

from gateway.case.patient_match import Verdict, match
from tests.support.patient_pairs import corpus

PAIRS = list(corpus())


def test_the_pairs_are_many_and_of_many_kinds() -> None:
    assert len(PAIRS) >= 2000
    assert len({pair.kind for pair in PAIRS}) >= 12


def test_no_two_children_are_ever_joined() -> None:
    joined = [
        pair
        for pair in PAIRS
        if not pair.is_same_child and match(pair.known, pair.seen, pair.named).verdict is Verdict.SAME
    ]
    assert joined == []


def test_of_one_child_nearly_everything_is_joined_or_offered() -> None:
    verdicts = Counter(
        match(pair.known, pair.seen, pair.named).verdict for pair in PAIRS if pair.is_same_child
    )
    assert verdicts[Verdict.DIFFERENT] <= 0.03 * verdicts.total()


def test_every_verdict_is_explained() -> None:
    assert all(match(pair.known, pair.seen, pair.named).reasons for pair in PAIRS)


def test_the_verdict_is_the_same_either_way_round() -> None:
    for pair in PAIRS:
        forth, back = (
            match(*two, pair.named).verdict for two in ((pair.known, pair.seen), (pair.seen, pair.known))
        )
        assert forth is back, pair
