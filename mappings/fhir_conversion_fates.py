"""What becomes of each element of a release in R4, told for people: read off the same definitions and tables."""

from collections.abc import Iterator
from dataclasses import dataclass

from mappings.fhir_coercion import can_become
from mappings.fhir_conversion_table import USED, ConversionTable, Rule, to_r4
from mappings.fhir_definitions import Element, Release, data_type, elements_of, is_backbone, resource_model
from mappings.fhir_places import Model, element_at
from mappings.fhir_r5_steps import TOLD as TOLD_R5
from mappings.fhir_stu3_steps import TOLD as TOLD_STU3
from mappings.fhir_type_names import r4_name

DATA_TYPES = (
    "Attachment",
    "ContactPoint",
    "Dosage",
    "Identifier",
    "Quantity",
    "Reference",
    "Signature",
    "Timing",
)
_TOLD = {Release.R5: TOLD_R5, Release.STU3: TOLD_STU3}
_UNTOLD = frozenset({"contained", "extension", "modifierExtension", "id", "resourceType"})
KEPT = "extension"
KEPT_MODIFIER = "modifier extension, with a warning"


@dataclass(frozen=True, slots=True)
class Fate:
    """``r4`` are the elements of R4, empty for what is kept as an extension; ``how`` in words."""

    element: str
    r4: str
    how: str


def fates(release: Release) -> Iterator[Fate]:
    """Of every element of the types that a case uses that is not the same in R4, by type."""
    types = [name for name in USED if resource_model(name, release) is not None]
    for name in (*types, *DATA_TYPES):
        r4_type, _ = r4_name(to_r4(release).types, name, "")
        theirs, ours = data_type(name, release), data_type(r4_type, Release.R4)
        if theirs is None:
            continue
        if ours is None:
            yield Fate(name, "", "kept as received, with a warning")
            continue
        if r4_type != name:
            yield Fate(
                name, r4_type, "another name; what its elements are called is the same unless it stands here"
            )
        yield from _Walk(release, to_r4(release)).members(theirs, name, ours, r4_type, 0)


@dataclass(frozen=True, slots=True)
class _Walk:
    release: Release
    table: ConversionTable

    def members(self, theirs: Model, place: str, ours: Model, goal: str, depth: int) -> Iterator[Fate]:
        seen = set()
        for name, element in elements_of(theirs).items():
            stem = element.choice or name
            if name in _UNTOLD or depth > 4 or (found := self._told(place, stem)) in seen:
                continue
            if found:
                seen.add(found)
                yield Fate(f"{place}.{stem}", "", found)
            elif f"{place}.{stem}" in self.table.dissolved and element.child is not None:
                yield from self.members(element.child, f"{place}.{name}", ours, goal, depth + 1)
            else:
                yield from self._fate(name, element, place, ours, goal, theirs, depth)

    def _told(self, place: str, stem: str) -> str:
        return _TOLD[self.release].get(f"{place}.{stem}", "")

    def _fate(
        self, name: str, element: Element, place: str, ours: Model, goal: str, theirs: Model, depth: int
    ) -> Iterator[Fate]:
        rule, goals = self._goals(name, element, place, goal)
        found = [(path, target) for path in goals if (target := element_at(ours, path.split(".")))]
        fitting = [(path, target) for path, target in found if can_become(element, target, rule)]
        own = f"{place}.{name}"
        if not fitting:
            modifies = f"{place}.{element.choice or name}" in self.table.modifiers
            yield Fate(own, "", KEPT_MODIFIER if modifies else KEPT)
            return
        names = ", ".join(f"{goal}.{path}" for path, _ in fitting)
        path, target = fitting[0]
        if how := _further(element, fitting) or _how(element, target, rule, path != name):
            yield Fate(own, names, how)
        inner = element.child is not None and target.child is not None and is_backbone(element.child)
        if inner and element.child is not theirs and element.child and target.child and not rule.member:
            yield from self.members(element.child, own, target.child, f"{goal}.{path}", depth + 1)

    def _goals(self, name: str, element: Element, place: str, goal: str) -> tuple[Rule, list[str]]:
        for ruled in (name, element.choice or name):
            if rule := self.table.rules.get(f"{place}.{ruled}"):
                suffix = name[len(ruled) :]
                below = [t.removeprefix(f"{goal}.") for t in rule.targets if t.startswith(f"{goal}.")]
                return rule, [f"{one}{suffix}" for one in below or [ruled]]
        return Rule(), [name]


def _how(theirs: Element, ours: Element, rule: Rule, is_moved: bool) -> str:
    """Empty for what is the same."""
    words = []
    changed = [f"{a} -> {b}" for a, b in rule.codes.items() if a != b]
    if changed:
        words.append(f"codes {', '.join(changed)}")
    if rule.member:
        words.append(f"its {rule.member}; other members go with it in an extension")
    elif rule.wrapped:
        words.append(f"as {rule.wrapped}")
    elif theirs.kind != ours.kind and not _is_alike(theirs, ours):
        words.append(f"{theirs.kind} as {ours.kind}")
    if theirs.is_list and not ours.is_list:
        words.append("the first; further ones as an extension")
    if theirs.codes and ours.codes and not changed and (more := sorted(theirs.codes - ours.codes)):
        words.append(f"no code for {', '.join(more)}: these as an extension")
    return "; ".join(words) or ("moved" if is_moved else "")


def _further(theirs: Element, fitting: list[tuple[str, Element]]) -> str:
    """Where the rest goes of a list of which R4 takes one."""
    if theirs.kind == "CodeableReference" or len(fitting) < 2:
        return ""
    return "the first one, and further ones"


def _is_alike(theirs: Element, ours: Element) -> bool:
    """Both without a name of their own, or both text."""
    texts = {"string", "markdown", "uri", "url", "canonical"}
    nameless = [e.child is not None and is_backbone(e.child) for e in (theirs, ours)]
    return all(nameless) or {theirs.kind, ours.kind} <= texts
