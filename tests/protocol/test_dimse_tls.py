"""DICOM over TLS (PS3.15 B.9, RFC 9325), with dcmtk as the peer and certificates that are made for the test."""

import hashlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from structlog.testing import capture_logs

from gateway.dimse import scp
from gateway.store.partners import ApplicationEntity
from tests.support.certificate import self_signed
from tests.support.dimse import (
    TEST_FILES,
    Archive,
    RunningListener,
    dcmtk,
    listener_in_this_process,
    new_instance,
)
from tests.support.gateway_process import GatewayProcess, free_port

VERIFIED = "Received Echo Response (Success)"


@dataclass(frozen=True)
class Certificates:
    """``gateway`` is the server's, ``pacs`` a client's whose issuer the gateway knows, ``stranger`` one it does not."""

    gateway: Path
    pacs: Path
    stranger: Path

    def server(self, clients: str = "none") -> dict[str, object]:
        return {
            "dicom_tls_port": free_port(),
            "dicom_tls_certificate": self.gateway,
            "dicom_tls_key": self.gateway.with_suffix(".key"),
            "dicom_tls_ca": self.pacs,
            "dicom_tls_client_certificate": clients,
        }

    def client(self, own: Path) -> tuple[object, ...]:
        """What dcmtk is given; a file is the value of the option before it."""
        return ("+tls", own.with_suffix(".key"), own, "+cf", self.gateway)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    return Certificates(*(self_signed(folder, name).path for name in ("127.0.0.1", "pacs", "stranger")))


@contextmanager
def tls_listener(
    folder: Path, certificates: Certificates, *aes: ApplicationEntity, clients: str = "none", **config: object
) -> Iterator[tuple[RunningListener, RunningListener]]:
    """The plain port, and that of TLS."""
    server = certificates.server(clients)
    with listener_in_this_process(folder, *aes, **server, **config) as listener:
        yield listener, replace(listener, dicom_port=server["dicom_tls_port"])


def fingerprint(certificate: Path) -> str:
    return f"sha256:{hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()}"


def test_images_come_over_tls_and_by_the_plain_port_beside_it(
    tmp_path: Path, certificates: Certificates
) -> None:
    ct = new_instance(tmp_path / "ct.dcm", TEST_FILES / "CT_small.dcm")
    mr = new_instance(tmp_path / "mr.dcm", TEST_FILES / "MR_small.dcm")
    with tls_listener(tmp_path, certificates) as (plain, tls):
        sent = dcmtk("storescu", tls, ct, options=("+tla", "+cf", certificates.gateway))
        assert sent.returncode == 0, sent.stdout
        assert dcmtk("storescu", plain, mr).returncode == 0
        archive = Archive(plain)
        for file in (ct, mr):
            sent_ds, kept = dcmread(file), archive.instance(dcmread(file).SOPInstanceUID)
            assert dcmread(BytesIO(kept.file_bytes)).PixelData == sent_ds.PixelData


def test_the_plain_port_can_be_switched_off(certificates: Certificates) -> None:
    server = certificates.server()
    environment = {f"GATEWAY_{name.upper()}": str(value) for name, value in server.items()}
    gateway = GatewayProcess(environment=environment)
    plain, gateway.dicom_port = gateway.dicom_port, 0
    with gateway:
        gateway.add_partner("hospital-a", ae_title="HOSPITAL_A")
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", plain)) != 0
        gateway.dicom_port = server["dicom_tls_port"]
        done = dcmtk("echoscu", gateway, options=("+tla", "+cf", certificates.gateway))
        assert VERIFIED in done.stdout
        assert f"DICOM over TLS SECONDOPINION@127.0.0.1:{gateway.dicom_port}" in gateway.log_text


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken_with_forward_secrecy(
    tmp_path: Path, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cafile=certificates.gateway)
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    with tls_listener(tmp_path, certificates) as (_, tls), _connected(tls) as peer:
        name, _, _ = context.wrap_socket(peer).cipher()
    assert name.startswith(("ECDHE-", "TLS_AES_", "TLS_CHACHA20_"))


