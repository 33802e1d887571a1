"""Real FHIR files, damaged: each door takes them or says in words why not, and never fails on them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.support.bundles import FhirClient
from tests.support.fhir_mutations import SoundFiles, damaged
from tests.support.gateway_process import GatewayProcess
from tests.support.mutations import few
from tests.support.partner import Partner

INNARDS = ("Traceback", 'File "', "Error:", "sqlalchemy", "pydantic", "site-packages")


@pytest.fixture(scope="module")
def files(shared_data: Path | None) -> SoundFiles:
    found = SoundFiles(shared_data)
    assert len(found.all) > 5
    return found


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess, other_partner: Partner) -> Iterator[FhirClient]:
    yield FhirClient(gateway, other_partner)
    assert gateway.readiness()[0] == 200
    assert "fhir request failed" not in gateway.log_text


@few(80)
@given(chosen=st.data(), door=st.sampled_from(["", "/$check", "/[type]/$validate", "/[type]"]))
def test_a_damaged_file_is_taken_or_refused_in_words(
    ehr: FhirClient, files: SoundFiles, chosen: st.DataObject, door: str
) -> None:
    kind, body, media_type = damaged(chosen, files)
    answer = ehr.post(body, path=door.replace("[type]", kind), **{"Content-Type": media_type})
    is_answered(answer)


def is_answered(answer: requests.Response) -> None:
    assert answer.status_code in (200, 201, 400, 404, 412, 415, 422), answer.text[:2000]
    assert not [word for word in INNARDS if word in answer.text], answer.text[:2000]
    if answer.status_code >= 400:
        assert "OperationOutcome" in answer.text
