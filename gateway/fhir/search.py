"""Search over a partner's own resources (FHIR R4 3.1.1): which parameters, and what each compares."""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import InvalidContent, Issue
from gateway.fhir.served import Served
from mappings.fhir_elements import coded, identifiers, names, objects, reference, text

Values = Callable[[dict[str, Any]], Iterable[str]]
"""Reads from a resource the values that a search parameter compares."""

DEFAULT_COUNT, MAX_COUNT = 50, 500


def _tokens(element: str) -> Values:
    """``code`` and ``system|code`` of a code, Coding, CodeableConcept or Identifier."""

    def read(resource: dict[str, Any]) -> Iterable[str]:
        value = resource.get(element)
        if isinstance(value, str):
            yield value
        for item in objects(value):
            for identifier in identifiers([item], ""):
                yield from (
                    identifier.value,
                    f"{identifier.issuer}|{identifier.value}",
                    f"{identifier.issuer}|",
                )
            for system, code in coded(item).codings:
                yield from (code, f"{system}|{code}", f"{system}|")

    return read


def _refs(*elements: str) -> Values:
    """``Type/id`` and ``id`` of references."""

    def read(resource: dict[str, Any]) -> Iterable[str]:
        for element in elements:
            for item in objects(resource.get(element)):
                found = reference(item)
                if found:
                    yield from (found, found.split("/")[-1])

    return read


@dataclass(frozen=True, slots=True)
class Parameter:
    """``kind`` is a FHIR search parameter type: token, reference, string or date."""

    kind: str
    values: Values


def _text_of(element: str) -> Values:
    return lambda resource: [text(resource.get(element))]


def _name_words(resource: dict[str, Any]) -> Iterable[str]:
    for name in names(resource.get("name")):
        yield from (name.text, name.family, *name.given)


_ANY = {
    "_id": Parameter("token", _text_of("id")),
    "_lastUpdated": Parameter("date", lambda r: [text((r.get("meta") or {}).get("lastUpdated"))]),
}
_IDENTIFIER, _STATUS = Parameter("token", _tokens("identifier")), Parameter("token", _tokens("status"))
_PATIENT = Parameter("reference", _refs("subject", "patient", "for"))

PARAMETERS: dict[str, dict[str, Parameter]] = {
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
        "family": Parameter("string", lambda r: [n.family for n in names(r.get("name"))]),
        "given": Parameter("string", lambda r: [g for n in names(r.get("name")) for g in n.given]),
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
_CONTROL = frozenset({"_count", "_offset", "_format", "_pretty", "_summary"})


@dataclass(frozen=True, slots=True)
class Query:
    """A search as asked. ``ignored`` are parameters that are not honoured and that the answer says so of."""

    type: str
    asked: tuple[tuple[str, str], ...]
    count: int = DEFAULT_COUNT
    offset: int = 0
    ignored: tuple[str, ...] = field(default=())


def parse(type_name: str, pairs: Iterable[tuple[str, str]], strict: bool) -> Query:
    """Raises InvalidContent on a malformed value and, under ``Prefer: handling=strict``, on an unknown parameter."""
    known = PARAMETERS[type_name]
    asked, ignored, control = [], [], {"_count": str(DEFAULT_COUNT), "_offset": "0"}
    for name, value in pairs:
        if name.split(":")[0] in known and name.count(":") == 0:
            asked.append((name, value))
        elif name in control:
            control[name] = value
        elif name not in _CONTROL:
            ignored.append(name)
    if ignored and strict:
        issues = tuple(
            Issue("error", "not-supported", f"Unknown search parameter '{n[:64]}'.") for n in ignored
        )
        raise InvalidContent("The search has parameters that are not known here.", issues)
    count, offset = (_whole(control[name], name) for name in ("_count", "_offset"))
    return Query(type_name, tuple(asked), min(count, MAX_COUNT), offset, tuple(ignored))


def _whole(value: str, name: str) -> int:
    if not value.isdecimal() or len(value) > 9:
        raise InvalidContent(f"{name} must be a whole number.")
    return int(value)


def matching(query: Query, found: Iterable[Served]) -> list[Served]:
    """Parameters are joined by AND, values separated by commas by OR."""
    return [
        s for s in found if all(_matches(query.type, name, value, s.resource) for name, value in query.asked)
    ]


def _matches(type_name: str, name: str, wanted: str, resource: dict[str, Any]) -> bool:
    parameter = PARAMETERS[type_name][name]
    values = [value for value in parameter.values(resource) if value]
    return any(
        _COMPARE[parameter.kind](option.strip(), value) for option in wanted.split(",") for value in values
    )


def _same_token(wanted: str, value: str) -> bool:
    return wanted.removeprefix("|") == value


def _same_reference(wanted: str, value: str) -> bool:
    """A literal reference, an id alone, or an absolute URL that ends in the reference."""
    return wanted == value or ("://" in wanted and "/" in value and wanted.endswith(f"/{value}"))


def _starts(wanted: str, value: str) -> bool:
    """String search: the start of the value, without regard to case and accents (3.1.1.4.8)."""
    return _plain(value).startswith(_plain(wanted))


def _plain(value: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", value.casefold()) if not unicodedata.combining(c))


def _in_time(wanted: str, value: str) -> bool:
    """Dates compare as intervals of their precision, by prefix (3.1.1.4.7): here on the text, both in UTC."""
    prefix = wanted[:2] if wanted[:2] in _PREFIXES else "eq"
    date = wanted.removeprefix(prefix) if wanted[:2] in _PREFIXES else wanted
    cut = value[: len(date)]
    return _PREFIXES[prefix](cut, date)


_PREFIXES: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda value, date: value == date,
    "ne": lambda value, date: value != date,
    "gt": lambda value, date: value > date,
    "lt": lambda value, date: value < date,
    "ge": lambda value, date: value >= date,
    "le": lambda value, date: value <= date,
}
_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "token": _same_token,
    "reference": _same_reference,
    "string": _starts,
    "date": _in_time,
}
