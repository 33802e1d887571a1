"""References inside a bundle: what each entry is called, and what its references point to.

FHIR R4 2.36.4.1 (resolving references in bundles) and 3.1.0.11.2 (replacing them in transactions).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from gateway.errors import Issue
from gateway.store.ids import bounded
from gateway.workflow.submission import Entry
from mappings.fhir_elements import objects

IDENTITY_CHARACTERS = 500
RELATIVE = re.compile(r"^([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(/_history/[^/]+)?$")
_CONDITIONAL = re.compile(r"^([A-Z][A-Za-z]+)\?identifier=([^&|]*)\|([^&]+)$")


def conditional_identity(criteria: str, type: str) -> tuple[str, str] | None:
    """(type, identity) of ``Type?identifier=system|value`` or, for ifNoneExist, ``identifier=system|value``."""
    criteria = unquote(criteria)
    found = _CONDITIONAL.match(criteria if "?" in criteria.split("=")[0] else f"{type}?{criteria}")
    return (found[1], bounded(f"identifier:{found[2]}|{found[3]}", IDENTITY_CHARACTERS)) if found else None


def targets(entries: Mapping[int, str], submission: tuple[Entry, ...]) -> dict[str, str]:
    """From every way to name an entry inside its bundle to the reference that it got (``entries`` by index)."""
    names: dict[str, str] = {}
    for entry in submission:
        given = entries.get(entry.index)
        if given is None or entry.resource is None:
            continue
        if entry.full_url:
            names.setdefault(entry.full_url, given)
        if entry.resource.get("id"):
            names.setdefault(f"{entry.type}/{entry.resource['id']}", given)
    return names


def referenced(value: Any, path: str) -> Iterator[tuple[dict[str, Any], str, str, str]]:
    """Each ``reference`` or Attachment ``url`` in a resource: (holder, key, value, FHIRPath).

    A Bundle inside a bundle has names of its own (2.36.4.1): nothing of it is looked at.
    """
    if isinstance(value, dict):
        if value.get("resourceType") == "Bundle":
            return
        for key, item in value.items():
            if key in ("reference", "url") and isinstance(item, str):
                yield value, key, item, f"{path}.{key}"
            elif isinstance(item, dict | list):
                yield from referenced(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from referenced(item, f"{path}[{index}]")


def resolve(
    resource: dict[str, Any],
    path: str,
    names: Mapping[str, str],
    known: Mapping[str, str],
    server: str,
    subject_elsewhere: bool = False,
) -> list[Issue]:
    """Point references to entries of the bundle at the resources they became; name those that lead nowhere.

    ``names`` are the bundle's own (see ``targets``), ``known`` the sender's earlier resources: reference as
    written to reference as stored. Absolute URLs elsewhere are kept and never followed. With ``subject_elsewhere`` a
    document's or a list's subject is kept as it is too, and only a warning.
    """
    unresolved = []
    contained = {f"#{c.get('id')}" for c in objects(resource.get("contained"))} | {"#"}
    for holder, key, value, where in list(referenced(resource, path)):
        local = value.removeprefix(f"{server}/")
        plain = re.sub(r"/_history/[^/]+$", "", local)
        target = names.get(value) or names.get(plain) or known.get(plain)
        if target is not None:
            holder[key] = target
        elif key == "reference" and not _leads_elsewhere(value, local, contained):
            kept = subject_elsewhere and where == f"{path}.subject.reference" and value.startswith("Patient/")
            kept = kept and resource.get("resourceType") in ("DocumentReference", "List")
            unresolved.append(Issue("warning" if kept else "error", "not-found", _nowhere(value), where))
    return unresolved


def _leads_elsewhere(value: str, local: str, contained: set[str]) -> bool:
    if value.startswith("#"):
        return value in contained
    return value == local and value.startswith(("http://", "https://"))


def _nowhere(value: str) -> str:
    if value.startswith("#"):
        return "The reference names a contained resource that is not there."
    if value.startswith("urn:"):
        return "The reference names no entry of this bundle (no such fullUrl)."
    return "The reference names neither an entry of this bundle nor a resource that you sent before."


def wanted_outside(entries: tuple[Entry, ...], names: Mapping[str, str], server: str) -> set[str]:
    """Relative and conditional references that no entry of the bundle answers."""
    wanted = set()
    for entry in entries:
        for _, key, value, _ in referenced(entry.resource, entry.path):
            plain = re.sub(r"/_history/[^/]+$", "", value.removeprefix(f"{server}/"))
            if value in names or plain in names:
                continue
            if RELATIVE.match(plain) or (key == "reference" and _CONDITIONAL.match(plain)):
                wanted.add(plain)
    return wanted
