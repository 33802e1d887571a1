"""Real resources in which one JSON value stands where any other may: what a faulty sender sends."""

import copy
import json
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mappings.fhir_definitions import elements_of, resource_model

EXAMPLES = Path(__file__).resolve().parents[2] / "conformance" / "examples"
OF_EACH_TYPE = 2
Place = tuple[str | int, ...]

_TEXTS = st.sampled_from(
    ["", " ", "#", "x", "-1", "final", "2026-02-30", "Patient/x", "urn:uuid:1", "http://x", "é\u202e"]
)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 7, 10**30, Decimal("1.50"), Decimal("1E+400")])
    | _TEXTS
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
)
_NAMES = st.sampled_from(
    ["reference", "coding", "code", "system", "value", "text", "display", "url", "start", "attachment", "id"]
)
ANY_VALUE = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES | _TEXTS, inner, max_size=3),
    max_leaves=6,
)
"""Any JSON value."""


@cache
def real_resources(shared_data: Path | None) -> tuple[dict[str, Any], ...]:
    """A few of each type: of the examples, and of the real files where they are at hand."""
    files = sorted(EXAMPLES.glob("*.json"))
    if shared_data is not None:
        folders = ("ips-connectathon", "us-core", "validator-cases-r4", "mhd-iti65", "synthea-r4")
        files += [f for name in folders for f in sorted((shared_data / "fhir" / name).glob("*.json"))]
    found: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        for resource in _resources_of(file):
            type_name = resource.get("resourceType")
            if isinstance(type_name, str) and resource_model(type_name) is not None:
                few = found.setdefault(type_name, [])
                if len(few) < OF_EACH_TYPE and len(json.dumps(resource)) < 20_000:
                    few.append(resource)
    return tuple(resource for few in found.values() for resource in few)


def _resources_of(file: Path) -> Iterator[dict[str, Any]]:
    try:
        content = json.loads(file.read_bytes())
    except ValueError:
        return  # the validator's cases have files that are no JSON
    entries = content.get("entry") if content.get("resourceType") == "Bundle" else [{"resource": content}]
    for entry in entries or []:
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            yield entry["resource"]


def places(resource: dict[str, Any]) -> list[Place]:
    """Where a value stands, and every element that the resource could have; its type stays."""
    model = resource_model(resource["resourceType"])
    known = elements_of(model) if model is not None else {}
    return [*((name,) for name in known), *(p for p in standing(resource, ()) if p != ("resourceType",))]


def standing(value: Any, path: Place = ()) -> Iterator[Place]:
    """Where a value stands."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from standing(item, (*path, key))


def put(resource: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """The resource with another value there."""
    changed: Any = copy.deepcopy(resource)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return changed


@st.composite
def faulty(draw: st.DrawFn, resources: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """One of the resources with any value at a few places."""
    resource = draw(st.sampled_from(resources))
    for _ in range(draw(st.integers(1, 6))):
        resource = put(resource, draw(st.sampled_from(places(resource))), draw(ANY_VALUE))
    return resource