@pytest.mark.parametrize("weak", ["old-version", "no-forward-secrecy"])
def test_what_bcp_195_forbids_is_refused(tmp_path: Path, certificates: Certificates, weak: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0" if weak == "old-version" else "AES128-GCM-SHA256:AES256-GCM-SHA384")
    if weak == "old-version":
        context.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3
    else:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        tls_listener(tmp_path, certificates) as (_, tls),
        _connected(tls) as peer,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(peer)


@pytest.mark.parametrize(
    ("clients", "own", "admitted"),
    [
        ("required", "pacs", True),
        ("required", "stranger", False),
        ("required", "", False),
        ("optional", "pacs", True),
        ("optional", "", True),
        ("optional", "stranger", False),
        ("none", "", True),
    ],
)
def test_a_client_certificate_is_wanted_as_configured(
    tmp_path: Path, certificates: Certificates, clients: str, own: str, admitted: bool
) -> None:
    options = (
        certificates.client(getattr(certificates, own)) if own else ("+tla", "+cf", certificates.gateway)
    )
    with tls_listener(tmp_path, certificates, clients=clients) as (_, tls):
        done = dcmtk("echoscu", tls, options=options)
    assert (VERIFIED in done.stdout) is admitted, done.stdout


@pytest.mark.parametrize("by", ["fingerprint", "subject"])
def test_an_ae_with_a_certificate_is_admitted_with_that_one_only(
    tmp_path: Path, certificates: Certificates, by: str
) -> None:
    registered = {"fingerprint": fingerprint(certificates.pacs), "subject": "CN=pacs"}[by]
    aes = (
        ApplicationEntity("HOSPITAL_A", certificate=registered),
        ApplicationEntity("CT", certificate="CN=other"),
    )
    with tls_listener(tmp_path, certificates, *aes, clients="optional") as (plain, tls):
        own = certificates.client(certificates.pacs)
        assert VERIFIED in dcmtk("echoscu", tls, options=own).stdout
        for refused in (
            dcmtk("echoscu", plain),
            dcmtk("echoscu", tls, options=("+tla", "+cf", certificates.gateway)),
            dcmtk("echoscu", tls, options=own, calling="CT"),
        ):
            assert "F: Reason: Calling AE Title Not Recognized" in refused.stdout


def test_handshakes_that_stall_hold_up_nobody_and_are_cut_off(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scp, "ACSE_TIMEOUT_SECONDS", 1)
    with tls_listener(tmp_path, certificates) as (_, tls), ExitStack() as stack:
        silent = [stack.enter_context(_connected(tls)) for _ in range(10)]
        silent[0].sendall(b"\x16\x03\x01\x02\x00\x01")  # a ClientHello that does not go on
        done = dcmtk("echoscu", tls, options=("+tla", "+cf", certificates.gateway))
        assert VERIFIED in done.stdout
        assert [peer.recv(1) for peer in silent] == [b""] * 10


def test_a_peer_without_tls_is_cut_off_and_logged(tmp_path: Path, certificates: Certificates) -> None:
    with capture_logs() as lines, tls_listener(tmp_path, certificates) as (_, tls):
        with _connected(tls) as peer:
            peer.sendall(b"\x01\x00\x00\x00\x00\x44" + bytes(68))
            while peer.recv(1024):
                pass
        assert VERIFIED in dcmtk("echoscu", tls, options=("+tla", "+cf", certificates.gateway)).stdout
    (failed,) = [line for line in lines if line["event"] == "tls-handshake-failed"]
    assert failed["address"] == "127.0.0.1"


def test_a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_is_not(
    tmp_path: Path, certificates: Certificates
) -> None:
    own, key = tmp_path / "own.pem", tmp_path / "own.key"

    def install(certificate: Path) -> None:
        own.write_bytes(certificate.read_bytes())
        key.write_bytes(certificate.with_suffix(".key").read_bytes())

    install(certificates.gateway)
    served = replace(certificates, gateway=own)
    with tls_listener(tmp_path, served) as (_, tls):
        assert _shown(tls) == fingerprint(certificates.gateway)
        install(certificates.pacs)
        assert _shown(tls) == fingerprint(certificates.pacs)
        own.write_text("broken")
        assert _shown(tls) == fingerprint(certificates.pacs)


def _shown(tls: RunningListener) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with _connected(tls) as peer, context.wrap_socket(peer) as secure:
        return f"sha256:{hashlib.sha256(secure.getpeercert(binary_form=True)).hexdigest()}"


def test_a_certificate_that_cannot_be_used_is_said_in_one_line(
    tmp_path: Path, certificates: Certificates
) -> None:
    gateway = GatewayProcess(
        options=("--dicom-tls-port", str(free_port()), "--dicom-tls-certificate", str(certificates.gateway))
    )
    gateway.launch()
    assert gateway.wait() == 1
    (line,) = gateway.log_text.splitlines()
    assert line.startswith("gateway: The certificates for DICOM over TLS cannot be used")


def _connected(tls: RunningListener) -> socket.socket:
    return socket.create_connection(("127.0.0.1", tls.dicom_port), timeout=10)
