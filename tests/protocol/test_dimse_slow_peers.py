"""Peers of the DICOM port that are slow, silent or without end take nothing away from others (PS3.8 9.3)."""

import re
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydicom import dcmread
from pynetdicom.sop_class import CTImageStorage

from gateway.dimse import incoming, scp, upper_layer
from gateway.workflow import receive_stream
from tests.support.dimse import (
    TEST_FILES,
    Archive,
    RunningListener,
    association,
    dcmtk,
    listener_in_this_process,
    new_instance,
)
from tests.support.processes import wait_until

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
ASSOCIATE_RQ = b"\x01\x00"
P_DATA = b"\x04\x00"
STATEMENT = Path(__file__).parents[2] / "conformance/dicom/conformance-statement.md"


def connect(stack: ExitStack, listener: RunningListener) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", listener.dicom_port), timeout=10))


def seconds_until_cut_off(peer: socket.socket, sends: bytes = b"", every_seconds: float = 0.05) -> float:
    """A byte at a time."""
    started = time.monotonic()
    peer.settimeout(every_seconds)
    while time.monotonic() < started + 10:
        try:
            if sends:
                peer.sendall(sends)
            if peer.recv(1024) == b"":
                return time.monotonic() - started
        except TimeoutError:
            continue
        except ConnectionError:
            return time.monotonic() - started
    raise AssertionError("it was not cut off")


@pytest.mark.parametrize("sent", [b"", ASSOCIATE_RQ])
def test_connections_that_ask_for_nothing_give_way_to_one_that_does(tmp_path: Path, sent: bytes) -> None:
    with listener_in_this_process(tmp_path, max_associations=2) as listener, ExitStack() as stack:
        silent = [connect(stack, listener) for _ in range(5 * scp.CONNECTIONS_PER_ASSOCIATION)]
        for peer in silent:
            peer.sendall(sent)
        assert dcmtk("echoscu", listener).returncode == 0
        assert silent[0].recv(1) == b""


def test_associations_do_not_give_way(tmp_path: Path) -> None:
    with listener_in_this_process(tmp_path, max_associations=1) as listener, ExitStack() as stack:
        assoc = stack.enter_context(association(listener, [(CTImageStorage, IMPLICIT_LITTLE)]))
        for _ in range(4 * scp.CONNECTIONS_PER_ASSOCIATION):
            connect(stack, listener)
        time.sleep(0.5)
        assert assoc.is_established


def test_a_request_for_an_association_that_trickles_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scp, "ACSE_TIMEOUT_SECONDS", 0.5)
    with listener_in_this_process(tmp_path) as listener, ExitStack() as stack:
        peer = connect(stack, listener)
        peer.sendall(ASSOCIATE_RQ + (10_000).to_bytes(4, "big"))
        assert seconds_until_cut_off(peer, b"\x00") < 3


def test_data_that_trickle_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scp, "STALL_TIMEOUT_SECONDS", 0.5)
    with listener_in_this_process(tmp_path) as listener, ExitStack() as stack:
        assoc = stack.enter_context(association(listener, [(CTImageStorage, IMPLICIT_LITTLE)]))
        peer = assoc.dul.socket.socket
        peer.sendall(P_DATA + (100).to_bytes(4, "big"))
        for _ in range(100):
            if not assoc.is_established:
                break
            peer.sendall(b"\x00")
            time.sleep(0.05)
        assert not assoc.is_established


def test_what_was_answered_is_indexed_while_the_next_pdu_stalls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive_stream, "AT_ONCE_SECONDS", 30)
    files = [new_instance(tmp_path / f"{n}.dcm", TEST_FILES / "CT_small.dcm") for n in (1, 2)]
    first, second = (dcmread(file) for file in files)
    with listener_in_this_process(tmp_path) as listener, ExitStack() as stack:
        contexts = [(first.SOPClassUID, first.file_meta.TransferSyntaxUID)]
        assoc = stack.enter_context(association(listener, contexts))
        for ds in (first, second):
            assert assoc.send_c_store(ds).Status == 0
        assoc.dul.socket.socket.sendall(P_DATA + (100).to_bytes(4, "big"))
        archive = Archive(listener)
        wait_until(lambda: bool(archive.instances(second.SOPInstanceUID)), 10)
        assert assoc.is_established
        assoc.abort()


def test_the_largest_pdu_is_received_whole_however_it_is_cut(tmp_path: Path) -> None:
    """More than one packet, and pieces that do not fit."""
    ours, theirs = socket.socketpair()
    content = bytes(range(256)) * 512
    sender = threading.Thread(target=theirs.sendall, args=(content + b"next",))

    silent = SimpleNamespace(requestor=SimpleNamespace(primitive=None))
    with ours, theirs:
        coming = incoming.Incoming(silent, ours, 5, 5)
        sender.start()
        received = [bytes(coming.receive(size, lambda: None)) for size in (6, len(content) - 6, 4)]
        assert b"".join(received) == content + b"next"
        assert not coming.is_ahead
        sender.join()


def test_an_association_is_ended_after_the_times_that_are_claimed() -> None:
    """The other tests shorten them."""
    table = STATEMENT.read_text().partition("Times, after which")[2].partition("####")[0]
    claimed = [row.split("|")[2].strip() for row in table.splitlines() if re.match(r"\| [A-Z]", row)]
    assert claimed == [
        f"{scp.ACSE_TIMEOUT_SECONDS}",
        f"{scp.IDLE_TIMEOUT_SECONDS}",
        f"{scp.ACSE_TIMEOUT_SECONDS}",
        f"{scp.STALL_TIMEOUT_SECONDS}",
        f"{scp.STALL_TIMEOUT_SECONDS}, and one for each KiB",
        f"{scp.GRACE_SECONDS}",
        f"{upper_layer.LINGER_SECONDS:.0f}",
    ]
    assert incoming.SLOWEST_BYTES_PER_SECOND == 1024
