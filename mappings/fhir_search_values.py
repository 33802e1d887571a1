"""What a FHIR resource can be found by: the values that the search parameters of its type compare (FHIR R4 3.1.1.4)."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any

from gateway.case.searching import EARLIEST, LATEST, Dated, Form, Key, SearchValues, Worded, microseconds
from mappings.fhir_dates import interval
from mappings.fhir_elements import Resource, names, objects, text, texts
from mappings.fhir_search_parameters import ElementPath, indexed_paths

Value = Key | Dated | Worded
MAX_LENGTH = 200
"""Characters of a text that are compared; the rest of a longer one is not."""
_STEP = re.compile(r"(\w+)(?:\[(\w+)=([\w-]+)\])?")


def search_values(type_name: str, resource: Resource) -> SearchValues:
    """Faulty parts have no values. Two parameters that read the same element share its values."""
    present: set[str] = set()
    found: list[Value] = []
    for parameters, steps, read in _readers(type_name):
        if steps[0][0] in resource:
            values = [value for element in _at(resource, steps) for value in read(element)]
            if values:
                present.update(parameters)
                found += values
    return SearchValues(
        frozenset(present),
        frozenset(value for value in found if isinstance(value, Key)),
        frozenset(value for value in found if isinstance(value, Dated)),
        frozenset(value for value in found if isinstance(value, Worded)),
    )


def words_of(path: str) -> str:
    """What ``:text`` compares of a token stands under a name of its own."""
    return f"{path}:text"


@lru_cache(maxsize=4096)
def plain(value: str) -> str:
    """As strings are compared: without regard to case, accents and how white space stands (3.1.1.4.8)."""
    if value.isascii():
        return " ".join(value.lower().split())
    decomposed = unicodedata.normalize("NFKD", value.casefold())
    return " ".join("".join(c for c in decomposed if not unicodedata.combining(c)).split())


def references_at(resource: Resource, path: ElementPath) -> list[str]:
    """``Type/id``, absolute or canonical references of that element, without the version that they ask for."""
    read = _reader("reference", path)
    found = (value for element in _at(resource, _steps(path)) for value in read(element))
    return [value.value for value in found if isinstance(value, Key) and value.form is Form.REFERENCE]


_Steps = tuple[tuple[str, str, str], ...]
_Reader = Callable[[Any], Iterator[Value]]


@cache
def _readers(type_name: str) -> tuple[tuple[tuple[str, ...], _Steps, _Reader], ...]:
    return tuple(
        (parameters, _steps(path), _reader(kind, path))
        for (kind, path), parameters in indexed_paths(type_name).items()
    )


@cache
def _steps(path: ElementPath) -> _Steps:
    """Name, and what an element of an object must be where one is said."""
    found = (_STEP.fullmatch(step) for step in path.text.split("."))
    return tuple((step[1], step[2] or "", step[3] or "") for step in found if step)


def _at(value: Any, steps: _Steps) -> Iterator[Any]:
    """What stands at the end of the path, lists taken apart."""
    if isinstance(value, list):
        for item in value:
            yield from _at(item, steps)
    elif not steps:
        yield value
    elif isinstance(value, dict):
        (name, asked, wanted), *rest = steps
        inner = value.get(name)
        if asked:
            inner = [item for item in objects(inner) if text(item.get(asked)).rsplit("/", 1)[-1] == wanted]
        if inner is not None:
            yield from _at(inner, tuple(rest))


def _reader(kind: str, path: ElementPath) -> _Reader:
    read = _READERS[kind].get(path.kind) or _READERS[kind][""]
    return lambda element: read(path.text, element)


def _code(path: str, element: Any) -> Iterator[Value]:
    """A boolean too: true and false."""
    code = str(element).lower() if isinstance(element, bool) else text(element)
    if code:
        yield Key(path, Form.CODE, code)


def _coding(path: str, element: Any) -> Iterator[Value]:
    if isinstance(element, dict):
        yield from _pair(path, text(element.get("system")), text(element.get("code")))
        yield from _words(words_of(path), text(element.get("display")))


def _pair(path: str, system: str, code: str) -> Iterator[Value]:
    if code:
        yield Key(path, Form.CODE, code)
        yield Key(path, Form.SYSTEM_AND_CODE, f"{system}|{code}")
        if system:
            yield Key(path, Form.SYSTEM, system)


def _concept(path: str, element: Any) -> Iterator[Value]:
    if isinstance(element, dict):
        for coding in objects(element.get("coding")):
            yield from _coding(path, coding)
        yield from _words(words_of(path), text(element.get("text")))


def _identifier(path: str, element: Any) -> Iterator[Value]:
    if not isinstance(element, dict):
        return
    value, kind = text(element.get("value")), element.get("type")
    yield from _pair(path, text(element.get("system")), value)
    for words in objects(kind):
        yield from _words(words_of(path), text(words.get("text")))
        for coding in objects(words.get("coding")) if value else []:
            yield Key(path, Form.OF_TYPE, f"{text(coding.get('system'))}|{text(coding.get('code'))}|{value}")


def _contact(path: str, element: Any) -> Iterator[Value]:
    if isinstance(element, dict):
        yield from _pair(path, "", text(element.get("value")))


def _reference(path: str, element: Any) -> Iterator[Value]:
    """Not what is contained: it has no address of its own."""
    if not isinstance(element, dict):
        return
    literal = text(element.get("reference")).split("/_history/")[0]
    if literal and not literal.startswith("#"):
        yield Key(path, Form.REFERENCE, literal)
    for identifier in objects(element.get("identifier")):
        system, value = text(identifier.get("system")), text(identifier.get("value"))
        if value:
            for form in (f"={value}", f"{system}|{value}", f"{system}|"):
                yield Key(path, Form.IDENTIFIER, form)


def _canonical(path: str, element: Any) -> Iterator[Value]:
    """With its version and without."""
    url = text(element)
    for named in {url, url.split("|")[0]} - {""}:
        yield Key(path, Form.REFERENCE, named)


def _words(path: str, value: str) -> Iterator[Value]:
    if value:
        yield Worded(path, plain(value[:MAX_LENGTH])[:MAX_LENGTH])


def _string(path: str, element: Any) -> Iterator[Value]:
    if words := text(element):
        yield Key(path, Form.EXACT, words)
        yield from _words(path, words)


def _name(path: str, element: Any) -> Iterator[Value]:
    """Each part of a HumanName, and its text, which is put together where it is not given."""
    if isinstance(element, dict):
        whole = [name.text for name in names([element])]
        parts = (texts(element.get(part)) for part in ("family", "given", "prefix", "suffix"))
        for words in (*whole, *(word for part in parts for word in part)):
            yield from _string(path, words)


def _address(path: str, element: Any) -> Iterator[Value]:
    if isinstance(element, dict):
        for part in ("text", "line", "city", "district", "state", "postalCode", "country"):
            for words in texts(element.get(part)):
                yield from _string(path, words)


def _uri(path: str, element: Any) -> Iterator[Value]:
    if uri := text(element):
        yield Key(path, Form.URI, uri)
        yield Worded(path, uri[:MAX_LENGTH])


def _date(path: str, element: Any) -> Iterator[Value]:
    if span := interval(text(element)):
        yield Dated(path, microseconds(span[0]), microseconds(span[1]))


def _period(path: str, element: Any) -> Iterator[Value]:
    """Without a start it began before all times, without an end it goes on (3.1.1.4.7)."""
    if not isinstance(element, dict):
        return
    start, end = interval(text(element.get("start"))), interval(text(element.get("end")))
    if start or end:
        low = microseconds(start[0]) if start else EARLIEST
        yield Dated(path, low, microseconds(end[1]) if end else LATEST)


def _timing(path: str, element: Any) -> Iterator[Value]:
    if isinstance(element, dict):
        for event in texts(element.get("event")):
            yield from _date(path, event)
        for repeat in objects(element.get("repeat")):
            yield from _period(path, repeat.get("boundsPeriod"))


_READERS: dict[str, dict[str, Callable[[str, Any], Iterator[Value]]]] = {
    "token": {
        "": _code,
        "Coding": _coding,
        "CodeableConcept": _concept,
        "Identifier": _identifier,
        "ContactPoint": _contact,
    },
    "reference": {"": _canonical, "Reference": _reference},
    "string": {"": _string, "HumanName": _name, "Address": _address},
    "uri": {"": _uri},
    "date": {"": _date, "Period": _period, "Timing": _timing},
}
"""By kind of parameter and data type, ``""`` for any other type."""
