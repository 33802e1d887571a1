"""What would take too long, or answer too much, is bounded; what real senders send is far below."""

from typing import Any

import pytest

from gateway.errors import Issue, UnsupportedMediaType
from gateway.fhir import outcome
from gateway.fhir.left_out import MAX_TOLD, without_empty
from gateway.fhir.validate import findings
from gateway.fhir.validation import MAX_FAULTS, MAX_PARTS, faults
from gateway.fhir.versions import require_utf8


def patient(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient"} | elements


def test_a_resource_of_too_many_parts_is_not_looked_at() -> None:
    [issue] = faults(patient(contact=[{}] * MAX_PARTS), "Patient")
    assert (issue.severity, issue.code) == ("error", "too-costly")


def test_of_many_faults_the_first_are_told_and_that_there_are_more() -> None:
    found = faults(patient(contact=[{"wrong": 1}] * (2 * MAX_FAULTS)), "Patient")
    assert len(found) == MAX_FAULTS + 1
    assert (found[-1].severity, found[-1].code) == ("error", "too-costly")
    assert not any(i.code == "too-costly" for i in faults(patient(contact=[{"wrong": 1}] * 99), "Patient"))


def test_a_bundle_of_too_many_entries_is_not_validated() -> None:
    [issue] = findings({"resourceType": "Bundle", "type": "collection", "entry": [{}] * 5_001})
    assert (issue.code, issue.expression) == ("too-costly", "Bundle.entry")


def test_of_many_empty_members_some_are_told() -> None:
    read, told = without_empty({f"k{i}": None for i in range(MAX_TOLD + 7)}, "R")
    assert (read, len(told)) == ({}, MAX_TOLD + 1)
    assert told[-1].text.startswith("7 more")


def test_an_answer_tells_the_gravest_of_too_many_issues() -> None:
    flood = [Issue("warning", "value", "x")] * outcome.MAX_ISSUES + [Issue("error", "value", "grave")]
    told = outcome.of_issues(flood)["issue"]
    assert told[0]["severity"] == "error"
    assert (len(told), told[-1]["details"]["text"]) == (
        outcome.MAX_ISSUES + 1,
        "1 more issues are not told here.",
    )


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "utf8", "US-ASCII"])
def test_utf_8_by_any_name_is_utf_8(charset: str) -> None:
    require_utf8({"charset": charset})
    require_utf8({})


def test_another_charset_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        require_utf8({"charset": "iso-8859-1"})


def test_base64_with_other_characters_is_none() -> None:
    [issue] = faults(patient(photo=[{"contentType": "image/png", "data": "%%% x"}]), "Patient")
    assert (issue.code, issue.expression) == ("value", "Patient.photo[0].data")
    assert faults(patient(photo=[{"contentType": "image/png", "data": "aGVs\r\n bG8="}]), "Patient") == []
