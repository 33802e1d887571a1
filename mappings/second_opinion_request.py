"""Does a ServiceRequest ask for a second opinion, and of which specialties? Reads second_opinion_request.yaml."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from gateway.case.model import Coded
from mappings.fhir_elements import Resource, coded, objects, reference, text
from mappings.yaml_table import Row, YamlTable

Key = TypeVar("Key")

ELEMENTS = frozenset({"code", "category", "reasonCode", "orderDetail"})
"""The CodeableConcepts of ServiceRequest that the table may name."""


@dataclass(frozen=True, slots=True)
class RequestTable:
    """The table, ready to look up. Codes are keyed by (element, system, code); specialties by (system, code)."""

    codes: frozenset[tuple[str, str, str]]
    phrases: tuple[str, ...]
    phrases_where: tuple[str, ...]
    specialties: dict[tuple[str, str], str]
    specialties_where: tuple[str, ...]


def asks_for_second_opinion(service_request: Resource) -> bool:
    """True when a code or a text of the request stands in the table. ServiceRequest.status is not looked at."""
    if service_request.get("doNotPerform") is True:
        return False
    return _has_code(service_request, TABLE) or _has_phrase(service_request, TABLE)


def specialties(service_request: Resource) -> tuple[Coded, ...]:
    """The specialties asked for, in the order of the request; each once.

    performerType is taken whatever it says; other elements, and the specialty of a contained performer,
    only where their code is in the table.
    """
    found = [coded(concept) for concept in objects(service_request.get("performerType"))]
    found += [
        coded(concept)
        for concept in _possible_specialties(service_request, TABLE)
        if any(coding in TABLE.specialties for coding in coded(concept).codings)
    ]
    return tuple(dict.fromkeys(_named(concept, TABLE) for concept in found if concept.text))


def normalise(words: str) -> str:
    """Casefolded, without accents, invisible characters and punctuation between words, white space single."""
    plain = "".join(
        " " if unicodedata.category(char) in ("Pd", "Po", "Zs", "Cc") else char
        for char in unicodedata.normalize("NFKD", words).casefold()
        if unicodedata.category(char) not in ("Mn", "Cf")
    )
    return " ".join(plain.split())


def read_table(content: str, file: str) -> RequestTable:
    """Raises ValueError naming ``file`` and the line of the first fault."""
    table = YamlTable(content, file, _SECTIONS)
    codes = table.rows("codes", {"system", "code", "display", "where", "source", "verified"}, {"aliases"})
    phrases = table.rows("phrases", {"language", "reviewed_by", "phrases"})
    named = table.rows("specialties", {"system", "code", "display", "verified"})
    _refuse_doubtful_words([*codes, *named])
    return RequestTable(
        frozenset(_by_key(codes, _code_keys)),
        _phrases(phrases),
        table.words("phrases_where", ELEMENTS),
        {key: row.word("display") for key, row in _by_key(named, _specialty_keys).items()},
        table.words("specialties_where", ELEMENTS),
    )


_SECTIONS = ("codes", "phrases_where", "phrases", "specialties_where", "specialties")


def _refuse_doubtful_words(rows: Iterable[Row]) -> None:
    for row in rows:
        if row.word("verified") not in ("yes", "no"):
            raise row.fault("'verified' is yes or no")


def _by_key(rows: Iterable[Row], keys: Callable[[Row], Iterable[Key]]) -> dict[Key, Row]:
    found: dict[Key, Row] = {}
    for row in rows:
        for key in keys(row):
            if key in found:
                raise row.fault(f"the same code stands in line {found[key].line} already")
            found[key] = row
    return found


def _code_keys(row: Row) -> Iterator[tuple[str, str, str]]:
    for element in row.words("where"):
        if element not in ELEMENTS:
            raise row.fault(f"{element} is none of {', '.join(sorted(ELEMENTS))}")
        for system in (row.word("system"), *row.words("aliases")):
            yield element, system, row.word("code")


def _specialty_keys(row: Row) -> Iterator[tuple[str, str]]:
    yield row.word("system"), row.word("code")


def _phrases(rows: Iterable[Row]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for row in rows:
        own = [normalise(phrase) for phrase in row.words("phrases")]
        if not all(len(phrase) > 3 for phrase in own) or len(set(own)) < len(own):
            raise row.fault("a phrase is too short to be told from other words, or stands in its row twice")
        found |= dict.fromkeys(own)
    return tuple(found)


def _concepts(service_request: Resource, element: str) -> list[Resource]:
    return objects(service_request.get(element))


def _has_code(service_request: Resource, table: RequestTable) -> bool:
    return any(
        (element, *coding) in table.codes
        for element in ELEMENTS
        for concept in _concepts(service_request, element)
        for coding in coded(concept).codings
    )


def _has_phrase(service_request: Resource, table: RequestTable) -> bool:
    return any(
        phrase in words
        for element in table.phrases_where
        for concept in _concepts(service_request, element)
        for words in _texts(concept)
        for phrase in table.phrases
    )


def _texts(concept: Resource) -> list[str]:
    codings = objects(concept.get("coding"))
    return [normalise(text(words)) for words in (concept.get("text"), *(c.get("display") for c in codings))]


def _possible_specialties(service_request: Resource, table: RequestTable) -> Iterator[Resource]:
    for element in table.specialties_where:
        yield from _concepts(service_request, element)
    performers = {reference(performer) for performer in objects(service_request.get("performer"))}
    for contained in objects(service_request.get("contained")):
        if f"#{text(contained.get('id'))}" in performers:
            yield from objects(contained.get("specialty"))


def _named(concept: Coded, table: RequestTable) -> Coded:
    """Give a bare code the table's words; ``coded`` shows the code itself where the request has none."""
    if concept.text not in {code for _, code in concept.codings}:
        return concept
    known = [table.specialties[coding] for coding in concept.codings if coding in table.specialties]
    return replace(concept, text=known[0]) if known else concept


_FILE = Path(__file__).with_suffix(".yaml")
TABLE = read_table(_FILE.read_text(encoding="utf-8"), f"mappings/{_FILE.name}")
