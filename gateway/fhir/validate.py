"""Any resource as $validate looks at it (FHIR R4 operation-resource-validate): every finding, nothing decided."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from gateway.errors import Issue
from gateway.fhir import bundle_rules
from gateway.fhir.bundle import MAX_ENTRIES
from gateway.fhir.profiles import claimed, profile_faults
from gateway.fhir.validation import faults
from mappings.fhir_definitions import Release
from mappings.fhir_elements import objects, text


def findings(resource: dict[str, Any], release: Release = Release.R4, profile: str = "") -> list[Issue]:
    """Errors and warnings with their FHIRPath, from the resource's type on; ``profile`` is compared beside its own."""
    return [*_of_release(resource, release), *compared(resource, release, profile)]


def compared(resource: dict[str, Any], release: Release = Release.R4, profile: str = "") -> list[Issue]:
    """What a resource, and each entry of a Bundle, lacks of the profiles that it claims.

    ``profile`` is one more for the whole.
    """
    path = str(resource.get("resourceType") or "Resource")[:64]
    found = list(_of_profiles(resource, path, release, profile))
    if path == "Bundle":
        for index, item in enumerate(objects(resource.get("entry"))):
            if isinstance(inner := item.get("resource"), dict):
                told = _of_profiles(inner, f"Bundle.entry[{index}].resource", release)
                found += [replace(issue, full_url=text(item.get("fullUrl"))) for issue in told]
    return found


def _of_release(resource: dict[str, Any], release: Release) -> list[Issue]:
    """By the rules of the release alone."""
    if resource.get("resourceType") != "Bundle":
        return faults(resource, str(resource.get("resourceType") or "Resource")[:64], release)
    given = resource.get("entry")
    items = given if isinstance(given, list) else []
    if len(items) > MAX_ENTRIES:
        text = f"The bundle has more than {MAX_ENTRIES} entries, and was not looked at."
        return [Issue("error", "too-costly", text, "Bundle.entry")]
    types = bundle_rules.types_by_reference(items)
    shell = {**resource, "entry": [_without_resource(item) for item in items]} if items else resource
    found = [
        *faults(shell, "Bundle", release),
        *bundle_rules.ambiguous(resource),
        *bundle_rules.rules(resource),
        *bundle_rules.requests(resource),
    ]
    for index, item in enumerate(items):
        inner = item.get("resource") if isinstance(item, dict) else None
        if isinstance(inner, dict):
            full_url = item.get("fullUrl") if isinstance(item.get("fullUrl"), str) else ""
            path = f"Bundle.entry[{index}].resource"
            issues = faults(inner, path, release, types)
            found += [replace(issue, full_url=full_url or "") for issue in issues]
    if resource.get("type") == "document":
        found += bundle_rules.unresolved(resource)
    return found


def _of_profiles(resource: dict[str, Any], path: str, release: Release, profile: str = "") -> Iterator[Issue]:
    if release in (Release.R4, Release.R4B):
        for one in claimed(resource, profile):
            yield from profile_faults(resource, one, path)


def _without_resource(item: Any) -> Any:
    """An entry whose resource is looked at by itself; one that holds nothing else stands in as another would."""
    if not isinstance(item, dict) or not isinstance(item.get("resource"), dict):
        return item
    return {key: value for key, value in item.items() if key != "resource"} or {"fullUrl": "urn:oid:0"}
