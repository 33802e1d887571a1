"""One resource against its FHIR release: every fault at once, with its FHIRPath, in plain words, without its value.

fhir.resources (see mappings/fhir_definitions.py) finds unknown elements, wrong types, wrong primitives.
What they do not look at is in walk.py. Not checked: profiles, extensions' definitions, and whether a code is one of its
system's (SNOMED CT, LOINC, ICD).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from types import MappingProxyType
from typing import Any

from fhir_core.fhirabstractmodel import FHIRAbstractModel
from pydantic import ValidationError

from gateway.errors import Issue
from gateway.fhir.resource_rules import Surroundings
from gateway.fhir.walk import in_words, walk_resource
from mappings.fhir_definitions import Release, resource_model

MAX_DEPTH = 64
MAX_PARTS = 500_000
"""Objects and lists in one resource; real ones have one in 130 bytes, so that 64 MiB of them have fewer."""
MAX_FAULTS = 1_000
"""That are told of one resource."""
_ABSENT_TYPES = frozenset({"missing", "model_field_validation.missing"})
_EXPECTED = {
    "list_type": "A list (JSON array)",
    "string_type": "A string",
    "dict_type": "A JSON object",
    "model_type": "A JSON object",
    "json_invalid": "A JSON object",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "A whole number",
    "int_parsing": "A whole number",
    "int_from_float": "A whole number",
    "decimal_parsing": "A decimal number",
    "decimal_type": "A decimal number",
    "string_pattern_mismatch": "Text of another form",
    "base64_decode": "Base64",
    "bytes_type": "A string of base64",
}
_FORMS = {
    "date": " (YYYY, YYYY-MM or YYYY-MM-DD)",
    "datetime": " (YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz)",
    "instant": " (YYYY-MM-DDThh:mm:ss.sss+zz:zz)",
    "time": " (hh:mm:ss)",
}
"""FHIR R4 2.24.0.1."""
_OF_A_CHOICE = re.compile("one field value|any of field value")  # told by walk.py, which counts _name too
_PRIMITIVE = re.compile(r"(?:Value error, )?(\w+) value string does not match")


def faults(
    resource: dict[str, Any],
    path: str,
    release: Release = Release.R4,
    types: Mapping[str, str] = MappingProxyType({}),
) -> list[Issue]:
    """Everything that is wrong with a resource; ``path`` is the FHIRPath of the resource itself.

    ``types`` are those of the resources around it, by every reference that leads to them.
    """
    type_name = resource.get("resourceType")
    if not isinstance(type_name, str) or not type_name:
        return [Issue("error", "structure", "The element 'resourceType' is missing.", path)]
    model = resource_model(type_name, release)
    if model is None:
        text = f"'{type_name[:64]}' is no resource type of FHIR {release}."
        return [Issue("error", "structure", text, path)]
    if unwieldy := _unwieldy(resource, path):
        return [unwieldy]
    walked = walk_resource(model, resource, path, Surroundings(release, types))
    found = list(islice(chain(_model_faults(model, resource, path, release), walked), MAX_FAULTS))
    if len(found) == MAX_FAULTS:
        text = f"The resource has {MAX_FAULTS} faults and more, and was not looked at further."
        found.append(Issue("error", "too-costly", text, path))
    return _distinct(found)


def _model_faults(
    model: type[FHIRAbstractModel], resource: dict[str, Any], path: str, release: Release
) -> Iterator[Issue]:
    try:
        model.model_validate(resource)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            if fault["type"] not in _ABSENT_TYPES and not _OF_A_CHOICE.search(fault["msg"]):
                yield Issue(
                    "error",
                    _code(fault["type"]),
                    _words(fault["type"], fault["msg"], fault["input"], release),
                    _where(path, fault["loc"]),
                )
    except KeyError:
        text = f"A contained resource is of a type that FHIR {release} does not have."
        yield Issue("error", "structure", text, path)
    except (TypeError, ValueError, AttributeError, RecursionError):
        yield Issue("error", "structure", f"The resource cannot be read as FHIR {release}.", path)


def _where(path: str, loc: tuple[int | str, ...]) -> str:
    return path + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)


def _code(kind: str) -> str:
    return "structure" if kind in ("extra_forbidden", "list_type", "dict_type", "model_type") else "value"


def _words(kind: str, message: str, given: Any, release: Release) -> str:
    """What was expected, and what was found, without the value itself."""
    if kind == "extra_forbidden":
        return f"There is no such element here in FHIR {release}."
    if kind.startswith("greater_than"):
        return "A larger number was expected than was found."
    primitive = _PRIMITIVE.match(message)
    if primitive:
        name = primitive[1].lower()
        return f"A FHIR {name}{_FORMS.get(name, '')} was expected, and {in_words(given)} was found."
    return f"{_EXPECTED.get(kind, 'Another value')} was expected, and {in_words(given)} was found."


def _unwieldy(resource: dict[str, Any], path: str) -> Issue | None:
    """What is not looked at, because it would take too long."""
    level: list[Any] = [resource]
    count = 0
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return None
        count += len(level)
        if count > MAX_PARTS:
            text = f"The resource has more than {MAX_PARTS} objects and lists, and was not looked at."
            return Issue("error", "too-costly", text, path)
    return Issue("error", "structure", f"The resource is nested more than {MAX_DEPTH} levels deep.", path)


def _distinct(issues: Iterable[Issue]) -> list[Issue]:
    seen: dict[tuple[str, str | None], Issue] = {}
    for issue in issues:
        seen.setdefault((issue.code, issue.expression), issue)
    return list(seen.values())
