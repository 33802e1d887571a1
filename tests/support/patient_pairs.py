"""A labelled corpus: pairs of descriptions that are of one child, or of two, of each kind that goes wrong in life.

Made from a seed, without any of the rules that are measured by it. Of each kind half the pairs have a patient number of
one issuer in common where the kind does not say otherwise.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from gateway.case.model import Demographics, Identifier, Name

OF_EACH_KIND = 110
HOSPITAL, OTHER_HOSPITAL = "urn:hospital-a", "urn:hospital-b"
NAMED = ("the referral names this study",)
_FAMILIES = (
    "Smith", "Okafor", "García", "Müller", "Nguyễn", "Yılmaz", "Ødegård", "Łukaszewicz", "Kowalska",
    "Haddad", "Rossi", "Silva", "Novák", "Horváth", "Popescu", "Johansson", "Dimitrova", "Ben-David",
    "O'Connor", "MacLeod", "Fernández", "Şahin", "Öztürk", "Jørgensen", "Schäfer", "Lefèvre", "Bianchi",
    "Tanaka", "Mensah", "Abebe", "Khan", "Patel", "Hussein", "Rahman", "Kim", "Park", "Chowdhury",
    "Adeyemi", "Moreau", "Lindqvist",
)  # fmt: skip
_GIVEN = {
    "female": (
        "Amara", "Zoë", "Sofía", "Hannah", "Leïla", "Ayşe", "Ingrid", "Małgorzata", "Chiara", "Beatriz",
        "Eliška", "Réka", "Ioana", "Astrid", "Milena", "Noa", "Siobhán", "Isla", "Lucía", "Elif", "Freja",
        "Greta", "Chloé", "Giulia", "Yuki", "Akosua", "Selam", "Fatima", "Anjali", "Mariam",
    ),
    "male": (
        "Liam", "Chidi", "Mateo", "Jürgen", "Minh", "Emre", "Håkon", "Zbigniew", "Luca", "Thiago",
        "Ondřej", "Bence", "Andrei", "Gustav", "Dimitar", "Eitan", "Cillian", "Angus", "Diego", "Mehmet",
        "Søren", "Matthias", "Théo", "Matteo", "Haruto", "Kwame", "Dawit", "Bilal", "Arjun", "Yusuf",
    ),
}  # fmt: skip
_TWINS = {
    "female": [("Anna", "Anne"), ("Mia", "Mira"), ("Elena", "Alina"), ("Sara", "Lara"), ("Maria", "Marta")],
    "male": [("Jan", "Ian"), ("Hassan", "Hussein"), ("Marco", "Mario"), ("Tim", "Tom"), ("Daniel", "Samuel")],
}
_SCRIPTS = [
    ("Дарья", "Иванова", "Daria", "Ivanova", "female"),
    ("Александр", "Кузнецов", "Alexander", "Kuznetsov", "male"),
    ("Юлия", "Шевченко", "Julia", "Shevchenko", "female"),
    ("Дмитрий", "Жуков", "Dmitry", "Zhukov", "male"),
    ("Ксения", "Хабарова", "Ksenia", "Khabarova", "female"),
    ("Γεώργιος", "Παπαδόπουλος", "Georgios", "Papadopoulos", "male"),
    ("Ελένη", "Νικολάου", "Eleni", "Nikolaou", "female"),
    ("გიორგი", "ბერიძე", "Giorgi", "Beridze", "male"),
    ("小明", "王", "Xiaoming", "Wang", "male"),
    ("伟", "李", "Wei", "Li", "male"),
    ("민준", "김", "Minjun", "Kim", "male"),
    ("さくら", "たなか", "Sakura", "Tanaka", "female"),
]
_STREETS = [
    "Hill Road",
    "Church Street",
    "Rue de la Paix",
    "Via Roma",
    "Calle Mayor",
    "Lindenallee",
    "Park Avenue",
]


@dataclass(frozen=True)
class Pair:
    kind: str
    is_same_child: bool
    known: Demographics
    seen: Demographics
    named: tuple[str, ...] = ()


def corpus(seed: int = 20261124) -> Iterator[Pair]:
    for kind, (is_same_child, make) in sorted(_KINDS.items()):
        rng = random.Random(f"{seed} {kind}")
        for number in range(OF_EACH_KIND):
            known, seen, *named = make(rng, number % 2 == 0)
            yield Pair(kind, is_same_child, known, seen, named[0] if named else ())


Made = tuple[Demographics, Demographics] | tuple[Demographics, Demographics, tuple[str, ...]]
Make = Callable[[random.Random, bool], Made]
_KINDS: dict[str, tuple[bool, Make]] = {}


def _kind(name: str, *, same: bool) -> Callable[[Make], Make]:
    def register(make: Make) -> Make:
        _KINDS[name] = same, make
        return make

    return register


def _child(rng: random.Random, sex: str = "") -> Demographics:
    sex = sex or rng.choice(("female", "male"))
    return Demographics(
        names=(_name(rng.choice(_FAMILIES), rng.choice(_GIVEN[sex])),),
        birth_date=_day(rng),
        sex=sex,
        identifiers=(_number(rng),),
        address=f"{rng.randrange(1, 200)} {rng.choice(_STREETS)}",
    )


def _name(family: str, *given: str, text: str = "", script: str = "alphabetic") -> Name:
    return Name(text or " ".join([*given, family]), family, given, script=script)


def _day(rng: random.Random) -> str:
    """Neither 1 January nor a day that is its own swap."""
    while True:
        day = date(2008, 1, 2) + timedelta(rng.randrange(16 * 365))
        if (day.month, day.day) != (1, 1) and day.month != day.day:
            return day.isoformat()


def _number(rng: random.Random, issuer: str = HOSPITAL) -> Identifier:
    return Identifier(str(rng.randrange(100_000, 10_000_000)), issuer)


def _elsewhere(rng: random.Random, child: Demographics, has_number: bool) -> Demographics:
    """The same child as another system has it."""
    return child if has_number else replace(child, identifiers=(_number(rng, OTHER_HOSPITAL),))


def _family_and_given(child: Demographics) -> tuple[str, str]:
    return child.names[0].family, child.names[0].given[0]


@_kind("written otherwise", same=True)
def _written_otherwise(rng: random.Random, has_number: bool) -> Made:
    known = _child(rng)
    family, given = _family_and_given(known)
    written = rng.choice(
        [
            _name(family.upper(), given.upper()),
            Name(f"{family}, {given}"),
            Name(f"{given} {family}".casefold()),
            _name(_without_marks(family), _without_marks(given)),
            _name(family, given, rng.choice("ABCDEFG")),
        ]
    )
    return known, replace(_elsewhere(rng, known, has_number), names=(written,))


def _without_marks(text: str) -> str:
    """As a system of seven bits has it."""
    table = {
        "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "ü": "ue", "ö": "oe", "Ö": "Oe", "ä": "ae", "å": "a", "ï": "i",
        "ë": "e", "ş": "s", "Ş": "S", "ı": "i",
        "é": "e", "è": "e", "í": "i", "á": "a", "ñ": "n", "ễ": "e", "ř": "r", "š": "s",
    }  # fmt: skip
    return "".join(table.get(letter, letter) for letter in text).replace("-", " ").replace("'", " ")


@_kind("no number in common", same=True)
def _no_number(rng: random.Random, has_number: bool) -> Made:
    known = _child(rng)
    return known, replace(known, identifiers=() if has_number else (_number(rng, OTHER_HOSPITAL),))


@_kind("slip in the name", same=True)
def _slip_in_name(rng: random.Random, has_number: bool) -> Made:
    known = _child(rng)
    family, given = _family_and_given(known)
    names = (_name(_slip(rng, family), given),) if len(family) >= 4 else (_name(family, _slip(rng, given)),)
    return known, replace(_elsewhere(rng, known, has_number), names=names)


def _slip(rng: random.Random, word: str) -> str:
    at = rng.randrange(1, len(word) - 1)
    other = rng.choice("abcdefghiklmnoprstuvz")
    return rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + other + word[at:],
            word[:at] + other + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        ]
    )


@_kind("day and month swapped", same=True)
def _date_swapped(rng: random.Random, has_number: bool) -> Made:
    known = _child(rng)
    day = rng.randrange(2, 13)
    month = rng.choice([m for m in range(2, 13) if m != day])
    year = rng.randrange(2008, 2024)
    known = replace(known, birth_date=f"{year}-{month:02}-{day:02}")
    return known, replace(_elsewhere(rng, known, has_number), birth_date=f"{year}-{day:02}-{month:02}")


@_kind("a digit of the birth date", same=True)
def _date_slip(rng: random.Random, has_number: bool) -> Made:
    known = _child(rng)
    year, month, day = known.birth_date.split("-")
    other = (
        f"{int(year) + rng.choice((-1, 1))}-{month}-{day}" if day >= "28" else f"{year}-{month}-{_near(day)}"
    )
    return known, replace(_elsewhere(rng, known, has_number), birth_date=other)


def _near(day: str) -> str:
    return f"{day[0]}{(int(day[1]) + 1) % 10 or 1}"


@_kind("two faults at once", same=True)
def _two_faults(rng: random.Random, has_number: bool) -> Made:
    """Without a number in common only the address is left to tell."""
    makers = [_slip_in_name, _date_swapped, _date_slip, _change_of_name, _newborn, _written_otherwise]
    first, second = rng.sample(makers, 2)
    known, seen = first(rng, has_number)[:2]
    other_known, other = second(rng, has_number)[:2]
    if other.birth_date != other_known.birth_date:
        return replace(known, birth_date=other_known.birth_date), replace(seen, birth_date=other.birth_date)
    return known, replace(
        seen, names=seen.names if seen.names != known.names else (_name(*_slipped(rng, known)),)
    )


def _slipped(rng: random.Random, child: Demographics) -> tuple[str, str]:
    family, given = _family_and_given(child)
    return (_slip(rng, family), given) if len(family) >= 4 else (family, _slip(rng, given))


@_kind("1 January", same=True)
def _first_of_january(rng: random.Random, has_number: bool) -> Made:
    known = replace(_child(rng), birth_date=f"{rng.randrange(2008, 2024)}-01-01")
    return known, _elsewhere(rng, known, has_number)


@_kind("another script", same=True)
def _another_script(rng: random.Random, has_number: bool) -> Made:
    given, family, latin_given, latin_family, sex = rng.choice(_SCRIPTS)
    known = replace(_child(rng, sex), names=(_name(family, given),))
    return known, replace(_elsewhere(rng, known, has_number), names=(_name(latin_family, latin_given),))


@_kind("newborn", same=True)
def _newborn(rng: random.Random, has_number: bool) -> Made:
    known = _child(rng)
    boy = "Boy" if known.sex == "male" else "Girl"
    names = (_name(known.names[0].family, "Baby", boy),)
    return known, replace(_elsewhere(rng, known, has_number), names=names)


@_kind("change of name", same=True)
def _change_of_name(rng: random.Random, has_number: bool) -> Made:
    known = _child(rng)
    family, given = _family_and_given(known)
    other = rng.choice([name for name in _FAMILIES if name != family])
    return known, replace(_elsewhere(rng, known, has_number), names=(_name(other, given),))


@_kind("two surnames, one written", same=True)
def _two_surnames(rng: random.Random, has_number: bool) -> Made:
    known = _child(rng)
    family, given = _family_and_given(known)
    other = rng.choice([name for name in _FAMILIES if name != family])
    known = replace(known, names=(_name(f"{family} {rng.choice(['', 'de ', 'y '])}{other}", given),))
    return known, replace(_elsewhere(rng, known, has_number), names=(_name(family, given),))


@_kind("family and given name swapped", same=True)
def _names_swapped(rng: random.Random, has_number: bool) -> Made:
    known = _child(rng)
    family, given = _family_and_given(known)
    return known, replace(_elsewhere(rng, known, has_number), names=(_name(given, family),))


@_kind("anonymised, named by the referral", same=True)
def _anonymised(rng: random.Random, has_date: bool) -> Made:
    known = _child(rng)
    nobody = rng.choice(["ANON", "ANONYMOUS", "Anonymized", "Patient 7", "UNKNOWN"])
    seen = Demographics((Name(nobody, nobody),), known.birth_date if has_date else "", known.sex)
    return known, replace(seen, identifiers=(Identifier("ANON7", HOSPITAL),)), NAMED


@_kind("registered twice", same=True)
def _registered_twice(rng: random.Random, _: bool) -> Made:
    known = _child(rng)
    return known, replace(known, identifiers=(_number(rng),))


@_kind("twins", same=False)
def _twins(rng: random.Random, has_number: bool) -> Made:
    known = _child(rng)
    one, other = rng.choice(_TWINS[known.sex])
    family = known.names[0].family
    twin = replace(known, names=(_name(family, other),), identifiers=(_number(rng),))
    known = replace(known, names=(_name(family, one),))
    return (known, twin) if has_number else (known, replace(twin, identifiers=known.identifiers))


@_kind("newborn twins", same=False)
def _newborn_twins(rng: random.Random, has_number: bool) -> Made:
    known = _child(rng)
    family = known.names[0].family
    marks = rng.choice([("Boy A", "Boy B"), ("Girl 1", "Girl 2"), ("Boy", "Girl")])
    one, other = (replace(known, names=(_name(family, "Baby", *mark.split()),)) for mark in marks)
    return one, other if has_number else replace(other, identifiers=(_number(rng),))


@_kind("sisters and brothers", same=False)
def _siblings(rng: random.Random, _: bool) -> Made:
    known, other = _child(rng), _child(rng)
    family = known.names[0].family
    given = rng.choice([name for name in _GIVEN[other.sex] if name != known.names[0].given[0]])
    return known, replace(other, names=(_name(family, given),), address=known.address)


@_kind("a parent under the child's number", same=False)
def _parent(rng: random.Random, _: bool) -> Made:
    known = _child(rng)
    year = int(known.birth_date[:4]) - rng.randrange(20, 40)
    family, given = _family_and_given(known)
    name = _name(family, given if rng.random() < 0.3 else rng.choice(_GIVEN[known.sex]))
    return known, replace(known, names=(name,), birth_date=f"{year}{known.birth_date[4:]}"), NAMED


@_kind("a number given again", same=False)
def _reused_number(rng: random.Random, _: bool) -> Made:
    known, other = _child(rng), _child(rng)
    return known, replace(other, identifiers=known.identifiers)


@_kind("one number of two hospitals", same=False)
def _two_hospitals(rng: random.Random, _: bool) -> Made:
    known, other = _child(rng), _child(rng)
    return known, replace(other, identifiers=(replace(known.identifiers[0], issuer=OTHER_HOSPITAL),))


@_kind("namesakes", same=False)
def _namesakes(rng: random.Random, _: bool) -> Made:
    known = _child(rng)
    other = replace(_child(rng, known.sex), names=known.names)
    return known, other


@_kind("two that are anonymised", same=False)
def _two_anonymous(rng: random.Random, has_date: bool) -> Made:
    nobody = (Name("ANON", "ANON"),)
    one, other = (
        Demographics(nobody, _day(rng) if has_date else "", "female", (Identifier("ANON", HOSPITAL),))
        for _ in range(2)
    )
    return one, other


@_kind("strangers", same=False)
def _strangers(rng: random.Random, _: bool) -> Made:
    return _child(rng), _child(rng)
