"""Associations that the gateway opens (PS3.8): over TLS, to peers that refuse, break off or send what cannot be."""

import hashlib
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel

from gateway.config import Config
from gateway.errors import DeliveryFailed, PeerRefused, PeerUnreachable
from gateway.senders import dicom_negotiation
from gateway.senders.dicom_association import Association, Patience
from gateway.senders.dicom_find import FIND, find_instances
from gateway.senders.dicom_negotiation import Called
from gateway.senders.dicom_scu import Scu, call
from gateway.services import build_services
from gateway.store.partners import ApplicationEntity
from tests.support.certificate import self_signed
from tests.support.dimse import dataset_bytes
from tests.support.gateway_process import free_port
from tests.support.processes import listens, wait_until
from tests.support.retrieving import CT

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
CONTEXTS = [(CTImageStorage, [EXPLICIT_LITTLE])]


def store(scu: Scu, data: bytes = b"") -> int:
    context_id = scu.context_of(CTImageStorage)
    assert context_id is not None
    instance = str(dcmread(CT, stop_before_pixels=True).SOPInstanceUID)
    return scu.store(context_id, CTImageStorage, instance, BytesIO(data or dataset_bytes(CT))).status


@contextmanager
def peer(
    max_pdu_bytes: int = 16382, handlers: Any = (), ae_title: str = "PEER", **settings: Any
) -> Iterator[Called]:
    ae = AE(ae_title)
    ae.maximum_pdu_size = max_pdu_bytes
    ae.require_called_aet = True
    for name, value in settings.items():
        setattr(ae, name, value)
    ae.add_supported_context(CTImageStorage, EXPLICIT_LITTLE)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(handlers))
    try:
        yield Called("PEER", "127.0.0.1", server.server_address[1], "GATEWAY")
    finally:
        server.shutdown()


