"""The gateway's own profiles as FHIR R4 StructureDefinitions: differential, and a snapshot made of R4's (5.1.0.11).

fhir_r4_snapshots.json has the elements of the types that are profiled. Of an element there, what is not told is as
everywhere: ``path`` is the id, ``base`` is the element itself, and constraints are named by their key.
"""

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from mappings.fhir_definitions import Release
from mappings.own_profiles import Constraint, OwnProfile, canonical, definition, own_profiles

Json = dict[str, Any]
_BASE = Path(__file__).with_name("fhir_r4_snapshots.json")
_R4 = "http://hl7.org/fhir/StructureDefinition/"


@cache
def structure_definitions() -> dict[str, Json]:
    """By id. Raises ValueError where a profile names an element that R4 has not."""
    return {name: _resource(profile) for name, profile in own_profiles().items()}


def _resource(profile: OwnProfile) -> Json:
    told = {f"{profile.type}.{path}": constraint for path, constraint in profile.elements.items()}
    snapshot, differential = _elements_of(profile.type), []
    root = {"short": profile.title, "definition": profile.description}
    snapshot[0] |= root
    for element_id, constraint in told.items():
        element = _found(snapshot, element_id)
        changes = _changes(element, constraint)
        element |= changes
        named = {key: element[key] for key in ("id", "path", "sliceName") if key in element}
        differential.append(named | changes)
    return definition("StructureDefinition", profile.name, profile.title, profile.description) | {
        "fhirVersion": Release.R4.version,
        "kind": "resource",
        "abstract": False,
        "type": profile.type,
        "baseDefinition": f"{_R4}{profile.type}",
        "derivation": "constraint",
        "snapshot": {"element": snapshot},
        "differential": {"element": [{"id": profile.type, "path": profile.type} | root, *differential]},
    }


@cache
def _base() -> Json:
    found: Json = json.loads(_BASE.read_text(encoding="utf-8"))
    return found


def _elements_of(type_name: str) -> list[Json]:
    """R4's own snapshot of a type, to be changed."""
    constraints = _base()["constraints"]
    made = []
    for told in _base()["types"][type_name]:
        base = {"path": told["id"], "min": told["min"], "max": told["max"]}
        element = {"id": told["id"], "path": told["id"], "base": base} | copy.deepcopy(told)
        if "constraint" in told:
            element["constraint"] = [dict(constraints[key]) for key in told["constraint"]]
        made.append(element)
    return made


def _found(snapshot: list[Json], element_id: str) -> Json:
    """The element; a slice, and the elements of a data type, are put in where they are first spoken of."""
    if found := next((element for element in snapshot if element["id"] == element_id), None):
        return found
    holder_id, _, name = element_id.rpartition(".")
    stem, _, slice_name = name.partition(":")
    if slice_name:
        _put_slice(snapshot, f"{holder_id}.{stem}", slice_name)
    elif not _put_parts(snapshot, holder_id):
        raise ValueError(f"own_profiles.yaml: {element_id} is no element of R4")
    return _found(snapshot, element_id)


def _put_slice(snapshot: list[Json], sliced_id: str, slice_name: str) -> None:
    """A copy of the element and of what it has, after the slices that there are (5.1.0.13)."""
    whole = [element for element in snapshot if _is_in(element["id"], sliced_id, (".",))]
    last = max(i for i, element in enumerate(snapshot) if _is_in(element["id"], sliced_id, (".", ":")))
    made = copy.deepcopy(whole)
    for element in made:
        element["id"] = f"{sliced_id}:{slice_name}{element['id'].removeprefix(sliced_id)}"
    made[0].pop("slicing", None)
    made[0] |= {"sliceName": slice_name, "min": 0}
    snapshot[last + 1 : last + 1] = made


def _put_parts(snapshot: list[Json], holder_id: str) -> bool:
    """The elements of a data type below one that is of it. False where there is none to put in."""
    at = next((i for i, element in enumerate(snapshot) if element["id"] == holder_id), None)
    kind = snapshot[at].get("type", [{"code": ""}])[0]["code"] if at is not None else ""
    known = any(element["id"].startswith(f"{holder_id}.") for element in snapshot)
    if at is None or known or kind not in _base()["types"]:
        return False
    parts = _elements_of(kind)[1:]
    for element in parts:
        element["id"] = f"{holder_id}{element['id'].removeprefix(kind)}"
        element["path"] = f"{snapshot[at]['path']}{element['path'].removeprefix(kind)}"
    snapshot[at + 1 : at + 1] = parts
    return True


def _is_in(element_id: str, holder_id: str, joints: tuple[str, ...]) -> bool:
    return element_id == holder_id or any(element_id.startswith(holder_id + joint) for joint in joints)


def _changes(element: Json, told: Constraint) -> Json:
    """What of an ElementDefinition differs from R4's."""
    return dict(_changed(element, told))


def _changed(element: Json, told: Constraint) -> Iterator[tuple[str, Any]]:
    if told.slices:
        [(kind, path)] = told.slices.items()
        yield "slicing", {"discriminator": [{"type": kind, "path": path}], "ordered": False, "rules": "open"}
    yield from (("short", told.words), ("definition", f"{told.words}."))
    if told.card:
        low, _, high = told.card.partition("..")
        yield from (("min", int(low)), ("max", high))
    if told.types or told.targets or told.profile:
        yield "type", _types(element, told)
    kind = element["type"][0]["code"]
    for key, value in (("fixed", told.fixed), ("pattern", told.pattern)):
        if value is not None:
            yield f"{key}{kind[0].upper()}{kind[1:]}", value
    if told.must:
        yield "mustSupport", True
    if told.binding:
        yield "binding", {"strength": told.strength, "valueSet": canonical("ValueSet", told.binding)}


def _types(element: Json, told: Constraint) -> list[Json]:
    """The types that are left: of a Resource those that are named, and what a Reference may lead to."""
    left: list[Json] = [{"code": code} for code in told.types or [t["code"] for t in element["type"]]]
    for one in left:
        own = [canonical("StructureDefinition", told.profile)] if told.profile else []
        if one["code"] == "Reference":
            one["targetProfile"] = own or [f"{_R4}{target}" for target in told.targets]
        elif own:
            one["profile"] = own
    return left
