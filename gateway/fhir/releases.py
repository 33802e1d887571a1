"""Resources of other FHIR releases: turned into R4 when they come, and out of R4 when they are asked for so."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gateway.case.searching import IdBegins, Term
from gateway.errors import Issue, NotAcceptable
from gateway.fhir.search import Query
from mappings.fhir_conversion import Conversion, unconverted
from mappings.fhir_conversion_table import from_r4, to_r4
from mappings.fhir_definitions import Release, resource_model
from mappings.fhir_type_names import original_name, other_names, r4_name, renamed_reference

Resource = dict[str, Any]
_CODES = {
    "information": "informational",
    "warning": "processing",
}  # a person must look: no mere note to the sender


def in_r4(resource: Resource, release: Release, path: str) -> tuple[Resource, list[Issue]]:
    """A resource in R4, and what a person should know of that; one of a type that R4 has not stays as it is."""
    if release is Release.R4:
        return resource, []
    conversion = Conversion(release, Release.R4)
    made = conversion.resource(resource, path)
    issues = [Issue(n.severity, _CODES[n.severity], n.text, n.expression) for n in conversion.notes]
    if made is None:
        text = unconverted(resource, release, Release.R4)
        return resource, [Issue("warning", _CODES["warning"], text, path)]
    return made, issues


def led_in_r4(bundle: Resource, release: Release) -> Resource:
    """A bundle of which the first resource, that leads a message, is R4."""
    given = bundle.get("entry")
    first = given[0] if isinstance(given, list) and given else None
    leader = first.get("resource") if isinstance(first, dict) else None
    if release is Release.R4 or not (
        isinstance(given, list) and isinstance(first, dict) and isinstance(leader, dict)
    ):
        return bundle
    made, _ = in_r4(leader, release, "Bundle.entry[0].resource")
    return bundle | {"entry": [{**first, "resource": made}, *given[1:]]}


def in_release(resource: Resource, release: Release) -> Resource:
    """An R4 resource as another release has it. Raises NotAcceptable where that has no such type."""
    if release is Release.R4:
        return resource
    if resource["resourceType"] == "CapabilityStatement":
        resource = _statement_in(resource, release)
    made = Conversion(Release.R4, release).resource(resource, str(resource["resourceType"]))
    if made is None:
        raise NotAcceptable(
            f"FHIR {release} has no {resource['resourceType']}; the answer can be had in FHIR R4."
        )
    return made


def _statement_in(statement: Resource, release: Release) -> Resource:
    """A CapabilityStatement with the types that the release has."""
    rest = [
        mode | {"resource": [r for r in mode["resource"] if _is_type(r["type"], release)]}
        for mode in statement["rest"]
    ]
    return statement | {"fhirVersion": release.version, "rest": rest}


def _is_type(type_name: str, release: Release) -> bool:
    return resource_model(original_name(from_r4(release).types, type_name, "")[0], release) is not None


def url_in_r4(url: str, release: Release) -> str:
    """``Type`` or ``Type/id`` of a request, by the names of R4."""
    return renamed_reference(to_r4(release).types, url, to_r4=True)


def reference_in(reference: str, release: Release) -> str:
    """``Type/id`` of R4 by the names of another release."""
    return renamed_reference(from_r4(release).types, reference, to_r4=False)


def addressed(type_name: str, fhir_id: str) -> tuple[str, str, Release | None]:
    """The R4 type and id of an address, and the release if its type is one that R4 has not (ReferralRequest)."""
    for release in Release:
        types = to_r4(release).types
        if type_name in dict(types):
            return *r4_name(types, type_name, fhir_id), release
    return type_name, fhir_id, None


def called(asked_type: str, query: Query) -> Query:
    """A search for a type that is one of several of R4's, limited to what is called so."""
    _, _, release = addressed(asked_type, "")
    if release is None:
        return query
    beginnings = [f"{name}-" for name in other_names(to_r4(release).types, query.type)]
    own = f"{asked_type}-"
    limits: list[Term] = (
        [(IdBegins(own),)] if own in beginnings else [(IdBegins(b, True),) for b in beginnings]
    )
    return replace(query, terms=(*query.terms, *limits), called=asked_type)


def pairs_in_r4(asked_type: str, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Search parameters with the ids and references that R4 has for those of another release."""

    def value_in_r4(name: str, value: str) -> str:
        options = value.split(",")
        if name.startswith("_id"):
            return ",".join(addressed(asked_type, option)[1] for option in options)
        for release in Release:
            options = [url_in_r4(option, release) if "/" in option else option for option in options]
        return ",".join(options)

    return [(name, value_in_r4(name, value)) for name, value in pairs]
