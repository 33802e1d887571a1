"""The search parameters that are offered as FHIR R4 SearchParameter resources, from fhir_search_parameters.csv."""

from functools import cache
from typing import Any

from mappings.fhir_search_parameters import (
    ElementPath,
    SearchParameter,
    resource_types,
    search_parameters,
)

PUBLISHED = "2026-11-24"
_KINDS_OF_ALL = "Resource"


@cache
def search_parameter_resources() -> dict[str, dict[str, Any]]:
    """By id, which is the last part of the definition's address. One definition may be of several types."""
    found: dict[str, dict[str, tuple[str, SearchParameter]]] = {}
    for kind in sorted(resource_types()):
        for parameter in search_parameters(kind).values():
            base = _KINDS_OF_ALL if parameter.name.startswith("_") else kind
            found.setdefault(parameter.definition, {})[base] = (kind, parameter)
    made = (_resource(url, by_base) for url, by_base in sorted(found.items()))
    return {resource["id"]: resource for resource in made}


def _resource(url: str, by_base: dict[str, tuple[str, SearchParameter]]) -> dict[str, Any]:
    """``expression`` and ``target`` tell what is searched here, which may be less than the definition names."""
    parameters = [parameter for _, parameter in by_base.values()]
    expressions = [
        _expression(base, kind, path)
        for base, (kind, parameter) in by_base.items()
        for path in parameter.paths
    ]
    targets = sorted({target for parameter in parameters for target in parameter.targets})
    code = parameters[0].name
    resource: dict[str, Any] = {
        "resourceType": "SearchParameter",
        "id": url.rpartition("/")[2],
        "url": url,
        "name": code,
        "status": "active",
        "date": PUBLISHED,
        "description": f"{code} of {', '.join(by_base)}, as it is searched here",
        "code": code,
        "base": list(by_base),
        "type": parameters[0].kind,
        "expression": " | ".join(dict.fromkeys(expressions)),
    }
    return resource | ({"target": targets} if targets else {})


def _expression(base: str, kind: str, path: ElementPath) -> str:
    """FHIRPath of a path: ``valueString`` is ``value.ofType(string)``, a part that is chosen has a where()."""
    steps = [base]
    for step in path.text.split("."):
        name, _, chosen = step.partition("[")
        choice = _choice(name) if (kind, path.text) not in _NO_CHOICES else None
        steps.append(f"{choice[0]}.ofType({choice[1]})" if choice else name)
        if chosen:
            asked, _, wanted = chosen.rstrip("]").partition("=")
            steps.append(
                f"where(url.endsWith('/{wanted}'))" if asked == "url" else f"where({asked}='{wanted}')"
            )
    return ".".join(steps)


_CHOICES = {
    **dict.fromkeys(("abatement", "onset"), "dateTime Period string"),
    **dict.fromkeys(("collected", "created", "identified", "performed"), "dateTime Period"),
    **dict.fromkeys(("code", "item", "medication", "substance"), "CodeableConcept Reference"),
    **dict.fromkeys(("deceased", "occurred"), "dateTime"),
    **dict.fromkeys(("start", "due"), "date"),
    "definition": "canonical uri",
    "effective": "dateTime Period instant Timing",
    "event": "Coding uri",
    "occurrence": "dateTime Period Timing",
    "scheduled": "Period Timing",
    "source": "canonical uri Reference",
    "target": "Identifier Reference canonical uri",
    "value": "CodeableConcept boolean Identifier dateTime Period string",
}
"""Elements of which a type is chosen, among those that are searched. Their models would tell, and take seconds and
memory to load for all types."""
_PERIODS = (
    *(
        "ActivityDefinition",
        "ChargeItemDefinition",
        "EventDefinition",
        "Library",
        "Measure",
        "PlanDefinition",
    ),
    *("Questionnaire", "ResearchDefinition", "ResearchElementDefinition"),
)
_NO_CHOICES = {
    *((kind, "effectivePeriod") for kind in _PERIODS),
    ("ClinicalImpression", "finding.itemCodeableConcept"),
    ("ClinicalImpression", "finding.itemReference"),
}
"""Elements of one type that are called as a choice is elsewhere."""


@cache
def _choice(name: str) -> tuple[str, str] | None:
    """(stem, type) of a JSON name that is one of a choice's."""
    named = {f"{s}{t[0].upper()}{t[1:]}": (s, t) for s, types in _CHOICES.items() for t in types.split()}
    return named.get(name)
