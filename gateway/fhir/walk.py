"""What the models do not look at, element by element: cardinality, choices, codes, JSON rules, references, invariants.

FHIR R4 2.1.5 (cardinality, bindings), 2.6.2 (JSON), 2.3.0 (references), 2.4 (narrative), 2.27 (DomainResource).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from fhir_core.fhirabstractmodel import FHIRAbstractModel

from gateway.errors import Issue
from gateway.fhir.invariants import Rule, rules_on
from gateway.fhir.narrative import narrative_faults
from gateway.fhir.resource_rules import (
    Surroundings,
    contained_faults,
    id_fault,
    reference_faults,
    size_fault,
)
from mappings.fhir_definitions import Element, Release, elements_of, resource_model
from mappings.fhir_elements import objects
from mappings.fhir_invariants import element_name

_JSON_TYPES = {str: "A string", bool: "true or false", int: "A whole number", Decimal: "A decimal number"}

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t\r\n"
"""FHIR R4 2.24.0.1; Python's decoder, which the models use, passes over all others."""

Json = dict[str, Any]
Model = type[FHIRAbstractModel]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A type as the walk needs it. ``stems``: the name of a choice by each of its elements."""

    elements: dict[str, Element]
    required: tuple[str, ...]
    required_choices: tuple[str, ...]
    stems: dict[str, str]
    rules: tuple[Rule, ...]
    element_rules: dict[str, tuple[Rule, ...]]


@cache
def _plan(model: Model, with_invariants: bool) -> _Plan:
    elements = elements_of(model)
    names = tuple(base.__name__ for base in model.__mro__ if issubclass(base, FHIRAbstractModel))
    on_elements = {
        name: rules_on((element_name(model.__name__, element.choice or name),))
        for name, element in elements.items()
        if element.child is None or element.child.__name__ != element_name(model.__name__, name)
    }
    return _Plan(
        elements,
        tuple(name for name, element in elements.items() if element.required and not element.choice),
        tuple({e.choice: None for e in elements.values() if e.choice and e.choice_required}),
        {name: element.choice for name, element in elements.items() if element.choice},
        rules_on(names) if with_invariants else (),
        {name: rules for name, rules in on_elements.items() if rules} if with_invariants else {},
    )


def walk_resource(model: Model, resource: Json, path: str, around: Surroundings) -> Iterator[Issue]:
    """A resource that stands for itself, with what it contains."""
    contained = {f"#{c.get('id')}": str(c.get("resourceType")) for c in objects(resource.get("contained"))}
    contained["#"] = str(resource.get("resourceType"))
    inside = Surroundings(around.release, around.types, contained)
    yield from id_fault(resource, path)
    if "contained" in resource:
        yield from contained_faults(resource, path)
    yield from _walk(model, resource, path, inside)


def _walk(model: Model, item: Json, path: str, around: Surroundings) -> Iterator[Issue]:
    plan = _plan(model, around.release in (Release.R4, Release.R4B))
    present: set[str] = set()
    chosen: dict[str, list[str]] = {}
    for key, value in item.items():
        name = key.removeprefix("_")
        if value is None or value == [] or value == {} or value == "":
            yield empty(value, f"{path}.{key}")
            present.add(name)
            continue
        element = plan.elements.get(name)
        stem = plan.stems.get(name)
        if stem is not None and name not in chosen.setdefault(stem, []):
            chosen[stem].append(name)
        present.add(stem or name)
        if element is not None:
            yield from _values(element, key, value, item, path, around)
            for rule in plan.element_rules.get(name, ()):
                yield from _broken_in(rule, value, f"{path}.{key}")
    for name in plan.required:
        if name not in present:
            yield Issue("error", "required", f"The required element '{name}' is missing.", f"{path}.{name}")
    yield from _choices(plan, chosen, path)
    for rule in plan.rules:
        if not rule.holds(item, present, plan.stems):
            yield _broken(rule, path)


def in_words(value: Any) -> str:
    """What kind of JSON value it is; nothing of it is told."""
    if isinstance(value, str):
        count = f"{len(value)} character{'s' if len(value) > 1 else ''}"
        return f"text of {count}" if value else "an empty text"
    if isinstance(value, dict | list):
        kind = "object" if isinstance(value, dict) else "list"
        return f"{'an' if kind == 'object' or not value else 'a'} {'' if value else 'empty '}{kind}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    return "a whole number" if isinstance(value, int) else "a decimal number"


def empty(value: Any, path: str, severity: str = "error") -> Issue:
    text = f"A value was expected, and {in_words(value)} was found: what has no value is left out (FHIR R4 2.6.2)."
    return Issue(severity, "structure", text, path)


def _choices(plan: _Plan, chosen: dict[str, list[str]], path: str) -> Iterator[Issue]:
    for choice, names in chosen.items():
        if len(names) > 1:
            text = f"Only one of {', '.join(sorted(names))} may be given."
            yield Issue("error", "structure", text, f"{path}.{choice}")
    for choice in plan.required_choices:
        if choice not in chosen:
            text = f"The required element '{choice}[x]' is missing."
            yield Issue("error", "required", text, f"{path}.{choice}")


def _values(
    element: Element, key: str, value: Any, item: Json, path: str, around: Surroundings
) -> Iterator[Issue]:
    where = f"{path}.{key}"
    beside = item.get(key[1:] if key[0] == "_" else f"_{key}")
    if not isinstance(value, list):
        if key[0] == "_" and beside is None and isinstance(value, dict) and value.keys() == {"id"}:
            yield empty({}, where)
        yield from _value(element, key, value, where, around)
        return
    for index, one in enumerate(value):
        if one is None and element.child is None and not element.is_resource and _has(beside, index):
            continue  # the null of a list of primitives stands beside an id or an extension
        if one is None or one == {} or one == [] or one == "":
            yield empty(one, f"{where}[{index}]")
        else:
            yield from _value(element, key, one, f"{where}[{index}]", around)


def _has(values: Any, index: int) -> bool:
    return isinstance(values, list) and index < len(values) and values[index] is not None


def _value(element: Element, key: str, value: Any, path: str, around: Surroundings) -> Iterator[Issue]:
    if not isinstance(value, dict):
        yield from _scalar_faults(element, key, value, path, around)
    elif element.child is not None:
        yield from _complex_faults(element, element.child, value, path, around)
    elif element.is_resource:
        yield from _inner_resource(key, value, path, around)
    elif key[0] == "_":
        yield from _extensions(value, path, around)


def _scalar_faults(
    element: Element, key: str, value: Any, path: str, around: Surroundings
) -> Iterator[Issue]:
    """The models take text for a number or true, and a number for a date, which JSON tells apart (2.6.2.2)."""
    if key[0] == "_" or element.child is not None or element.is_resource:
        return
    if isinstance(value, str) and element.json_type is str:
        yield from _text_faults(element, value, path, around)
    elif not _is_of_type(value, element.json_type):
        expected = _JSON_TYPES[element.json_type]
        text = f"{expected} was expected, and {in_words(value)} was found."
        yield Issue("error", "value", text, path)


def _is_of_type(value: Any, json_type: type) -> bool:
    if isinstance(value, bool):
        return json_type is bool
    return isinstance(value, int | float | Decimal if json_type is Decimal else json_type)


def _text_faults(element: Element, value: str, path: str, around: Surroundings) -> Iterator[Issue]:
    if element.codes and value not in element.codes:
        allowed = ", ".join(sorted(element.codes)[:30])
        text = f"The code is none of those that FHIR {around.release} requires: {allowed}."
        yield Issue("error", "code-invalid", text, path)
    elif element.kind == "xhtml":
        yield from narrative_faults(value, path)
    elif element.kind == "base64Binary" and value.encode(errors="replace").translate(None, _BASE64):
        yield Issue("error", "value", "Base64 was expected, and characters were found that it has not.", path)


def _complex_faults(
    element: Element, model: Model, value: Json, path: str, around: Surroundings
) -> Iterator[Issue]:
    if value.keys() == {"id"}:
        yield empty({}, path)
    yield from _walk(model, value, path, around)
    if element.kind == "Reference":
        yield from reference_faults(element, value, path, around)
    elif element.kind == "Attachment":
        yield from size_fault(value, path)


def _extensions(beside: Json, path: str, around: Surroundings) -> Iterator[Issue]:
    """Beside a primitive: its extensions."""
    model = elements_of(resource_model("Patient", around.release) or FHIRAbstractModel)["extension"].child
    for index, one in enumerate(objects(beside.get("extension"))):
        if model is not None:
            yield from _walk(model, one, f"{path}.extension[{index}]", around)


def _inner_resource(key: str, resource: Json, path: str, around: Surroundings) -> Iterator[Issue]:
    """Contained resources share the references of what contains them; others stand for themselves."""
    model = resource_model(str(resource.get("resourceType")), around.release)
    if model is None:
        return  # the models have told
    if key != "contained":
        yield from walk_resource(model, resource, path, around)
        return
    yield from id_fault(resource, path)
    yield from _walk(model, resource, path, around)


def _broken_in(rule: Rule, value: Any, path: str) -> Iterator[Issue]:
    """A rule that stands on an element, for each of its values."""
    for index, one in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(one, dict) and not rule.holds(one, set(one), {}):
            yield _broken(rule, f"{path}[{index}]" if isinstance(value, list) else path)


def _broken(rule: Rule, path: str) -> Issue:
    text = f"The rule {rule.invariant.key} of FHIR R4 is broken: {rule.invariant.means}"
    return Issue("error", "invariant", text, path)
