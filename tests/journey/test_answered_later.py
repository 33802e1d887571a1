"""What was promised for later is done after a loss of every process, and what was cancelled before is not."""

import json
import os
import signal
from typing import Any
from uuid import uuid4

import requests

from tests.support.bundles import MRN, FhirClient, referral, wait_for
from tests.support.gateway_process import GatewayProcess

ASYNC = {"Prefer": "respond-async"}


def test_what_was_promised_outlives_every_process_and_what_was_cancelled_is_not_done() -> None:
    with GatewayProcess() as gateway:
        ehr = FhirClient(gateway, gateway.add_partner("hospital-a"))
        there = ehr.post(referral(uuid4().hex[:10]))
        os.kill(gateway.pids()["worker"], signal.SIGSTOP)
        child, cancelled = uuid4().hex[:10], uuid4().hex[:10]
        bundle = ehr.post(referral(child), **ASYNC).headers["Content-Location"]
        unwanted = ehr.post(referral(cancelled), **ASYNC).headers["Content-Location"]
        export = ehr.get("$export?_type=Patient", **ASYNC).headers["Content-Location"]
        assert requests.delete(unwanted, headers=ehr.partner.headers(), timeout=20).status_code == 202
        assert status(ehr, bundle).status_code == status(ehr, export).status_code == 202
        gateway.kill()
        gateway.start()
        [entry] = wait_for(lambda: told(ehr, bundle))["entry"]
        assert entry["response"]["status"] == "200 OK"
        assert entry["resource"]["type"] == "transaction-response"
        [file] = wait_for(lambda: told(ehr, export))["output"]
        lines = requests.get(file["url"], headers=ehr.partner.headers(), timeout=20).text.splitlines()
        ids = {json.loads(line)["id"] for line in lines}
        assert there.json()["entry"][0]["response"]["location"].split("/")[1] in ids
        assert status(ehr, unwanted).status_code == 404
        totals = [ehr.get(f"Patient?identifier={MRN}|{mrn}").json()["total"] for mrn in (child, cancelled)]
        assert totals == [1, 0]


def status(ehr: FhirClient, url: str) -> requests.Response:
    return requests.get(url, headers=ehr.partner.headers(), timeout=20)


def told(ehr: FhirClient, url: str) -> dict[str, Any]:
    """Empty until it is answered."""
    answer = status(ehr, url)
    return answer.json() if answer.status_code == 200 else {}
