"""References inside a bundle: what each entry is called, and what its references point to.

FHIR R4 2.36.4.1 (resolving references in bundles) and 3.1.0.11.2 (replacing them in transactions).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from gateway.errors import Issue
from gateway.workflow.submission import Entry
from mappings.fhir_elements import objects, text

IDENTITY_CHARACTERS = 500
RELATIVE = re.compile(r"^([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(/_history/[^/]+)?$")
_CONDITIONAL = re.compile(r"^([A-Z][A-Za-z]+)\?identifier=([^&|]*)\|([^&]+)$")
_VERSION = re.compile(r"/_history/[^/]+$")
_HOLDERS = (dict, list)


def conditional_identity(criteria: str, type: str) -> tuple[str, str] | None:
    """(type, ``system|value``) of ``Type?identifier=system|value`` or, for ifNoneExist, without the type."""
    criteria = unquote(criteria)
    found = _CONDITIONAL.match(criteria if "?" in criteria.split("=")[0] else f"{type}?{criteria}")
    return (found[1], f"{found[2]}|{found[3]}") if found else None


def entries_by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Entries by fullUrl and by Type/id, the first one counting."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.full_url:
            found.setdefault(entry.full_url, entry)
        if entry.resource and text(entry.resource.get("id")):
            found.setdefault(f"{entry.type}/{entry.resource['id']}", entry)
    return found


def plain(value: str) -> str:
    """A reference without the version that it may name."""
    return _VERSION.sub("", value)


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


@dataclass(frozen=True, slots=True)
class Named:
    """A ``reference`` or Attachment ``url`` in a resource: ``holder[key]`` is ``value``, at the FHIRPath ``path``."""

    holder: dict[str, Any]
    key: str
    value: str
    path: str


def referenced(resource: dict[str, Any] | None, path: str) -> list[Named]:
    """All in a resource.

    A Bundle inside a bundle has names of its own (2.36.4.1): nothing of it is looked at.
    """
    found: list[Named] = []
    _look(resource, [path], found)
    return found


def _look(value: Any, trail: list[str | int], found: list[Named]) -> None:
    """``trail``: the steps to ``value``, which become a path only where something is found."""
    if isinstance(value, dict):
        if value.get("resourceType") == "Bundle":
            return
        for key, item in value.items():
            if isinstance(item, _HOLDERS):
                _look_at(key, item, trail, found)
            elif key in ("reference", "url") and isinstance(item, str):
                found.append(Named(value, key, item, _path([*trail, key])))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, _HOLDERS):
                _look_at(index, item, trail, found)


def _look_at(step: str | int, item: Any, trail: list[str | int], found: list[Named]) -> None:
    trail.append(step)
    _look(item, trail, found)
    trail.pop()


def _path(trail: list[str | int]) -> str:
    start, *steps = trail
    return f"{start}{''.join(f'[{s}]' if isinstance(s, int) else f'.{s}' for s in steps)}"


def resolve(
    resource: dict[str, Any],
    found: list[Named],
    names: Mapping[str, str],
    known: Mapping[str, str],
    server: str,
    subject_elsewhere: bool = False,
) -> list[Issue]:
    """Point references to entries of the bundle at the resources they became; name those that lead nowhere.

    ``found`` are the resource's own, ``names`` the bundle's (see ``targets``), ``known`` the sender's earlier
    resources: reference as written to reference as stored, or to nothing where it finds several. Absolute URLs
    elsewhere are kept and never followed. With ``subject_elsewhere`` a document's or a list's subject is kept as it is
    too, and only a warning.
    """
    unresolved = []
    contained = {f"#{c.get('id')}" for c in objects(resource.get("contained"))} | {"#"}
    for one in found:
        local = one.value.removeprefix(f"{server}/")
        unversioned = plain(local)
        target = names.get(one.value) or names.get(unversioned) or known.get(unversioned)
        if target:
            one.holder[one.key] = target
        elif target is not None:
            words = "The reference finds several resources that you sent: it must name one."
            unresolved.append(Issue("error", "multiple-matches", words, one.path))
        elif one.key == "reference" and not _leads_elsewhere(one.value, local, contained):
            kept = subject_elsewhere and _is_subject_of_document(resource, one)
            unresolved.append(
                Issue("warning" if kept else "error", "not-found", _nowhere(one.value), one.path)
            )
    return unresolved


def _is_subject_of_document(resource: dict[str, Any], one: Named) -> bool:
    is_subject = one.holder is resource.get("subject") and one.value.startswith("Patient/")
    return is_subject and resource.get("resourceType") in ("DocumentReference", "List")


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


def wanted_outside(found: Iterable[Named], names: Mapping[str, str], server: str) -> set[str]:
    """Relative and conditional references that no entry of the bundle answers."""
    wanted = set()
    for one in found:
        name = plain(one.value.removeprefix(f"{server}/"))
        if one.value in names or name in names:
            continue
        if RELATIVE.match(name) or (one.key == "reference" and _CONDITIONAL.match(name)):
            wanted.add(name)
    return wanted
