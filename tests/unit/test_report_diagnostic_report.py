"""The DiagnosticReport that carries the report back."""

import base64
import hashlib
import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from fhir.resources.R4B.diagnosticreport import DiagnosticReport

from gateway.case.model import Record
from mappings.opinion_to_report import report_of, to_diagnostic_report
from mappings.report_to_document import words
from tests.support.reviewed_case import (
    CT,
    OPEN_FINDING,
    OPINION,
    OPINION_ID,
    PROGRAMME,
    SIGNED_AT,
    WAIVED_FINDING,
    reviewed_case,
)

FHIR = "https://opinions.example.org/fhir"
PAGE, PRINT = "<!DOCTYPE html>…".encode(), b"%PDF-1.7 \xff\x00"
R5_ONLY = {"supportingInfo", "note", "composition", "study"}
XHTML = "{http://www.w3.org/1999/xhtml}"
NARRATIVE_TAGS = {f"{XHTML}{name}" for name in ("div", "h1", "h2", "p", "br", "ul", "li", "b")}


def resource_of(case=None, opinion=OPINION) -> dict:
    report = report_of(case or reviewed_case(), opinion, SIGNED_AT, PROGRAMME)
    resource = to_diagnostic_report(report, FHIR, PAGE, PRINT)
    DiagnosticReport.model_validate(resource)
    return json.loads(json.dumps(resource))


def test_it_is_final_and_tells_whose_answer_to_what_it_is():
    resource = resource_of()
    assert resource["id"] == OPINION_ID
    assert resource["status"] == "final"
    assert resource["issued"] == resource["effectiveDateTime"] == "2026-04-09T16:42:07.000Z"
    assert resource["basedOn"] == [{"reference": "ServiceRequest/s1"}]
    assert resource["subject"] == {
        "reference": "Patient/p1",
        "type": "Patient",
        "identifier": {"system": "https://hospital.example.org/mrn", "value": "70012345"},
        "display": "Layla Haddad",
    }
    assert resource["conclusion"] == OPINION.conclusion
    assert resource["imagingStudy"] == [
        {"reference": f"ImagingStudy/{CT.id}", "type": "ImagingStudy", "display": CT.description}
    ]
    assert not R5_ONLY & set(resource)


def test_the_code_is_loincs_second_opinion_beside_the_general_consult_note():
    codes = [(c["system"], c["code"]) for c in resource_of()["code"]["coding"]]
    assert codes == [("http://loinc.org", "47040-1"), ("http://loinc.org", "11488-4")]


def test_specialist_and_programme_are_contained_and_referred_to():
    resource = resource_of()
    contained = {item["id"]: item for item in resource["contained"]}
    assert contained["specialist"]["name"] == [{"text": "Prof. Ana Beltrán"}]
    assert contained["programme"]["name"] == PROGRAMME
    assert [p["reference"] for p in resource["performer"]] == ["#programme", "#specialist"]
    assert [p["reference"] for p in resource["resultsInterpreter"]] == ["#specialist"]


def test_page_and_print_are_attached_with_their_true_size_and_sha1():
    forms = resource_of()["presentedForm"]
    assert [form["contentType"] for form in forms] == ["text/html", "application/pdf"]
    for form, content in zip(forms, (PAGE, PRINT), strict=True):
        assert base64.b64decode(form["data"], validate=True) == content
        assert form["size"] == len(content)
        assert base64.b64decode(form["hash"]) == hashlib.sha1(content, usedforsecurity=False).digest()
        assert form["creation"] == "2026-04-09T16:42:07.000Z"


def test_each_limitation_is_a_contained_issue_about_this_report():
    issues = [item for item in resource_of()["contained"] if item["resourceType"] == "DetectedIssue"]
    assert [issue["identifier"][0]["value"] for issue in issues] == [OPEN_FINDING.id, WAIVED_FINDING.id]
    assert all(issue["implicated"] == [{"reference": "#"}] for issue in issues)
    assert [issue["severity"] for issue in issues] == ["moderate", "high"]
    assert issues[0]["detail"] == OPEN_FINDING.finding.text
    assert "mitigation" not in issues[0]
    assert issues[1]["mitigation"] == [
        {
            "action": {"text": "Review continued in spite of this: the specialist reads Arabic"},
            "date": "2026-04-07T09:00:00.000Z",
            "author": {"display": "Ines Morel"},
        }
    ]


def test_the_narrative_is_plain_xhtml_with_conclusion_limits_and_disclaimer():
    tree = ElementTree.fromstring(resource_of()["text"]["div"])
    assert {element.tag for element in tree.iter()} <= NARRATIVE_TAGS
    assert all(set(element.attrib) <= {"dir"} for element in tree.iter())
    text = " ".join("".join(tree.itertext()).split())
    assert OPINION.conclusion in text
    assert OPEN_FINDING.finding.text in text
    assert "MR, 1 March 2026" in text
    for paragraph in words().disclaimer_of(PROGRAMME):
        assert paragraph in text


def test_the_narrative_says_when_there_are_no_limits():
    resource = resource_of(reviewed_case(findings=(), held_studies=()))
    assert words().limitations.none in resource["text"]["div"]
    assert {item["resourceType"] for item in resource["contained"]} == {"Practitioner", "Organization"}


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script> & ]]>", "\x00\x0b\ud800 a", "كتلة", "肿瘤", "x\r\ny"]
)
def test_any_text_makes_a_well_formed_resource(text):
    resource = resource_of(opinion=replace(OPINION, conclusion=text, recommendations=text, author_name=text))
    ElementTree.fromstring(resource["text"]["div"])
    assert "<script" not in resource["text"]["div"]
    json.dumps(resource, ensure_ascii=False).encode()


def test_what_is_not_known_is_absent_and_no_element_is_empty():
    resource = resource_of(reviewed_case(record=Record(), service_request="", studies=(), findings=()))
    assert "basedOn" not in resource
    assert "imagingStudy" not in resource
    assert resource["subject"] == {"display": "Not stated by the sender"}
    assert list(empty_paths(resource)) == []


def empty_paths(value, path=""):
    if value in ("", None, [], {}):
        yield path
    for key, item in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from empty_paths(item, f"{path}.{key}")


def test_the_same_input_makes_the_same_resource():
    assert resource_of() == resource_of()
