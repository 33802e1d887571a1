"""The resources of a case: by type, by reference, with what is contained in them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from gateway.case.model import Source
from mappings.fhir_elements import Resource, objects, reference, text


@dataclass(frozen=True, slots=True)
class Sourced:
    """A resource and where it was read; ``source.reference`` is its ``Type/id``, None for a contained one.

    ``container`` is the resource that a contained one stands in.
    """

    content: Resource
    source: Source
    container: "Sourced | None" = None

    @property
    def reference(self) -> str:
        return self.source.reference or ""

    @property
    def type(self) -> str:
        return text(self.content.get("resourceType"))


class Bag:
    """Resources by type and by reference."""

    def __init__(self, own: Iterable[Sourced], beside: Iterable[Sourced]) -> None:
        self.own = list(own)
        self._by_reference = {r.reference: r for r in [*beside, *self.own]}

    def of(self, *types: str) -> list[Sourced]:
        return [r for r in self.own if r.type in types]

    def every(self, type: str) -> list[Sourced]:
        """Those beside the case's own as well."""
        return [r for r in self._by_reference.values() if r.type == type]

    def get(self, wanted: str) -> Sourced | None:
        return self._by_reference.get(wanted)

    def follow(self, holder: Sourced, value: Any) -> Sourced | None:
        """What a Reference of ``holder`` names, contained resources included (FHIR R4 2.3.0.9)."""
        wanted = reference(value)
        if not wanted.startswith("#"):
            return self.get(wanted)
        container = holder.container or holder
        for index, contained in enumerate(objects(container.content.get("contained"))):
            if f"#{text(contained.get('id'))}" == wanted:
                path = f"{container.source.path}.contained[{index}]"
                return Sourced(contained, replace(container.source, path=path, reference=None), container)
        return None

    def without(self, left_out: list[Sourced]) -> "Bag":
        gone, own = {r.reference for r in left_out}, {r.reference for r in self.own}
        return Bag(
            (r for r in self.own if r.reference not in gone),
            (r for reference, r in self._by_reference.items() if reference not in own),
        )

    def binaries(self) -> dict[str, Resource]:
        """What an attachment's address may name: Binary, or Bundle where a FHIR document came as one."""
        return {key: r.content for key, r in self._by_reference.items() if r.type in ("Binary", "Bundle")}
