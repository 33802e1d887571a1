"""Files that are damaged in any way and were stored all the same: whatever is asked of them, no answer is a 5xx."""

import random
from pathlib import Path

import pytest

from tests.support.dicom_files import real_files
from tests.support.dicomweb import Pacs, items
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

ASKED = (
    ("", "application/dicom"),
    ("", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90"),
    ("", "application/zip"),
    ("/metadata", "application/dicom+json"),
    ("/metadata", 'multipart/related; type="application/dicom+xml"'),
    ("/rendered", "image/png"),
    ("/rendered", "text/html"),
    ("/rendered", "application/pdf"),
    ("/rendered?viewport=50,50&window=40,400", "image/jpeg"),
    ("/thumbnail", ""),
    ("/frames/1", ""),
    ("/frames/1", 'multipart/related; type="application/octet-stream"; transfer-syntax=*'),
    ("/frames/1", "image/jls"),
    ("/bulkdata", ""),
    ("/bulkdata/7FE00010", "application/octet-stream"),
    ("/pixeldata", ""),
)


@pytest.fixture
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


def damaged(path: Path, chance: random.Random) -> bytes:
    """Bits turned, bytes written over, or the end cut off; behind the file meta information."""
    content = bytearray(path.read_bytes())
    kind = chance.choice(("bits", "bytes", "end"))
    if kind == "end":
        return bytes(content[: chance.randrange(400, len(content))])
    last = min(len(content), chance.choice((800, 5000, len(content))))
    for _ in range(chance.choice((1, 5, 50))):
        at = chance.randrange(132, last)
        content[at] = content[at] ^ 1 << chance.randrange(8) if kind == "bits" else chance.randrange(256)
    return bytes(content)


@pytest.mark.parametrize("seed", range(2))
def test_no_damage_is_an_error_of_the_server(pacs, seed):
    chance = random.Random(seed)
    files = [path for path in real_files() if 1000 < path.stat().st_size < 300_000]
    taken, failed = 0, []
    for path in chance.sample(files, 30):
        answer = pacs.post(damaged(path, chance), "application/dicom")
        assert answer.status_code in (200, 202, 409), path.name
        for item in items(answer, "00081199"):
            taken += 1
            address = item["00081190"]["Value"][0].removeprefix(pacs.url)
            for resource, accept in ASKED:
                status = pacs.get(address + resource, accept).status_code
                if status not in (200, 404, 406):
                    failed.append((path.name, resource, accept, status))
    assert failed == []
    assert taken > 5
