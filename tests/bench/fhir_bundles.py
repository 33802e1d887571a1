"""What a bundle costs: beside fhir.resources' own parsing, again and again, with large attachments, and by its size."""

import base64
import gc
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from fhir.resources.R4B.bundle import Bundle

from gateway.fhir.bundle import read_submission
from gateway.fhir.json_format import read_json
from tests.bench.bundle import ENTRIES, referral, referral_of_a_megabyte
from tests.bench.figures import MIB, RUNS, Row, seconds
from tests.bench.memory import peak_of
from tests.bench.peers import GatewayPeer, running_gateway, settle
from tests.support import processes
from tests.support.bundles import FhirClient

IN_A_ROW = 100
FEW, MANY = 500, 5_000
ATTACHMENTS, ATTACHMENT_BYTES = 8, 50_000_000 * 3 // 4 // 8


def beside_parsing() -> Iterator[Row]:
    """To the answered transaction, by the time in which fhir.resources parses the same bytes, each after the other."""
    _as_a_server_does()
    ratios, without, parsed = [], [], []
    with _warm_gateway() as (gateway, client):
        for number in range(RUNS):
            content = referral_of_a_megabyte(number)
            alone = _seconds(lambda: Bundle.model_validate_json(content))  # noqa: B023 - called at once
            validated = _seconds(lambda: read_submission(read_json(content)))  # noqa: B023
            answered = _seconds(lambda: _send(client, content))  # noqa: B023
            parsed.append(alone)
            ratios.append(answered / alone)
            without.append((answered - validated) / alone)
            settle(gateway)
    told = f"1 MiB and {ENTRIES} entries to an answered transaction, by what fhir.resources needs to parse it"
    yield f"{told} ({seconds(parsed)})", "4 x", f"{median(ratios):.2f} x"
    yield f"{told}, without validation", "2 x", f"{median(without):.2f} x"


def in_a_row() -> Iterator[Row]:
    with _warm_gateway() as (gateway, client):
        before = _memory_bytes(gateway)
        for number in range(IN_A_ROW):
            _send(client, referral_of_a_megabyte(number))
        half = _memory_bytes(gateway)
        for number in range(IN_A_ROW, 2 * IN_A_ROW):
            _send(client, referral_of_a_megabyte(number))
        again = _memory_bytes(gateway)
    told = f"memory growth (PSS) of all processes over {IN_A_ROW} such bundles"
    yield told, "64 MiB", f"{(half - before) / MIB:.0f} MiB"
    yield f"{told}, the next {IN_A_ROW}", "16 MiB", f"{(again - half) / MIB:.0f} MiB"


def attachments() -> Iterator[Row]:
    content = _with_attachments()
    with _warm_gateway() as (gateway, client):
        before = _memory_bytes(gateway)
        with peak_of(lambda: processes.proportional_memory_bytes(gateway.pids())) as peak:
            _send(client, content)
    growth, size = max(peak) - before, len(content)
    told = (
        f"memory growth (PSS) while a bundle of {size / 1e6:.0f} MB with {ATTACHMENTS} attachments is taken"
    )
    yield f"{told}, by its size", "3 x", f"{growth / size:.2f} x"


def by_size() -> Iterator[Row]:
    """Seconds of validation for each entry, of MANY entries by FEW."""
    _as_a_server_does()
    few, many = json.loads(referral(0, FEW)), json.loads(referral(0, MANY))
    read_submission(few)
    ratios = []
    for _ in range(RUNS):
        small = _seconds(lambda: read_submission(few)) / FEW
        ratios.append(_seconds(lambda: read_submission(many)) / MANY / small)
    told = f"validation of an entry among {MANY:,}, by that of one among {FEW}"
    yield told, "1.3 x", f"{median(ratios):.2f} x"


def _as_a_server_does() -> None:
    """What is loaded is not looked through for garbage again and again, neither here nor in the gateway."""
    gc.collect()
    gc.freeze()


def _seconds(act: Any) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


@contextmanager
def _warm_gateway() -> Iterator[tuple[GatewayPeer, FhirClient]]:
    with running_gateway() as peer:
        client = FhirClient(peer.gateway, peer.partner)
        _send(client, referral_of_a_megabyte(1_000_000))
        yield peer, client


def _send(client: FhirClient, content: bytes) -> None:
    answer = client.post(content)
    assert answer.status_code == 200, answer.text[:1000]


def _memory_bytes(gateway: GatewayPeer) -> int:
    settle(gateway)
    return processes.proportional_memory_bytes(gateway.pids())


def _with_attachments() -> bytes:
    """A referral whose documents are Binaries of bytes that nothing makes smaller."""
    bundle = json.loads(referral(2_000_000, 10))
    subject = bundle["entry"][0]["fullUrl"]
    for number in range(ATTACHMENTS):
        binary = f"urn:uuid:00000000-0000-4000-8000-{number:012}"
        held = base64.b64encode(os.urandom(ATTACHMENT_BYTES)).decode()
        _add(bundle, binary, {"resourceType": "Binary", "contentType": "application/pdf", "data": held})
        attachment = {"contentType": "application/pdf", "url": binary, "size": ATTACHMENT_BYTES}
        document = {
            "resourceType": "DocumentReference",
            "status": "current",
            "subject": {"reference": subject},
            "content": [{"attachment": attachment}],
        }
        _add(bundle, f"urn:uuid:00000000-0000-4000-9000-{number:012}", document)
    return json.dumps(bundle).encode()


def _add(bundle: dict[str, Any], full_url: str, resource: dict[str, Any]) -> None:
    request = {"method": "POST", "url": resource["resourceType"]}
    bundle["entry"].append({"fullUrl": full_url, "resource": resource, "request": request})
