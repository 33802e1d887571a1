"""Extensions for converting between versions (FHIR R5 2.1.6.6): an element that the other release has not.

``http://hl7.org/fhir/5.0/StructureDefinition/extension-Procedure.focus`` carries Procedure.focus of R5. What an
extension can hold is its value; what it cannot, a backbone element or a type of one release only, has an extension
inside for each member, named by the member alone.
"""

from mappings.fhir_definitions import Element, Release, data_type, elements_of
from mappings.fhir_elements import Resource, objects

BASE = "http://hl7.org/fhir/{}/StructureDefinition/extension-"
_NEVER = frozenset({"valueCodeableReference", "valueRatioRange"})
"""What the R4B models allow as an extension's value and R4 (4.0.1) does not."""
_NEAREST = {"integer64": "string", "canonical": "uri", "url": "uri", "uuid": "uri", "id": "string"}
"""Primitive types that not every release has, or not as an extension's value, and the type that can hold them."""


def url_of(release: Release, element: str) -> str:
    """The extension's URL for ``Type.element`` of a release, a choice without [x]."""
    return BASE.format(release.value) + element


def value_name(kind: str, target: Release) -> str:
    """Name of Extension.value[x] for a FHIR type in a release; empty where an extension cannot hold that type."""
    extension = data_type("Extension", target)
    known = elements_of(extension) if extension is not None else {}
    for held in (kind, _NEAREST.get(kind, "")):
        name = f"value{held[:1].upper()}{held[1:]}"
        if name in known and (name not in _NEVER or target is Release.R5):
            return name
    return ""


def value_key(extension: Resource) -> str:
    """Which Extension.value[x] an extension has; empty for one that has extensions inside."""
    found = (key.removeprefix("_") for key in extension)
    return next((key for key in found if key.startswith("value")), "")


def named_by(elements: dict[str, Element], stem: str, extension: Resource) -> str:
    """Which element an extension stands for: ``stem`` itself, or the choice that its value tells; empty for none."""
    if stem in elements:
        return stem
    kind = value_key(extension).removeprefix("value").casefold()
    inner = {e.get("url") for e in objects(extension.get("extension"))}
    for name, element in elements.items():
        if element.choice != stem:
            continue
        held = _NEAREST.get(element.kind, "").casefold()
        if kind and kind in (element.kind.casefold(), held):
            return name
        if not kind and element.child is not None and inner <= elements_of(element.child).keys():
            return name
    return ""
