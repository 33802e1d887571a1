"""What is measured: the gateway as it is installed, and Orthanc as Debian installs it, each beside the other."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from tests.support import processes
from tests.support.gateway_process import GatewayProcess, free_port
from tests.support.orthanc import Orthanc, server_program
from tests.support.partner import Partner

AE_TITLE = "BENCH"
_QUIET_SECONDS, _QUIET_SHARE, _SETTLE_SECONDS = 0.3, 0.1, 30


class Peer(Protocol):
    """A server that is sent to and asked."""

    http_port: int
    dicom_port: int
    ae_title: str

    def headers(self) -> dict[str, str]:
        """Those of an authorised request."""

    def pids(self) -> list[int]: ...


@dataclass(frozen=True, eq=False)
class GatewayPeer:
    """``gateway serve`` without any option of its own; who sends is a registered partner."""

    gateway: GatewayProcess
    partner: Partner
    http_port: int
    dicom_port: int
    ae_title: str

    def headers(self) -> dict[str, str]:
        return self.partner.headers()

    def pids(self) -> list[int]:
        return self.gateway.all_pids()


@dataclass(frozen=True, eq=False)
class OrthancPeer:
    orthanc: Orthanc
    http_port: int
    dicom_port: int
    ae_title: str

    def headers(self) -> dict[str, str]:
        return {}

    def pids(self) -> list[int]:
        return [self.orthanc.pid]


@contextmanager
def running_gateway() -> Iterator[GatewayPeer]:
    with GatewayProcess() as gateway:
        partner = gateway.add_partner("bench", ae_title=AE_TITLE)
        yield GatewayPeer(gateway, partner, gateway.http_port, gateway.dicom_port, gateway.ae_title)


@contextmanager
def running_orthanc() -> Iterator[OrthancPeer]:
    program = server_program()
    if program is None:
        sys.exit("no Orthanc: install the Debian packages orthanc and orthanc-dicomweb")
    with Orthanc(program) as orthanc:
        yield OrthancPeer(orthanc, orthanc.http_port, orthanc.dicom_port, orthanc.ae_title)


@dataclass(frozen=True, eq=False)
class StorescpPeer:
    """dcmtk's receiver, which writes files and keeps no index."""

    dicom_port: int
    pid: int
    ae_title: str = "STORESCP"
    http_port: int = 0

    def headers(self) -> dict[str, str]:
        return {}

    def pids(self) -> list[int]:
        return [self.pid]


@contextmanager
def running_storescp() -> Iterator[StorescpPeer]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="gateway-storescp-") as folder:
        command = ["storescp", "--bit-preserving", "--output-directory", folder, str(port)]
        with subprocess.Popen(command, env=dcmtk_environment()) as receiver:
            try:
                _wait_for_echo(port)
                yield StorescpPeer(port, receiver.pid)
            finally:
                receiver.terminate()


def _wait_for_echo(port: int) -> None:
    deadline = time.monotonic() + 10
    while subprocess.run(["echoscu", "-q", "127.0.0.1", str(port)]).returncode != 0:
        if time.monotonic() > deadline:
            sys.exit("storescp does not answer")
        time.sleep(0.05)


def dcmtk_environment() -> dict[str, str]:
    """Without TCP_NODELAY, dcmtk waits for acknowledgements between its small packets."""
    return {**os.environ, "TCP_NODELAY": "1"}


def settle(*peers: Peer) -> None:
    """Wait until what was written is on disk and the servers have finished what they do after they answered."""
    os.sync()
    deadline = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline:
        before = _cpu_seconds(peers)
        time.sleep(_QUIET_SECONDS)
        if _cpu_seconds(peers) - before <= _QUIET_SHARE * _QUIET_SECONDS:
            return


def _cpu_seconds(peers: tuple[Peer, ...]) -> float:
    return sum(processes.cpu_seconds(pid) for peer in peers for pid in peer.pids())
