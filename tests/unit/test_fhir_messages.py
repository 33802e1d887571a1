"""The response message to a message."""

from typing import Any

import pytest

from gateway.fhir.messages import Sender, header_of, refused
from gateway.fhir.outcome import of_issues

SENDER = Sender("Programme", "https://gateway.example/fhir")


def message(**header: Any) -> dict[str, Any]:
    made = {"resourceType": "MessageHeader", "eventUri": "urn:x", "source": {"endpoint": "urn:y"}}
    return {
        "resourceType": "Bundle",
        "type": "message",
        "entry": [{"fullUrl": "urn:uuid:abc", "resource": made | header}],
    }


@pytest.mark.parametrize(
    ("status", "code"), [(503, "transient-error"), (500, "transient-error"), (400, "fatal-error")]
)
def test_what_may_succeed_later_is_a_transient_error(status: int, code: str) -> None:
    header = header_of(message(id="1"))
    assert header is not None
    answer = refused(header, SENDER, "p", of_issues([]), status)
    assert answer["entry"][0]["resource"]["response"]["code"] == code


def test_a_header_without_id_is_named_by_its_full_url() -> None:
    header = header_of(message())
    assert header is not None
    assert header.id == "abc"


@pytest.mark.parametrize(
    "content",
    [
        message(id="a id with spaces"),
        message(eventUri=5),
        message(resourceType="Patient"),
        {"resourceType": "Bundle", "type": "collection", "entry": []},
        {"type": "message", "entry": [5]},
        [],
        5,
    ],
)
def test_where_nothing_can_be_named_there_is_nothing_to_respond_to(content: Any) -> None:
    assert header_of(content) is None
