"""How much more memory the web process needs while a large STOW-RS request arrives."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from tests.bench.figures import MIB, RUNS
from tests.bench.imaging import made_slices
from tests.bench.peers import GatewayPeer, running_gateway, settle
from tests.bench.slices import Slices
from tests.bench.wire import connected, store
from tests.support import processes

REQUEST_BYTES = 2 * 1024 * MIB
_SAMPLE_SECONDS = 0.05


def stow_growth() -> Iterator[tuple[str, str, str]]:
    with made_slices() as slices:
        growth = median([_growth(slices) for _ in range(RUNS)])
    yield "memory growth (PSS) while a STOW-RS request of 2 GiB arrives", "64 MiB", f"{growth / MIB:.0f} MiB"


def _growth(slices: Slices) -> float:
    """Bytes between before, when a small request has been served, and the peak."""
    instances = REQUEST_BYTES // (slices.size_bytes // len(slices.files))
    with running_gateway() as gateway:
        _store(gateway, slices, 10)
        settle(gateway)
        before = _web_memory_bytes(gateway)
        with peak_of(lambda: _web_memory_bytes(gateway)) as peak:
            _store(gateway, slices, instances)
        return max(peak) - before


def _store(gateway: GatewayPeer, slices: Slices, instances: int) -> None:
    """In one request: the same pixels again and again, under new identities."""
    slices.renew()
    connection = connected(gateway)
    store(connection, gateway.headers(), slices, range(instances))
    connection.close()


def _web_memory_bytes(gateway: GatewayPeer) -> int:
    return processes.proportional_memory_bytes(processes.family(gateway.gateway.pids()["web"]))


@contextmanager
def peak_of(measured: Callable[[], int]) -> Iterator[list[int]]:
    """What was seen while it lasted, in a list."""
    seen, ended = [measured()], threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            seen.append(measured())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
