"""How well children are told apart, by the labelled pairs of tests/support/patient_pairs.py."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from gateway.case.patient_match import Verdict, match
from tests.support.patient_pairs import Pair, corpus


def table() -> Iterator[str]:
    verdicts: defaultdict[tuple[bool, str], Counter[Verdict]] = defaultdict(Counter)
    for pair in corpus():
        verdicts[pair.is_same_child, pair.kind][verdict_of(pair)] += 1
    yield "| pairs | are | number | joined | offered to a person | apart |"
    yield "|---|---|---|---|---|---|"
    for (is_same_child, kind), found in sorted(verdicts.items(), reverse=True):
        yield _row(kind, "one child" if is_same_child else "two", found)
    for is_same_child in (True, False):
        total = sum(
            (found for (same, _), found in verdicts.items() if same is is_same_child), Counter[Verdict]()
        )
        yield _row("**all**", "one child" if is_same_child else "two", total)


def verdict_of(pair: Pair) -> Verdict:
    return match(pair.known, pair.seen, pair.named).verdict


def _row(kind: str, are: str, found: Counter[Verdict]) -> str:
    offered = found[Verdict.POSSIBLE] + found[Verdict.CONTRADICTED]
    cells = [kind, are, found.total(), found[Verdict.SAME], offered, found[Verdict.DIFFERENT]]
    return f"| {' | '.join(map(str, cells))} |"
