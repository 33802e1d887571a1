"""Resources of any FHIR release, made from what is known of its elements: one for each element that there is."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from fhir_core.fhirabstractmodel import FHIRAbstractModel

from mappings.fhir_definitions import Element, Release, elements_of, resource_model

_PRIMITIVES: dict[str, Any] = {
    "base64Binary": "AAAA",
    "boolean": True,
    "canonical": "http://hospital.example/definition/1",
    "code": "x",
    "date": "2024-05-06",
    "dateTime": "2024-05-06T07:08:09+02:00",
    "decimal": Decimal("1.50"),
    "id": "a-1",
    "instant": "2024-05-06T07:08:09.123Z",
    "integer": 7,
    "integer64": "7",
    "markdown": "Words",
    "oid": "urn:oid:1.2.3",
    "positiveInt": 7,
    "string": "Words",
    "time": "07:08:09",
    "unsignedInt": 7,
    "uri": "http://hospital.example/x",
    "url": "http://hospital.example/x",
    "uuid": "urn:uuid:6f1b7d1e-2d52-4b1e-9d3a-8b1f6c3e2a10",
    "xhtml": '<div xmlns="http://www.w3.org/1999/xhtml">Words</div>',
}
_PASSED_OVER = frozenset({"contained", "extension", "modifierExtension", "resourceType", "id"})
_DEPTH = 5


def samples(type_name: str, release: Release) -> Iterator[tuple[str, dict[str, Any]]]:
    """(element, resource): what is required and, of all that is not, one element at a time with all of its members."""
    model = resource_model(type_name, release)
    assert model is not None, f"{type_name} is no resource type of {release}"
    for name, element in elements_of(model).items():
        if name not in _PASSED_OVER and element.kind != "Resource":
            yield name, _object(model, {name: element}) | {"resourceType": type_name, "id": "a-1"}


def _object(model: type[FHIRAbstractModel], wanted: dict[str, Element], depth: int = 0) -> dict[str, Any]:
    """What is required, and of a choice one."""
    chosen = {element.choice for element in wanted.values() if element.choice}
    made = dict(wanted)
    for name, element in elements_of(model).items():
        is_needed = (
            element.choice_required and element.choice not in chosen if element.choice else element.required
        )
        if is_needed and name not in made and element.kind != "Resource":
            made[name] = element
            chosen.add(element.choice)
    if not made:
        made = dict([next((n, e) for n, e in elements_of(model).items() if e.is_primitive and n != "id")])
    values = {name: _value(element, depth) for name, element in made.items()}
    if "data" in values and "size" in values:  # three bytes
        values["size"] = "3" if made["size"].kind == "integer64" else 3
    return values


def _value(element: Element, depth: int) -> Any:
    if element.child is None:
        value = sorted(element.codes)[0] if element.codes else _PRIMITIVES[element.kind]
    elif element.kind == "Reference":
        value = {"reference": f"{_target(element)}/1", "display": "Words"}
    elif depth >= _DEPTH:
        value = _object(element.child, {}, depth + 1)
    else:
        value = _object(element.child, _all_members(element.child, depth), depth + 1)
    return [value] if element.is_list else value


def _target(element: Element) -> str:
    """An Encounter where it may be one, else whatever comes first."""
    return "Encounter" if not element.targets or "Encounter" in element.targets else min(element.targets)


def _all_members(model: type[FHIRAbstractModel], depth: int) -> dict[str, Element]:
    """Every member, of a choice the first, but none that has the type of its owner again."""
    chosen: set[str] = set()
    found = {}
    for name, element in elements_of(model).items():
        again = element.child is model or (element.kind in ("Extension", "Identifier") and depth > 1)
        again = again or element.kind == "Resource"
        if name in _PASSED_OVER or again or (element.choice and element.choice in chosen):
            continue
        chosen.add(element.choice)
        found[name] = element
    return found
