"""Fetching from a partner's application entity by C-GET and C-MOVE: Orthanc, dcmtk's archive, and peers that lie."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000

from gateway.auth import accounts
from gateway.dimse import scp
from gateway.errors import PeerUnreachable
from gateway.senders.dicom_association import HEAD, P_DATA, Association, Patience
from gateway.store import fetches
from gateway.workflow import fetch
from tests.support.bundles import document_reference, referral
from tests.support.dcmqrscp import Dcmqrscp
from tests.support.dimse import TEST_FILES
from tests.support.fetching import Gateway, Imaging, data_set, gateway_by_hand, problems
from tests.support.gateway_process import free_port
from tests.support.lying_ae import TITLE, LyingAe, lying_ae
from tests.support.manifests import key_objects
from tests.support.orthanc import Orthanc


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With a listener, to which archives can move."""
    port = free_port()
    with gateway_by_hand(tmp_path_factory.mktemp("fetching"), dicom_port=port) as made:
        stop, listening = threading.Event(), threading.Event()
        thread = threading.Thread(target=scp.serve, args=(made.services, stop, listening), daemon=True)
        thread.start()
        assert listening.wait(10)
        yield made
        stop.set()
        thread.join(20)


def register(gateway: Gateway, title: str, port: int) -> None:
    accounts.change_partner(
        gateway.services, gateway.partner.id, {}, aes={title: {"host": "127.0.0.1", "port": port}}
    )


@pytest.fixture(scope="module")
def qrscp(gateway: Gateway) -> Iterator[Dcmqrscp]:
    with Dcmqrscp(gateway.services.config.dicom_port) as archive:
        register(gateway, archive.ae_title, archive.port)
        yield archive


@pytest.fixture
def imaging() -> Imaging:
    return Imaging(3)


def manifest(imaging: Imaging, *titles: str, **how: Any) -> dict[str, Any]:
    """A referral with a Key Object Selection whose Retrieve AE Title is this."""
    content = key_objects(imaging, place={"RetrieveAETitle": list(titles)}, **how)

    def make(urls: dict[str, str]) -> dict[str, Any]:
        made: dict[str, Any] = document_reference(content)(urls)
        made["content"][0]["attachment"]["contentType"] = "application/dicom"
        return made

    return referral(imaging.mrn, document=make)


def test_orthanc_gives_a_study_by_c_get(gateway: Gateway, orthanc: Orthanc, imaging: Imaging) -> None:
    register(gateway, orthanc.ae_title, orthanc.dicom_port)
    orthanc.upload(*imaging.files)
    case = gateway.work(gateway.send(manifest(imaging, orthanc.ae_title)))
    (fetch,) = case.fetches
    assert (fetch.state, fetch.here, fetch.expected, fetch.reason) == ("complete", 3, 3, "")
    for uid in imaging.uids:
        assert data_set(gateway.stored_file(uid)) == data_set(orthanc.file(uid))
    assert gateway.channels(imaging.uids) == {"c-get"}


def test_dcmtks_archive_gives_a_study(gateway: Gateway, qrscp: Dcmqrscp, imaging: Imaging) -> None:
    qrscp.store(*imaging.files)
    case = gateway.work(gateway.send(manifest(imaging, qrscp.ae_title)))
    (fetch,) = case.fetches
    assert (fetch.state, fetch.here, fetch.reason) == ("complete", 3, ""), qrscp.log_text[-3000:]
    assert gateway.channels(imaging.uids) == {"c-get"}


def test_what_is_compressed_comes_as_it_is_stored(gateway: Gateway, orthanc: Orthanc) -> None:
    register(gateway, orthanc.ae_title, orthanc.dicom_port)
    imaging = Imaging(1)
    imaging.files = [compressed(imaging)]
    orthanc.upload(*imaging.files)
    case = gateway.work(gateway.send(manifest(imaging, orthanc.ae_title)))
    assert (case.fetches[0].state, case.fetches[0].reason) == ("complete", "")
    stored, sent = dcmread(BytesIO(gateway.stored_file(imaging.uids[0]))), dcmread(BytesIO(imaging.files[0]))
    assert stored.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID == JPEG2000
    assert stored.PixelData == sent.PixelData
    assert gateway.channels(imaging.uids) == {"c-get"}


def compressed(imaging: Imaging) -> bytes:
    """A JPEG 2000 image as the only one of the stack."""
    ds = dcmread(TEST_FILES / "JPEG2000.dcm")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = imaging.study, imaging.series
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = imaging.uids[0]
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_without_c_get_it_is_moved_to_the_gateway(gateway: Gateway, imaging: Imaging) -> None:
    with Dcmqrscp(gateway.services.config.dicom_port, "--disable-get") as archive:
        register(gateway, archive.ae_title, archive.port)
        archive.store(*imaging.files)
        case = gateway.work(gateway.send(manifest(imaging, archive.ae_title)))
        (fetch,) = case.fetches
        assert (fetch.state, fetch.here, fetch.reason) == ("complete", 3, "")
        assert gateway.channels(imaging.uids) == {"c-store"}


def test_an_archive_that_does_not_know_the_gateway_as_destination_is_told(
    gateway: Gateway, imaging: Imaging
) -> None:
    port = gateway.services.config.dicom_port
    with Dcmqrscp(port, "--disable-get", destination="SOMEBODY") as archive:
        register(gateway, archive.ae_title, archive.port)
        archive.store(*imaging.files)
        fetch = gateway.fetched(manifest(imaging, archive.ae_title))
    assert (fetch.state, fetch.problem) == ("failed", "refused")
    assert "0xA801: it does not know the gateway as a move destination" in fetch.reason


