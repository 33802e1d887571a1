"""FHIR R4 bundles that a hospital sends: small, complete, each of another child unless told otherwise."""

import base64
import copy
import hashlib
import io
import json
import time
from typing import Any
from uuid import uuid4

import requests
from pypdf import PdfWriter

from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

MRN = "https://hospital-a.example/mrn"
FHIR_JSON = "application/fhir+json"


def _blank_pdf() -> bytes:
    made, file = PdfWriter(), io.BytesIO()
    made.add_blank_page(200, 200)
    made.write(file)
    return file.getvalue()


PDF = _blank_pdf()


def attachment(content: bytes | None, **changes: Any) -> dict[str, Any]:
    """A PDF attachment with true size and hash; None is an empty one."""
    made: dict[str, Any] = {"contentType": "application/pdf", "title": "Letter", "language": "en"}
    if content is not None:
        made["data"] = base64.b64encode(content).decode()
        made["size"] = len(content)
        made["hash"] = base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    return made | changes


def in_letters(mrn: str) -> str:
    """A second given name that no other number gives: digits are no part of a name when names are compared."""
    return mrn.translate(str.maketrans("0123456789", "ghijklmnop")).capitalize()


def patient(mrn: str, **changes: Any) -> dict[str, Any]:
    made = {
        "resourceType": "Patient",
        "identifier": [{"system": MRN, "value": mrn}],
        "name": [{"family": "Okafor", "given": ["Amara", in_letters(mrn)]}],
        "gender": "female",
        "birthDate": "2018-03-09",
    }
    return made | changes


def referral(mrn: str | None = None, bundle_type: str = "transaction", **parts: Any) -> dict[str, Any]:
    """Patient, practitioner with e-mail, ServiceRequest with a question; ``parts`` add or replace resources by name.

    A part that is None is left out; references are by fullUrl.
    """
    mrn = mrn or uuid4().hex[:10]
    urls = {name: f"urn:uuid:{uuid4()}" for name in ("patient", "practitioner", "request", *parts)}
    made: dict[str, Any] = {
        "patient": patient(mrn),
        "practitioner": {
            "resourceType": "Practitioner",
            "identifier": [{"system": "https://hospital-a.example/staff", "value": "9"}],
            "name": [{"family": "Obi", "given": ["Adaeze"]}],
            "telecom": [{"system": "email", "value": "a.obi@hospital-a.example"}],
        },
        "request": {
            "resourceType": "ServiceRequest",
            "identifier": [{"system": "https://hospital-a.example/order", "value": f"order-{mrn}"}],
            "status": "active",
            "intent": "order",
            "code": {"text": "Second opinion"},
            "subject": {"reference": urls["patient"]},
            "requester": {"reference": urls["practitioner"]},
            "note": [{"text": "Is surgery possible?"}],
        },
    }
    for name, part in parts.items():
        made[name] = part(urls) if callable(part) else part
    return bundle(bundle_type, {urls[name]: r for name, r in made.items() if r is not None})


def bundle(bundle_type: str, resources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Resources by fullUrl; transactions and batches POST each."""
    entries = []
    for url, resource in resources.items():
        entry: dict[str, Any] = {"fullUrl": url, "resource": copy.deepcopy(resource)}
        if bundle_type in ("transaction", "batch"):
            entry["request"] = {"method": "POST", "url": resource["resourceType"]}
        entries.append(entry)
    return {"resourceType": "Bundle", "type": bundle_type, "entry": entries}


def document_reference(content: bytes | None, **changes: Any) -> Any:
    """A DocumentReference about the bundle's patient, for ``referral(document=...)``."""

    def make(urls: dict[str, str]) -> dict[str, Any]:
        return {
            "resourceType": "DocumentReference",
            "identifier": [{"system": "https://hospital-a.example/document", "value": uuid4().hex}],
            "status": "current",
            "type": {"text": "Discharge letter"},
            "subject": {"reference": urls["patient"]},
            "content": [{"attachment": attachment(content)}],
        } | changes

    return make


def imaging_study(uid: str, series: dict[str, int]) -> Any:
    """An ImagingStudy with counts by series UID, for ``referral(imaging=...)``."""

    def make(urls: dict[str, str]) -> dict[str, Any]:
        return {
            "resourceType": "ImagingStudy",
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
            "status": "available",
            "subject": {"reference": urls["patient"]},
            "description": "CT abdomen",
            "numberOfSeries": len(series),
            "numberOfInstances": sum(series.values()),
            "series": [
                {"uid": u, "modality": {"code": "CT"}, "numberOfInstances": count}
                for u, count in series.items()
            ],
        }

    return make


class FhirClient:
    """A hospital's EHR on the wire."""

    def __init__(self, gateway: GatewayProcess, partner: Partner) -> None:
        self.base = gateway.fhir_url
        self.partner = partner

    def post(self, body: dict[str, Any] | bytes | str, path: str = "", **headers: str) -> requests.Response:
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        all_headers = {"Content-Type": FHIR_JSON} | self.partner.headers() | headers
        return requests.post(f"{self.base}{path}", data=content, headers=all_headers, timeout=60)

    def get(self, path: str, **headers: str) -> requests.Response:
        all_headers = {"Accept": FHIR_JSON} | self.partner.headers() | headers
        return requests.get(f"{self.base}/{path}", headers=all_headers, timeout=60)

    def open_case(self, body: dict[str, Any]) -> str:
        """Post a bundle and return the id of its case, which is its coordination Task's."""
        answer = self.post(body)
        assert answer.status_code in (200, 201), answer.text
        return answer.headers["Location"].split("/")[-1]

    def task(self, case_id: str) -> dict[str, Any]:
        answer = self.get(f"Task/{case_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def issues(answer: requests.Response) -> list[tuple[str, str]]:
    """(FHIRPath, words) of each issue of an OperationOutcome."""
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome", outcome
    return [((issue.get("expression") or [""])[0], issue["details"]["text"]) for issue in outcome["issue"]]


def wait_for(condition: Any, seconds: float = 20.0) -> Any:
    """The first true value of ``condition()``."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
