"""GET /fhir/metadata: the CapabilityStatement, made from the tables that the routes use (FHIR R4 6.1)."""

from typing import Any

from gateway import __version__
from gateway.fhir.bundle import ACCEPTED_TYPES
from gateway.fhir.versions import JSON, XML
from mappings.fhir_definitions import Release, elements_of, resource_model
from mappings.fhir_search_parameters import resource_types, search_parameters
from mappings.fhir_to_case import SUBJECTS
from mappings.operation_definitions import CHECK
from mappings.own_profiles import own_profiles
from mappings.subscription_topics import BACKPORT, TOPICS

INTERACTIONS = ("read", "vread", "history-instance", "history-type", "search-type")
PUBLISHED = "2026-11-24"
_PROCESS_MESSAGE = "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message"
_MHD = "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD."
_EXPORT = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/"
_BULK_DATA = "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"
_SUBSCRIPTIONS = f"{BACKPORT}/CapabilityStatement/backport-subscription-server-r4"
_VALIDATE = "http://hl7.org/fhir/OperationDefinition/Resource-validate"


def capability_statement(base_url: str) -> dict[str, Any]:
    """R4 CapabilityStatement of this instance; ``base_url`` without /fhir."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": PUBLISHED,
        "kind": "instance",
        "instantiates": [
            *(f"{_MHD}Document{actor}" for actor in ("Recipient", "Responder")),
            _BULK_DATA,
            _SUBSCRIPTIONS,
        ],
        "software": {"name": "Second Opinion Gateway", "version": __version__},
        "implementation": {"description": "Second Opinion Gateway", "url": f"{base_url}/fhir"},
        "fhirVersion": Release.R4.version,
        "format": [JSON, "json", XML, "xml"],
        "rest": [
            {
                "mode": "server",
                "documentation": f"POST a Bundle ({', '.join(ACCEPTED_TYPES)}) to the base or to /Bundle. "
                "Every client reads only what it sent and what was made from it. "
                "POST the same Bundle to $check for the answer and the findings without anything being kept. "
                "With Prefer: respond-async a Bundle is answered later; $export always is.",
                "security": _security(base_url),
                "resource": [_resource(type_name) for type_name in sorted(resource_types())],
                "interaction": [{"code": "transaction"}, {"code": "batch"}],
                "operation": [
                    {"name": "export", "definition": f"{_EXPORT}export"},
                    {"name": "process-message", "definition": _PROCESS_MESSAGE},
                    {"name": "validate", "definition": _VALIDATE},
                    {"name": "check", "definition": CHECK},
                ],
            }
        ],
    }


def versions_offered() -> dict[str, Any]:
    """The answer of the operation $versions (FHIR R5 CapabilityStatement/$versions): what fhirVersion may be."""
    offered = [{"name": "version", "valueCode": release.value} for release in Release]
    default = {"name": "default", "valueCode": Release.R4.value}
    return {"resourceType": "Parameters", "parameter": [*offered, default]}


def _security(base_url: str) -> dict[str, Any]:
    uris = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    return {
        "cors": False,
        "service": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                        "code": "SMART-on-FHIR",
                    }
                ],
                "text": "SMART Backend Services",
            }
        ],
        "extension": [{"url": uris, "extension": [{"url": "token", "valueUri": f"{base_url}/oauth/token"}]}],
    }


def _resource(type_name: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": type_name,
        "interaction": [{"code": code} for code in (*INTERACTIONS, *_writing(type_name))],
        "versioning": "versioned",
        "readHistory": True,
        "searchInclude": [f"{type_name}:{name}" for name in _references(type_name)],
        "searchParam": [
            {"name": name, "definition": parameter.definition, "type": parameter.kind}
            for name, parameter in sorted(search_parameters(type_name).items())
        ],
    }
    if _names_a_child(type_name):
        found |= {"updateCreate": True, "conditionalCreate": True}
    if own := [one.url for one in own_profiles().values() if one.type == type_name]:
        found["supportedProfile"] = own
    if type_name == "Patient":
        definition = "http://hl7.org/fhir/OperationDefinition/Patient-everything"
        found["operation"] = [
            {"name": "everything", "definition": definition},
            {"name": "export", "definition": f"{_EXPORT}patient-export"},
        ]
    if type_name == "Subscription":
        found |= _subscription()
    return {key: value for key, value in found.items() if value != []}


def _writing(type_name: str) -> list[str]:
    """A resource by itself is created where it can name its child, and updated where it is in a case already."""
    creates = ["create"] if _names_a_child(type_name) else []
    return [*creates, "update", *(["patch"] if type_name == "DocumentReference" else [])]


def _names_a_child(type_name: str) -> bool:
    model = resource_model(type_name)
    return type_name == "Patient" or (
        model is not None and any(name in elements_of(model) for name in SUBJECTS)
    )


def _subscription() -> dict[str, Any]:
    """By Subscriptions R5 Backport 1.1.0, Conformance in FHIR R4: the profile, the topics and the operations."""
    url = f"{BACKPORT}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical"
    operation = f"{BACKPORT}/OperationDefinition/backport-subscription-"
    return {
        "extension": [{"url": url, "valueCanonical": topic.url} for topic in TOPICS.values()],
        "supportedProfile": [f"{BACKPORT}/StructureDefinition/backport-subscription"],
        "interaction": [{"code": code} for code in (*INTERACTIONS, "create", "update", "delete")],
        "operation": [{"name": name, "definition": f"{operation}{name}"} for name in ("status", "events")],
    }


def _references(type_name: str) -> list[str]:
    parameters = search_parameters(type_name)
    return sorted(name for name, parameter in parameters.items() if parameter.kind == "reference")
