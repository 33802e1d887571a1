"""Is this the same child? Evidence for, evidence against, and a verdict with its reasons in words.

Two pieces are joined only when strong evidence agrees and nothing contradicts (decision 4). Strong is an
identifier equal within its issuer, or the referral naming the study itself. A name alone proves nothing.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gateway.case.model import Demographics, Name


class Verdict(StrEnum):
    SAME = "same"
    POSSIBLE = "possible"  # too little evidence: a person decides
    CONTRADICTED = "contradicted"  # strong evidence for, and something against: a person decides
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Match:
    verdict: Verdict
    evidence_for: tuple[str, ...]
    evidence_against: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        return (*(f"against: {r}" for r in self.evidence_against), *(f"for: {r}" for r in self.evidence_for))


def match(known: Demographics, seen: Demographics, named: Iterable[str] = ()) -> Match:
    """Compare the child of a case with the child of a study or bundle.

    ``named`` are ways in which the referral names the other piece (study UID, accession number in words).
    """
    strong = [*named, *_equal_identifiers(known, seen)]
    agreeing, contrary = _compare(known, seen)
    return Match(
        _verdict(bool(strong), agreeing, contrary), (*strong, *agreeing.values()), tuple(contrary.values())
    )


def _verdict(strong: bool, agreeing: dict[str, str], contrary: dict[str, str]) -> Verdict:
    if strong and contrary:
        return Verdict.CONTRADICTED
    if contrary:
        return Verdict.DIFFERENT
    if strong and ("birth date" in agreeing or "name" in agreeing):
        return Verdict.SAME
    if strong or {"name", "birth date"} <= set(agreeing):
        return Verdict.POSSIBLE
    return Verdict.DIFFERENT


def contradictions(known: Demographics, seen: Demographics) -> dict[str, str]:
    """What differs between two descriptions of a child, by element: name, birth date, sex, identifier."""
    return _compare(known, seen)[1]


def _equal_identifiers(known: Demographics, seen: Demographics) -> list[str]:
    common = set(known.identifiers) & set(seen.identifiers)
    return [f"same identifier of issuer {issuer}" for issuer in sorted({i.issuer for i in common})]


def identifiers_differ(known: Demographics, seen: Demographics) -> bool:
    """Some issuer gave both an identifier, and none that both have: its two numbers are two children's."""
    shared = {i.issuer for i in known.identifiers} & {i.issuer for i in seen.identifiers}
    equal = {i.issuer for i in set(known.identifiers) & set(seen.identifiers)}
    return bool(shared - equal)


def _compare(known: Demographics, seen: Demographics) -> tuple[dict[str, str], dict[str, str]]:
    agreeing: dict[str, str] = {}
    contrary: dict[str, str] = {}
    for element, verdict in (
        ("name", same_name(known.names, seen.names)),
        ("birth date", _same_date(known.birth_date, seen.birth_date)),
        ("sex", _same_sex(known.sex, seen.sex)),
        ("identifier", False if identifiers_differ(known, seen) else None),
    ):
        if verdict is True:
            agreeing[element] = f"same {element}"
        elif verdict is False:
            contrary[element] = f"different {element}"
    return agreeing, contrary


def _same_date(known: str, seen: str) -> bool | None:
    """Partial dates agree when one begins with the other, which proves nothing (None) unless both are whole."""
    if not known or not seen:
        return None
    if len(known) == len(seen) == len("2019-05-03"):
        return known == seen
    return None if known.startswith(seen) or seen.startswith(known) else False


def _same_sex(known: str, seen: str) -> bool | None:
    plain = {"male", "female"}
    return known == seen if known in plain and seen in plain else None


def same_name(known: Iterable[Name], seen: Iterable[Name]) -> bool | None:
    """True when any two forms hold the same words in any order, one possibly leaving some out.

    None when forms cannot be compared: no common script, or one word alone that a whole family may have. False when
    comparable forms share too little.
    """
    verdicts = [_same_words(name_words(a), name_words(b)) for a in known for b in seen]
    if any(verdict is True for verdict in verdicts):
        return True
    return False if any(verdict is False for verdict in verdicts) else None


def name_words(name: Name) -> frozenset[str]:
    """Words and numbers ("Boy 2") without case, accents, punctuation or order; letters of other scripts stay."""
    return plain_words(" ".join([name.family, *name.given]) if name.family or name.given else name.text)


def plain_words(text: str) -> frozenset[str]:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    return frozenset(re.findall(r"[^\W_]+", unicodedata.normalize("NFC", plain)))


def _same_words(known: frozenset[str], seen: frozenset[str]) -> bool | None:
    if not known or not seen or _scripts(known).isdisjoint(_scripts(seen)):
        return None
    shared = known & seen
    if shared not in (known, seen):
        return False
    return True if len(shared) >= 2 or known == seen else None


def _scripts(words: frozenset[str]) -> set[str]:
    """Unicode's name of the script that each letter is of: LATIN, CYRILLIC, CJK, ARABIC, ..."""
    letters = (letter for word in words for letter in word if letter.isalpha())
    return {unicodedata.name(letter, "UNKNOWN").split()[0] for letter in letters}