@contextmanager
def raw_peer(*answers: bytes, then: Callable[[socket.socket], None] = lambda _: None) -> Iterator[Called]:
    """Accepts one connection and answers what it reads first with the first of ``answers``, and so on."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for answer in answers:
                connection.recv(65536)
                connection.sendall(answer)
            then(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Called("PEER", "127.0.0.1", listener.getsockname()[1], "GATEWAY")
    finally:
        listener.close()
        thread.join(10)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(dicom_negotiation.PATIENCE, connect=1.0, negotiation=0.5, send=1.0, answer=0.5)
    monkeypatch.setattr(dicom_negotiation, "PATIENCE", short)


@pytest.mark.parametrize("max_pdu_bytes", [0, 1024, 4097, 1024 * 1024])
def test_a_data_set_is_cut_into_what_the_peer_takes(max_pdu_bytes: int) -> None:
    received: list[bytes] = []
    longest: list[int] = []
    handlers = [
        (evt.EVT_C_STORE, lambda event: received.append(event.request.DataSet.getvalue()) or 0x0000),
        (evt.EVT_DATA_RECV, lambda event: longest.append(len(event.data) - 6)),
    ]
    with peer(max_pdu_bytes, handlers) as called, call(called, CONTEXTS) as scu:
        assert store(scu) == 0x0000
        assert store(scu) == 0x0000
    assert received == [dataset_bytes(CT)] * 2
    assert max(longest[1:]) <= (max_pdu_bytes or 128 * 1024)


def test_the_association_is_released_in_order() -> None:
    ended: list[str] = []
    handlers = [
        (evt.EVT_RELEASED, lambda _: ended.append("released")),
        (evt.EVT_ABORTED, lambda _: ended.append("aborted")),
    ]
    with peer(handlers=handlers) as called:
        with call(called, CONTEXTS):
            pass
        wait_until(lambda: ended == ["released"])
        with pytest.raises(RuntimeError), call(called, CONTEXTS):
            raise RuntimeError
        wait_until(lambda: ended == ["released", "aborted"])


@pytest.mark.parametrize(
    ("result", "source", "reason", "error", "words"),
    [
        (1, 1, 3, PeerRefused, "it does not recognise the gateway's AE title"),
        (1, 1, 7, PeerRefused, "it does not recognise the AE title that is registered for it"),
        (1, 1, 1, PeerRefused, "no reason given"),
        (2, 3, 2, PeerUnreachable, "local limit exceeded"),
        (2, 3, 1, PeerUnreachable, "temporary congestion"),
    ],
)
def test_a_rejection_is_told_in_words(result: int, source: int, reason: int, error: type, words: str) -> None:
    rejection = bytes((3, 0, 0, 0, 0, 4, 0, result, source, reason))
    with (
        raw_peer(rejection) as called,
        pytest.raises(error, match=f"rejected the association: {words}"),
        call(called, CONTEXTS),
    ):
        pass


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes((7, 0, 0, 0, 0, 4, 0, 0, 0, 0)),
        bytes((2, 0, 0xFF, 0xFF, 0xFF, 0xFF)),
        bytes((2, 0, 0, 0, 0, 4)) + b"none",
        bytes((4, 0, 0, 0, 0, 4)) + bytes(4),
    ],
    ids=["closed", "http", "abort", "four-gigabytes", "unreadable", "data"],
)
def test_what_is_no_answer_to_a_request_for_an_association(quick: None, answer: bytes) -> None:
    with raw_peer(answer) as called, pytest.raises(PeerUnreachable), call(called, CONTEXTS):
        pass


def test_a_peer_that_never_answers_is_given_up(quick: None) -> None:
    with (
        raw_peer(then=lambda connection: wait_until(lambda: not connection.recv(65536))) as called,
        pytest.raises(PeerUnreachable),
        call(called, CONTEXTS),
    ):
        pass


def test_a_peer_that_trickles_is_given_up(quick: None) -> None:
    """It sends a byte long before each single wait would be over."""

    def trickle(connection: socket.socket) -> None:
        connection.recv(65536)
        with suppress(OSError):
            for _ in range(100):
                connection.sendall(b"\x02")
                time.sleep(0.2)

    with raw_peer(then=trickle) as called, pytest.raises(PeerUnreachable), call(called, CONTEXTS):
        pass


def test_a_peer_that_accepts_nothing_of_what_is_proposed_is_no_error_until_it_is_needed() -> None:
    with (
        peer() as called,
        call(called, [(StorageCommitmentPushModel, [EXPLICIT_LITTLE])], (StorageCommitmentPushModel,)) as scu,
    ):
        assert scu.context_of(StorageCommitmentPushModel) is None
        with pytest.raises(PeerRefused):
            scu.report_event(StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1", 1, Dataset())


def message(number: int, status: int, match: Dataset | None) -> Iterator[bytes]:
    """The presentation data values of a C-FIND-RSP (PS3.8 9.3.5.1)."""
    command = Dataset()
    command.AffectedSOPClassUID, command.CommandField = FIND, 0x8020
    command.MessageIDBeingRespondedTo, command.Status = number, status
    command.CommandDataSetType = 0x0101 if match is None else 0x0001
    for control, ds, is_implicit in ((0x03, command, True), (0x02, match, False)):
        if ds is not None:
            fragment = encode(ds, is_implicit, True) or b""
            yield struct.pack(">IBB", len(fragment) + 2, 1, control) + fragment


def match(keyword: str, uid: str) -> Dataset:
    ds = Dataset()
    setattr(ds, keyword, uid)
    return ds


@pytest.mark.parametrize("in_one_pdu", [1, 2, 3, 100])
def test_several_messages_may_come_in_one_pdu(in_one_pdu: int) -> None:
    uids = [generate_uid() for _ in range(4)]
    series = [*message(1, 0xFF00, match("SeriesInstanceUID", "1.2.3")), *message(1, 0, None)]
    images = [v for one in uids for v in message(2, 0xFF00, match("SOPInstanceUID", one))]
    values = [series, [*images, *message(2, 0, None)]]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for answer in values:
            for first in range(0, len(answer), in_one_pdu):
                pdu = b"".join(answer[first : first + in_one_pdu])
                theirs.sendall(struct.pack(">BxI", 4, len(pdu)) + pdu)
        association = Association(ours, Patience(answer=1.0), {1: (FIND, EXPLICIT_LITTLE)}, 0)
        found = find_instances(Scu(association), "1.2")
    assert [one.address.sop_instance_uid for one in found] == uids


@pytest.mark.parametrize(
    "answer",
    [
        bytes((7, 0, 0, 0, 0, 4, 0, 0, 0, 0)),
        bytes((5, 0, 0, 0, 0, 4, 0, 0, 0, 0)),
        bytes((4, 0, 0, 0, 0, 6)) + bytes((0, 0, 0, 99, 1, 3)),
        bytes((4, 0, 0, 0, 0, 6)) + bytes((0, 0, 0, 2, 99, 3)),
        bytes((4, 0, 0, 0, 0, 6)) + bytes((0, 0, 0, 2, 1, 2)),
        bytes((4, 0, 0, 0, 0, 14)) + bytes((0, 0, 0, 10, 1, 3)) + b"nonsense",
        bytes((4, 0, 0, 0, 0, 6)) + bytes((0, 0, 0, 2, 1, 3)),
        bytes((4, 0, 0x7F, 0, 0, 0)),
        b"",
    ],
    ids=["abort", "release", "long", "context", "no-command", "nonsense", "empty", "large", "closed"],
)
def test_a_peer_that_breaks_off_or_sends_what_cannot_be(quick: None, answer: bytes) -> None:
    """In place of the answer to a C-STORE."""

    def spoil(event: evt.Event) -> int:
        connection = event.assoc.dul.socket.socket
        connection.sendall(answer)
        if not answer:
            connection.shutdown(socket.SHUT_RDWR)
        return 0x0000

    with (
        peer(handlers=[(evt.EVT_C_STORE, spoil)]) as called,
        pytest.raises(DeliveryFailed),
        call(called, CONTEXTS) as scu,
    ):
        store(scu)


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: self_signed(folder, name).path for name in ("localhost", "pacs", "gateway")}


@contextmanager
def tls_storescp(certificates: dict[str, Path], name: str, folder: Path) -> Iterator[int]:
    """dcmtk's, which wants the gateway's certificate."""
    port, own = free_port(), certificates[name]
    command = [
        "storescp",
        "-od",
        folder,
        "+tls",
        own.with_suffix(".key"),
        own,
        "+cf",
        certificates["gateway"],
        str(port),
    ]
    process = subprocess.Popen([str(part) for part in command])
    try:
        wait_until(lambda: listens(port))
        yield port
    finally:
        process.kill()
        process.wait()


def fingerprint(certificate: Path) -> str:
    return f"sha256:{hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()}"


@pytest.mark.parametrize(
    ("server", "trusted", "registered", "refused"),
    [
        ("localhost", "localhost", "", None),
        ("pacs", "pacs", "", "There is no TLS"),
        ("pacs", "pacs", "CN=pacs", None),
        ("pacs", "pacs", "CN=other", "another certificate than is registered"),
        ("pacs", "localhost", "CN=pacs", "There is no TLS"),
        ("pacs", "localhost", "fingerprint", None),
        ("pacs", "pacs", f"sha256:{'00' * 32}", "another certificate than is registered"),
    ],
    ids=[
        "host",
        "other-host",
        "subject",
        "other-subject",
        "unknown-issuer",
        "fingerprint",
        "other-fingerprint",
    ],
)
def test_a_peer_is_called_over_tls_with_the_certificate_that_it_must_have(
    tmp_path: Path,
    certificates: dict[str, Path],
    server: str,
    trusted: str,
    registered: str,
    refused: str | None,
) -> None:
    own = certificates["gateway"]
    config = Config(
        data_dir=tmp_path,
        dicom_tls_certificate=own,
        dicom_tls_key=own.with_suffix(".key"),
        dicom_tls_ca=certificates[trusted],
    )
    if registered == "fingerprint":
        registered = fingerprint(certificates[server])
    with tls_storescp(certificates, server, tmp_path) as port:
        entity = ApplicationEntity("PEER", "localhost", port, certificate=registered, tls=True)
        told = pytest.raises(PeerUnreachable, match=refused) if refused else nullcontext()
        with told, build_services(config).call(entity, CONTEXTS) as scu:
            assert store(scu) == 0x0000
