"""Is this the same child? Evidence for, evidence against, and a verdict with its reasons in words.

Two pieces are joined only when strong evidence agrees and nothing contradicts or is doubtful (decision 4). Strong is an
identifier equal within its issuer, or the referral naming the study itself. A name alone proves nothing. What is a slip
of the pen in a birth date or a name is offered to a person: it may be a twin.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rapidfuzz.distance import OSA

from gateway.case.model import Demographics, Identifier, Name
from gateway.case.names import NameMatch, compare_names, plain_words


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


class DateMatch(StrEnum):
    SAME = "same birth date"
    FIRST_OF_JANUARY = "same birth date, 1 January, which often stands for one that nobody knows"
    SWAPPED = "birth dates with day and month swapped"
    SLIP = "birth dates that differ in one digit"
    ONE_FIRST_OF_JANUARY = "birth dates of one year, of which one is 1 January"
    DIFFERENT = "different birth date"
    UNKNOWN = "birth dates that tell nothing"


_NAME_WEIGHT = {
    NameMatch.SAME: 2,
    NameMatch.TRANSLITERATED: 2,
    NameMatch.SIMILAR: 1,
    NameMatch.NEWBORN: 1,
    NameMatch.GIVEN: 1,
}
_DATE_WEIGHT = {
    DateMatch.SAME: 2,
    DateMatch.FIRST_OF_JANUARY: 1,
    DateMatch.SWAPPED: 1,
    DateMatch.SLIP: 1,
    DateMatch.ONE_FIRST_OF_JANUARY: 1,
}
_AGREE = frozenset({NameMatch.SAME, NameMatch.TRANSLITERATED, DateMatch.SAME, DateMatch.FIRST_OF_JANUARY})
_DOUBTS = frozenset(
    {
        NameMatch.SIMILAR,
        NameMatch.NEWBORN,
        NameMatch.GIVEN,
        NameMatch.DOUBTFUL,
        NameMatch.TOO_LONG,
        DateMatch.SWAPPED,
        DateMatch.SLIP,
        DateMatch.ONE_FIRST_OF_JANUARY,
    }
)
_OFFERED_FROM = 3  # of weight for, less that against
_NO_NUMBER = re.compile(
    r"[0\W_]*|9{4,}|x+|n/?a|(?:anon(?:ym\w*)?|no(?:ne| ?id)|test|unk(?:nown)?)[\W\d_]*", re.IGNORECASE
)
_OLDEST_YEAR = "1902"  # what systems write before it stands for no date
_ADDRESS_SHARE = 0.6


def match(known: Demographics, seen: Demographics, named: Iterable[str] = ()) -> Match:
    """Compare the child of a case with the child of a study or bundle.

    ``named`` are ways in which the referral names the other piece (study UID, accession number in words).
    """
    strong = [*named, *_equal_identifiers(known, seen)]
    name = compare_names(known.names, seen.names)
    born = compare_dates(known.birth_date, seen.birth_date)
    like_name, like_date = _NAME_WEIGHT.get(name, 0), _DATE_WEIGHT.get(born, 0)
    same_address = _same_address(known.address, seen.address)
    contrary = _contrary(known, seen, name, born)
    doubtful = [one.value for one in (name, born) if one in _DOUBTS]
    agreeing = [one.value for one in (name, born) if one in _AGREE]
    agreeing += ["same sex"] * (_same_sex(known.sex, seen.sex) is True) + ["same address"] * same_address
    if strong:
        verdict = _strong_verdict(bool(contrary), bool(doubtful), 2 in (like_name, like_date))
    else:
        weight = like_name + like_date + same_address - len(contrary)
        verdict = Verdict.POSSIBLE if weight >= _OFFERED_FROM else Verdict.DIFFERENT
    against = (*contrary, *doubtful) or (() if strong or agreeing else ("nothing in common",))
    return Match(verdict, (*strong, *agreeing), against)


def _strong_verdict(is_contrary: bool, is_doubtful: bool, is_agreed: bool) -> Verdict:
    if is_contrary:
        return Verdict.CONTRADICTED
    return Verdict.SAME if is_agreed and not is_doubtful else Verdict.POSSIBLE


def _contrary(known: Demographics, seen: Demographics, name: NameMatch, born: DateMatch) -> list[str]:
    found = [one.value for one in (name, born) if one in (NameMatch.DIFFERENT, DateMatch.DIFFERENT)]
    found += ["different sex"] * (_same_sex(known.sex, seen.sex) is False)
    return found + ["different identifier"] * identifiers_differ(known, seen)


def contradictions(known: Demographics, seen: Demographics) -> dict[str, str]:
    """What differs between two descriptions of a child, by element: name, birth date, sex, identifier.

    A slip of the pen too: whether it is one, a person decides.
    """
    ours, theirs = known.birth_date, seen.birth_date
    differing = {
        "name": same_name(known.names, seen.names) is False,
        "birth date": bool(ours and theirs) and not (ours.startswith(theirs) or theirs.startswith(ours)),
        "sex": _same_sex(known.sex, seen.sex) is False,
        "identifier": identifiers_differ(known, seen),
    }
    return {element: f"different {element}" for element, differs in differing.items() if differs}


def same_name(known: Iterable[Name], seen: Iterable[Name]) -> bool | None:
    """True when any two forms are one name, however written; False where they are not; None: not to be compared."""
    found = compare_names(known, seen)
    if found in (NameMatch.SAME, NameMatch.TRANSLITERATED):
        return True
    return None if found in (NameMatch.UNKNOWN, NameMatch.DOUBTFUL, NameMatch.TOO_LONG) else False


def _equal_identifiers(known: Demographics, seen: Demographics) -> list[str]:
    common = {i for i in set(known.identifiers) & set(seen.identifiers) if _is_number(i)}
    return [f"same identifier of issuer {issuer}" for issuer in sorted({i.issuer for i in common})]


def _is_number(identifier: Identifier) -> bool:
    """None that is written where there is none: 0000, UNKNOWN, ANON7."""
    return _NO_NUMBER.fullmatch(identifier.value) is None


def identifiers_differ(known: Demographics, seen: Demographics) -> bool:
    """Some issuer gave both an identifier, and none that both have: its two numbers are two children's."""
    ours = {i for i in known.identifiers if _is_number(i)}
    theirs = {i for i in seen.identifiers if _is_number(i)}
    shared = {i.issuer for i in ours} & {i.issuer for i in theirs}
    return bool(shared - {i.issuer for i in ours & theirs})


