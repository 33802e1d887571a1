"""Do two ways of writing a name tell of one person? Names come in every script, order and habit of spelling.

What may be left out, swapped or spelt otherwise without meaning another person makes a name the same; what may be a
slip of the pen or a sister's name makes it similar, and then a person decides.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from itertools import pairwise, permutations

from anyascii import anyascii
from rapidfuzz.distance import OSA

from gateway.case.model import Name


class NameMatch(StrEnum):
    """From the best to the worst; UNKNOWN: they cannot be compared."""

    SAME = "same name"
    TRANSLITERATED = "same name in another script"
    SIMILAR = "similar name"
    NEWBORN = "a newborn's name, the same family name"
    GIVEN = "same given name, another family name"
    DOUBTFUL = "names in two scripts that do not sound alike"
    TOO_LONG = "a name that is too long to be compared"
    DIFFERENT = "different name"
    UNKNOWN = "names that cannot be compared"


_BY_QUALITY = list(NameMatch)
_PARTICLES = frozenset({
    "af", "al", "av", "bin", "bint", "da", "das", "de", "del", "della", "den", "der", "di", "do", "dos",
    "du", "e", "el", "ibn", "la", "le", "ten", "ter", "van", "von", "y", "zu",
})  # fmt: skip
_TITLES = frozenset({
    "dr", "master", "miss", "mr", "mrs", "ms", "mstr", "prof",
})  # fmt: skip
_NEWBORN = frozenset({
    "baby", "babyboy", "babygirl", "bebe", "boy", "girl", "infant", "neonate", "neugeborenes", "newborn",
})  # fmt: skip
_APOSTROPHE = re.compile("['`\\u2019\\u02bc]")
_BOYS, _GIRLS = frozenset({"boy", "babyboy"}), frozenset({"girl", "babygirl"})
_NOBODY = frozenset({
    "anon", "anonymised", "anonymized", "anonymous", "case", "deidentified", "name", "no", "noname",
    "none", "patient", "pseudo", "study", "subject", "test", "unk", "unknown", "x", "xx", "xxx", "xxxx",
})  # fmt: skip
_SOUNDS_AS_WRITTEN = frozenset({"ARMENIAN", "CYRILLIC", "GEORGIAN", "GREEK", "LATIN"})
_DIGRAPHS = (("ae", "a"), ("oe", "o"), ("ue", "u"))  # how umlauts are written where there are none
_SOUNDS = (
    ("shch", "sh"), ("kh", "h"), ("ck", "k"), ("ph", "f"), ("th", "t"), ("x", "ks"), ("w", "v"), ("ts", "z"),
    ("j", "i"), ("y", "i"), ("c", "k"),
)  # fmt: skip
_LIKE_LETTERS = 4  # a word of fewer letters with another letter is another word
_LONG_LETTERS = 7
_MOST_PARTS = 4
_MOST_LETTERS = 1000  # what is longer is no name, and is not compared letter by letter


def compare_names(known: Iterable[Name], seen: Iterable[Name]) -> NameMatch:
    """The best that any two forms agree; a difference in ideographs counts though they sound alike."""
    pairs = [(a, b, _compare(a, b)) for a in known for b in seen]
    best = min((match for *_, match in pairs), key=_BY_QUALITY.index, default=NameMatch.UNKNOWN)
    spelt_otherwise = any(
        a.script == b.script != "alphabetic" and match is NameMatch.DIFFERENT for a, b, match in pairs
    )
    return NameMatch.SIMILAR if spelt_otherwise and best is NameMatch.SAME else best


def name_words(name: Name) -> frozenset[str]:
    """Words and numbers ("Boy 2") without case, accents, punctuation or order; letters of other scripts stay."""
    return plain_words(_whole(name))


def plain_words(text: str) -> frozenset[str]:
    return frozenset(words_in(text))


def _compare(known: Name, seen: Name) -> NameMatch:
    if max(len(_whole(known)), len(_whole(seen))) > _MOST_LETTERS:
        return NameMatch.TOO_LONG
    ours, theirs = _told(_whole(known)), _told(_whole(seen))
    if not ours or not theirs:
        return NameMatch.UNKNOWN
    if _scripts(ours).isdisjoint(_scripts(theirs)):
        return _compare_sounds(ours, theirs)
    if _NEWBORN & {*ours, *theirs}:
        return _compare_newborns(ours, theirs)
    found = _compare_words(ours, theirs)
    if found is NameMatch.DIFFERENT and _has_other_family_name(known, seen):
        return NameMatch.GIVEN
    return found


def _whole(name: Name) -> str:
    return " ".join([name.family, *name.given]) if name.family or name.given else name.text


def words_in(text: str) -> list[str]:
    text = _APOSTROPHE.sub("", text.casefold())
    plain = "".join(_plain_letter(c) for c in unicodedata.normalize("NFKD", text))
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFC", plain))


def _plain_letter(letter: str) -> str:
    """Latin letters that are no accented ones (ø, ł, æ) by those that stand for them."""
    if unicodedata.combining(letter):
        return ""
    if letter.isascii() or not unicodedata.name(letter, "").startswith("LATIN"):
        return letter
    return anyascii(letter).lower()


def _told(text: str) -> list[str]:
    """The words that tell who it is; none of a placeholder such as ANONYMOUS or PATIENT 17."""
    words = [_without_digraphs(word) for word in words_in(text)]
    if all(word in _NOBODY or word.isdecimal() for word in words):
        return []
    telling = [word for word in words if word not in _PARTICLES | _TITLES]
    return telling or words


def _without_digraphs(word: str) -> str:
    for digraph, letter in _DIGRAPHS:
        word = word.replace(digraph, letter)
    return word


def _scripts(words: Iterable[str]) -> set[str]:
    """Unicode's name of the script that each letter is of: LATIN, CYRILLIC, CJK, ARABIC, ..."""
    letters = (letter for word in words for letter in word if letter.isalpha())
    return {unicodedata.name(letter, "UNKNOWN").split()[0] for letter in letters}


