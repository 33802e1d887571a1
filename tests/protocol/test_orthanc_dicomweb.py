"""Orthanc's DICOMweb client searches the gateway and retrieves from it. It stores too: test_stow_rs_peers.py."""

from io import BytesIO
from typing import Any

import pytest
import requests
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from tests.support.dicom_files import encode, make_dataset
from tests.support.dicomweb import Pacs
from tests.support.dimse import TEST_FILES, new_instance
from tests.support.gateway_process import GatewayProcess
from tests.support.orthanc import Orthanc
from tests.support.partner import Partner

COMPRESSED = ("MR_small_RLE", "JPEG2000", "MR_small_jpeg_ls_lossless", "SC_rgb_jpeg_dcmtk", "examples_jpeg2k")


@pytest.fixture
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


@pytest.fixture
def client(pacs: Pacs, orthanc: Orthanc) -> Orthanc:
    """Orthanc with the gateway as its DICOMweb server "gateway"."""
    orthanc.add_dicomweb_server("gateway", pacs.url, pacs.partner.headers())
    return orthanc


@pytest.fixture
def study(pacs: Pacs) -> list[Dataset]:
    """Two series of two images each, stored in the gateway."""
    uid = generate_uid()
    series = [generate_uid(), generate_uid()]
    datasets = [
        make_dataset(
            StudyInstanceUID=uid, SeriesInstanceUID=series[n // 2], SeriesNumber=1 + n // 2, InstanceNumber=n
        )
        for n in range(4)
    ]
    assert pacs.store(*map(encode, datasets)).status_code == 200
    return datasets


def test_orthanc_searches(client: Orthanc, study: list[Dataset]) -> None:
    uid = study[0].StudyInstanceUID

    (found,) = _qido(client, "/studies", StudyInstanceUID=uid)
    series = _qido(client, f"/studies/{uid}/series")
    instances = _qido(client, f"/studies/{uid}/instances", InstanceNumber="3")

    assert found["00100010"]["Value"] == str(study[0].PatientName)
    assert {one["0020000E"]["Value"] for one in series} == {ds.SeriesInstanceUID for ds in study}
    assert [one["00080018"]["Value"] for one in instances] == [study[3].SOPInstanceUID]


@pytest.mark.parametrize("level", ["Study", "Series", "Instance"])
def test_orthanc_retrieves_each_level(client: Orthanc, study: list[Dataset], level: str) -> None:
    first = study[0]
    uids = {
        "Study": first.StudyInstanceUID,
        "Series": first.SeriesInstanceUID,
        "Instance": first.SOPInstanceUID,
    }
    named = dict(list(uids.items())[: list(uids).index(level) + 1])
    expected = {"Study": study, "Series": study[:2], "Instance": study[:1]}[level]

    done = client.post("/dicom-web/servers/gateway/retrieve", {"Resources": [named], "Synchronous": True})

    assert int(done["ReceivedInstancesCount"]) == len(expected)
    for ds in expected:
        assert dcmread(BytesIO(client.file(ds.SOPInstanceUID))) == ds
    client.forget(one for ds in expected for one in client.ids(ds.SOPInstanceUID))


@pytest.mark.parametrize("name", COMPRESSED)
def test_orthanc_retrieves_compressed_images_byte_for_byte(
    client: Orthanc, pacs: Pacs, tmp_path, name: str
) -> None:
    """It asks for transfer-syntax=*, as who keeps what others made should."""
    file = new_instance(tmp_path / f"{name}.dcm", TEST_FILES / f"{name}.dcm").read_bytes()
    ds = dcmread(BytesIO(file))
    assert pacs.store(file).status_code == 200

    named = {"Study": ds.StudyInstanceUID}
    client.post("/dicom-web/servers/gateway/retrieve", {"Resources": [named], "Synchronous": True})

    assert client.file(ds.SOPInstanceUID) == file


def test_orthanc_gets_metadata_and_rendered_images(client: Orthanc, pacs: Pacs, study: list[Dataset]) -> None:
    series = f"/studies/{study[0].StudyInstanceUID}/series/{study[0].SeriesInstanceUID}"
    instance = f"{series}/instances/{study[0].SOPInstanceUID}"

    metadata = _get(client, f"{series}/metadata").json()
    rendered = _get(client, f"{instance}/rendered", {"Accept": "image/png"}).content

    assert {one["00080018"]["Value"][0] for one in metadata} == {ds.SOPInstanceUID for ds in study[:2]}
    assert rendered.startswith(b"\x89PNG")


def test_without_the_right_token_orthanc_gets_nothing(
    orthanc: Orthanc, pacs: Pacs, study: list[Dataset]
) -> None:
    orthanc.add_dicomweb_server("stranger", pacs.url, {"Authorization": "Bearer nonsense"})
    body = {"Resources": [{"Study": study[0].StudyInstanceUID}], "Synchronous": True}

    answer = requests.post(f"{orthanc.url}/dicom-web/servers/stranger/retrieve", json=body, timeout=60)

    assert not answer.ok
    assert orthanc.ids(study[0].StudyInstanceUID) == []


def _qido(client: Orthanc, path: str, **keys: str) -> list[dict[str, Any]]:
    """The matches as Orthanc tells them: each value as text."""
    found: list[dict[str, Any]] = client.post(
        "/dicom-web/servers/gateway/qido", {"Uri": path, "Arguments": keys}
    )
    return found


def _get(client: Orthanc, path: str, headers: dict[str, str] | None = None) -> requests.Response:
    """What the gateway answered, through Orthanc."""
    return client.call("POST", "/dicom-web/servers/gateway/get", {"Uri": path, "HttpHeaders": headers or {}})
