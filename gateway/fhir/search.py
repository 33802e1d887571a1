"""Search over a partner's own resources (FHIR R4 3.1.1): which parameters, and what each compares."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import InvalidContent, Issue
from gateway.fhir.comparing import MODIFIERS, Test, Value, compare, options
from gateway.fhir.served import Served
from mappings.fhir_elements import coded, identifiers, names, objects, reference, text

Values = Callable[[dict[str, Any]], Iterable[Value]]
"""Reads from a resource the values that a search parameter compares."""

DEFAULT_COUNT, MAX_COUNT = 50, 500


def _tokens(element: str) -> Values:
    """(system, code) of a Coding, CodeableConcept or Identifier; a code's system is None."""

    def read(resource: dict[str, Any]) -> Iterable[Value]:
        value = resource.get(element)
        if isinstance(value, str):
            yield None, value
        for item in objects(value):
            yield from ((identifier.issuer, identifier.value) for identifier in identifiers([item], ""))
            yield from coded(item).codings

    return read


def _refs(*elements: str) -> Values:
    """``Type/id`` of references, without a version."""

    def read(resource: dict[str, Any]) -> Iterable[Value]:
        for element in elements:
            for item in objects(resource.get(element)):
                yield None, reference(item).split("/_history/")[0]

    return read


@dataclass(frozen=True, slots=True)
class Parameter:
    """``kind`` is a FHIR search parameter type: token, reference, string or date."""

    kind: str
    values: Values


def _text_of(element: str) -> Values:
    return lambda resource: [(None, text(resource.get(element)))]


def _last_updated(resource: dict[str, Any]) -> Iterable[Value]:
    yield from ((None, text(meta.get("lastUpdated"))) for meta in objects(resource.get("meta")))


def _name_words(resource: dict[str, Any]) -> Iterable[Value]:
    for name in names(resource.get("name")):
        yield from ((None, words) for words in (name.text, name.family, *name.given))


def _family(resource: dict[str, Any]) -> Iterable[Value]:
    yield from ((None, name.family) for name in names(resource.get("name")))


def _given(resource: dict[str, Any]) -> Iterable[Value]:
    yield from ((None, given) for name in names(resource.get("name")) for given in name.given)


_ANY = {
    "_id": Parameter("token", _text_of("id")),
    "_lastUpdated": Parameter("date", _last_updated),
}
_IDENTIFIER, _STATUS = Parameter("token", _tokens("identifier")), Parameter("token", _tokens("status"))
_PATIENT = Parameter("reference", _refs("subject", "patient", "for"))

PARAMETERS: dict[str, dict[str, Parameter]] = {
    "Binary": _ANY,
    "Task": _ANY
    | {
        "identifier": _IDENTIFIER,
        "status": _STATUS,
        "patient": _PATIENT,
        "subject": _PATIENT,
        "business-status": Parameter("token", _tokens("businessStatus")),
        "focus": Parameter("reference", _refs("focus")),
        "based-on": Parameter("reference", _refs("basedOn")),
        "part-of": Parameter("reference", _refs("partOf")),
    },
    "ServiceRequest": _ANY
    | {"identifier": _IDENTIFIER, "status": _STATUS, "patient": _PATIENT, "subject": _PATIENT},
    "Patient": _ANY
    | {
        "identifier": _IDENTIFIER,
        "name": Parameter("string", _name_words),
        "family": Parameter("string", _family),
        "given": Parameter("string", _given),
        "birthdate": Parameter("date", _text_of("birthDate")),
        "gender": Parameter("token", _tokens("gender")),
    },
    "ImagingStudy": _ANY
    | {
        "identifier": _IDENTIFIER,
        "status": _STATUS,
        "patient": _PATIENT,
        "subject": _PATIENT,
        "basedon": Parameter("reference", _refs("basedOn")),
        "started": Parameter("date", _text_of("started")),
        "modality": Parameter("token", _tokens("modality")),
    },
    "DocumentReference": _ANY
    | {
        "identifier": _IDENTIFIER,
        "status": _STATUS,
        "patient": _PATIENT,
        "subject": _PATIENT,
        "type": Parameter("token", _tokens("type")),
        "date": Parameter("date", _text_of("date")),
    },
    "DiagnosticReport": _ANY
    | {
        "identifier": _IDENTIFIER,
        "status": _STATUS,
        "patient": _PATIENT,
        "subject": _PATIENT,
        "based-on": Parameter("reference", _refs("basedOn")),
        "code": Parameter("token", _tokens("code")),
        "category": Parameter("token", _tokens("category")),
        "issued": Parameter("date", _text_of("issued")),
    },
}
_PASSED_OVER = frozenset({"_format", "_pretty"})
_RESULT_PARAMETERS = frozenset({"_include", "_revinclude"})  # their modifier :iterate limits nothing


