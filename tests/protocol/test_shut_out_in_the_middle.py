"""A partner that is shut out while it is answered by DICOMweb gets no more of the answer."""

from collections.abc import Iterator

import pytest
import requests
import urllib3
from flask.testing import FlaskClient

from gateway.app import create_app
from gateway.auth import accounts
from gateway.dicomweb import door, qido_rs
from gateway.services import Services
from tests.support.dicomweb import Pacs
from tests.support.fetching import Gateway, Imaging, gateway_by_hand
from tests.support.gateway_process import GatewayProcess

COUNT = 3
RETRIEVED = ['multipart/related; type="application/dicom"; transfer-syntax=*', "application/zip"]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway_by_hand(tmp_path_factory.mktemp("answering")) as made:
        yield made


@pytest.fixture
def client(by_hand: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    monkeypatch.setattr(door, "LOOK_SECONDS", -1.0)
    yield create_app(by_hand.services).test_client()
    accounts.enable_partner(by_hand.services, by_hand.partner.id)


@pytest.fixture(scope="module")
def imaging(by_hand: Gateway) -> Imaging:
    made = Imaging(COUNT)
    by_hand.store(*made.files)
    return made


def taken(client: FlaskClient, path: str, accept: str, services: Services) -> tuple[int, bool]:
    """How many bytes came when the partner was disabled after the first piece, and whether it was all."""
    answer = client.get(f"/dicom-web{path}", headers={"Accept": accept}, buffered=False)
    assert answer.status_code == 200
    pieces = answer.iter_encoded()
    size = len(next(pieces))
    accounts.disable_partner(services, "demo")
    try:
        return size + sum(len(piece) for piece in pieces), True
    except ConnectionResetError:
        return size, False


@pytest.mark.parametrize("accept", RETRIEVED)
def test_what_is_retrieved_breaks_off(
    by_hand: Gateway,
    client: FlaskClient,
    imaging: Imaging,
    accept: str,
) -> None:
    path = f"/studies/{imaging.study}"
    whole = client.get(f"/dicom-web{path}", headers={"Accept": accept}).data
    size, is_whole = taken(client, path, accept, by_hand.services)
    assert not is_whole
    assert size < len(whole)


def test_a_search_breaks_off(
    by_hand: Gateway, client: FlaskClient, imaging: Imaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qido_rs, "_CHUNK_BYTES", 1)
    path = f"/studies/{imaging.study}/instances"
    assert taken(client, path, "application/dicom+json", by_hand.services)[1] is False


def test_a_partner_that_loses_the_right_to_read_gets_no_more(
    by_hand: Gateway, client: FlaskClient, imaging: Imaging
) -> None:
    answer = client.get(f"/dicom-web/studies/{imaging.study}", buffered=False)
    pieces = answer.iter_encoded()
    next(pieces)
    accounts.change_partner(by_hand.services, "demo", {"scopes": ("system/ImagingStudy.cs",)})
    with pytest.raises(ConnectionResetError):
        list(pieces)
    accounts.change_partner(by_hand.services, "demo", {"scopes": ("system/*.cruds",)})


def test_a_partner_that_stays_gets_all(by_hand: Gateway, client: FlaskClient, imaging: Imaging) -> None:
    answer = client.get(f"/dicom-web/studies/{imaging.study}", buffered=False)
    assert len(b"".join(answer.iter_encoded())) == answer.content_length


def test_a_running_gateway_breaks_the_connection_off(gateway: GatewayProcess) -> None:
    partner = gateway.add_partner("shut-out-in-the-middle")
    pacs, imaging = Pacs(gateway, partner), Imaging(2)
    large = {"Rows": 4000, "Columns": 4000, "PixelData": bytes(4000 * 4000 * 2)}
    assert pacs.store(*(imaging.attributed(at, **large) for at in range(2))).ok
    headers = partner.headers() | {"Accept": "application/zip"}
    url = f"{gateway.dicomweb_url}/studies/{imaging.study}"
    with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
        assert answer.status_code == 200
        answer.raw.read(1024)
        gateway.command("partner", "disable", "shut-out-in-the-middle")
        with pytest.raises(urllib3.exceptions.HTTPError):
            answer.raw.read()
    log = gateway.log_text
    assert "answer-broken-off" in log
    assert "the partner may not have it any more" not in log.partition("Traceback")[2]
