"""FHIR R4 Attachment to bytes: where they are, and whether they are what the record says of them (2.24.0.9)."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.case.model import Content
from mappings.fhir_elements import objects, text


@dataclass(frozen=True, slots=True)
class Found:
    """The attachment's bytes, or why there are none. ``problem`` is in plain words."""

    content: Content
    problem: str = ""
    bytes_: bytes = b""


def attachments_of(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """Attachments in order: DocumentReference.content.attachment, presentedForm, Media.content, Binary itself."""
    match resource.get("resourceType"):
        case "DocumentReference":
            parts = [part.get("attachment") for part in objects(resource.get("content"))]
            return [part if isinstance(part, dict) else {} for part in parts]
        case "DiagnosticReport":
            return objects(resource.get("presentedForm"))
        case "Media":
            return objects(resource.get("content"))
        case _:
            return []


def open_attachment(attachment: dict[str, Any], binaries: Mapping[str, dict[str, Any]]) -> Found:
    """Decode inline data, or the Binary that ``url`` names among ``binaries`` (keys ``Binary/id``)."""
    data = attachment.get("data")
    url = text(attachment.get("url"))
    if not data and url:
        binary = binaries.get(url)
        if binary is None:
            return Found(Content.ELSEWHERE, "Only an address was sent, and the bytes were not.")
        data = binary.get("data")
    if not isinstance(data, str) or not data.strip():
        return Found(Content.EMPTY, "The document has no content.")
    try:
        decoded = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return Found(Content.UNDECODABLE, "The content is not valid base64.")
    if not decoded:
        return Found(Content.EMPTY, "The document has no content.")
    problem = _contradiction(attachment, decoded)
    return Found(Content.UNDECODABLE if problem else Content.PRESENT, problem, decoded)


def _contradiction(attachment: dict[str, Any], decoded: bytes) -> str:
    size, digest = attachment.get("size"), text(attachment.get("hash"))
    if isinstance(size, int) and not isinstance(size, bool) and size != len(decoded):
        return f"The record says {size} bytes, and {len(decoded)} arrived."
    if digest and digest not in _sha1(decoded):
        return "The bytes do not have the SHA-1 hash that the record says."
    return ""


def _sha1(decoded: bytes) -> tuple[str, str]:
    """Base64 as R4 says, and hex, which many senders write."""
    digest = hashlib.sha1(decoded, usedforsecurity=False)
    return base64.b64encode(digest.digest()).decode(), digest.hexdigest()
