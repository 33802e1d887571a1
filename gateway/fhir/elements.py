"""What fhir.resources knows of each element: children, cardinality, required codes, choices."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from functools import cache
from typing import Any

from fhir.resources.R4B import get_fhir_model_class
from fhir_core.fhirabstractmodel import FHIRAbstractModel

from gateway.fhir.required_codes import OPEN_CODES, REQUIRED_CODES

NOT_R4 = frozenset(
    {
        "AdministrableProductDefinition",
        "Citation",
        "ClinicalUseDefinition",
        "EvidenceReport",
        "Ingredient",
        "ManufacturedItemDefinition",
        "MedicinalProductDefinition",
        "NutritionProduct",
        "PackagedProductDefinition",
        "RegulatedAuthorization",
        "SubscriptionStatus",
        "SubscriptionTopic",
        "SubstanceDefinition",
    }
)
"""Resource types that R4B has and R4 (4.0.1) has not."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a type. ``child`` is the model of a complex type, None for a primitive or any resource."""

    child: type[FHIRAbstractModel] | None
    is_list: bool
    required: bool
    codes: frozenset[str]
    choice: str
    choice_required: bool


@cache
def resource_model(type_name: str) -> type[FHIRAbstractModel] | None:
    """The model of an R4 resource type; None for what is no resource type of R4."""
    from fhir.resources.R4B.resource import Resource

    if not type_name.isalpha() or type_name in NOT_R4 or type_name in ("Resource", "DomainResource"):
        return None
    try:
        model = get_fhir_model_class(type_name)
    except (ValueError, KeyError, ImportError):
        return None
    return model if issubclass(model, Resource) else None


@cache
def elements_of(model: type[FHIRAbstractModel]) -> dict[str, Element]:
    """Elements by their JSON name."""
    found = {}
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if not extra.get("element_property"):
            continue
        found[field.alias or name] = Element(
            child=_child(field.annotation),
            is_list=_is_list(field.annotation),
            required=field.is_required() or bool(extra.get("element_required")),
            codes=_codes(model.__name__, field.alias or name, extra),
            choice=str(extra.get("one_of_many") or ""),
            choice_required=bool(extra.get("one_of_many_required")),
        )
    return found


def _codes(model_name: str, element: str, extra: dict[str, Any]) -> frozenset[str]:
    """The codes that R4 requires here; none where they are not limited or not known whole."""
    if (model_name, element) in OPEN_CODES:
        return frozenset()
    listed = extra.get("enum_values")
    codes = frozenset(str(code) for code in listed) if isinstance(listed, list) else frozenset()
    return REQUIRED_CODES.get((model_name, element), frozenset() if "+" in codes else codes)


def _is_list(annotation: Any) -> bool:
    return any(typing.get_origin(option) is list for option in (annotation, *typing.get_args(annotation)))


def _child(annotation: Any) -> type[FHIRAbstractModel] | None:
    """The complex type inside Optional and List; contained and inline resources are read on their own."""
    for option in _flat(annotation):
        if getattr(option, "get_model_klass", None) is not None:
            model: type[FHIRAbstractModel] = option.get_model_klass()
            return None if model.__name__ in ("Resource", "DomainResource") else model
    return None


def _flat(annotation: Any) -> list[Any]:
    inner = typing.get_args(annotation)
    return [leaf for option in inner for leaf in _flat(option)] if inner else [annotation]
