"""A Bundle to a Submission: checked entry by entry, every fault named."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from gateway.errors import InvalidContent, Issue, NotFhir
from gateway.fhir import bundle_rules, provide_documents, versions
from gateway.fhir.left_out import without_empty
from gateway.fhir.releases import in_r4, url_in_r4
from gateway.fhir.validation import faults
from gateway.workflow.bundle_names import at_their_addresses
from gateway.workflow.references import RELATIVE, conditional_identity
from gateway.workflow.submission import Entry, Submission
from mappings.fhir_definitions import Release
from mappings.fhir_elements import objects, text

ACCEPTED_TYPES = ("transaction", "batch", "collection", "document", "message")
_TYPES_OF_ANSWERS = {
    "searchset": " (it is a server's answer to a search: send what was found as a collection)",
    "history": " (it tells versions of resources: send those that hold now as a collection)",
    "transaction-response": " (it is a server's answer to a transaction)",
    "batch-response": " (it is a server's answer to a batch)",
    "subscription-notification": " (the gateway has no subscription at any server)",
}
_LENIENT = frozenset({"collection", "document", "message"})
MAX_ENTRIES = 5_000


def release_of(content: dict[str, Any], told: Release | None) -> Release:
    """The release of a bundle or of any resource, ``told`` being the media type's. Raises UnsupportedVersion."""
    if content.get("resourceType") == "Parameters":
        inside = [p.get("resource") for p in objects(content.get("parameter"))]
        content = next((r for r in inside if isinstance(r, dict)), content)
    type_name, items = content.get("resourceType"), content.get("entry")
    if type_name != "Bundle":
        return versions.release_of([(str(type_name), content)], told)
    found = _resources(items) if isinstance(items, list) else []
    return versions.release_of([(f"Bundle.entry[{i}].resource", r) for i, r in found], told)


def read_submission(bundle: dict[str, Any], release: Release = Release.R4) -> Submission:
    """Raises InvalidContent or NotFhir with all faults.

    What is of another release is checked as that, and is R4 in the Submission. Collection, document and message
    bundles are kept with their faults as long as an entry is a resource of the release; of a batch only the faulty
    entries are refused; a transaction's faults are in the Submission, which the workflow refuses as a whole when it
    has seen the references too.
    """
    type_name = bundle.get("resourceType")
    if not isinstance(type_name, str):
        raise NotFhir("The body is no FHIR resource: the element 'resourceType' is missing.")
    if type_name != "Bundle":
        raise NotFhir(f"A Bundle was expected, and a {type_name[:64]} was sent.")
    bundle_type = _bundle_type(bundle)
    items = _items(bundle)
    types = bundle_rules.types_by_reference(items)
    entries = tuple(_entry(index, item, bundle_type, types, release) for index, item in enumerate(items))
    shell, unclear = _shell_faults(bundle, bundle_type, release), list(bundle_rules.ambiguous(bundle))
    entries, unnamed = at_their_addresses(entries)
    unclear += unnamed
    if bundle_type == "transaction":
        unclear += bundle_rules.changed_twice(bundle)
    if level := provide_documents.level_of(bundle, entries):
        unclear += provide_documents.bundle_faults(bundle_type, entries)
        entries = provide_documents.with_faults(level, entries)
    faulty = tuple(i for entry in entries for i in entry.issues if i.severity == "error")
    refusing = (*(i for i in shell if i.severity == "error"), *unclear)
    if bundle_type == "transaction":
        elsewhere = level is not None and provide_documents.tell_their_patient(entries)
        told = _told_with_the_first([i for i in shell if i.severity != "error"], entries)
        return Submission(bundle_type, told, (*refusing, *faulty), elsewhere)
    if refusing or (bundle_type in _LENIENT and not any(_is_content(e) for e in entries)):
        raise InvalidContent("The bundle holds nothing that can be kept.", (*refusing, *faulty))
    return Submission(bundle_type, _told_with_the_first(shell, entries))


def read_single(resource: dict[str, Any], release: Release, request: Mapping[str, str]) -> Submission:
    """A resource that was sent by itself, as the one entry of a transaction; ``request`` is Bundle.entry.request."""
    entry = _entry(0, {"resource": resource, "request": dict(request)}, "transaction", {}, release)
    faults = tuple(issue for issue in entry.issues if issue.severity == "error")
    return Submission("transaction", (entry,), faults, is_single=True)


