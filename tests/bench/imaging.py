"""The same slices sent to the gateway and to Orthanc, and asked of both."""

import mmap
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.figures import RUNS, Comparison
from tests.bench.peers import (
    AE_TITLE,
    Peer,
    dcmtk_environment,
    running_gateway,
    running_orthanc,
    running_storescp,
    settle,
)
from tests.bench.slices import COUNT, FOLDERS, Slices
from tests.bench.wire import connected, get_json, store

Run = Callable[[Peer, Slices], float]
"""Sends the slices or asks for them; returns the seconds that it took."""
_IN_MEMORY = Path("/dev/shm")
_TOUCHED_BYTES = 8 * 1024**3


def touch_memory() -> None:
    """What the runs of a comparison write stays in the page cache. On a virtual machine whoever first writes to a page
    pays for the host's giving it, and that were a good part of what is measured: so it is given before."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    populated = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, min(_TOUCHED_BYTES, free // 2), flags=populated).close()


@contextmanager
def made_slices() -> Iterator[Slices]:
    """In memory where that can be: no disk is read while a server writes to it."""
    folder = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="gateway-bench-", dir=folder) as name:
        yield Slices(Path(name))


def compare_sending(send: Run) -> Comparison:
    """Each run sends another study to both, now the one first, now the other; the first pair is not counted."""
    touch_memory()
    with made_slices() as slices, running_gateway() as gateway, running_orthanc() as orthanc:
        comparison = Comparison()
        for number in range(RUNS + 1):
            slices.renew()
            slices.save()
            order = (gateway, orthanc) if number % 2 else (orthanc, gateway)
            taken = {peer: _sent(send, peer, slices, (gateway, orthanc)) for peer in order}
            if number:
                comparison.add(taken[gateway], taken[orthanc])
        return comparison


def _sent(send: Run, peer: Peer, slices: Slices, both: tuple[Peer, ...]) -> float:
    settle(*both)
    seconds = send(peer, slices)
    study = get_json(peer, f"/studies?StudyInstanceUID={slices.study_instance_uid}")
    assert study[0]["00201208"]["Value"] == [COUNT], "NumberOfStudyRelatedInstances (0020,1208)"
    return seconds


def compare_reading(read: Run) -> Comparison:
    """Both have the same study; the first pair is not counted."""
    with made_slices() as slices, running_gateway() as gateway, running_orthanc() as orthanc:
        comparison = Comparison()
        for peer in (gateway, orthanc):
            stow(COUNT)(peer, slices)
        for number in range(RUNS + 1):
            taken = {}
            for peer in (gateway, orthanc) if number % 2 else (orthanc, gateway):
                settle(gateway, orthanc)
                taken[peer] = read(peer, slices)
            if number:
                comparison.add(taken[gateway], taken[orthanc])
        return comparison


def bare_storescp() -> list[float]:
    with made_slices() as slices, running_storescp() as receiver:
        taken = []
        for _ in range(RUNS + 1):
            slices.renew()
            slices.save()
            settle(receiver)
            taken.append(c_store(1)(receiver, slices))
        return taken[1:]


def c_store(associations: int) -> Run:
    """As many storescu at once, each with an equal share on one association."""

    def send(peer: Peer, slices: Slices) -> float:
        each = FOLDERS // associations
        shares = [slices.folders[first : first + each] for first in range(0, FOLDERS, each)]
        started = time.monotonic()
        with ExitStack() as stack:
            senders = [stack.enter_context(_storescu(peer, share)) for share in shares]
            ended = [sender.wait() for sender in senders]
        taken = time.monotonic() - started
        assert not any(ended), f"storescu ended with {ended}"
        return taken

    return send


def _storescu(peer: Peer, folders: list[Path]) -> subprocess.Popen[bytes]:
    address = ["-aet", AE_TITLE, "-aec", peer.ae_title, "127.0.0.1", str(peer.dicom_port)]
    command = ["storescu", "+sd", *address, *map(str, folders)]
    return subprocess.Popen(command, env=dcmtk_environment())


def stow(per_request: int) -> Run:
    """One request after the other on one connection."""

    def send(peer: Peer, slices: Slices) -> float:
        headers = peer.headers()
        connection = connected(peer)
        started = time.monotonic()
        for first in range(0, COUNT, per_request):
            store(connection, headers, slices, range(first, first + per_request))
        taken = time.monotonic() - started
        connection.close()
        return taken

    return send