@dataclass(frozen=True, slots=True)
class Term:
    """One parameter as asked: any of ``options`` must match. ``present`` is what ``:missing`` asks for."""

    name: str
    modifier: str
    options: tuple[str, ...]
    tests: tuple[Test, ...]
    present: bool | None = None

    def matches(self, values: Iterable[Value]) -> bool:
        found = [value for value in values if value[1]]
        if self.present is not None:
            return bool(found) is self.present
        return any(test(value) for test in self.tests for value in found)


@dataclass(frozen=True, slots=True)
class Query:
    """A search as asked. ``ignored`` are parameters that are not honoured and that the answer says so of."""

    type: str
    asked: tuple[tuple[str, str], ...]
    terms: tuple[Term, ...] = ()
    count: int = DEFAULT_COUNT
    offset: int = 0
    ignored: tuple[str, ...] = field(default=())
    only_total: bool = False


def parse(type_name: str, pairs: Iterable[tuple[str, str]], strict: bool) -> Query:
    """Raises InvalidContent on a malformed value, a modifier or a chain that is not offered (3.1.1.3: never ignored).

    Under ``Prefer: handling=strict`` on an unknown parameter too.
    """
    asked, terms, ignored = [], [], []
    control = {"_count": str(DEFAULT_COUNT), "_offset": "0", "_summary": "false"}
    for name, value in pairs:
        if _head(name) in PARAMETERS[type_name]:
            asked.append((name, value))
            terms.append(_term(PARAMETERS[type_name], name, value))
        elif name in control:
            control[name] = value
        elif name != _head(name) and _head(name) not in _RESULT_PARAMETERS:
            raise _not_offered(name)
        elif name not in _PASSED_OVER:
            ignored.append(name)
    if control["_summary"] not in ("false", "count"):
        ignored.append("_summary")
    if ignored and strict:
        issues = tuple(
            Issue("error", "not-supported", f"Unknown search parameter '{n[:64]}'.") for n in ignored
        )
        raise InvalidContent("The search has parameters that are not known here.", issues)
    count, offset = (_whole(control[name], name) for name in ("_count", "_offset"))
    return Query(
        type_name,
        tuple(asked),
        tuple(terms),
        min(count, MAX_COUNT),
        offset,
        tuple(ignored),
        control["_summary"] == "count",
    )


def _head(name: str) -> str:
    return re.split("[:.]", name)[0]


def _term(known: dict[str, Parameter], name: str, value: str) -> Term:
    head, _, modifier = name.partition(":")
    if head not in known:
        raise _not_offered(name)
    kind = known[head].kind
    if modifier == "missing":
        if value not in ("true", "false"):
            raise InvalidContent("The value of :missing is true or false.")
        return Term(head, modifier, (value,), (), value == "false")
    if name != head and modifier not in MODIFIERS.get(kind, ()):
        raise _not_offered(name)
    found = options(value)
    return Term(head, modifier, tuple(found), tuple(compare(kind, modifier, option) for option in found))


def _not_offered(name: str) -> InvalidContent:
    text = f"'{name[:64]}': this modifier or chain is not supported, and a search without it would find too much."
    return InvalidContent(text, (Issue("error", "not-supported", text),))


def _whole(value: str, name: str) -> int:
    if not value.isdecimal() or len(value) > 9:
        raise InvalidContent(f"{name} must be a whole number.")
    return int(value)


def matching(query: Query, found: Iterable[Served]) -> list[Served]:
    """Parameters are joined by AND, values separated by commas by OR."""
    known = PARAMETERS[query.type]
    return [
        s for s in found if all(term.matches(known[term.name].values(s.resource)) for term in query.terms)
    ]
