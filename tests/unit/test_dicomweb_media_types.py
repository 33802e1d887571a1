"""Accept and Content-Type as DICOMweb clients write them."""

import pytest

from gateway.dicomweb import media_types
from gateway.errors import NotAcceptable


@pytest.mark.parametrize(
    "header",
    [
        'multipart/related; type="application/dicom"; boundary="a b"',
        'Multipart/Related;boundary="a b";TYPE=application/dicom',
        'multipart/related ; boundary="a b" ; type=application/dicom',
    ],
)
def test_a_content_type_is_read_quoted_or_not(header):
    found = media_types.parse(header)
    assert found.essence == "multipart/related"
    assert (found.parameter("type"), found.parameter("boundary")) == ("application/dicom", "a b")


def test_no_content_type_is_no_media_type():
    assert media_types.parse("").essence == ""


def test_ranges_are_sorted_by_quality_and_keep_their_order():
    header = (
        'application/json;q=0.5, multipart/related; type="application/dicom, x"; q=0.9, */*;q=0.1, a/b;q=0'
    )
    found = [one.essence for one in media_types.accepted(header)]
    assert found == ["multipart/related", "application/json", "*/*"]


def test_no_accept_header_accepts_everything():
    assert [one.essence for one in media_types.accepted("")] == ["*/*"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "*/*",
        "application/*",
        "application/json",
        "application/dicom+json",
        "text/html, application/dicom+json;q=0.1",
    ],
)
def test_json_is_given_to_who_takes_it(header):
    media_types.require_json(header)


@pytest.mark.parametrize("header", ["application/dicom+xml", "text/html", "application/dicom+json;q=0"])
def test_json_is_not_given_to_who_does_not(header):
    with pytest.raises(NotAcceptable):
        media_types.require_json(header)
