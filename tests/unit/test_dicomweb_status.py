"""Every error has its HTTP status and FailureReason; a store response tells what became of each part."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway import errors
from gateway.dicomweb import status
from gateway.dicomweb.store_response import Failed, StoreOutcome
from gateway.errors import GatewayError, NotDicom, StoreUnavailable, StudyMismatch, TooLarge
from gateway.workflow.receive import InstanceReceipt

BASE = "http://gateway.test/dicom-web"


def every_error(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from every_error(child)


def receipt(state: str = "new", uid: str = "1.2.3", study: str = "1.2.1") -> InstanceReceipt:
    return InstanceReceipt("1.2.9", uid, study, "1.2.2", state)


def failed(error: GatewayError, sop_instance_uid: str = "") -> Failed:
    return Failed(2, "1.2.9" if sop_instance_uid else "", sop_instance_uid, error)


def test_every_error_has_its_own_row():
    named = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)
    ]
    assert set(status.STATUS) == set(named)


@pytest.mark.parametrize("kind", list(every_error()))
def test_every_error_is_an_http_error_and_a_failure(kind):
    found = status.status_of(kind())
    assert 400 <= found.http < 600
    in_table = found.failure_reason in (0x0110, 0x0122) or found.failure_reason >> 8 in (0xA7, 0xA9)
    assert in_table or found.failure_reason >> 12 == 0xC


@pytest.mark.parametrize(
    ("outcome", "http"),
    [
        (StoreOutcome([receipt()]), 200),
        (StoreOutcome([receipt("same")]), 200),
        (StoreOutcome([receipt("conflict")]), 202),
        (StoreOutcome([receipt()], [failed(NotDicom("x"))]), 202),
        (StoreOutcome([], [failed(NotDicom("x"))]), 409),
        (StoreOutcome([], [failed(StoreUnavailable("x"))]), 503),
        (StoreOutcome([], [failed(StoreUnavailable("x")), failed(NotDicom("x"))]), 409),
        (StoreOutcome([receipt()], broken_by=TooLarge("x")), 413),
        (StoreOutcome(broken_by=errors.InvalidContent("x")), 400),
    ],
)
def test_the_http_status_says_whether_all_was_stored(outcome, http):
    assert outcome.http_status == http


def test_a_stored_instance_is_referenced_with_its_address():
    module = json.loads(StoreOutcome([receipt()]).body(BASE))
    (item,) = module["00081199"]["Value"]
    assert item["00081155"]["Value"] == ["1.2.3"]
    assert item["00081190"]["Value"] == [f"{BASE}/studies/1.2.1/series/1.2.2/instances/1.2.3"]
    assert module["00081190"]["Value"] == [f"{BASE}/studies/1.2.1"]
    assert "00081198" not in module


def test_a_failed_instance_has_its_uids_its_reason_and_words():
    outcome = StoreOutcome([], [failed(StudyMismatch("Another study."), "1.2.7")])
    (item,) = json.loads(outcome.body(BASE))["00081198"]["Value"]
    assert item["00081155"]["Value"] == ["1.2.7"]
    assert item["00081197"]["Value"] == [0xA900]
    assert item["0040A160"]["Value"] == ["Part 2: Another study."]


def test_a_part_that_is_no_dicom_is_among_the_failures_of_no_particular_instance():
    module = json.loads(StoreOutcome([], [failed(NotDicom("No DICOM."))]).body(BASE))
    (item,) = module["0008119A"]["Value"]
    assert item == {
        "00081197": {"vr": "US", "Value": [0xC000]},
        "0040A160": {"vr": "UT", "Value": ["Part 2: No DICOM."]},
    }
    assert "00081198" not in module


def test_a_damaged_file_is_stored_with_a_warning():
    damaged = replace(receipt(), fault="It ends early.")
    outcome = StoreOutcome([damaged, replace(receipt("conflict"), fault="It ends early.")])
    first, second = json.loads(outcome.body(BASE))["00081199"]["Value"]
    assert outcome.http_status == 202
    assert first["00081196"]["Value"] == [0xB007]
    assert first["0040A160"]["Value"] == ["It is stored, and it is damaged. It ends early."]
    assert second["00081196"]["Value"] == [0xB00E]
    assert second["0040A160"]["Value"][0].endswith("It ends early.")


def test_what_breaks_a_rule_and_harms_nobody_is_stored_with_a_warning_and_is_no_damage():
    outcome = StoreOutcome(
        [replace(receipt(), remark="No preamble."), replace(receipt(), fault="Cut.", remark="No.")]
    )
    first, second = json.loads(outcome.body(BASE))["00081199"]["Value"]
    assert outcome.http_status == 202
    assert first["00081196"]["Value"] == second["00081196"]["Value"] == [0xB007]
    assert first["0040A160"]["Value"] == ["It is stored. No preamble."]
    assert second["0040A160"]["Value"] == ["It is stored, and it is damaged. Cut. No."]


def test_other_content_under_a_known_uid_is_stored_with_a_warning():
    (item,) = json.loads(StoreOutcome([receipt("conflict")]).body(BASE))["00081199"]["Value"]
    assert item["00081196"]["Value"] == [0xB00E]


def test_instances_of_several_studies_have_no_common_address():
    module = json.loads(StoreOutcome([receipt(), receipt(study="1.2.8")]).body(BASE))
    assert module["00081190"] == {"vr": "UR"}


def test_warnings_are_ascii_quoted_and_few():
    failures = [failed(NotDicom(f'No "DICOM" ü\n{number}')) for number in range(50)]
    headers = StoreOutcome([], failures).headers()
    assert len(headers) == 21
    for name, value in headers:
        assert name == "Warning"
        assert re.fullmatch(r'299 [a-z-]+ "(?:[ !#-\[\]-~]|\\["\\])*"', value)
    assert "30 more warnings" in headers[-1][1]
