"""The operations that are the gateway's own, as FHIR R4 OperationDefinitions (5.4)."""

from functools import cache
from typing import Any

from mappings.own_profiles import canonical, definition

CHECK = canonical("OperationDefinition", "check")


@cache
def operation_definitions() -> dict[str, dict[str, Any]]:
    """By id."""
    check = definition(
        "OperationDefinition",
        "check",
        "Check before sending",
        "What would become of a Bundle that is sent to the base: the faults of its entries, what it lacks for a second "
        "opinion, and how it compares with the profiles that it claims. Nothing of it is kept.",
    )
    check |= {
        "kind": "operation",
        "affectsState": False,
        "code": "check",
        "system": True,
        "type": False,
        "instance": False,
        "parameter": [
            _parameter("content", "in", 1, "Bundle", "What would be sent; it may be the body itself."),
            _parameter(
                "profile", "in", 0, "uri", "A profile to compare it with, beside those that it claims."
            ),
            _parameter("return", "out", 1, "OperationOutcome", "Everything that was found."),
        ],
    }
    return {"check": check}


def _parameter(name: str, use: str, minimum: int, kind: str, documentation: str) -> dict[str, Any]:
    return {
        "name": name,
        "use": use,
        "min": minimum,
        "max": "1",
        "documentation": documentation,
        "type": kind,
    }
