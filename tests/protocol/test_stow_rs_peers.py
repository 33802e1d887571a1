"""Real senders by STOW-RS: Orthanc's DICOMweb client, and curl. dicomweb-client is in test_stow_rs.py."""

import gzip
import json
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.support.dicom_files import encode, make_dataset, multipart, related
from tests.support.dicomweb import STORED, Pacs, instance_path
from tests.support.gateway_process import GatewayProcess
from tests.support.mutations import whole_files
from tests.support.orthanc import Orthanc
from tests.support.partner import Partner

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, about odd values


@pytest.fixture
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


@pytest.mark.parametrize("chunked", [True, False])
def test_orthanc_stores_a_study(pacs, orthanc: Orthanc, chunked: bool):
    study = generate_uid()
    datasets = [make_dataset(StudyInstanceUID=study, InstanceNumber=number) for number in range(1, 26)]
    ids = orthanc.upload(*map(encode, datasets))
    orthanc.add_dicomweb_server("gateway", pacs.url, pacs.partner.headers(), ChunkedTransfers=chunked)
    done = orthanc.post("/dicom-web/servers/gateway/stow", {"Resources": ids, "Synchronous": True})
    assert done["InstancesCount"] == "25" or done["InstancesCount"] == 25
    assert len(pacs.get(f"/studies/{study}/instances").json()) == 25
    first = datasets[0]
    given = dcmread(BytesIO(pacs.get(instance_path(first), "application/dicom; transfer-syntax=*").content))
    assert given == dcmread(BytesIO(orthanc.file(first.SOPInstanceUID)))


def test_orthanc_stores_real_files_of_many_kinds(gateway, other_partner, orthanc: Orthanc):
    pacs, sent = Pacs(gateway, other_partner), {}
    for file in whole_files(None):
        taken = requests.post(f"{orthanc.url}/instances", data=file, timeout=60)
        if taken.ok:  # it is stricter than the gateway
            sent[taken.json()["ID"]] = dcmread(BytesIO(file))
    assert len(sent) > 20
    orthanc.add_dicomweb_server("gateway", pacs.url, pacs.partner.headers())
    orthanc.post("/dicom-web/servers/gateway/stow", {"Resources": list(sent), "Synchronous": True})
    for ds in sent.values():
        assert pacs.get(instance_path(ds), "application/dicom; transfer-syntax=*").status_code == 200


def curl(pacs: Pacs, body: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Status and answer of a POST as curl makes it."""
    authorization = f"Authorization: {pacs.partner.headers()['Authorization']}"
    command = [
        "curl",
        "-sS",
        "-X",
        "POST",
        "-H",
        authorization,
        "-w",
        "\n%{http_code}",
        *options,
        f"{pacs.url}/studies",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=body.parent)
    answer, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(answer)


@pytest.mark.parametrize(
    "options",
    [
        ("--data-binary", "@body"),
        ("-T", "body"),
        ("-T", "-", "-H", "Transfer-Encoding: chunked"),
        ("--data-binary", "@body", "--http1.0"),
        ("--data-binary", "@body", "-H", "Expect: 100-continue"),
    ],
    ids=lambda options: " ".join(options[:1] + options[2:]),
)
def test_curl_stores(pacs, tmp_path: Path, options: tuple[str, ...]):
    ds = make_dataset(PixelData=bytes(range(256)) * 8192, Rows=1024, Columns=2048)
    body = tmp_path / "body"
    body.write_bytes(multipart([encode(ds)]))
    if "-" in options:
        options = tuple("body" if one == "-" else one for one in options)
    status, answer = curl(pacs, body, "-H", f"Content-Type: {related()}", *options)
    assert status == 200
    assert len(answer[STORED]["Value"]) == 1
    assert pacs.get(instance_path(ds), "application/dicom; transfer-syntax=*").content == encode(ds)


def test_curl_stores_one_instance_and_a_packed_one(pacs, tmp_path: Path):
    first, second = make_dataset(), make_dataset()
    body = tmp_path / "body"
    body.write_bytes(encode(first))
    alone = ("-H", "Content-Type: application/dicom", "--data-binary", "@body")
    assert curl(pacs, body, *alone)[0] == 200
    body.write_bytes(gzip.compress(encode(second)))
    assert curl(pacs, body, *alone, "-H", "Content-Encoding: gzip")[0] == 200
    for ds in (first, second):
        assert pacs.get(instance_path(ds), "application/dicom; transfer-syntax=*").content == encode(ds)
