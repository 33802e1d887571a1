"""A signed report as a FHIR R4 transaction for the hospital's own server, after IHE RAD-141 (IMR 1.1.0).

The hospital's server gives its own ids, so references inside the bundle go by ``urn:uuid`` full URLs, which the
server replaces (R4 3.1.0.11.2); nothing else of the signed DiagnosticReport is changed. Every entry is a
conditional create by identifier: a second sending finds what the first one made.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mappings.fhir_datatypes import Element, present

SCOPES = (
    "system/DiagnosticReport.c",
    "system/ImagingStudy.c",
    "system/Patient.c",
    "system/ServiceRequest.c",
)
"""What the transaction does, and no more: SMART App Launch 2.2.0 judges a transaction by its entries."""
_ORDER_ELEMENTS = (
    "identifier",
    "status",
    "intent",
    "category",
    "priority",
    "code",
    "authoredOn",
    "reasonCode",
)
_PATIENT_ELEMENTS = (
    "identifier",
    "active",
    "name",
    "telecom",
    "gender",
    "birthDate",
    "deceasedBoolean",
    "deceasedDateTime",
    "address",
    "communication",
)
_PASSING_USES = frozenset({"temp", "old"})


def to_transaction(
    report: Element,
    patient: Element | None,
    service_request: Element | None,
    imaging_studies: Sequence[Element],
) -> Element:
    """``report`` is the signed DiagnosticReport, ``patient`` and ``service_request`` are as the hospital sent them.

    What has no identifier cannot be found again and is not sent: the report then refers to it by display only,
    because a bare id of the gateway could be another child's at the hospital.
    """
    sent: dict[str, Element] = {}
    subject = report.get("subject", {})
    if patient and _criterion(patient):
        sent[subject["reference"]] = _only(patient, _PATIENT_ELEMENTS)
    if service_request and _criterion(service_request):
        order = _only(service_request, _ORDER_ELEMENTS) | {"subject": subject}
        sent[report["basedOn"][0]["reference"]] = order
    for study in imaging_studies:
        sent[f"ImagingStudy/{study['id']}"] = {k: v for k, v in study.items() if k != "id"} | {
            "subject": subject
        }
    urls = {reference: _full_url(report, reference) for reference in sent}
    content = {k: v for k, v in report.items() if k not in ("id", "meta")}
    resources = {**sent, f"DiagnosticReport/{report['id']}": content}
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            _entry(_full_url(report, reference), _rewritten(resource, urls))
            for reference, resource in resources.items()
        ],
    }


def _full_url(report: Element, reference: str) -> str:
    """The same for the same report, so that a retry sends the same bytes."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{report['id']}/{reference}").urn


def _entry(full_url: str, resource: Element) -> Element:
    kind = resource["resourceType"]
    request = {"method": "POST", "url": kind, "ifNoneExist": f"identifier={_criterion(resource)}"}
    return {"fullUrl": full_url, "resource": resource, "request": request}


def _criterion(resource: Element) -> str:
    """A token search parameter (R4 3.1.1.4.10) for the best identifier: lasting, and with its system."""
    found = [i for i in resource.get("identifier") or () if isinstance(i, dict) and i.get("value")]
    found.sort(key=lambda i: (i.get("use") in _PASSING_USES, not i.get("system")))
    if not found:
        return ""
    return f"{_token(found[0].get('system', ''))}|{_token(found[0]['value'])}"


def _token(value: object) -> str:
    """Escaped for a search parameter's value, then for a URL."""
    escaped = str(value)
    for character in "\\$,|":
        escaped = escaped.replace(character, f"\\{character}")
    return quote(escaped, safe=":/.-_~")


def _only(resource: Element, elements: Sequence[str]) -> Element:
    """The elements that identify a resource and refer to nothing."""
    kept = {name: resource[name] for name in elements if name in resource}
    return present(resourceType=resource["resourceType"], **kept)


def _rewritten(value: Any, urls: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_rewritten(item, urls) for item in value]
    if not isinstance(value, dict):
        return value
    return dict(_rewritten_members(value, urls))


def _rewritten_members(element: Element, urls: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    reference = element.get("reference")
    for name, value in element.items():
        if name != "reference" or not isinstance(reference, str):
            yield name, _rewritten(value, urls)
        elif reference in urls:
            yield name, urls[reference]
        elif reference.startswith("#"):
            yield name, reference
    elsewhere = isinstance(reference, str) and reference not in urls and not reference.startswith("#")
    if elsewhere and not element.get("display") and not element.get("identifier"):
        yield "display", "Known to the second-opinion gateway"
