"""Every cause of failure has its HTTP status and its issue code at the FHIR door."""

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome

from gateway.errors import GatewayError, Issue
from gateway.fhir import outcome


def subclasses(of: type[GatewayError]) -> list[type[GatewayError]]:
    return [found for child in of.__subclasses__() for found in (child, *subclasses(child))]


@pytest.mark.parametrize("cause", subclasses(GatewayError))
def test_each_cause_is_in_the_table(cause: type[GatewayError]) -> None:
    status, code = outcome.status_of(cause("What is wrong."))
    assert 400 <= status < 600
    made = OperationOutcome.model_validate(outcome.of_error(cause("What is wrong.")))
    assert (made.issue[0].code, made.issue[0].details.text) == (code, "What is wrong.")


def test_all_issues_of_an_error_are_told_with_their_places() -> None:
    issues = (Issue("error", "required", "one", "Bundle.a"), Issue("error", "value", "two"))
    made = OperationOutcome.model_validate(outcome.of_error(GatewayError("both", issues)))
    assert [i.details.text for i in made.issue] == ["one", "two"]
    assert made.issue[0].expression == ["Bundle.a"]


def test_the_unexpected_tells_a_reference_and_nothing_else() -> None:
    made = OperationOutcome.model_validate(outcome.of_unknown("abc123"))
    assert "abc123" in made.issue[0].details.text
