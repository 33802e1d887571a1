"""Where a value stands in the release that is read and where it goes in the one that is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhir_core.fhirabstractmodel import FHIRAbstractModel

from mappings.fhir_datatypes import absent
from mappings.fhir_definitions import Element, elements_of, is_backbone
from mappings.fhir_elements import Resource

Model = type[FHIRAbstractModel]
_ABSENT = absent()


@dataclass(frozen=True, slots=True)
class Told:
    """One value of an element as it is told, with what stands beside it under ``_name`` (FHIR R4 2.6.2.3)."""

    name: str
    stem: str
    element: Element
    value: Any
    beside: Any
    where: str


@dataclass(frozen=True, slots=True)
class At:
    """Where in both releases: the model and the element path, as ``Procedure.performer`` is one, of each."""

    theirs: Model
    place: str
    ours: Model
    goal: str
    where: str

    def inside(self, told: Told, ours: Element, goal_name: str) -> At | None:
        """Where the members of a value are. A section in a section is at the same place as the outer one."""
        if told.element.child is None or ours.child is None:
            return None
        return At(
            told.element.child,
            _place(self.theirs, told.element.child, self.place, told.name),
            ours.child,
            _place(self.ours, ours.child, self.goal, goal_name),
            told.where,
        )


def _place(parent: Model, child: Model, place: str, name: str) -> str:
    if not is_backbone(child):
        return child.__name__
    return place if child is parent else f"{place}.{name}"


def is_misplaced(item: Resource, name: str, element: Element) -> bool:
    """A value that is no list where one belongs, or a list where none does."""
    return name in item and isinstance(item[name], list) is not element.is_list


def values_of(item: Resource, name: str, element: Element) -> list[tuple[Any, Any]]:
    """Values with what stands beside them under ``_name`` (FHIR R4 2.6.2.3)."""
    value, beside = item.get(name), item.get(f"_{name}")
    if not element.is_list:
        return [(value, beside)]
    values = value if isinstance(value, list) else []
    besides = beside if isinstance(beside, list) else []
    length = max(len(values), len(besides))
    padded = [*values, *[None] * (length - len(values))], [*besides, *[None] * (length - len(besides))]
    return list(zip(*padded, strict=True))


def element_at(model: Model, path: list[str]) -> Element | None:
    """The element at a path below a type."""
    element = elements_of(model).get(path[0])
    if len(path) == 1 or element is None or element.child is None:
        return element if len(path) == 1 else None
    return element_at(element.child, path[1:])


def holder(made: Resource, model: Model, path: list[str]) -> tuple[Resource, Model] | None:
    """The object that the last element of a path belongs to, made where it is not there, and its model.

    None where a faulty value stands in the way.
    """
    for name in path:
        element = elements_of(model)[name]
        held = made.setdefault(name, [{}] if element.is_list else {})
        inner = held[-1] if isinstance(held, list) and held else held
        if (
            element.child is None
            or not isinstance(inner, dict)
            or isinstance(held, list) is not element.is_list
        ):
            return None
        made, model = inner, element.child
    return made, model


def set_member(made: Resource, model: Model, name: str, value: Any, beside: Any) -> bool:
    """False where a single value is there already, another of the same choice, or a faulty one.

    What only says that a value is absent gives way to a value.
    """
    elements = elements_of(model)
    element = elements[name]
    if element.is_list and not all(isinstance(made.get(key, []), list) for key in (name, f"_{name}")):
        return False
    if name in made or f"_{name}" in made:
        if is_placeholder(value, beside):
            return True
        if _is_absent(made.get(name, made.get(f"_{name}"))):
            made.pop(name, None)
            made.pop(f"_{name}", None)
    if element.is_list:
        _append(made, name, element, value, beside)
        return True
    before = made.get(name)
    if isinstance(value, dict) and isinstance(before, dict) and not before.keys() & value.keys():
        made[name] |= value  # made of members that the other release has elsewhere
        return True
    rivals = [n for n, e in elements.items() if n == name or (e.choice and e.choice == element.choice)]
    if any(n in made or f"_{n}" in made for n in rivals):
        return False
    made |= {key: v for key, v in ((name, value), (f"_{name}", beside)) if v is not None}
    return True


def _is_absent(held: Any) -> bool:
    return is_placeholder(held[0] if isinstance(held, list) and len(held) == 1 else held, None)


def _append(made: Resource, name: str, element: Element, value: Any, beside: Any) -> None:
    values = made.setdefault(name, [])
    if element.is_primitive and (beside is not None or f"_{name}" in made):
        besides = made.setdefault(f"_{name}", [])
        besides += [None] * (len(values) - len(besides)) + [beside]
    values.append(value)


def append_to(made: Resource, name: str, value: Any) -> None:
    """To a list that may not be there yet; a faulty value that stands in its place becomes its first."""
    held = made.get(name, [])
    made[name] = [*(held if isinstance(held, list) else [held]), value]


def is_placeholder(value: Any, beside: Any) -> bool:
    """Stands for a required element that nobody stated (see ``Conversion._fill``), and means nothing elsewhere."""
    return bool((beside if value is None else value) == _ABSENT)
