"""``make bench``: measures a real gateway on this machine and prints the figures. Nothing is asserted."""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from tests.bench.bundle import ENTRIES, referral_of_a_megabyte
from tests.support import processes
from tests.support.bundles import FhirClient
from tests.support.gateway_process import GatewayProcess, clean_environment

RUNS = 5
IDLE_SECONDS = 3
MIB = 1024 * 1024


def main() -> None:
    print(f"{machine()}; medians of {RUNS}\n")
    print("| figure | wanted | measured |")
    print("|---|---|---|")
    ready, again, idle = starts()
    show("ready to work, first start in an empty folder", "5 s", seconds(ready))
    show("ready to work, started again", "5 s", seconds(again))
    show("idle memory of all processes (PSS)", "300 MiB", f"{median(idle) / MIB:.0f} MiB")
    size, taken = bundles()
    show(f"bundle of {ENTRIES} entries, {size / MIB:.1f} MiB, to a case", "0.5 s", seconds(taken))
    show("`make demo` after set-up, once", "60 s", f"{demo():.0f} s")


def show(figure: str, wanted: str, measured: str) -> None:
    print(f"| {figure} | under {wanted} | {measured} |", flush=True)


def seconds(measured: Iterable[float]) -> str:
    return f"{median(measured):.2f} s"


def machine() -> str:
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


def starts() -> tuple[list[float], list[float], list[int]]:
    """Seconds to ready with an empty folder, seconds to ready after a stop, bytes when idle."""
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
    return ready, again, idle


def bundles() -> tuple[int, list[float]]:
    """Bytes of one bundle, and the seconds from sending it to the answer that names its case."""
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
    return int(median(sizes)), taken


def demo() -> float:
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        command = [sys.executable, "-m", "gateway.cli", "demo"]
        started = time.monotonic()
        subprocess.run(command, cwd=folder, env=clean_environment(), check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - started


if __name__ == "__main__":
    main()
