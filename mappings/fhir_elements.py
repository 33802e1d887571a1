"""Reading single FHIR elements out of resources that may be faulty: absent or ill-typed parts read as empty."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from gateway.case.model import Coded, Contact, Identifier, Name

Resource = dict[str, Any]


def objects(value: Any) -> list[dict[str, Any]]:
    """The JSON objects of a list, or the object itself."""
    found = value if isinstance(value, list) else [value]
    return [item for item in found if isinstance(item, dict)]


def text(value: Any) -> str:
    """A string, or a number as it was sent; anything else is empty."""
    if isinstance(value, bool) or value is None or isinstance(value, dict | list):
        return ""
    return str(value).strip()


def texts(value: Any) -> list[str]:
    """The texts of a list, or the text itself; without empty ones."""
    found = value if isinstance(value, list) else [value]
    return [words for words in map(text, found) if words]


def copied(value: Any) -> Any:
    """JSON whose objects and lists are new ones; texts, however long, are shared."""
    if isinstance(value, dict):
        return {k: copied(v) if isinstance(v, (dict, list)) else v for k, v in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def reference(value: Any) -> str:
    """Reference.reference."""
    return text(value.get("reference")) if isinstance(value, dict) else ""


def references(value: Any) -> Iterator[str]:
    """Every Reference.reference inside a resource, at any depth."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            found = item.get("reference")
            if isinstance(found, str):
                yield found
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def coded(value: Any) -> Coded:
    """CodeableConcept or Coding: its text, else the first display, else the first code."""
    if not isinstance(value, dict):
        return Coded("")
    codings = objects(value.get("coding")) if "coding" in value else [value] if "code" in value else []
    words = [
        text(value.get("text")),
        *(text(c.get("display")) for c in codings),
        *(text(c.get("code")) for c in codings),
    ]
    pairs = tuple((text(c.get("system")), text(c.get("code"))) for c in codings if text(c.get("code")))
    return Coded(next((word for word in words if word), ""), pairs)


def has_code(value: Any, code: str) -> bool:
    return any(found == code for _, found in coded(value).codings)


def identifiers(value: Any, assigning_authority: str) -> tuple[Identifier, ...]:
    """Identifier: issued by its system, or by ``assigning_authority`` where it names none (decision 4)."""
    return tuple(
        Identifier(text(item.get("value")), text(item.get("system")) or assigning_authority)
        for item in objects(value)
        if text(item.get("value"))
    )


def contacts(value: Any) -> tuple[Contact, ...]:
    """ContactPoint."""
    return tuple(
        Contact(text(item.get("system")), text(item.get("value")))
        for item in objects(value)
        if text(item.get("value"))
    )


MAX_NAMES = 50


def names(value: Any) -> tuple[Name, ...]:
    """HumanName in all forms sent; extension iso21090-EN-representation tells the script (ABC, IDE, SYL).

    The first MAX_NAMES forms: each is compared with each of every child that is known.
    """
    told = (name for item in objects(value) if (name := _name(item)).text)
    return tuple(islice(told, MAX_NAMES))


_SCRIPTS = {"ABC": "alphabetic", "IDE": "ideographic", "SYL": "phonetic"}
_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"


def _name(item: dict[str, Any]) -> Name:
    given = tuple(texts(item.get("given")))
    family = text(item.get("family"))
    words = text(item.get("text")) or " ".join([*texts(item.get("prefix")), *given, family]).strip()
    code = next(
        (text(e.get("valueCode")) for e in objects(item.get("extension")) if e.get("url") == _REPRESENTATION),
        "",
    )
    return Name(words, family, given, text(item.get("use")), _SCRIPTS.get(code, "alphabetic"))


def display_name(value: Any) -> str:
    """The first name form as text."""
    found = names(value)
    return found[0].text if found else ""


def address(value: Any) -> str:
    """The first Address on one line."""
    for item in objects(value):
        parts = [
            *texts(item.get("line")),
            *(text(item.get(k)) for k in ("city", "district", "state", "postalCode", "country")),
        ]
        found = text(item.get("text")) or ", ".join(part for part in parts if part)
        if found:
            return found
    return ""


def quantity(value: Any) -> str:
    """Quantity with comparator and unit, digits as sent."""
    if not isinstance(value, dict):
        return ""
    number = f"{text(value.get('comparator'))}{text(value.get('value'))}"
    return f"{number} {text(value.get('unit')) or text(value.get('code'))}".strip()


def value_x(item: dict[str, Any], stem: str = "value") -> str:
    """The choice element ``stem``[x] as display text."""
    for key, value in item.items():
        if not key.startswith(stem) or key == stem or not key[len(stem)].isupper():
            continue
        kind = key[len(stem) :]
        if kind in ("Quantity", "Age", "Duration"):
            return quantity(value)
        if kind in ("CodeableConcept", "Coding"):
            return coded(value).text
        if kind == "Period" and isinstance(value, dict):
            return f"{text(value.get('start'))} - {text(value.get('end'))}".strip(" -")
        if kind == "Range" and isinstance(value, dict):
            return f"{quantity(value.get('low'))} - {quantity(value.get('high'))}"
        if kind == "Ratio" and isinstance(value, dict):
            return f"{quantity(value.get('numerator'))} / {quantity(value.get('denominator'))}"
        if kind == "Boolean":
            return "yes" if value is True else "no" if value is False else ""
        return text(value)
    return ""
