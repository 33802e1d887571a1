"""Which FHIR release was sent: by media type (FHIR R5 3.2.0.1.10), or by what only another release has."""

from collections.abc import Iterable
from typing import Any

from gateway.errors import Issue, UnsupportedMediaType, UnsupportedVersion
from mappings.fhir_definitions import Element, Release, elements_of, resource_model

JSON, XML = "application/fhir+json", "application/fhir+xml"
FORMATS = {
    **dict.fromkeys((JSON, "application/json", "text/json"), JSON),
    **dict.fromkeys((XML, "application/xml", "text/xml"), XML),
}
"""The two formats by every media type that names them (FHIR R4 2.6.0.1, 3.1.0.1.11)."""
_BEFORE_STU3 = frozenset({"application/json+fhir", "application/xml+fhir"})
_NAMES = {"0.0": "DSTU1", "0.5": "DSTU2", "1.0": "DSTU2", "6.0": "R6"}
SPOKEN = ", ".join(f"{release} ({release.value})" for release in Release)

NOT_SPOKEN: dict[str, str] = {
    **dict.fromkeys(("Conformance", "DiagnosticOrder", "MedicationOrder", "Order", "OrderResponse"), "DSTU2"),
    **dict.fromkeys(("DeviceAlert", "InsuranceProduct", "MolecularDefinition", "PersonalRelationship"), "R6"),
}
"""Resource types that stand only in the named release."""

_ELEMENTS = {
    ("Patient", "careProvider"): "DSTU2",
    ("AllergyIntolerance", "substance"): "DSTU2",
    ("Condition", "dateRecorded"): "DSTU2",
    ("Observation", "comments"): "DSTU2",
}
_WITHOUT_ELEMENT = frozenset({"resourceType", "fhir_comments"})

Resources = list[tuple[str, dict[str, Any]]]
"""Each with its FHIRPath."""


def format_of(media_type: str) -> str:
    """JSON or XML. Raises UnsupportedVersion or UnsupportedMediaType, naming what was seen and what is spoken."""
    if media_type in _BEFORE_STU3:
        raise UnsupportedVersion(
            f"{media_type} is a media type of DSTU2; the gateway speaks {JSON} of FHIR {SPOKEN}."
        )
    if media_type not in FORMATS:
        seen = media_type or "no media type"
        raise UnsupportedMediaType(
            f"The body is {seen}; the gateway reads {JSON} and {XML} of FHIR {SPOKEN}."
        )
    return FORMATS[media_type]


def require_utf8(parameters: dict[str, str]) -> None:
    """FHIR is always in UTF-8 (FHIR R4 3.1.0.1.11). Raises UnsupportedMediaType where the media type says otherwise."""
    charset = parameters.get("charset", "utf-8").casefold()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(
            f"The media type says that the body is in {charset[:32]}; FHIR is in UTF-8: send it so, and say so."
        )


def release_named(version: str) -> Release | None:
    """The release of a ``fhirVersion``, with or without its third number; None for one that is not spoken."""
    parts = version.strip().split(".")
    return next((r for r in Release if r.value == ".".join(parts[:2]) and len(parts) <= 3), None)


def declared(parameters: dict[str, str]) -> Release | None:
    """The parameter fhirVersion of the media type. Raises UnsupportedVersion where it names another release."""
    version = parameters.get("fhirversion")
    if version is None:
        return None
    release = release_named(version)
    if release is None:
        name = _NAMES.get(".".join(version.split(".")[:2]), "unknown")
        raise UnsupportedVersion(
            f"fhirVersion {version[:16]} ({name}) is not spoken here; FHIR {SPOKEN} are."
        )
    return release


def release_of(resources: Resources, told: Release | None) -> Release:
    """The release that the media type told; else the one that has most of what stands in the resources, R4 first.

    Raises UnsupportedVersion for what can only be of a release that is not spoken, or not of the one that was told.
    """
    issues = [
        Issue("error", "not-supported", f"This is FHIR {other}; the gateway speaks FHIR {SPOKEN}.", path)
        for path, resource in resources
        if (other := _not_spoken(resource))
    ]
    seen = _recognised([resource for _, resource in resources])
    if told is not None and seen is not told:
        issues += [
            Issue(
                "error", "not-supported", f"The media type says FHIR {told}, and this is FHIR {seen}.", path
            )
            for path, resource in resources
            if _is_type(resource, seen) and not _is_type(resource, told)
        ]
    if issues:
        raise UnsupportedVersion(issues[0].text, tuple(issues))
    return told or seen


def _not_spoken(resource: dict[str, Any]) -> str:
    type_name = resource.get("resourceType")
    if not isinstance(type_name, str):
        return ""
    found = (seen for (owner, name), seen in _ELEMENTS.items() if owner == type_name and name in resource)
    return NOT_SPOKEN.get(type_name) or next(found, "")


def _is_type(resource: dict[str, Any], release: Release) -> bool:
    type_name = resource.get("resourceType")
    return isinstance(type_name, str) and resource_model(type_name, release) is not None


def _recognised(resources: list[dict[str, Any]]) -> Release:
    """R4B is told by types that only it has; everything else of it is R4 too."""
    told = sum(len(_told(resource)) for resource in resources)
    best, most = Release.R4, _known(resources, Release.R4)
    for release in (Release.R5, Release.STU3, Release.R4B):
        if most < told and (known := _known(resources, release)) > most:
            best, most = release, known
    return best


def _known(resources: Iterable[dict[str, Any]], release: Release) -> int:
    """How many elements of the resources a release has, in the shape that they have."""
    found = 0
    for resource in resources:
        type_name = resource.get("resourceType")
        model = resource_model(type_name, release) if isinstance(type_name, str) else None
        elements = elements_of(model) if model else {}
        found += sum(name in elements and _fits(resource[name], elements[name]) for name in _told(resource))
    return found


def _told(resource: dict[str, Any]) -> list[str]:
    return [name for name in resource if name not in _WITHOUT_ELEMENT and not name.startswith("_")]


def _fits(value: Any, element: Element) -> bool:
    """By lists, objects and the members of these: a CodeableConcept of R4 is no CodeableReference of R5."""
    inner = value[0] if isinstance(value, list) and value else value
    if isinstance(value, list) is not element.is_list or isinstance(inner, dict) is element.is_primitive:
        return False
    known = elements_of(element.child) if element.child is not None else {}
    return not known or all(name in known for name in inner if not name.startswith("_"))
