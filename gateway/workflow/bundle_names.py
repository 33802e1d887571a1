"""Relative references inside a bundle, made to name one entry of it (FHIR R4 2.36.4.1).

``Patient/1`` in an entry at ``http://a/Observation/2`` is ``http://a/Patient/1``, and no other server's Patient/1 that
stands in the same bundle. Where no address tells and several entries have the type and id, it is nobody's guess.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from gateway.errors import Issue
from gateway.workflow.references import RELATIVE, Named, plain, referenced
from gateway.workflow.submission import Entry
from mappings.fhir_elements import copied, text

_ADDRESS = re.compile(r"(https?://\S+)/[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")

Places = dict[str, set[str]]
"""The fullUrls of the entries that have a type and id, by ``Type/id``; of one without it what else tells it apart."""


def at_their_addresses(entries: tuple[Entry, ...]) -> tuple[tuple[Entry, ...], list[Issue]]:
    """The entries, references made absolute where ``Type/id`` alone could be another one's; what stays unclear."""
    places = _places(entries)
    bases = {base for entry in entries if (base := _base(entry))}
    if len(bases) < 2 and all(len(found) == 1 for found in places.values()):
        return entries, []
    made, unclear = [], []
    for entry in entries:
        told, issues = _told_apart(entry, places)
        made.append(told)
        unclear += issues
    return tuple(made), unclear


def _told_apart(entry: Entry, places: Places) -> tuple[Entry, list[Issue]]:
    content = copied(entry.resource)
    changed, unclear = False, []
    for one in _relative(content, f"{entry.path}.resource"):
        address = _address(entry, plain(one.value), places)
        if address:
            one.holder[one.key] = address
            changed = True
        elif address is None:
            words = "Several entries of the bundle have this type and id: name the one by its fullUrl."
            unclear.append(Issue("error", "multiple-matches", words, one.path, entry.full_url))
    return (replace(entry, resource=content) if changed else entry), unclear


def _relative(content: dict[str, object] | None, path: str) -> Iterable[Named]:
    return (one for one in referenced(content, path) if RELATIVE.match(one.value))


def _address(entry: Entry, wanted: str, places: Places) -> str | None:
    """The absolute address that is meant; '' where the reference may stay as it is, None where nobody can tell."""
    found = places.get(wanted, set())
    base = _base(entry)
    absolute = f"{base}/{wanted}"
    if not found or found == {absolute}:
        return ""
    if base and (absolute in found or all(_ADDRESS.fullmatch(place) for place in found)):
        return absolute
    return "" if len(found) == 1 else None


def _places(entries: tuple[Entry, ...]) -> Places:
    found: Places = {}
    for entry in entries:
        fhir_id = text(entry.resource.get("id")) if entry.resource else ""
        if fhir_id:
            own = entry.url if entry.method == "PUT" else entry.path
            found.setdefault(f"{entry.type}/{fhir_id}", set()).add(entry.full_url or own)
    return found


def _base(entry: Entry) -> str:
    found = _ADDRESS.fullmatch(entry.full_url)
    return found[1] if found else ""