def _is_content(entry: Entry) -> bool:
    """What can be kept and says something of a child; the header of a message says only how it came."""
    return entry.resource is not None and not entry.refused and entry.type != "MessageHeader"


def _told_with_the_first(shell: list[Issue], entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """What is wrong with the bundle as a whole and refuses none of it is told with its first entry."""
    return (replace(entries[0], issues=(*shell, *entries[0].issues)), *entries[1:])


def _bundle_type(bundle: dict[str, Any]) -> str:
    bundle_type = bundle.get("type")
    if not isinstance(bundle_type, str):
        issue = Issue("error", "required", "The required element 'type' is missing.", "Bundle.type")
        raise InvalidContent(issue.text, (issue,))
    if bundle_type not in ACCEPTED_TYPES:
        why = _TYPES_OF_ANSWERS.get(bundle_type, "")
        words = f"Bundles of type '{bundle_type[:32]}' are not taken{why}; these are: {', '.join(ACCEPTED_TYPES)}."
        raise InvalidContent(words, (Issue("error", "not-supported", words, "Bundle.type"),))
    return bundle_type


def _items(bundle: dict[str, Any]) -> list[Any]:
    items = bundle.get("entry", [])
    if not isinstance(items, list):
        issue = Issue("error", "structure", "A list (JSON array) was expected.", "Bundle.entry")
        raise InvalidContent(issue.text, (issue,))
    if not items or len(items) > MAX_ENTRIES:
        words = (
            "The bundle has no entries." if not items else f"The bundle has more than {MAX_ENTRIES} entries."
        )
        raise InvalidContent(words, (Issue("error", "invalid", words, "Bundle.entry"),))
    return items


def _resources(items: list[Any]) -> list[tuple[int, dict[str, Any]]]:
    return [
        (index, item["resource"])
        for index, item in enumerate(items)
        if isinstance(item, dict) and isinstance(item.get("resource"), dict)
    ]


def _shell_faults(bundle: dict[str, Any], bundle_type: str, release: Release) -> list[Issue]:
    """Faults of the bundle itself. Whether its entries ask for something is looked at with each entry."""
    shell, left_out = without_empty({key: value for key, value in bundle.items() if key != "entry"}, "Bundle")
    found = [*left_out, *faults(shell, "Bundle", release), *bundle_rules.rules(bundle)]
    return _as_warnings(found) if bundle_type in _LENIENT else found


def _entry(index: int, item: Any, bundle_type: str, types: Mapping[str, str], release: Release) -> Entry:
    path = f"Bundle.entry[{index}]"
    if not isinstance(item, dict):
        return Entry(
            index, "", None, issues=(Issue("error", "structure", "A JSON object was expected.", path),)
        )
    item, left_out = without_empty(item, path)
    full_url = item.get("fullUrl") if isinstance(item.get("fullUrl"), str) else ""
    given = item.get("request")
    request: dict[str, Any] = given if isinstance(given, dict) else {}
    if bundle_type in _LENIENT:
        request = {}  # only a transaction or a batch asks for anything (bdl-3)
    method, url = str(request.get("method", "")), str(request.get("url", ""))
    condition, if_match = str(request.get("ifNoneExist", "")), str(request.get("ifMatch", ""))
    resource = item.get("resource")
    if not isinstance(resource, dict):
        resource = None
    issues = [*left_out, *_request_faults(bundle_type, method, url, condition, resource, path)]
    issues += _conditions_not_looked_at(request, method, path)
    if resource is None and (bundle_type in _LENIENT or method in ("POST", "PUT")):
        issues.append(Issue("error", "required", "The entry holds no resource.", f"{path}.resource"))
    if resource is not None:
        issues += map(_as_it_hinders, faults(resource, f"{path}.resource", release, types))
    unknown = any(i.code == "structure" and i.expression == f"{path}.resource" for i in issues)
    refused = unknown or (bundle_type == "batch" and any(i.severity == "error" for i in issues))
    if bundle_type in _LENIENT and not refused:
        issues = _as_warnings(issues)
    sent_type = str((resource or {}).get("resourceType", ""))
    if resource is not None and not refused:
        resource, notes = in_r4(resource, release, f"{path}.resource")
        issues += notes
        url = url_in_r4(url, release)
    told = tuple(replace(issue, full_url=full_url or "") for issue in issues)
    return Entry(index, full_url or "", resource, method, url, condition, if_match, told, refused, sent_type)


def _as_it_hinders(issue: Issue) -> Issue:
    """A broken invariant is told, and keeps nobody from using the resource: what is refused is what cannot be read."""
    return replace(issue, severity="warning") if issue.code == "invariant" else issue


def _as_warnings(issues: list[Issue]) -> list[Issue]:
    return [replace(issue, severity="warning") for issue in issues]


def _request_faults(
    bundle_type: str, method: str, url: str, condition: str, resource: dict[str, Any] | None, path: str
) -> list[Issue]:
    """Bundle.entry.request of a transaction or batch (FHIR R4 3.1.0.11)."""
    if bundle_type in _LENIENT:
        return []
    where = f"{path}.request.url"
    if method == "PATCH" and supersedes(resource, url):
        return []
    if method not in ("POST", "PUT"):
        known = _NOT_OFFERED.get(method, "")
        words = f"The method {method[:8] or '(none)'} is not supported; POST and PUT are.{known}"
        return [Issue("error", "not-supported" if method else "required", words, f"{path}.request.method")]
    type_name = str((resource or {}).get("resourceType", ""))
    if method == "PUT" and "?" in url:
        words = "Conditional updates are not supported: name the resource by its id, or create it with ifNoneExist."
        return [Issue("error", "not-supported", words, where)]
    if resource is not None and not _fits(method, url, type_name):
        expected = type_name if method == "POST" else f"{type_name}/[id]"
        return [Issue("error", "value", f"The url does not fit the resource; expected {expected}.", where)]
    if method == "PUT" and resource is not None and resource.get("id") != url.split("/")[1]:
        return [Issue("error", "value", "The resource's id differs from the url's.", f"{path}.resource.id")]
    if type_name == "Subscription":
        words = "A Subscription is created by itself, by POST to [base]/Subscription."
        return [Issue("error", "not-supported", words, where)]
    if condition and conditional_identity(condition, type_name) is None:
        words = "Only identifier=system|value is supported as a condition."
        return [Issue("error", "not-supported", words, f"{path}.request.ifNoneExist")]
    return []


def _conditions_not_looked_at(request: dict[str, Any], method: str, path: str) -> Iterator[Issue]:
    """What is to be done on a condition only is not done without it (FHIR R4 2.36.1)."""
    kept = {"POST": "ifNoneExist", "PUT": "ifMatch", "PATCH": "ifMatch"}.get(method)
    for name in ("ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist"):
        if kept and name != kept and request.get(name):
            words = f"The condition {name} is not supported for {method}; {kept} is."
            yield Issue("error", "not-supported", words, f"{path}.request.{name}")


_NOT_OFFERED = {
    "GET": " What is to be read or searched is asked for by itself, outside a bundle.",
    "HEAD": " What is to be read or searched is asked for by itself, outside a bundle.",
    "DELETE": " Nothing that was sent is taken away: send the resource again with the status entered-in-error.",
    "PATCH": " Send the whole resource by PUT; one status alone may be patched, a DocumentReference's to superseded.",
}


def _fits(method: str, url: str, type_name: str) -> bool:
    if method == "POST":
        return url == type_name
    return bool(RELATIVE.match(url)) and url.split("/")[0] == type_name


def supersedes(patch: dict[str, Any] | None, url: str) -> bool:
    """Whether a PATCH by FHIRPath Parameters says that a document is superseded (IHE.MHD.Patch.Parameters)."""
    if not patch or patch.get("resourceType") != "Parameters" or not RELATIVE.match(url):
        return False
    operations = [
        objects(p.get("part")) for p in objects(patch.get("parameter")) if p.get("name") == "operation"
    ]
    told = [{text(p.get("name")): p for p in parts} for parts in operations]
    return url.startswith("DocumentReference/") and [_operation(parts) for parts in told] == [
        ("replace", "DocumentReference.status", "superseded")
    ]


def _operation(parts: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    named = (("type", "valueCode"), ("path", "valueString"), ("value", "valueCode"))
    return tuple(text(parts.get(name, {}).get(element)) for name, element in named)