def compare_dates(known: str, seen: str) -> DateMatch:
    """Partial dates agree when one begins with the other, which proves nothing, as does 1 January.

    That is written where nobody knows the day: beside another day of the year it is a doubt.
    """
    if not known or not seen or min(known, seen) < _OLDEST_YEAR or not len(known) == len(seen) == 10:
        is_other = bool(known and seen) and not (known.startswith(seen) or seen.startswith(known))
        return DateMatch.DIFFERENT if is_other and min(known, seen) >= _OLDEST_YEAR else DateMatch.UNKNOWN
    if known[:4] == seen[:4] and "-01-01" in (known[4:], seen[4:]):
        return DateMatch.FIRST_OF_JANUARY if known == seen else DateMatch.ONE_FIRST_OF_JANUARY
    if known == seen:
        return DateMatch.SAME
    if seen == f"{known[:4]}-{known[8:]}-{known[5:7]}":
        return DateMatch.SWAPPED
    return DateMatch.SLIP if OSA.distance(known, seen) == 1 else DateMatch.DIFFERENT


def _same_sex(known: str, seen: str) -> bool | None:
    plain = {"male", "female"}
    return known == seen if known in plain and seen in plain else None


def _same_address(known: str, seen: str) -> bool:
    ours, theirs = plain_words(known), plain_words(seen)
    return len(ours & theirs) >= max(2, _ADDRESS_SHARE * max(len(ours), len(theirs)))
