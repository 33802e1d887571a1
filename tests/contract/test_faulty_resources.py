"""Whatever JSON stands in a resource: it is read, its faults are told, and nothing raises."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.case.model import Source
from gateway.errors import GatewayError
from gateway.fhir.bundle import read_submission
from gateway.fhir.json_format import MAX_DIGITS, read_json
from gateway.fhir.validation import faults
from gateway.store.resources import dumps
from gateway.workflow.references import referenced, resolve, targets, wanted_outside
from gateway.workflow.submission import Entry
from mappings.clinical_items import ITEM_KINDS, to_item
from mappings.fhir_bag import Sourced
from mappings.fhir_elements import copied
from mappings.fhir_to_case import to_record
from tests.support.any_value import faulty, places, put, real_resources

OWN = real_resources(None)
MANY = settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip


def check(resource: dict[str, Any]) -> None:
    entry = Entry(0, "urn:uuid:1", resource)
    source = Source("r", "0" * 64, "Bundle.entry[0].resource", reference=f"{entry.type}/1")
    faults(resource, "R")
    names = targets({0: f"{entry.type}/1"}, (entry,))
    copy = copied(resource)
    found = referenced(copy, "R")
    wanted_outside(found, names, "https://gateway.example/fhir")
    resolve(copy, found, names, {}, "https://gateway.example/fhir")
    others = [
        Sourced(r, Source("r", "0" * 64, "x", reference=f"{r['resourceType']}/{i}"))
        for i, r in enumerate(OWN)
        if r["resourceType"] != entry.type
    ]
    to_record([Sourced(resource, source), *others], (), "urn:hospital", source.reference or "")
    to_record([Sourced(resource, source)], others, "urn:hospital", "")
    if entry.type in ITEM_KINDS:
        to_item(resource, source, lambda _: None)


WRONG_TYPES: tuple[Any, ...] = (5, "x", [[{}]], {"a": [5]}, True)


def test_a_wrong_type_at_each_place_of_the_examples_is_read() -> None:
    seen = set()
    for resource in OWN:
        for place in places(resource):
            kind = (resource["resourceType"], *(key for key in place if isinstance(key, str)))
            if kind not in seen:
                seen.add(kind)
                for value in WRONG_TYPES:
                    check(put(resource, place, value))
    assert len(seen) > 500


@MANY
@given(resource=faulty(OWN))
def test_a_resource_of_the_examples_with_any_value_anywhere_is_read(resource: dict[str, Any]) -> None:
    check(resource)


def test_a_real_resource_with_any_value_anywhere_is_read(shared_data) -> None:
    @MANY
    @given(resource=faulty(real_resources(shared_data)))
    def read(resource: dict[str, Any]) -> None:
        check(resource)

    read()


@MANY
@given(
    resource=faulty(OWN),
    bundle_type=st.sampled_from(["transaction", "batch", "collection", "document"]),
    request_=st.sampled_from([None, {"method": "PUT", "url": "x"}, {"method": "PUT"}, {"method": 5}, [5]]),
)
def test_a_bundle_of_it_is_taken_or_refused_in_words(
    resource: dict[str, Any], bundle_type: str, request_: Any
) -> None:
    entry = {"fullUrl": "urn:uuid:1", "resource": resource, "request": request_}
    body = dumps({"resourceType": "Bundle", "type": bundle_type, "entry": [entry]}).encode()
    with suppress(GatewayError):
        assert read_submission(read_json(body)).entries


@pytest.mark.parametrize(
    "number",
    [
        "1" * 5000,
        "-" + "1" * 5000,
        "1." + "1" * 5000,
        "1e999999",
        "0e99999999999999999999",
        "1e-99999999999999",
    ],
)
def test_a_number_of_thousands_of_digits_is_refused_in_words(number: str) -> None:
    with pytest.raises(GatewayError, match=f"{MAX_DIGITS} digits|exponent"):
        read_json(f'{{"resourceType": "Bundle", "total": {number}}}'.encode())
