"""Rules of a Bundle as a whole: bdl-1 to bdl-12, fullUrls, and the references of a document (FHIR R4 2.36, 3.3.1)."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from gateway.errors import Issue
from mappings.fhir_elements import objects, reference

_REST = re.compile(r"(https?://\S+)/([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})")
_LEADERS = {"document": "Composition", "message": "MessageHeader"}
_ASKING = frozenset({"batch", "transaction", "history"})
_ANSWERING = frozenset({"batch-response", "transaction-response", "history"})
_COUNTED = frozenset({"searchset", "history"})

Json = dict[str, Any]


def types_by_reference(items: list[Any]) -> dict[str, str]:
    """Resource types by the fullUrls of a bundle's entries."""
    return {
        item["fullUrl"]: str(item["resource"].get("resourceType"))
        for item in objects(items)
        if isinstance(item.get("fullUrl"), str) and isinstance(item.get("resource"), dict)
    }


def ambiguous(bundle: Json) -> Iterator[Issue]:
    """What makes it unclear what is meant: the same fullUrl twice, a document or message without its leader."""
    items = objects(bundle.get("entry"))
    leader = _LEADERS.get(str(bundle.get("type")))
    if leader and (not items or _type(items[0]) != leader):
        rule = "bdl-11" if leader == "Composition" else "bdl-12"
        text = f"The first entry of a {bundle.get('type')} must be a {leader} ({rule})."
        yield Issue("error", "structure", text, "Bundle.entry[0].resource")
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(items):
        full_url = item.get("fullUrl")
        if not isinstance(full_url, str) or not full_url or bundle.get("type") == "history":
            continue
        version = _version(item) if bundle.get("type") not in ("transaction", "batch") else ""
        if (full_url, version) in seen:
            text = "The fullUrl stands in the bundle more than once (bdl-7)."
            yield Issue("error", "duplicate", text, f"Bundle.entry[{index}].fullUrl", full_url)
        seen.add((full_url, version))


def changed_twice(bundle: Json) -> Iterator[Issue]:
    """No two entries of a transaction are for one resource (FHIR R4 3.1.0.11.2): which of them counts?"""
    seen: set[str] = set()
    for index, item in enumerate(objects(bundle.get("entry"))):
        asked = item.get("request")
        url = (
            asked.get("url") if isinstance(asked, dict) and asked.get("method") in ("PUT", "PATCH") else None
        )
        if not isinstance(url, str):
            continue
        if url in seen:
            text = "Another entry of the transaction is for the same resource."
            yield Issue("error", "duplicate", text, f"Bundle.entry[{index}].request.url")
        seen.add(url)


def rules(bundle: Json) -> Iterator[Issue]:
    """The other rules. Whether entries ask for something (bdl-3) is told by ``requests`` alone."""
    kind = str(bundle.get("type"))
    if "total" in bundle and kind not in _COUNTED:
        yield _broken("bdl-1", "A total stands in a searchset or history only.", "Bundle.total")
    if kind == "document":
        identifier = bundle.get("identifier")
        if not isinstance(identifier, dict) or not ({"system", "value"} <= identifier.keys()):
            text = "A document has an identifier with system and value."
            yield _broken("bdl-9", text, "Bundle.identifier")
        if not isinstance(bundle.get("timestamp"), str):
            yield _broken("bdl-10", "A document has a timestamp.", "Bundle.timestamp")
    yield from _links(bundle)
    for index, item in enumerate(objects(bundle.get("entry"))):
        yield from _entry_rules(kind, item, f"Bundle.entry[{index}]")


def requests(bundle: Json) -> Iterator[Issue]:
    """bdl-3."""
    kind = str(bundle.get("type"))
    for index, item in enumerate(objects(bundle.get("entry"))):
        if ("request" in item) != (kind in _ASKING):
            must = "has" if kind in _ASKING else "has no"
            yield _broken(
                "bdl-3", f"An entry of a {kind[:32]} {must} request.", f"Bundle.entry[{index}].request"
            )


def _links(bundle: Json) -> Iterator[Issue]:
    counted = Counter(str(link.get("relation")) for link in objects(bundle.get("link")))
    for relation in ("self", "first", "previous", "next", "last"):
        if counted[relation] > 1:
            yield Issue("error", "invalid", f"There is one link '{relation}' at most.", "Bundle.link")


