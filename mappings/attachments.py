"""FHIR R4 Attachment to bytes: where they are, and whether they are what the record says of them (2.24.0.9)."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import simplejson

from gateway.case.model import Content
from mappings.fhir_document import as_attachment
from mappings.fhir_elements import objects, text


@dataclass(frozen=True, slots=True)
class Found:
    """The attachment's bytes, or why there are none. ``problem`` is in plain words."""

    content: Content
    problem: str = ""
    bytes_: bytes = b""


def attachments_of(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """Attachments in order: DocumentReference.content, presentedForm, Media.content; a Composition as text."""
    match resource.get("resourceType"):
        case "DocumentReference":
            parts = [part.get("attachment") for part in objects(resource.get("content"))]
            return [part if isinstance(part, dict) else {} for part in parts]
        case "DiagnosticReport":
            return objects(resource.get("presentedForm"))
        case "Media":
            return objects(resource.get("content"))
        case "Composition":
            return [found] if (found := as_attachment(resource)) else []
        case _:
            return []


def as_document(bundle: dict[str, Any]) -> bytes:
    """A FHIR document that came as a Bundle inside a bundle, in FHIR JSON, digits as they were sent."""
    written: str = simplejson.dumps(bundle, use_decimal=True, ensure_ascii=False)
    return written.encode(errors="replace")


def open_attachment(attachment: dict[str, Any], binaries: Mapping[str, dict[str, Any]]) -> Found:
    """Decode inline data, or the Binary or document Bundle that ``url`` names among ``binaries`` (keys ``Type/id``)."""
    data = attachment.get("data")
    url = text(attachment.get("url"))
    if not data and url:
        binary = binaries.get(url)
        if binary is None:
            return Found(Content.ELSEWHERE, "Only an address was sent, and the bytes were not.")
        if binary.get("resourceType") == "Bundle":
            return Found(Content.PRESENT, bytes_=as_document(binary))
        data = binary.get("data")
    if not isinstance(data, str) or not data.strip():
        return Found(Content.EMPTY, "The document has no content.")
    try:
        decoded = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return Found(Content.UNDECODABLE, "The content is not valid base64.")
    if not decoded:
        return Found(Content.EMPTY, "The document has no content.")
    problem = _contradictions(attachment, decoded)
    return Found(Content.UNDECODABLE if problem else Content.PRESENT, problem, decoded)


def _contradictions(attachment: dict[str, Any], decoded: bytes) -> str:
    """What size and hash say, and what arrived; both, where both differ."""
    size, told = attachment.get("size"), text(attachment.get("hash"))
    found = []
    if isinstance(size, int) and not isinstance(size, bool) and size != len(decoded):
        found.append(f"The record says {size} bytes, and {len(decoded)} arrived.")
    digest = hashlib.sha1(decoded, usedforsecurity=False)
    if told and told not in _spellings(digest.digest()):
        if _SHA1_AS_WRITTEN.fullmatch(told):
            mine = base64.b64encode(digest.digest()).decode()
            found.append(f"The record says the SHA-1 hash {told}, and the bytes have {mine}.")
        else:
            found.append("What the record says as hash is no SHA-1 hash.")
    return " ".join(found)


_SHA1_AS_WRITTEN = re.compile("[A-Za-z0-9+/]{27}=|[0-9A-Fa-f]{40}|[A-Za-z0-9+/]{54}==")


def _spellings(digest: bytes) -> tuple[str, ...]:
    """Base64 as R4 says; hex; and the base64 of the hex digits, as the examples of IHE MHD 4.2 have it."""
    hexed = digest.hex()
    as_text = base64.b64encode(hexed.encode()).decode()
    return base64.b64encode(digest).decode(), hexed, hexed.upper(), as_text
