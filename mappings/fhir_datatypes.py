"""Writing FHIR R4 datatypes from the values of a case."""

import re
from datetime import UTC, datetime
from typing import Any

from gateway.case.model import Demographics, Identifier

CASE_STATUS_SYSTEM = "urn:second-opinion:case-status"
CHECK_SYSTEM = "urn:second-opinion:check"
FINDING_SYSTEM = "urn:second-opinion:finding"
PARTNER_SYSTEM = "urn:second-opinion:partner"
USER_SYSTEM = "urn:second-opinion:user"
URI_SYSTEM = "urn:ietf:rfc:3986"
DATA_ABSENT_REASON = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

Element = dict[str, Any]

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_OID = re.compile(r"[0-2](\.(0|[1-9]\d*))+")


def present(**elements: Any) -> Element:
    """An element or resource without what is empty: FHIR R4 2.6.1 allows no empty values. ``for_`` is ``for``."""
    return {name.rstrip("_"): value for name, value in elements.items() if value not in (None, "", [], {})}


def absent(reason: str = "unknown") -> Element:
    """Stands for a required element that the sender did not state."""
    return {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": reason}]}


def instant(value: datetime) -> str:
    """FHIR instant and dateTime, in UTC."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamped(resource: Element, updated_at: datetime) -> Element:
    """A resource that the gateway makes, with its version: the millisecond of its last change."""
    meta = {
        **resource.get("meta", {}),
        "versionId": str(int(updated_at.timestamp() * 1000)),
        "lastUpdated": updated_at.isoformat(timespec="milliseconds"),
    }
    return {**resource, "meta": meta}


def identifier(value: Identifier, type_code: str = "") -> Element:
    """Identifier.system is the issuer where that is a URI or OID; a local issuer is named by its words.

    ``type_code`` is of HL7 v2 table 0203.
    """
    system, assigner = "", ""
    if _URI.fullmatch(value.issuer):
        system = value.issuer
    elif _OID.fullmatch(value.issuer):
        system = f"urn:oid:{value.issuer}"
    else:
        assigner = value.issuer
    return present(
        type=coding_of("http://terminology.hl7.org/CodeSystem/v2-0203", type_code) if type_code else None,
        system=system,
        value=value.value,
        assigner=present(display=assigner),
    )


def coding_of(system: str, code: str, display: str = "", text: str = "") -> Element:
    """CodeableConcept with one coding."""
    return present(coding=[present(system=system, code=code, display=display)], text=text)


def patient_reference(patient: Demographics | None, reference: str = "") -> Element:
    """Reference(Patient), literal where the gateway holds the Patient, else logical; never empty."""
    if patient is None:
        return {"reference": reference} if reference else {"display": "Not stated by the sender"}
    source = patient.source.reference if patient.source else ""
    if not (reference or source or patient.identifiers or patient.display_name):
        return {"display": "Not stated by the sender"}
    return present(
        reference=reference or source,
        type="Patient",
        identifier=identifier(patient.identifiers[0]) if patient.identifiers else None,
        display=patient.display_name,
    )
