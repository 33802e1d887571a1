"""What the parts of a resource must be to one another: ids, references, contained resources, sizes of attachments.

FHIR R4 2.3.0 (references), 2.27.4 (contained resources), 2.24.0.11 (Attachment).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import Issue
from mappings.fhir_definitions import Element, Release
from mappings.fhir_elements import objects

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_TARGET = re.compile(
    r"(?:https?://\S+/)?([A-Z][A-Za-z]{1,60})/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?"
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a resource stands. ``types``: of the bundle's entries, by every reference that leads to them."""

    release: Release
    types: Mapping[str, str] = field(default_factory=dict)
    contained: Mapping[str, str] = field(default_factory=dict)


def id_fault(resource: Json, path: str) -> Iterator[Issue]:
    given = resource.get("id")
    if isinstance(given, str) and given and not ID.fullmatch(given):
        text = (
            "The id of a resource is 1 to 64 letters, digits, '-' and '.'; "
            f"text of {len(given)} characters was found."
        )
        yield Issue("error", "value", text, f"{path}.id")


def reference_faults(element: Element, value: Json, path: str, around: Surroundings) -> Iterator[Issue]:
    literal = value.get("reference")
    if not isinstance(literal, str):
        return
    if literal.startswith("#"):
        if literal not in around.contained:
            text = "The reference names a contained resource that is not there (ref-1)."
            yield Issue("error", "not-found", text, f"{path}.reference")
            return
        found = around.contained[literal]
    else:
        found = around.types.get(literal, "") or type_named(literal)
    if found and element.targets and found not in element.targets and found[:1].isupper():
        allowed = ", ".join(sorted(element.targets))
        text = f"A reference to {allowed} was expected, and one to {found[:60]} was found."
        yield Issue("error", "value", text, f"{path}.reference")


def type_named(literal: str) -> str:
    """The type in a literal reference to a resource of a server, '' in any other."""
    target = _TARGET.fullmatch(literal)
    return target[1] if target else ""


def size_fault(attachment: Json, path: str) -> Iterator[Issue]:
    """Attachment.size counts the bytes before they are base64 (2.24.0.11)."""
    content, size = attachment.get("data"), attachment.get("size")
    if not isinstance(content, str) or not isinstance(size, int):
        return
    written = len(content) - sum(map(content.count, " \t\r\n="))
    found = written * 3 // 4
    if found != size:
        text = f"The attachment has {found} bytes, and {size} were announced."
        yield Issue("error", "value", text, f"{path}.size")


def contained_faults(resource: Json, path: str) -> Iterator[Issue]:
    """dom-2 to dom-5."""
    named = set(_hash_strings(resource))
    for index, one in enumerate(objects(resource.get("contained"))):
        where = f"{path}.contained[{index}]"
        if "contained" in one:
            text = "A contained resource holds none itself (dom-2)."
            yield Issue("error", "invariant", text, f"{where}.contained")
        if f"#{one.get('id')}" not in named and "#" not in set(_hash_strings(one)):
            text = "Something in the resource must refer to the contained resource by its id (dom-3)."
            yield Issue("error", "invariant", text, where)
        meta = one.get("meta")
        for name in ("versionId", "lastUpdated", "security"):
            if isinstance(meta, dict) and name in meta:
                rule = "dom-5" if name == "security" else "dom-4"
                text = f"A contained resource has no meta.{name} ({rule})."
                yield Issue("error", "invariant", text, f"{where}.meta.{name}")


def _hash_strings(value: Any) -> Iterator[str]:
    """Every text that begins as the reference to a contained resource does."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if item.startswith("#"):
                yield item
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