def _entry_rules(kind: str, item: Json, path: str) -> Iterator[Issue]:
    full_url = item.get("fullUrl")
    if "search" in item and kind != "searchset":
        yield _broken("bdl-2", "Only an entry of a searchset has search.", f"{path}.search")
    if ("response" in item) != (kind in _ANSWERING):
        must = "has" if kind in _ANSWERING else "has no"
        yield _broken("bdl-4", f"An entry of a {kind[:32]} {must} response.", f"{path}.response")
    if not {"resource", "request", "response"} & item.keys():
        yield _broken("bdl-5", "An entry holds a resource, a request or a response.", path)
    if isinstance(full_url, str):
        if "/_history/" in full_url:
            yield _broken("bdl-8", "A fullUrl names no version.", f"{path}.fullUrl")
        elif isinstance(item.get("resource"), dict):
            yield from _full_url_faults(kind, full_url, item["resource"], path)


def _full_url_faults(kind: str, full_url: str, resource: Json, path: str) -> Iterator[Issue]:
    """A fullUrl that is the address of a resource is that of this one (2.36.4); one to be created has no id yet."""
    address = _REST.fullmatch(full_url)
    if address is None or kind in ("transaction", "batch"):
        return
    if address[2] != resource.get("resourceType"):
        text = f"The fullUrl is the address of a {address[2][:60]}, and another type of resource was found."
        yield Issue("error", "value", text, f"{path}.fullUrl", full_url)
    elif address[3] != resource.get("id"):
        found = "another id" if resource.get("id") else "no id"
        text = f"The fullUrl is the address of a resource, which then has the same id; {found} was found."
        yield Issue("error", "value", text, f"{path}.resource.id", full_url)


def unresolved(bundle: Json) -> Iterator[Issue]:
    """References of a document that lead to nothing in it, or to more than one entry (2.36.4.1, 3.3.1)."""
    items = objects(bundle.get("entry"))
    entries = _Entries(items)
    for index, item in enumerate(items):
        full_url = str(item.get("fullUrl") or "")
        base = _REST.fullmatch(full_url)
        for literal, where in _references(item.get("resource"), f"Bundle.entry[{index}].resource"):
            if not literal.startswith("#") and (
                fault := entries.fault(literal, base[1] if base else "", index == 0)
            ):
                yield Issue(*fault, where, full_url)


class _Entries:
    """A document's entries by their fullUrl, by fullUrl and version, and by type and id."""

    def __init__(self, items: list[Json]) -> None:
        self._count = Counter(str(item.get("fullUrl")) for item in items)
        self._versions = {f"{item.get('fullUrl')}/_history/{_version(item)}" for item in items}
        self._unversioned = {str(item.get("fullUrl")) for item in items if not _version(item)}
        self._by_id = {f"{_type(item)}/{item['resource'].get('id')}" for item in items if _type(item)}

    def fault(self, literal: str, base: str, is_leader: bool) -> tuple[str, str, str] | None:
        """Severity, code and words. What the Composition refers to stands in the document; the rest should."""
        is_absolute = ":" in literal.split("/")[0]
        address = literal if is_absolute or not base else f"{base}/{literal}"
        plain = re.sub(r"/_history/[^/]+$", "", address)
        if address == plain and self._count[plain] > 1:
            return "error", "multiple-matches", "The reference leads to several versions: it must name one."
        if self._count[plain] and (
            address == plain or plain in self._unversioned or address in self._versions
        ):
            return None
        if self._count[plain]:
            return (
                "error",
                "not-found",
                "The document has the resource in another version than the reference names.",
            )
        if literal in self._by_id:
            text = "The reference leads to an entry by type and id alone; by the entries' fullUrls it leads nowhere."
            return "warning", "not-found", text
        is_elsewhere = literal.startswith(("http://", "https://"))
        severity = "error" if is_leader and not is_elsewhere else "warning"
        return severity, "not-found", "The reference leads to no entry of this document."


def _references(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if literal := reference(value):
            yield literal, f"{path}.reference"
        for key, item in value.items():
            if isinstance(item, dict | list) and key != "contained":
                yield from _references(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _references(item, f"{path}[{index}]")


def _type(item: Json) -> str:
    resource = item.get("resource")
    return str(resource.get("resourceType")) if isinstance(resource, dict) else ""


def _version(item: Json) -> str:
    resource = item.get("resource")
    meta = resource.get("meta") if isinstance(resource, dict) else None
    return str(meta.get("versionId")) if isinstance(meta, dict) else ""


def _broken(rule: str, text: str, path: str) -> Issue:
    return Issue("error", "invariant", f"{text} ({rule})", path)
