"""Does the report that the hospital fetched hold what it promises?"""

import base64
import hashlib
from io import BytesIO
from typing import Any

from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from pydantic import ValidationError
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from gateway.demo.timeline import StepFailed, require

Resource = dict[str, Any]


def check_report(report: Resource, service_request: str, patient: str, conclusion: str) -> None:
    """FHIR R4 DiagnosticReport: final, of this request and child, with the words that were signed."""
    _validate(DiagnosticReport, report)
    require(report["status"] == "final", f"the report is {report['status']}")
    require(report["basedOn"] == [{"reference": service_request}], "the report is of another request")
    require(report["subject"]["reference"] == patient, "the report is about another patient")
    require(report["conclusion"] == conclusion, "the conclusion is not what was signed")
    require(len(report["imagingStudy"]) == 2, "the report does not name the two studies that were reviewed")
    require(report.get("issued") and report.get("performer"), "the report does not tell when and by whom")


def check_push(bundle: Resource, report: Resource) -> None:
    """What was pushed is a transaction with the same report, form for form."""
    _validate(Bundle, bundle)
    require(bundle["type"] == "transaction", f"a bundle of type {bundle['type']} was pushed")
    pushed = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "DiagnosticReport"]
    require(len(pushed) == 1, f"{len(pushed)} reports were pushed")
    for element in ("status", "issued", "conclusion", "presentedForm"):
        require(pushed[0][element] == report[element], f"the pushed report differs in {element}")


def forms(report: Resource) -> dict[str, bytes]:
    """presentedForm by media type, each with true size and SHA-1 hash (R4 Attachment)."""
    found = {}
    for attachment in report["presentedForm"]:
        content = base64.b64decode(attachment["data"])
        digest = hashlib.sha1(content, usedforsecurity=False).digest()
        kind = attachment["contentType"]
        require(attachment["size"] == len(content), f"the {kind} form is not as long as it says")
        require(base64.b64decode(attachment["hash"]) == digest, f"the {kind} form has another hash")
        found[kind] = content
    require({"text/html", "application/pdf"} <= set(found), "the report lacks its HTML or its PDF form")
    return found


def pdf_text(content: bytes) -> str:
    """The words of a PDF, each line and page break as one space; raises StepFailed when it does not open."""
    try:
        pages = PdfReader(BytesIO(content), strict=True).pages
        return " ".join(" ".join(page.extract_text() for page in pages).split())
    except PyPdfError as error:
        raise StepFailed(f"the PDF does not open: {error}") from error


def _validate(model: type[Bundle] | type[DiagnosticReport], resource: Resource) -> None:
    try:
        model.model_validate(resource)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()[:3])
        raise StepFailed(f"fhir.resources does not accept the {model.__name__}: {faults}") from error
