"""What has no value and is written all the same: told, and read as what is left out (FHIR R4 2.6.2)."""

from copy import deepcopy
from typing import Any

import pytest

from gateway.fhir.bundle import read_submission
from gateway.fhir.left_out import without_empty
from mappings.fhir_definitions import Release
from tests.support.bundles import referral

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("sent", "read", "places"),
    [
        ({"a": None, "b": 0, "c": False}, {"b": 0, "c": False}, ["R.a"]),
        ({"a": "", "b": [], "c": {}, "d": "x"}, {"d": "x"}, ["R.a", "R.b", "R.c"]),
        ({"a": {"b": {"c": None}}, "d": "x"}, {"d": "x"}, ["R.a.b.c"]),
        ({"a": [{"b": "x"}, {"b": None}, None]}, {"a": [{"b": "x"}]}, ["R.a[1].b", "R.a[2]"]),
        ({"a": [{}, {"b": "x"}]}, {"a": [{}, {"b": "x"}]}, []),
        ({"a": ["x", None], "_a": [None, {"id": "1"}]}, {"a": ["x", None], "_a": [None, {"id": "1"}]}, []),
        ({"a": ["x", "y"], "_a": [{"id": "1"}, None]}, {"a": ["x", "y"], "_a": [{"id": "1"}, None]}, []),
    ],
)
def test_members_without_value_are_left_out_and_told(sent: Json, read: Json, places: list[str]) -> None:
    before = deepcopy(sent)
    found, told = without_empty(sent, "R")
    assert found == read
    assert sent == before
    assert [(issue.severity, issue.expression) for issue in told] == [("warning", place) for place in places]


def test_what_is_nested_without_end_is_left_to_validation() -> None:
    deep: Json = {"a": None}
    for _ in range(3000):
        deep = {"a": deep}
    assert without_empty(deep, "R") == (deep, [])


def test_a_transaction_with_null_and_empty_lists_is_taken_and_each_place_is_told() -> None:
    sent = referral() | {"link": [], "meta": None}
    entry = sent["entry"][0]
    entry["resource"] |= {"photo": [], "maritalStatus": None, "contact": [{"name": {"given": []}}]}
    entry["request"] |= {"ifNoneExist": None, "ifMatch": ""}
    submission = read_submission(sent, Release.R4)
    assert submission.faults == ()
    kept = submission.entries[0]
    assert kept.resource is not None
    assert not {"photo", "maritalStatus", "contact"} & kept.resource.keys()
    assert (kept.if_none_exist, kept.if_match) == ("", "")
    assert {issue.expression for issue in kept.issues} == {
        "Bundle.link",
        "Bundle.meta",
        "Bundle.entry[0].resource.photo",
        "Bundle.entry[0].resource.maritalStatus",
        "Bundle.entry[0].resource.contact[0].name.given",
        "Bundle.entry[0].request.ifNoneExist",
        "Bundle.entry[0].request.ifMatch",
    }
    assert {issue.severity for issue in kept.issues} == {"warning"}


def test_a_required_element_that_is_null_is_missing() -> None:
    sent = referral()
    sent["entry"][2]["resource"]["status"] = None
    [fault] = read_submission(sent, Release.R4).faults
    assert (fault.code, fault.expression) == ("required", "Bundle.entry[2].resource.status")