def test_what_is_here_is_not_asked_for_and_what_is_not_there_is_named(
    gateway: Gateway, qrscp: Dcmqrscp, imaging: Imaging
) -> None:
    register(gateway, qrscp.ae_title, qrscp.port)
    qrscp.store(*imaging.files[:2])
    gateway.store(imaging.files[0])
    before = qrscp.log_text.count("Get SCP Response 1 [status: Pending]")
    fetch = gateway.fetched(manifest(imaging, qrscp.ae_title))
    assert (fetch.state, fetch.here, problems(fetch)) == ("pending", 2, {imaging.uids[2]: "not-there"})
    assert qrscp.log_text.count("Get SCP Response 1 [status: Pending]") == before + 1
    assert imaging.uids[0] not in qrscp.log_text[-3000:].split("Get SCP Request Identifiers")[-1]


def test_an_application_entity_that_is_not_registered_is_never_called(
    gateway: Gateway, qrscp: Dcmqrscp, imaging: Imaging
) -> None:
    before = qrscp.log_text.count("Association Received")
    accounts.change_partner(gateway.services, gateway.partner.id, {}, aes={"ONLY_CALLS": {}})
    for title in ("SOMEBODY", "ONLY_CALLS", "qrscp"):
        fetch = gateway.fetched(manifest(imaging, title))
        assert (fetch.state, fetch.problem) == ("failed", "not-registered")
    assert qrscp.log_text.count("Association Received") == before


def test_an_application_entity_that_is_away_is_called_later(gateway: Gateway, imaging: Imaging) -> None:
    register(gateway, "AWAY", free_port())
    fetch = gateway.fetched(manifest(imaging, "AWAY"))
    assert (fetch.state, fetch.problem, len(fetch.missing)) == ("pending", "unreachable", 3)


def test_an_application_entity_that_rejects_the_gateway_waits_for_a_person(
    gateway: Gateway, qrscp: Dcmqrscp, imaging: Imaging
) -> None:
    register(gateway, "RENAMED", qrscp.port)
    fetch = gateway.fetched(manifest(imaging, "RENAMED"))
    assert (fetch.state, fetch.problem) == ("failed", "refused")
    assert "rejected the association" in fetch.reason


@pytest.fixture
def liar(gateway: Gateway, imaging: Imaging) -> Iterator[LyingAe]:
    with lying_ae(imaging) as lying:
        register(gateway, TITLE, lying.port)
        yield lying


def test_an_image_of_another_study_is_refused_and_joins_nothing(
    gateway: Gateway, imaging: Imaging, liar: LyingAe
) -> None:
    def of_another_study(_event: Any, ds: Dataset) -> Dataset:
        ds.StudyInstanceUID = f"{imaging.study}.7"
        return ds

    liar.send = of_another_study
    case = gateway.work(gateway.send(manifest(imaging, TITLE)))
    (fetch,) = case.fetches
    assert (fetch.state, fetch.here, problems(fetch)) == (
        "failed",
        0,
        dict.fromkeys(imaging.uids, "mismatch"),
    )
    assert case.studies == case.held_studies == ()


def test_an_image_that_was_not_asked_for_is_not_taken(
    gateway: Gateway, imaging: Imaging, liar: LyingAe
) -> None:
    def another(_event: Any, ds: Dataset) -> Dataset:
        ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.9"
        return ds

    liar.send = another
    fetch = gateway.fetched(manifest(imaging, TITLE))
    assert (fetch.here, fetch.expected) == (0, 3)
    assert fetch.state == "failed"
    with gateway.services.database.reading() as session:
        assert fetches.stored_uids(session, gateway.partner.id, imaging.study) == set()


def test_a_hospital_that_is_disabled_in_the_middle_is_asked_no_more(
    gateway: Gateway, imaging: Imaging, liar: LyingAe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def disable_at_the_second(_event: Any, ds: Dataset) -> Dataset:
        if len(sent) == 1:
            accounts.disable_partner(gateway.services, gateway.partner.id)
        sent.append(ds.SOPInstanceUID)
        return ds

    monkeypatch.setattr(fetch, "LOOK_SECONDS", -1.0)
    liar.send = disable_at_the_second
    try:
        stopped = gateway.fetched(manifest(imaging, TITLE))
    finally:
        accounts.enable_partner(gateway.services, gateway.partner.id)
    assert (stopped.state, stopped.here, stopped.problem) == ("failed", 1, "disabled")


def test_after_an_abort_in_the_middle_only_the_rest_is_asked_for(
    gateway: Gateway, imaging: Imaging, liar: LyingAe
) -> None:
    def abort_at_the_second(event: Any, ds: Dataset) -> Dataset | None:
        if ds.SOPInstanceUID != imaging.uids[1]:
            return ds
        event.assoc.abort()
        return None

    liar.send = abort_at_the_second
    case_id = gateway.send(manifest(imaging, TITLE))
    (broken,) = gateway.work(case_id).fetches
    assert (broken.state, broken.here, broken.problem) == ("pending", 1, "unreachable")
    assert liar.asked == imaging.uids
    liar.send = lambda _event, ds: ds
    (whole,) = gateway.work(case_id).fetches
    assert (whole.state, whole.here) == ("complete", 3)
    assert liar.asked == [*imaging.uids, *imaging.uids[1:]]


def test_a_peer_that_drips_is_given_up() -> None:
    """By the whole of a PDU, not by each of its bytes."""
    near, far = socket.socketpair()
    stop = threading.Event()

    def drip() -> None:
        far.sendall(HEAD.pack(P_DATA, 1000))
        while not stop.wait(0.05):
            with suppress(OSError):
                far.sendall(b"\0")

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    with near, far:
        association = Association(near, Patience(answer=0.5), {1: ("1.2", "1.2.840.10008.1.2")}, 0)
        with pytest.raises(PeerUnreachable):
            association.receive()
        stop.set()
        dripping.join()
