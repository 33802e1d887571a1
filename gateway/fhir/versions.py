"""Which FHIR release was sent: by media type (FHIR R4 3.1.0.1.10), or by what only another release has."""

from collections.abc import Iterable
from typing import Any

from gateway.errors import Issue, UnsupportedMediaType, UnsupportedVersion

JSON, XML = "application/fhir+json", "application/fhir+xml"
FORMATS = {
    **dict.fromkeys((JSON, "application/json", "text/json"), JSON),
    **dict.fromkeys((XML, "application/xml", "text/xml"), XML),
}
"""The two formats by every media type that names them (FHIR R4 2.6.0.1, 3.1.0.1.11)."""
_BEFORE_STU3 = frozenset({"application/json+fhir", "application/xml+fhir"})
_RELEASES = {"0.5": "DSTU1", "1.0": "DSTU2", "3.0": "STU3", "4.3": "R4B", "5.0": "R5"}
SPOKEN = "FHIR R4 (4.0.1)"

ONLY_IN: dict[str, str] = {
    **dict.fromkeys(("Conformance", "DiagnosticOrder", "MedicationOrder", "Order", "OrderResponse"), "DSTU2"),
    **dict.fromkeys(("ReferralRequest", "ProcedureRequest", "DeviceComponent", "BodySite"), "DSTU2 or STU3"),
    **dict.fromkeys(
        ("EligibilityRequest", "EligibilityResponse", "Sequence", "ProcessRequest", "DataElement"), "STU3"
    ),
    **dict.fromkeys(("GenomicStudy", "ImagingSelection", "NutritionIntake", "Permission", "Transport"), "R5"),
}
"""Resource types that stand only in the named release."""

_ELEMENTS = {
    ("Patient", "careProvider"): "DSTU2",
    ("Patient", "animal"): "DSTU2 or STU3",
    ("AllergyIntolerance", "substance"): "DSTU2",
    ("Condition", "dateRecorded"): "DSTU2",
    ("Observation", "comments"): "DSTU2",
    ("DiagnosticReport", "codedDiagnosis"): "DSTU2 or STU3",
    ("DocumentReference", "indexed"): "DSTU2 or STU3",
    ("DocumentReference", "class"): "DSTU2 or STU3",
    ("Observation", "related"): "DSTU2 or STU3",
}


def format_of(media_type: str, parameters: dict[str, str]) -> str:
    """JSON or XML. Raises UnsupportedVersion or UnsupportedMediaType, naming what was seen and what is spoken."""
    if media_type in _BEFORE_STU3:
        raise UnsupportedVersion(
            f"{media_type} is a media type of DSTU2; the gateway speaks {SPOKEN}, {JSON}."
        )
    if media_type not in FORMATS:
        seen = media_type or "no media type"
        raise UnsupportedMediaType(f"The body is {seen}; the gateway reads {JSON} and {XML}, {SPOKEN}.")
    version = parameters.get("fhirversion", "4.0")
    if not (version == "4.0" or version.startswith("4.0.")):
        release = _RELEASES.get(".".join(version.split(".")[:2]), "unknown")
        raise UnsupportedVersion(f"fhirVersion {version[:16]} ({release}) is not spoken here; {SPOKEN} is.")
    return FORMATS[media_type]


def check_content(resources: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Raises UnsupportedVersion when a resource can only be of another release. Takes (FHIRPath, resource)."""
    issues = [
        Issue("error", "not-supported", f"This is FHIR {seen}; the gateway speaks {SPOKEN}.", path)
        for path, resource in resources
        if (seen := _seen(resource))
    ]
    if issues:
        raise UnsupportedVersion(issues[0].text, tuple(issues))


def _seen(resource: dict[str, Any]) -> str:
    type_name = resource.get("resourceType")
    if not isinstance(type_name, str):
        return ""
    if type_name in ONLY_IN:
        return ONLY_IN[type_name]
    if type_name in ("Condition", "AllergyIntolerance") and isinstance(resource.get("clinicalStatus"), str):
        return "DSTU2 or STU3"  # a code until STU3, a CodeableConcept since R4
    return next(
        (seen for (owner, name), seen in _ELEMENTS.items() if owner == type_name and name in resource), ""
    )
