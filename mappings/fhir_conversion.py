"""A resource of one FHIR release as another has it: nothing dropped, nothing guessed.

What is called the same and is of the same type stays. The rest goes by the tables (fhir_conversion_table.py) and by
what each pair of data types allows (fhir_coercion.py). What has no place in the other release becomes an extension
for converting between versions, and is an element again on the way back. Parts that are faulty pass as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mappings import fhir_coercion as coercion
from mappings import fhir_r5_steps, fhir_stu3_steps
from mappings.fhir_conversion_table import ConversionTable, Rule, from_r4, to_r4
from mappings.fhir_cross_version import named_by, url_of, value_key, value_name
from mappings.fhir_datatypes import absent
from mappings.fhir_definitions import Element, Release, data_type, elements_of, is_backbone, resource_model
from mappings.fhir_elements import Resource, objects
from mappings.fhir_places import (
    At,
    Model,
    Told,
    append_to,
    element_at,
    holder,
    is_misplaced,
    is_placeholder,
    set_member,
    values_of,
)
from mappings.fhir_r5_steps import Step
from mappings.fhir_type_names import original_name, r4_name

_SAME = Rule()
_STEPS: dict[tuple[Release, bool], dict[str, Step]] = {
    (Release.R5, True): fhir_r5_steps.STEPS_IN,
    (Release.R5, False): fhir_r5_steps.STEPS_OUT,
    (Release.STU3, True): fhir_stu3_steps.STEPS_IN,
    (Release.STU3, False): fhir_stu3_steps.STEPS_OUT,
}
"""By release, and whether it is turned into R4."""
_MODIFIER = "modifierExtension"


@dataclass(frozen=True, slots=True)
class Note:
    """What a person should know of a conversion. ``severity`` is an IssueSeverity, ``expression`` a FHIRPath."""

    severity: str
    text: str
    expression: str


@dataclass(slots=True)
class Conversion:
    """From one release to another, one of which is R4."""

    source: Release
    target: Release
    notes: list[Note] = field(default_factory=list)

    @property
    def table(self) -> ConversionTable:
        return to_r4(self.source) if self.target is Release.R4 else from_r4(self.target)

    def resource(self, content: Resource, where: str, *, contained: bool = False) -> Resource | None:
        """The resource in the other release; None where that has no such type."""
        type_name, fhir_id = str(content.get("resourceType")), content.get("id")
        named = r4_name if self.target is Release.R4 else original_name
        other, other_id = named(self.table.types, type_name, fhir_id if isinstance(fhir_id, str) else "")
        theirs, ours = resource_model(type_name, self.source), resource_model(other, self.target)
        if theirs is None or ours is None:
            return None
        rest, turned = self._step(type_name, other)(self, content)
        made = {"resourceType": other} | turned
        self.members(rest, At(theirs, type_name, ours, other, where), made)
        if isinstance(fhir_id, str) and not contained:
            made["id"] = other_id
        self._fill(ours, made)
        return made

    def _step(self, type_name: str, other: str) -> Step:
        into_r4 = self.target is Release.R4
        steps = _STEPS.get((self.source if into_r4 else self.target, into_r4), {})
        return steps.get(type_name if into_r4 else other, lambda _, content: (content, {}))

    def members(self, item: Resource, at: At, made: Resource) -> None:
        """Every member of ``item`` into ``made``, which may have members already."""
        elements = elements_of(at.theirs)
        for name in dict.fromkeys(key.removeprefix("_") for key in item):
            element = elements.get(name)
            if name == "resourceType":
                continue
            if name in ("extension", _MODIFIER):
                self._extensions(item[name], name, at, made)
            elif element is None or is_misplaced(item, name, element):
                made |= {key: item[key] for key in (name, f"_{name}") if key in item}
            elif name == "contained":
                made[name] = [
                    self.inner(value, f"{at.where}.{name}[{i}]") for i, value in enumerate(item[name])
                ]
            else:
                self._element(name, element, item, at, made)

    def inner(self, value: Any, where: str) -> Any:
        """A resource inside another; of a type that the other release has not, it stays and is told."""
        made = self.resource(value, where, contained=True) if isinstance(value, dict) else None
        if made is None and isinstance(value, dict):
            self.notes.append(Note("warning", unconverted(value, self.source, self.target), where))
        return value if made is None else made

    def _element(self, name: str, element: Element, item: Resource, at: At, made: Resource) -> None:
        stem = element.choice or name
        rule, ruled = self._rule(at, name, stem)
        left = []
        for index, (value, beside) in enumerate(values_of(item, name, element)):
            where = f"{at.where}.{name}[{index}]" if element.is_list else f"{at.where}.{name}"
            told = Told(name, stem, element, value, beside, where)
            if self._is_dissolved(told, at, index):
                self._dissolve(told, at, made)
            elif not any(self._put(told, rule, goal, at, made) for goal in _goals(at, rule, ruled, told)):
                left.append(told)
        for told in left:
            if not is_placeholder(told.value, told.beside):
                self._leave(told, at, made)

    def _rule(self, at: At, name: str, stem: str) -> tuple[Rule, str]:
        """The rule for an element and the name that it goes by: its own, or its choice's."""
        for ruled in (name, stem):
            if found := self.table.rules.get(f"{at.place}.{ruled}"):
                return found, ruled
        return _SAME, name

    def _is_dissolved(self, told: Told, at: At, index: int) -> bool:
        """Whether the members go where the element stands: the first's, and those that no other member goes with."""
        if f"{at.place}.{told.stem}" not in self.table.dissolved or not isinstance(told.value, dict):
            return False
        return index == 0 or len(told.value) == 1

    def _dissolve(self, told: Told, at: At, made: Resource) -> None:
        if told.element.child is not None:
            inside = At(told.element.child, f"{at.place}.{told.name}", at.ours, at.goal, told.where)
            self.members(told.value, inside, made)

    def _put(self, told: Told, rule: Rule, goal: list[str], at: At, made: Resource) -> bool:
        """One value to where it belongs; False where there is no such place, or it is taken."""
        ours = element_at(at.ours, goal)
        if ours is None or not coercion.allows(rule, told.value):
            return False
        found = coercion.coerced(self, told, ours, rule, at, goal[-1])
        held = holder(made, at.ours, goal[:-1]) if found is not None else None
        return found is not None and held is not None and set_member(*held, goal[-1], *found)

    def _leave(self, told: Told, at: At, made: Resource) -> None:
        """What has no place becomes an extension; what changes the meaning, one that must be understood."""
        place = f"{at.place}.{told.stem}"
        extension = self.extension(url_of(self.source, place), told.element, told.value, told.beside)
        can_hold = elements_of(at.ours)
        if extension is None or "extension" not in can_hold:
            text = (
                f"{told.name} has no place in FHIR {self.target}; it stays in the bytes that were received."
            )
            self.notes.append(Note("information", text, told.where))
        elif place in self.table.modifiers and told.value is not False and _MODIFIER in can_hold:
            text = (
                f"{told.name} changes the meaning and is kept as a modifier extension in FHIR {self.target}."
            )
            self.notes.append(Note("warning", text, told.where))
            append_to(made, _MODIFIER, extension)
        else:
            append_to(made, "extension", extension)

    def extension(self, url: str, element: Element, value: Any, beside: Any) -> Resource | None:
        """An extension of the other release that holds the value; None where nothing can."""
        name = value_name(element.kind, self.target)
        if element.is_primitive:
            held = {name: str(value) if name == "valueString" else value} if value is not None else {}
            return (
                {"url": url} | held | ({f"_{name}": beside} if beside is not None else {}) if name else None
            )
        if element.child is None or not isinstance(value, dict):
            return None
        if name:
            converted = self.data_type(value, element.child.__name__)
            return None if converted is None else {"url": url, name: converted}
        inner = list(self._sub_extensions(element.child, value))
        return {"url": url, "extension": inner} if inner else None

    def _sub_extensions(self, model: Model, value: Resource) -> Iterator[Resource]:
        elements = elements_of(model)
        yield from objects(value.get("extension"))
        for name in dict.fromkeys(key.removeprefix("_") for key in value):
            element = elements.get(name)
            if element is None or name in ("extension", _MODIFIER, "id"):
                continue
            for one, beside in values_of(value, name, element):
                if found := self.extension(element.choice or name, element, one, beside):
                    yield found

    def data_type(self, value: Resource, kind: str) -> Resource | None:
        """A value of a data type that both releases have."""
        theirs, ours = data_type(kind, self.source), data_type(kind, self.target)
        if theirs is None or ours is None:
            return None
        made: Resource = {}
        self.members(value, At(theirs, kind, ours, kind, kind), made)
        self._fill(ours, made)
        return made

    def _extensions(self, value: Any, key: str, at: At, made: Resource) -> None:
        """Extensions stay, their values in the other release; those that stand for an element become it again."""
        if not isinstance(value, list):
            made[key] = value
            return
        for extension in value:
            if not isinstance(extension, dict):
                append_to(made, key, extension)
            elif not self._restored(extension, at, made):
                converted = self.data_type(extension, "Extension")
                append_to(made, key, extension if converted is None else converted)

    def _restored(self, extension: Resource, at: At, made: Resource) -> bool:
        base = url_of(self.target, f"{at.goal}.")
        url = str(extension.get("url"))
        if not url.startswith(base):
            return False
        path = url.removeprefix(base).split(".")
        if len(path) == 1:
            return self._restore(path[0], extension, at.ours, made)
        parent = element_at(at.ours, path[:-1])
        if parent is None or parent.child is None:
            return False
        held = holder(made, at.ours, path[:-1])
        return held is not None and self._restore(path[-1], extension, held[1], held[0])

    def _restore(self, stem: str, extension: Resource, model: Model, made: Resource) -> bool:
        elements = elements_of(model)
        name = named_by(elements, stem, extension)
        if not name:
            return False
        value, beside = self.held(extension, elements[name])
        return (value, beside) != (None, None) and set_member(made, model, name, value, beside)

    def held(self, extension: Resource, element: Element) -> tuple[Any, Any]:
        """What an extension holds for an element, in the release of the element."""
        key = value_key(extension)
        value, beside = extension.get(key), extension.get(f"_{key}")
        if element.child is None:
            return coercion.primitive_as(value, element.kind), beside
        if key:
            return (self.data_type(value, element.child.__name__) if isinstance(value, dict) else None), None
        made: Resource = {}
        for inner in objects(extension.get("extension")):
            if not self._restore(str(inner.get("url")), inner, element.child, made):
                append_to(made, "extension", inner)
        return made or None, None

    def _fill(self, model: Model, made: Resource) -> None:
        """What the other release requires and nothing said is stated as absent (extension data-absent-reason)."""
        elements = elements_of(model)
        told = {key.removeprefix("_") for key in made}
        chosen = {elements[name].choice for name in told if name in elements}
        for name, element in _required(elements):
            if name not in told and (not element.choice or element.choice not in chosen):
                made |= self._absence(name, element)
                chosen.add(element.choice)

    def _absence(self, name: str, element: Element) -> Resource:
        if "unknown" in element.codes:
            return {name: "unknown"}
        stated: Resource = absent()
        if element.child is not None and is_backbone(element.child):
            stated = {}
            self._fill(element.child, stated)
        key = f"_{name}" if element.is_primitive else name
        return {key: [stated] if element.is_list else stated} if stated else {}

    def object(self, value: Resource, inside: At) -> Resource:
        made: Resource = {}
        self.members(value, inside, made)
        self._fill(inside.ours, made)
        return made


def _required(elements: dict[str, Element]) -> list[tuple[str, Element]]:
    """Elements of which something must be told; of a choice words or a concept before anything else."""
    found = [
        (name, element)
        for name, element in elements.items()
        if name != "url" and (element.choice_required if element.choice else element.required)
    ]
    return sorted(found, key=lambda pair: pair[1].kind not in ("string", "CodeableConcept"))


def unconverted(content: Resource, source: Release, target: Release) -> str:
    """Why a resource stays as it is; its type was checked to be one of the source release."""
    type_name = str(content.get("resourceType"))[:64]
    return f"FHIR {target} has no {type_name}: it is kept as received, as FHIR {source}, and is not read."


def _goals(at: At, rule: Rule, ruled: str, told: Told) -> list[list[str]]:
    """Where a value may go, from what is being made downwards; a choice keeps its type in its name."""
    suffix = told.name[len(told.stem) :] if ruled == told.stem else ""
    below = [t.removeprefix(f"{at.goal}.") for t in rule.targets if t.startswith(f"{at.goal}.")]
    return [f"{goal}{suffix}".split(".") for goal in below or [ruled]]
