"""What an operator sees of the gateway: how soon it is ready, what it needs when idle, a bundle, the demo."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from statistics import median

from tests.bench.bundle import ENTRIES, referral_of_a_megabyte
from tests.bench.figures import MIB, RUNS, seconds
from tests.support import processes
from tests.support.bundles import FhirClient
from tests.support.gateway_process import GatewayProcess, clean_environment

IDLE_SECONDS = 3


def starts() -> Iterator[tuple[str, str, str]]:
    ready, again, idle = [], [], []
    for _ in range(RUNS):
        started = time.monotonic()
        with GatewayProcess() as gateway:
            ready.append(time.monotonic() - started)
            time.sleep(IDLE_SECONDS)
            idle.append(processes.proportional_memory_bytes(gateway.all_pids()))
            gateway.stop()
            started = time.monotonic()
            gateway.start()
            again.append(time.monotonic() - started)
    yield "ready to work, first start in an empty folder", "5 s", seconds(ready)
    yield "ready to work, started again", "5 s", seconds(again)
    yield "idle memory of all processes (PSS)", "300 MiB", f"{median(idle) / MIB:.0f} MiB"


def bundles() -> Iterator[tuple[str, str, str]]:
    """From sending one to the answer that names its case."""
    sizes, taken = [], []
    with GatewayProcess() as gateway:
        client = FhirClient(gateway, gateway.add_partner("hospital", name="Hospital"))
        client.get("Task")
        for number in range(RUNS):
            content = referral_of_a_megabyte(number)
            started = time.monotonic()
            answer = client.post(content)
            taken.append(time.monotonic() - started)
            assert answer.status_code == 200, answer.text[:1000]
            client.task(answer.headers["Location"].rsplit("/", 1)[1])
            sizes.append(len(content))
    figure = f"bundle of {ENTRIES} entries, {median(sizes) / MIB:.1f} MiB, to a case"
    yield figure, "0.5 s", seconds(taken)


def demo() -> Iterator[tuple[str, str, str]]:
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        command = [sys.executable, "-m", "gateway.cli", "demo"]
        started = time.monotonic()
        subprocess.run(command, cwd=folder, env=clean_environment(), check=True, stdout=subprocess.DEVNULL)
        yield "`make demo` after set-up, once", "60 s", f"{time.monotonic() - started:.0f} s"
