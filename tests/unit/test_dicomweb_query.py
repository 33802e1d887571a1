"""A QIDO-RS query as it was asked: limits, and what is left unsaid because it changes nothing."""

import pytest

from gateway.dicomweb.query import MAX_RESULTS, read_query
from gateway.errors import InvalidContent
from mappings.dicom_attributes import LEVELS, Attribute, attributes


@pytest.mark.parametrize(("asked", "limit"), [("1", 1), ("0", 0), ("1000", 1000), ("999999999", 1000)])
def test_an_answer_never_has_more_than_a_thousand_matches(asked: str, limit: int) -> None:
    assert read_query("study", {}, [("limit", asked)]).limit == limit
    assert read_query("study", {}, []).limit == MAX_RESULTS == 1000


def test_charset_and_accept_are_no_attributes() -> None:
    query = read_query("study", {}, [("charset", "latin-1"), ("accept", "application/dicom+json")])
    assert (query.criteria, query.warnings) == ([], [])


def attribute_of(level: str, keyword: str) -> Attribute:
    return attributes()[level][keyword]


@pytest.mark.parametrize(
    ("level", "keyword", "is_offered"),
    [
        (level, keyword, bool(attribute.match))
        for level in LEVELS
        for keyword, attribute in attributes()[level].items()
    ],
)
def test_an_attribute_is_matched_exactly_if_the_table_says_so(
    level: str, keyword: str, is_offered: bool
) -> None:
    if attribute_of(level, keyword).match == "items":
        keyword += ".PatientID"
    value = "20260101" if keyword.endswith("Date") else "1015" if keyword.endswith("Time") else "1"
    if is_offered:
        assert len(read_query(level, {}, [(keyword, value)]).criteria) == 1
    else:
        with pytest.raises(InvalidContent, match="cannot be matched"):
            read_query(level, {}, [(keyword, value)])