def _compare_words(ours: Sequence[str], theirs: Sequence[str]) -> NameMatch:
    if "".join(ours) == "".join(theirs):
        return NameMatch.SAME
    if len({*ours}) > len({*theirs}):
        ours, theirs = theirs, ours
    left = [*dict.fromkeys(theirs)]
    exact = _take(ours, left, lambda a, b: a == b)
    others = [word for word in dict.fromkeys(ours) if word not in exact]
    joined = _take_joined(others, left)
    others = [word for word in others if word not in joined]
    alike = _take(others, left, _is_alike)
    if len(alike) < len(others):
        return NameMatch.DIFFERENT
    told = len(exact) + len(joined) + len(alike)
    if told < 2 and (left or len(theirs) > 1):
        return NameMatch.UNKNOWN  # one word alone, which a whole family may have
    return NameMatch.SIMILAR if alike else NameMatch.SAME


def _take(ours: Iterable[str], theirs: list[str], matches: Callable[[str, str], bool]) -> list[str]:
    """Which of ours have a word of theirs to themselves; those are taken out of ``theirs``."""
    taken = []
    for word in dict.fromkeys(ours):
        if (found := next((other for other in theirs if matches(word, other)), None)) is not None:
            theirs.remove(found)
            taken.append(word)
    return taken


def _take_joined(ours: Iterable[str], theirs: list[str]) -> list[str]:
    """Words that are written as two on the other side: Maryjane, Mary Jane."""
    taken = []
    for word in ours:
        for first, second in pairwise([*theirs]):
            if word == first + second:
                theirs.remove(first)
                theirs.remove(second)
                taken.append(word)
                break
    return taken


def _is_alike(one: str, other: str) -> bool:
    """An initial, or a slip: one letter in a word of four or more, two in a long one."""
    short, long = sorted((one, other), key=len)
    if len(short) == 1:
        return short.isalpha() and long.startswith(short)
    if len(short) < _LIKE_LETTERS:
        return False
    return OSA.distance(one, other) <= (2 if len(short) >= _LONG_LETTERS else 1)


def _compare_newborns(ours: Sequence[str], theirs: Sequence[str]) -> NameMatch:
    """Baby Boy Smith, and Liam Smith who he became; of two such names boy, girl and number must agree."""
    our_marks, our_family = _newborn(ours)
    their_marks, their_family = _newborn(theirs)
    if our_marks is not None and their_marks is not None:
        return (
            NameMatch.SAME if (our_marks, our_family) == (their_marks, their_family) else NameMatch.DIFFERENT
        )
    family, named = (our_family, {*theirs}) if our_marks is not None else (their_family, {*ours})
    return NameMatch.NEWBORN if family and family <= named else NameMatch.DIFFERENT


def _newborn(words: Sequence[str]) -> tuple[frozenset[str] | None, set[str]]:
    """What tells apart the newborns of one family (None: it is no such name), and the family name."""
    if not _NEWBORN & {*words}:
        return None, {*words}
    marks = {word for word in words if len(word) == 1 or word.isdecimal()}
    marks |= {"boy"} if _BOYS & {*words} else set()
    marks |= {"girl"} if _GIRLS & {*words} else set()
    return frozenset(marks), {*words} - marks - _NEWBORN - {"of"}


def _has_other_family_name(known: Name, seen: Name) -> bool:
    ours, theirs = {*_told(" ".join(known.given))}, {*_told(" ".join(seen.given))}
    families = {*_told(known.family)}, {*_told(seen.family)}
    return bool(ours and theirs and all(families)) and (ours <= theirs or theirs <= ours)


def _compare_sounds(ours: Sequence[str], theirs: Sequence[str]) -> NameMatch:
    """In Latin letters. Where a script does not tell how it sounds, what differs proves nothing."""
    sounds = [[_sound(word) for word in words] for words in (ours, theirs)]
    if _sound_alike(*sounds):
        return NameMatch.TRANSLITERATED
    is_told = (_scripts(ours) | _scripts(theirs)) <= _SOUNDS_AS_WRITTEN
    return NameMatch.DOUBTFUL if is_told else NameMatch.UNKNOWN


def _sound_alike(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    found = _compare_words(ours, theirs)
    return found in (NameMatch.SAME, NameMatch.SIMILAR) or not _orders(ours).isdisjoint(_orders(theirs))


def _orders(words: Sequence[str]) -> set[str]:
    """The parts in every order as one word: ideographs have no spaces between family and given name."""
    return (
        {"".join(order) for order in permutations(words)} if len(words) <= _MOST_PARTS else {"".join(words)}
    )


def _sound(word: str) -> str:
    latin = "".join(re.findall(r"[a-z]", anyascii(word).lower()))
    for written, sounded in _SOUNDS:
        latin = latin.replace(written, sounded)
    return re.sub(r"(.)\1", r"\1", latin)
