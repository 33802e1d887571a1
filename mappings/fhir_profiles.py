"""The profiles of the International Patient Summary (fhir_ips_profiles.json), as trees of what they ask for.

Of each snapshot only what the profile itself says is in the table: what R4 says is checked anyway.
"""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mappings.fhir_invariants import Invariant

_TABLE = Path(__file__).with_name("fhir_ips_profiles.json")
UNBOUNDED = 2**31


@dataclass(slots=True)
class Part:
    """An element, or a slice of one. ``name`` is its JSON name, with ``[x]`` where it is a choice.

    ``by`` is the path of the discriminator that tells slices apart by value, empty where that is another kind.
    """

    name: str
    min: int = 0
    max: int = UNBOUNDED
    pattern: Any = None
    must_support: bool = False
    by: str = ""
    rules: tuple[Invariant, ...] = ()
    parts: dict[str, "Part"] = field(default_factory=dict)
    slices: dict[str, "Part"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    url: str
    type: str
    root: Part


@cache
def profiles() -> dict[str, Profile]:
    """By canonical URL, without version."""
    found = json.loads(_TABLE.read_text(encoding="utf-8"))["profiles"]
    return {
        url: Profile(url, told["type"], _tree(told["type"], told["elements"])) for url, told in found.items()
    }


def _tree(type_name: str, elements: list[dict[str, Any]]) -> Part:
    root = Part(type_name)
    for told in elements:
        part, path = root, type_name
        for step in filter(None, told["id"].split(".")):
            name, _, slice_name = step.partition(":")
            path = f"{path}.{name}"
            part = part.parts.setdefault(name, Part(name))
            if slice_name:
                part = part.slices.setdefault(slice_name, Part(name))
        part.min, part.max = told.get("min", 0), int(told.get("max", UNBOUNDED))
        part.pattern, part.must_support, part.by = told.get("pattern"), "must" in told, told.get("by", "")
        part.rules = tuple(
            Invariant(r["key"], path, r["expression"], r["means"]) for r in told.get("rules", ())
        )
    return root
