"""Profiles as trees of what they ask for: the International Patient Summary's (fhir_ips_profiles.json), and our own.

Of each snapshot only what the profile itself says is in a tree: what R4 says is checked anyway.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mappings.fhir_invariants import Invariant
from mappings.own_terminology import codes_of
from mappings.structure_definitions import structure_definitions

_TABLE = Path(__file__).with_name("fhir_ips_profiles.json")
UNBOUNDED = 2**31


@dataclass(slots=True)
class Part:
    """An element, or a slice of one. ``name`` is its JSON name, with ``[x]`` where it is a choice.

    ``by`` is the path of the discriminator that tells slices apart, by value or (``by_type``) by type; empty where
    that is another kind. ``types`` are those that a choice or a resource may have, ``targets`` those that a Reference
    may lead to, ``codes`` (system, code) those of which one is required: none where any may. ``profile`` is the
    canonical URL of the profile that a resource here keeps.
    """

    name: str
    min: int = 0
    max: int = UNBOUNDED
    pattern: Any = None
    fixed: Any = None
    must_support: bool = False
    by: str = ""
    by_type: bool = False
    types: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    codes: frozenset[tuple[str, str]] = frozenset()
    profile: str = ""
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
    told = json.loads(_TABLE.read_text(encoding="utf-8"))["profiles"]
    found = {url: _profile(url, one["type"], one["elements"]) for url, one in told.items()}
    own = structure_definitions().values()
    return found | {one["url"]: _profile(one["url"], one["type"], _rows(one)) for one in own}


def _profile(url: str, type_name: str, rows: Iterable[dict[str, Any]]) -> Profile:
    root = Part(type_name)
    for told in rows:
        part, path = root, type_name
        for step in filter(None, told["id"].split(".")):
            name, _, slice_name = step.partition(":")
            path = f"{path}.{name}"
            part = part.parts.setdefault(name, Part(name))
            if slice_name:
                part = part.slices.setdefault(slice_name, Part(name))
        _fill(part, told, path)
    return Profile(url, type_name, root)


def _fill(part: Part, told: dict[str, Any], path: str) -> None:
    part.min, part.max = told.get("min", 0), int(told.get("max", UNBOUNDED))
    part.pattern, part.fixed, part.must_support = told.get("pattern"), told.get("fixed"), "must" in told
    part.by, part.by_type = told.get("by", ""), "by_type" in told
    part.types, part.targets = frozenset(told.get("types", ())), told.get("targets", frozenset())
    part.codes, part.profile = told.get("codes", frozenset()), told.get("profile", "")
    part.rules = tuple(Invariant(r["key"], path, r["expression"], r["means"]) for r in told.get("rules", ()))


def _rows(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows as the table has them: of a StructureDefinition's snapshot the elements that its differential names."""
    whole = {element["id"]: element for element in made["snapshot"]["element"]}
    for told in made["differential"]["element"][1:]:
        row = dict(_row(whole[told["id"]], told.keys()))
        yield row | {"id": told["id"].partition(".")[2]}


def _row(element: dict[str, Any], changed: Collection[str]) -> Iterator[tuple[str, Any]]:
    yield "min", element["min"]
    if element["max"] != "*":
        yield "max", element["max"]
    if "mustSupport" in changed:
        yield "must", 1
    yield from ((kind, element[key]) for key in changed for kind in ("pattern", "fixed") if _is_of(kind, key))
    if "slicing" in changed:
        [discriminator] = element["slicing"]["discriminator"]
        yield "by", discriminator["path"]
        if discriminator["type"] == "type":
            yield "by_type", 1
    if "type" in changed:
        yield from _types(element["type"])
    if element.get("binding", {}).get("strength") == "required":
        yield "codes", codes_of(element["binding"]["valueSet"])


def _is_of(kind: str, key: str) -> bool:
    """Whether ``key`` is pattern[x] or fixed[x]."""
    return key.startswith(kind) and key[len(kind) :][:1].isupper()


def _types(types: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    yield "types", frozenset(one["code"] for one in types)
    yield from (("profile", one["profile"][0]) for one in types if "profile" in one)
    targets = [target for one in types for target in one.get("targetProfile", ())]
    own = {one["url"]: one["type"] for one in structure_definitions().values()}
    yield "targets", frozenset(own.get(target) or target.rpartition("/")[2] for target in targets)
