"""What fhir.resources knows of each release: resource types and, of each element, its type, cardinality and codes.

R4 is read from the R4B models, which hold R4 content; what R4B has and R4 (4.0.1) has not is left out by name.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any

from fhir_core.fhirabstractmodel import FHIRAbstractModel

from mappings.fhir_required_codes import OPEN_CODES, REQUIRED_CODES, STU3_CODES

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


class Release(Enum):
    """A FHIR release: its value is what the media type's parameter ``fhirVersion`` says (FHIR R5 3.2.0.1.10)."""

    STU3 = "3.0"
    R4 = "4.0"
    R4B = "4.3"
    R5 = "5.0"

    @property
    def version(self) -> str:
        """The release in full, as CapabilityStatement.fhirVersion has it."""
        return {"3.0": "3.0.2", "4.0": "4.0.1", "4.3": "4.3.0", "5.0": "5.0.0"}[self.value]

    def __str__(self) -> str:
        return self.name


_MODELS = {
    Release.STU3: "fhir.resources.STU3",
    Release.R4: "fhir.resources.R4B",
    Release.R4B: "fhir.resources.R4B",
    Release.R5: "fhir.resources",
}
_JSON_TYPES: dict[str, type] = {
    "boolean": bool,
    "decimal": Decimal,
    "integer": int,
    "positiveInt": int,
    "unsignedInt": int,
}
_ABSTRACT = frozenset({"Resource", "DomainResource", "CanonicalResource", "MetadataResource"})


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a type. ``child`` is the model of a complex type, None for a primitive or any resource.

    ``kind`` is the FHIR type (dateTime, CodeableConcept, Resource); a backbone element's is its model's name.
    ``targets`` are the resource types that a Reference may lead to; none where it may lead to any.
    """

    kind: str
    child: type[FHIRAbstractModel] | None
    is_list: bool
    required: bool
    codes: frozenset[str]
    choice: str
    choice_required: bool
    targets: frozenset[str]

    @property
    def is_primitive(self) -> bool:
        return self.kind[:1].islower()

    @property
    def is_resource(self) -> bool:
        """Contained and inline resources."""
        return self.kind in ("Resource", "DomainResource")

    @property
    def json_type(self) -> type:
        """bool, int or Decimal for the primitives that are no strings in JSON."""
        return _JSON_TYPES.get(self.kind, str)


@cache
def resource_model(type_name: str, release: Release = Release.R4) -> type[FHIRAbstractModel] | None:
    """The model of a resource type; None for what is no resource type of the release."""
    if not type_name.isalpha() or (release is Release.R4 and type_name in NOT_R4) or type_name in _ABSTRACT:
        return None
    model = data_type(type_name, release)
    base = data_type("Resource", release)
    return model if model is not None and base is not None and issubclass(model, base) else None


@cache
def data_type(type_name: str, release: Release) -> type[FHIRAbstractModel] | None:
    """The model of any type, None where the release has none of that name."""
    try:
        found: type[FHIRAbstractModel] = import_module(_MODELS[release]).get_fhir_model_class(type_name)
    except (ValueError, KeyError, ImportError):
        return None
    return found


@cache
def elements_of(model: type[FHIRAbstractModel]) -> dict[str, Element]:
    """Elements by their JSON name."""
    found = {}
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if not extra.get("element_property"):
            continue
        child = _child(field.annotation)
        found[field.alias or name] = Element(
            kind=_kind(field.annotation),
            child=None if child is not None and child.__name__ in _ABSTRACT else child,
            is_list=_is_list(field.annotation),
            required=field.is_required() or bool(extra.get("element_required")),
            codes=_codes(model, field.alias or name, extra),
            choice=str(extra.get("one_of_many") or ""),
            choice_required=bool(extra.get("one_of_many_required")),
            targets=_targets(extra),
        )
    return found


def is_backbone(model: type[FHIRAbstractModel]) -> bool:
    """Whether a type is the nameless one of an element, and no data type that others share."""
    return model.__module__.rpartition(".")[2] != model.__name__.lower()


def _codes(model: type[FHIRAbstractModel], element: str, extra: dict[str, Any]) -> frozenset[str]:
    """The codes that the release requires here; none where they are not limited or not known whole.

    Where the models have them wrong, mappings/fhir_required_codes.py has them.
    """
    is_r4 = model.__module__.startswith(f"{_MODELS[Release.R4]}.")
    is_stu3 = model.__module__.startswith(f"{_MODELS[Release.STU3]}.")
    if (model.__name__, element) in OPEN_CODES:
        return frozenset()
    listed = extra.get("enum_values")
    codes = frozenset(str(code) for code in listed) if isinstance(listed, list) else frozenset()
    whole = frozenset() if "+" in codes else codes
    corrected = REQUIRED_CODES if is_r4 else STU3_CODES if is_stu3 else {}
    return corrected.get((model.__name__, element), whole)


def _targets(extra: dict[str, Any]) -> frozenset[str]:
    listed = extra.get("enum_reference_types")
    targets = frozenset(str(target) for target in listed) if isinstance(listed, list) else frozenset()
    return frozenset() if "Resource" in targets else targets


def _is_list(annotation: Any) -> bool:
    return any(typing.get_origin(option) is list for option in (annotation, *typing.get_args(annotation)))


def _kind(annotation: Any) -> str:
    """Primitives are Annotated by a class of fhir_core that is named as the FHIR type is, or bare Python ones."""
    child = _child(annotation)
    if child is not None:
        return child.__name__
    for option in _flat(annotation):
        for mark in getattr(option, "__metadata__", ()):
            if type(mark).__module__.startswith("fhir_core."):
                name = type(mark).__name__
                return name[0].lower() + name[1:]
    kinds = {bool: "boolean", int: "integer", str: "string"}
    return next((kinds[option] for option in _flat(annotation) if option in kinds), "string")


def _child(annotation: Any) -> type[FHIRAbstractModel] | None:
    """The complex type inside Optional and List."""
    for option in _flat(annotation):
        if getattr(option, "get_model_klass", None) is not None:
            model: type[FHIRAbstractModel] = option.get_model_klass()
            return model
    return None


def _flat(annotation: Any) -> list[Any]:
    """The alternatives of an annotation; Annotated ones keep their marks."""
    if hasattr(annotation, "__metadata__"):
        return [annotation]
    inner = typing.get_args(annotation)
    return [leaf for option in inner for leaf in _flat(option)] if inner else [annotation]
