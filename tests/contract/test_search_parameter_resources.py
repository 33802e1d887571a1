"""The SearchParameter resources say of each path what the models of FHIR R4 say of it."""

from mappings.fhir_definitions import elements_of, resource_model
from mappings.fhir_search_parameters import resource_types, search_parameters
from mappings.search_parameter_resources import search_parameter_resources


def _chosen(kind: str, path: str) -> str:
    """The path with each choice as FHIRPath has it, by the models."""
    model, steps = resource_model(kind), []
    for step in path.split("."):
        name = step.partition("[")[0]
        element = elements_of(model)[name] if model else None
        steps.append(f"{element.choice}.ofType({element.kind})" if element and element.choice else name)
        model = element.child if element else None
    return ".".join(steps)


def test_choices_of_types_are_told_as_the_models_have_them() -> None:
    told = search_parameter_resources()
    for kind in sorted(resource_types()):
        for parameter in search_parameters(kind).values():
            if parameter.name.startswith("_"):
                continue
            expressions = told[parameter.definition.rpartition("/")[2]]["expression"].split(" | ")
            for path in parameter.paths:
                if "[" not in path.text:
                    assert f"{kind}.{_chosen(kind, path.text)}" in expressions, (parameter.name, path)
