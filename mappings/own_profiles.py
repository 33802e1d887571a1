"""The gateway's own profiles, as own_profiles.yaml has them, and what they are called (FHIR R4 canonical URLs)."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

VERSION = "1.0.0"
PUBLISHED = "2026-11-24"
_NAMESPACE = "urn:second-opinion"
_FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True, slots=True)
class Constraint:
    """What is asked of an element; ``words`` say what it is here. ``card`` is ``min..max``, '' where R4's own holds.

    ``slices`` is one discriminator: its kind (value, pattern, type) and path. ``profile`` and ``binding`` are names of
    profiles and value sets of the gateway's own.
    """

    words: str
    card: str = ""
    must: bool = False
    pattern: Any = None
    fixed: Any = None
    slices: dict[str, str] = field(default_factory=dict)
    types: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    profile: str = ""
    binding: str = ""
    strength: str = ""


@dataclass(frozen=True, slots=True)
class OwnProfile:
    """``elements`` by their id without the type, in the order of R4."""

    name: str
    title: str
    type: str
    description: str
    elements: dict[str, Constraint]

    @property
    def url(self) -> str:
        return canonical("StructureDefinition", self.name)


def canonical(resource_type: str, name: str) -> str:
    """The same at every installation: it is no address (docs/adr/0037)."""
    return f"{_NAMESPACE}:{resource_type}:{name}"


def claim(name: str) -> dict[str, list[str]]:
    """Resource.meta of what keeps an own profile."""
    return {"profile": [canonical("StructureDefinition", name)]}


def definition(resource_type: str, name: str, title: str, description: str) -> dict[str, Any]:
    """What all canonical resources begin with; ``name`` is the id, in letters and hyphens."""
    return {
        "resourceType": resource_type,
        "id": name,
        "url": canonical(resource_type, name),
        "version": VERSION,
        "name": "".join(word.capitalize() for word in name.split("-")),
        "title": title,
        "status": "active",
        "date": PUBLISHED,
        "publisher": "Second Opinion Gateway",
        "description": description,
    }


@cache
def own_profiles() -> dict[str, OwnProfile]:
    """By name. Raises TypeError where a row has a column that is not known, or no words."""
    table = yaml.load(_FILE.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return {name: _profile(name, **row) for name, row in table.items()}


def _profile(
    name: str, title: str, type: str, description: str, elements: dict[str, dict[str, Any]]
) -> OwnProfile:
    told = {path: Constraint(**_immutable(row)) for path, row in elements.items()}
    return OwnProfile(name, title, type, description, told)


def _immutable(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
