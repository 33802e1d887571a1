"""The report of a signed opinion: all that it says, and the FHIR DiagnosticReport that carries it."""

import base64
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from gateway.case.model import (
    Case,
    CaseFinding,
    ClinicalItem,
    Content,
    Demographics,
    Document,
    FindingState,
    ItemKind,
    Opinion,
    Person,
    Question,
    Series,
    Severity,
    Study,
)
from mappings.fhir_datatypes import (
    CHECK_SYSTEM,
    FINDING_SYSTEM,
    URI_SYSTEM,
    USER_SYSTEM,
    Element,
    coding_of,
    instant,
    patient_reference,
    present,
)
from mappings.own_profiles import claim
from mappings.plain_text import all_legible
from mappings.report_to_document import to_narrative, words

LOINC = "http://loinc.org"
LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class ReviewedSeries:
    """``instances`` counts SOP Instance UIDs, not conflicting copies of one."""

    modality: str
    description: str
    body_part: str
    instances: int


@dataclass(frozen=True, slots=True)
class ReviewedStudy:
    """``started`` is DICOM DA and TM as sent."""

    id: str
    study_instance_uid: str
    description: str
    started: str
    modalities: tuple[str, ...]
    series: tuple[ReviewedSeries, ...]

    @property
    def instances(self) -> int:
        return sum(series.instances for series in self.series)


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report says; frozen at the moment of signing. Every text is legible (see plain_text)."""

    programme_name: str
    case_id: str
    opinion_id: str
    opened_at: datetime
    signed_at: datetime
    author_id: str
    author_name: str
    patient: Demographics | None
    service_request: str
    partner_name: str
    organisation: str
    physicians: tuple[Person, ...]
    guardians: tuple[Person, ...]
    questions: tuple[Question, ...]
    items: tuple[tuple[ItemKind, tuple[ClinicalItem, ...]], ...]
    documents: tuple[Document, ...]
    unopened_documents: tuple[Document, ...]
    studies: tuple[ReviewedStudy, ...]
    held_studies: tuple[ReviewedStudy, ...]
    findings_text: str
    conclusion: str
    recommendations: str
    limitations: tuple[CaseFinding, ...]


def report_of(case: Case, opinion: Opinion, signed_at: datetime, programme_name: str) -> Report:
    """What the report of ``opinion`` says. Of a document that was replaced only the replacement is listed.

    A held study is declared by its date and kind alone: its headers may name another child.
    """
    record = case.record
    current = [document for document in record.documents if not document.superseded]
    return all_legible(
        Report(
            programme_name=programme_name,
            case_id=case.id,
            opinion_id=opinion.id,
            opened_at=case.opened_at,
            signed_at=signed_at,
            author_id=opinion.author_id,
            author_name=opinion.author_name,
            patient=record.patient,
            service_request=case.service_request,
            partner_name=case.partner_name,
            organisation=record.organisation,
            physicians=record.physicians,
            guardians=record.guardians,
            questions=record.questions,
            items=tuple(_by_kind(record.items)),
            documents=tuple(d for d in current if d.content is Content.PRESENT),
            unopened_documents=tuple(d for d in current if d.content is not Content.PRESENT),
            studies=tuple(_reviewed(study) for study in case.studies),
            held_studies=tuple(_reviewed(held.study) for held in case.held_studies),
            findings_text=opinion.findings_text,
            conclusion=opinion.conclusion,
            recommendations=opinion.recommendations,
            limitations=case.unresolved_findings,
        )
    )


def _by_kind(items: tuple[ClinicalItem, ...]) -> Iterator[tuple[ItemKind, tuple[ClinicalItem, ...]]]:
    for kind in ItemKind:
        of_kind = tuple(item for item in items if item.kind is kind)
        if of_kind:
            yield kind, of_kind


def _reviewed(study: Study) -> ReviewedStudy:
    return ReviewedStudy(
        id=study.id,
        study_instance_uid=study.study_instance_uid,
        description=study.description,
        started=study.started,
        modalities=study.modalities,
        series=tuple(_reviewed_series(series) for series in study.series),
    )


def _reviewed_series(series: Series) -> ReviewedSeries:
    uids = {instance.sop_instance_uid for instance in series.instances}
    return ReviewedSeries(series.modality, series.description, series.body_part, len(uids))


def to_diagnostic_report(report: Report, fhir_base: str, html: bytes, pdf: bytes) -> Element:
    """FHIR R4 (4.0.1) DiagnosticReport in status final; the same input gives the same resource.

    - code: LOINC 47040-1, whose component is "Confirmatory consultation note", is the one LOINC document
      code for a second opinion; the general 11488-4 Consult note stands beside it for receivers that
      only know that one.
    - category: HL7 v2 table 0074 OTH. An opinion on a whole record is no radiology, cardiology or
      pathology report, which are the categories that US Core names; the words say what it is.
    - presentedForm: text/html as IHE RAD-141 demands, and the PDF that says the same; size and hash
      (SHA-1, R4 Attachment) are of the raw bytes.
    - Limitations are contained DetectedIssues that implicate the report (``#``, allowed by dom-3), so
      they are machine-readable without an extension. They are not in ``result``: a receiver would
      file the absence of a document as an observation of the child.
    """
    studies = [
        {"reference": f"ImagingStudy/{study.id}", "type": "ImagingStudy"} | present(display=study.description)
        for study in report.studies
    ]
    return present(
        resourceType="DiagnosticReport",
        id=report.opinion_id,
        meta=claim("opinion-report") | {"lastUpdated": instant(report.signed_at)},
        language=LANGUAGE,
        text={"status": "additional", "div": to_narrative(report)},
        contained=[_specialist(report), _programme(report), *_detected_issues(report)],
        identifier=[
            {"system": URI_SYSTEM, "value": f"urn:uuid:{report.opinion_id}"},
            {"system": f"{fhir_base}/NamingSystem/case", "value": report.case_id},
        ],
        basedOn=[{"reference": report.service_request}] if report.service_request else None,
        status="final",
        category=[
            coding_of("http://terminology.hl7.org/CodeSystem/v2-0074", "OTH", "Other", "Second opinion")
        ],
        code={
            "coding": [
                {"system": LOINC, "code": "47040-1", "display": "Consultation 2nd opinion"},
                {"system": LOINC, "code": "11488-4", "display": "Consult note"},
            ],
            "text": words().report_title,
        },
        subject=patient_reference(report.patient),
        effectiveDateTime=instant(report.signed_at),
        issued=instant(report.signed_at),
        performer=[
            {"reference": "#programme", "type": "Organization", "display": report.programme_name},
            {"reference": "#specialist", "type": "Practitioner", "display": report.author_name},
        ],
        resultsInterpreter=[
            {"reference": "#specialist", "type": "Practitioner", "display": report.author_name}
        ],
        imagingStudy=studies,
        conclusion=report.conclusion,
        presentedForm=[
            _attachment(report, "text/html", html),
            _attachment(report, "application/pdf", pdf),
        ],
    )


def _specialist(report: Report) -> Element:
    return {
        "resourceType": "Practitioner",
        "id": "specialist",
        "identifier": [{"system": USER_SYSTEM, "value": report.author_id}],
        "name": [{"text": report.author_name}],
    }


def _programme(report: Report) -> Element:
    return {"resourceType": "Organization", "id": "programme", "name": report.programme_name}


_SEVERITY = {Severity.BLOCKS: "high", Severity.LIMITS: "moderate", Severity.NOTE: "low"}


def _detected_issues(report: Report) -> Iterator[Element]:
    """DetectedIssue.mitigation is the waiver: who let the review go on, when, and why."""
    for number, limitation in zip(itertools.count(1), report.limitations):
        finding = limitation.finding
        yield present(
            resourceType="DetectedIssue",
            id=f"limitation-{number}",
            identifier=[{"system": FINDING_SYSTEM, "value": limitation.id}],
            status="final",
            code=coding_of(CHECK_SYSTEM, finding.check, text=finding.subject),
            severity=_SEVERITY[finding.severity],
            identifiedDateTime=instant(limitation.opened_at),
            implicated=[{"reference": "#"}],
            detail=finding.text or finding.subject,
            mitigation=[_mitigation(limitation)] if limitation.state is FindingState.WAIVED else None,
        )


def _mitigation(limitation: CaseFinding) -> Element:
    because = limitation.waived_because or "no reason recorded"
    return present(
        action={"text": f"Review continued in spite of this: {because}"},
        date=instant(limitation.closed_at) if limitation.closed_at else None,
        author=present(display=limitation.waived_by),
    )


def _attachment(report: Report, content_type: str, content: bytes) -> Element:
    return {
        "contentType": content_type,
        "language": LANGUAGE,
        "data": base64.b64encode(content).decode(),
        "size": len(content),
        "hash": base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode(),
        "title": f"{words().report_title} {report.case_id}",
        "creation": instant(report.signed_at),
    }
