"""IHE MHD Provide Document Bundles [ITI-65] as a Document Source makes them."""

import base64
import hashlib
from typing import Any
from uuid import uuid4

from tests.support.bundles import bundle, patient

IHE = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/"
LIST_TYPES = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"


def mhd_list(code: str, subject: str, items: list[str], **changes: Any) -> dict[str, Any]:
    """A SubmissionSet or a Folder with minimal metadata."""
    made: dict[str, Any] = {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "code": {"coding": [{"system": LIST_TYPES, "code": code}]},
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{uuid4()}"}],
        "date": "2026-11-20T10:00:00+01:00",
        "subject": {"reference": subject},
        "entry": [{"item": {"reference": item}} for item in items],
        "extension": [{"url": f"{IHE}ihe-sourceId", "valueIdentifier": {"value": "urn:oid:1.2.3.4"}}],
    }
    return made | changes


def reference_to(url: str, content: bytes | None, subject: str, **changes: Any) -> dict[str, Any]:
    """A DocumentReference of the Binary at ``url``, with the true size and hash of ``content``."""
    attachment: dict[str, Any] = {
        "url": url,
        "contentType": "text/plain",
        "title": "Letter",
        "language": "en",
    }
    if content is not None:
        attachment["size"] = len(content)
        attachment["hash"] = base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    made: dict[str, Any] = {
        "resourceType": "DocumentReference",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{uuid4()}"},
        "status": "current",
        "subject": {"reference": subject},
        "content": [{"attachment": attachment}],
    }
    return made | changes


def provide_bundle(mrn: str, *documents: tuple[bytes, dict[str, Any]], **resources: Any) -> dict[str, Any]:
    """Documents (content, changes of the DocumentReference) of one child, with minimal metadata.

    ``resources`` are further ones by name, made by ``call(urls of the documents, url of the patient)``.
    """
    child, submission = f"urn:uuid:{uuid4()}", f"urn:uuid:{uuid4()}"
    references = {f"urn:uuid:{uuid4()}": document for document in documents}
    made: dict[str, Any] = {
        submission: mhd_list("submissionset", child, list(references)),
        child: patient(mrn),
    }
    for url, (content, changes) in references.items():
        binary = f"urn:uuid:{uuid4()}"
        made[url] = reference_to(binary, content, child, **changes)
        encoded = base64.b64encode(content).decode()
        made[binary] = {"resourceType": "Binary", "contentType": "text/plain", "data": encoded}
    for make in resources.values():
        made[f"urn:uuid:{uuid4()}"] = make(list(references), child)
    return bundle("transaction", made) | {"meta": {"profile": [f"{IHE}IHE.MHD.Minimal.ProvideBundle"]}}


def of_type(sent: dict[str, Any], type_name: str) -> list[dict[str, Any]]:
    """The entries of a bundle that hold a resource of that type."""
    return [e for e in sent["entry"] if e["resource"]["resourceType"] == type_name]
