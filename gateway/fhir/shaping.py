"""Parts of a resource: _summary and _elements (FHIR R4 3.1.1.5.8, 3.1.1.5.9)."""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from mappings.fhir_definitions import elements_of, resource_model
from mappings.fhir_elements import objects

_ALWAYS = frozenset({"resourceType", "id", "meta"})
_SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}


def shaped(resource: Mapping[str, Any], summary: str, elements: Collection[str]) -> dict[str, Any]:
    """The parts that are asked for, tagged as SUBSETTED where that is not the whole."""
    if elements:
        return _only(resource, _mandatory(str(resource["resourceType"])) | frozenset(elements))
    if summary == "true":
        return _only(resource, _summary(str(resource["resourceType"])))
    if summary == "text":
        return _only(resource, _mandatory(str(resource["resourceType"])) | {"text"})
    if summary == "data":
        return _only(resource, frozenset(resource) - {"text"})
    return dict(resource)


def _only(resource: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    """``_name`` goes with ``name``; a choice such as value[x] may be asked for as ``value``."""
    chosen = wanted | _ALWAYS | {f"_{name}" for name in wanted}
    kept = {
        name: value for name, value in resource.items() if name in chosen or _stem(resource, name) in wanted
    }
    meta = next(iter(objects(resource.get("meta"))), {})
    tags = [tag for tag in objects(meta.get("tag")) if tag.get("code") != _SUBSETTED["code"]]
    return {**kept, "meta": {**meta, "tag": [*tags, _SUBSETTED]}}


def _stem(resource: Mapping[str, Any], name: str) -> str:
    model = resource_model(str(resource["resourceType"]))
    element = elements_of(model).get(name.removeprefix("_")) if model else None
    return element.choice if element else ""


@cache
def _mandatory(type_name: str) -> frozenset[str]:
    model = resource_model(type_name)
    return (
        frozenset(name for name, element in elements_of(model).items() if element.required)
        if model
        else frozenset()
    )


@cache
def _summary(type_name: str) -> frozenset[str]:
    """The elements marked so in the definition of the type, and those that must be there."""
    model = resource_model(type_name)
    marked = frozenset(model.summary_elements_sequence()) if model else frozenset()
    return marked | _mandatory(type_name)
