"""Verification (PS3.4 Annex A), and who may open an association at all (PS3.8 9.3.4)."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr
from pynetdicom import AE
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation
from pynetdicom.sop_class import (
    CTImageStorage,
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
    Verification,
)

from gateway.config import Config
from gateway.dimse import scp
from gateway.dimse.upper_layer import UpperLayer
from gateway.services import build_services
from tests.support.dimse import RunningListener, association, dcmtk, listener_in_this_process
from tests.support.gateway_process import GatewayProcess, free_port

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
DETACHED_PATIENT_MANAGEMENT = "1.2.840.10008.3.1.2.1.1"
ABSTRACT_SYNTAX_NOT_SUPPORTED = 0x03  # PS3.8 Table 9-18
A_ABORT_PDU_TYPE = b"\x07"


def test_echo_of_a_registered_ae_succeeds(gateway: GatewayProcess) -> None:
    done = dcmtk("echoscu", gateway)

    assert "Received Echo Response (Success)" in done.stdout
    assert done.returncode == 0


def test_an_unregistered_calling_ae_is_rejected(gateway: GatewayProcess) -> None:
    done = dcmtk("echoscu", gateway, calling="STRANGER")

    assert "F: Result: Rejected Permanent, Source: Service User" in done.stdout
    assert "F: Reason: Calling AE Title Not Recognized" in done.stdout
    assert done.returncode != 0


def test_another_called_ae_is_rejected(gateway: GatewayProcess) -> None:
    done = dcmtk("echoscu", gateway, called="ANOTHER")

    assert "F: Result: Rejected Permanent, Source: Service User" in done.stdout
    assert "F: Reason: Called AE Title Not Recognized" in done.stdout
    assert done.returncode != 0


def test_a_rejected_association_is_logged_with_its_reason(gateway: GatewayProcess) -> None:
    dcmtk("echoscu", gateway, calling="LOGGED_ONCE")

    lines = [line for line in gateway.log_text.splitlines() if "LOGGED_ONCE" in line]

    assert any("CALLING_AE_UNKNOWN" in line and "127.0.0.1" in line for line in lines)


def test_for_development_any_calling_ae_is_admitted(dev_gateway: GatewayProcess) -> None:
    assert "Received Echo Response (Success)" in dcmtk("echoscu", dev_gateway, calling="ANYBODY").stdout


def test_ae_titles_are_compared_without_their_padding(gateway: GatewayProcess) -> None:
    assert dcmtk("echoscu", gateway, calling=" HOSPITAL_A ").returncode == 0


def test_one_association_may_propose_128_presentation_contexts(gateway: GatewayProcess) -> None:
    contexts = [(f"1.2.826.0.1.3680043.10.1338.{number}", IMPLICIT_LITTLE) for number in range(128)]

    with association(gateway, contexts) as assoc:
        assert len(assoc.accepted_contexts) == 128


def test_what_is_not_offered_is_not_accepted(gateway: GatewayProcess) -> None:
    asked = [
        CTImageStorage,
        ModalityWorklistInformationFind,
        ModalityPerformedProcedureStep,
        DETACHED_PATIENT_MANAGEMENT,
    ]
    with association(gateway, [(uid, IMPLICIT_LITTLE) for uid in asked]) as assoc:
        assert [cx.abstract_syntax for cx in assoc.accepted_contexts] == [CTImageStorage]
        assert {cx.result for cx in assoc.rejected_contexts} == {ABSTRACT_SYNTAX_NOT_SUPPORTED}
        assert len(assoc.rejected_contexts) == len(asked) - 1


def test_of_several_transfer_syntaxes_the_first_that_is_proposed_is_accepted(gateway: GatewayProcess) -> None:
    for syntaxes in ([EXPLICIT_LITTLE, JPEG_2000, IMPLICIT_LITTLE], [JPEG_2000, EXPLICIT_LITTLE]):
        ae = AE("HOSPITAL_A")
        ae.add_requested_context(CTImageStorage, syntaxes)
        assoc = ae.associate("127.0.0.1", gateway.dicom_port, ae_title=gateway.ae_title)

        assert [cx.transfer_syntax for cx in assoc.accepted_contexts] == [[syntaxes[0]]]
        assoc.release()


def test_the_gateway_names_its_implementation_and_its_largest_pdu(gateway: GatewayProcess) -> None:
    with association(gateway, [(Verification, IMPLICIT_LITTLE)]) as assoc:
        assert assoc.acceptor.implementation_class_uid == "2.25.302872214079961481996349282370042220664"
        assert assoc.acceptor.implementation_version_name == "SECONDOPINION_1"
        assert assoc.acceptor.maximum_length == 128 * 1024
        assert assoc.acceptor.asynchronous_operations == (1, 1)


def test_of_any_window_of_asynchronous_operations_one_is_answered(gateway: GatewayProcess) -> None:
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked, window.maximum_number_operations_performed = 5, 0
    ae = AE("HOSPITAL_A")
    ae.add_requested_context(Verification)
    assoc = ae.associate("127.0.0.1", gateway.dicom_port, ae_title=gateway.ae_title, ext_neg=[window])
    items = [item for item in assoc.acceptor.user_information if isinstance(item, type(window))]
    assoc.release()

    (answered,) = items
    assert answered.maximum_number_operations_invoked == 1
    assert answered.maximum_number_operations_performed == 1


def test_associations_past_the_limit_are_rejected_until_one_ends(tmp_path: Path) -> None:
    with listener_in_this_process(tmp_path, max_associations=2) as listener, ExitStack() as open_ones:
        first = open_ones.enter_context(association(listener, [(Verification, IMPLICIT_LITTLE)]))
        open_ones.enter_context(association(listener, [(Verification, IMPLICIT_LITTLE)]))

        refused = dcmtk("echoscu", listener)
        first.release()
        admitted = dcmtk("echoscu", listener)

    assert "F: Result: Rejected Transient, Source: Service Provider (Presentation Related)" in refused.stdout
    assert "F: Reason: Local Limit Exceeded" in refused.stdout
    assert admitted.returncode == 0


def test_without_its_database_the_gateway_asks_to_try_again(tmp_path: Path) -> None:
    lost = build_services(
        Config(data_dir=tmp_path, dicom_port=free_port(), database_url=SecretStr("sqlite:////nowhere/x"))
    )
    stop, listening = threading.Event(), threading.Event()
    thread = threading.Thread(target=scp.serve, args=(lost, stop, listening), daemon=True)
    thread.start()
    assert listening.wait(10)

    done = dcmtk("echoscu", RunningListener(lost.config.dicom_port, tmp_path, stop, thread))
    stop.set()
    thread.join(10)

    assert "F: Result: Rejected Transient, Source: Service Provider (Presentation Related)" in done.stdout
    assert "F: Reason: Temporary Congestion" in done.stdout


def test_connections_that_ask_for_nothing_take_no_association_away(tmp_path: Path) -> None:
    with listener_in_this_process(tmp_path, max_associations=1) as listener, ExitStack() as silent:
        for _ in range(3):
            silent.enter_context(socket.create_connection(("127.0.0.1", listener.dicom_port)))

        assert dcmtk("echoscu", listener).returncode == 0


def test_connections_that_closed_again_are_forgotten(tmp_path: Path) -> None:
    with listener_in_this_process(tmp_path, max_associations=1) as listener:
        for _ in range(3 * scp.CONNECTIONS_PER_ASSOCIATION):
            socket.create_connection(("127.0.0.1", listener.dicom_port)).close()

        _wait_until(lambda: dcmtk("echoscu", listener).returncode == 0, seconds=10)


def test_a_peer_that_stalls_within_a_pdu_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scp, "STALL_TIMEOUT_SECONDS", 0.3)
    with (
        listener_in_this_process(tmp_path) as listener,
        socket.create_connection(("127.0.0.1", listener.dicom_port)) as peer,
    ):
        peer.settimeout(10)
        peer.sendall(b"\x01\x00\x00")

        assert peer.recv(1) == b""


def test_a_peer_that_never_asks_for_an_association_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scp, "ACSE_TIMEOUT_SECONDS", 0.3)
    with (
        listener_in_this_process(tmp_path) as listener,
        socket.create_connection(("127.0.0.1", listener.dicom_port)) as peer,
    ):
        peer.settimeout(10)

        assert peer.recv(1) == b""


def test_an_idle_association_is_aborted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scp, "IDLE_TIMEOUT_SECONDS", 0.3)
    with (
        listener_in_this_process(tmp_path) as listener,
        association(listener, [(Verification, IMPLICIT_LITTLE)]) as assoc,
    ):
        _wait_until(lambda: assoc.is_aborted)


def test_a_stopping_listener_lets_running_associations_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scp, "GRACE_SECONDS", 30)
    with listener_in_this_process(tmp_path) as listener:
        with association(listener, [(Verification, IMPLICIT_LITTLE)]) as assoc:
            listener.stop.set()
            _wait_until(lambda: not _accepts_connections(listener))

            assert assoc.send_c_echo().Status == 0x0000
        listener.thread.join(10)

        assert not listener.thread.is_alive()


def test_a_stopping_listener_aborts_what_does_not_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scp, "GRACE_SECONDS", 0.2)
    with (
        listener_in_this_process(tmp_path) as listener,
        association(listener, [(CTImageStorage, IMPLICIT_LITTLE)]) as assoc,
    ):
        listener.stop.set()
        listener.thread.join(10)

        assert not listener.thread.is_alive()
        _wait_until(lambda: assoc.is_aborted)


def test_garbage_instead_of_dicom_leaves_the_listener_well(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.dicom_port)) as peer:
        peer.settimeout(10)
        peer.sendall(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")

        answer = peer.recv(1)

    assert answer in (b"", A_ABORT_PDU_TYPE)
    assert dcmtk("echoscu", gateway).returncode == 0


def _accepts_connections(listener: RunningListener) -> bool:
    try:
        socket.create_connection(("127.0.0.1", listener.dicom_port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_an_association_waits_for_its_peer_only_when_nothing_is_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_to_do: list[int] = []
    wait = UpperLayer._is_readable

    def noting(self: UpperLayer, peer: socket.socket | None) -> bool:
        left_to_do.append(self.event_queue.qsize())
        return wait(self, peer)

    monkeypatch.setattr(UpperLayer, "_is_readable", noting)
    with listener_in_this_process(tmp_path) as listener:
        assert dcmtk("echoscu", listener).returncode == 0
    assert set(left_to_do) == {0}
