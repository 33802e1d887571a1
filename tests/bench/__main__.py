"""``make bench``: measures a real gateway on this machine and prints the figures. Nothing is asserted.

``make bench ARGS="c-store-1 stow-500"`` takes these rows only.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

from tests.bench import (
    fhir_bundles,
    fhir_searching,
    imaging,
    matching,
    memory,
    operating,
    reading,
    searching,
)
from tests.bench.figures import RUNS, Alone, Compared, seconds
from tests.bench.slices import COUNT
from tests.support.orthanc import server_program


def sending(figure: str, must: str, aim: str, send: imaging.Run) -> Compared:
    return Compared(figure, must, aim, lambda: imaging.compare_sending(send))


def asking(figure: str, must: str, aim: str, read: imaging.Run) -> Compared:
    return Compared(figure, must, aim, lambda: imaging.compare_reading(read))


ALONE: dict[str, Alone] = {
    "start": operating.starts,
    "bundle": operating.bundles,
    "fhir-parsing": fhir_bundles.beside_parsing,
    "fhir-row": fhir_bundles.in_a_row,
    "fhir-attachments": fhir_bundles.attachments,
    "fhir-entries": fhir_bundles.by_size,
    "demo": operating.demo,
    "stow-memory": memory.stow_growth,
    "search": searching.searches,
    "fhir-search": fhir_searching.searches,
}
COMPARED: dict[str, Compared] = {
    "c-store-1": sending("C-STORE, one association", "1.0 x", "0.67 x", imaging.c_store(1)),
    "c-store-2": sending("C-STORE, two associations", "", "", imaging.c_store(2)),
    "c-store-4": sending("C-STORE, four associations", "0.67 x", "0.5 x", imaging.c_store(4)),
    "stow-500": sending("STOW-RS, all in one request", "1.0 x", "0.67 x", imaging.stow(COUNT)),
    "stow-10": sending("STOW-RS, ten a request", "1.0 x", "0.67 x", imaging.stow(10)),
    "wado-study": asking("WADO-RS, whole study", "1.0 x", "0.8 x", reading.whole_study),
    "metadata": asking("WADO-RS, metadata of the study", "1.0 x", "0.5 x", reading.metadata),
    "qido-instances": asking("QIDO-RS, instances of the study", "1.0 x", "0.5 x", reading.instances),
    "rendered": asking("WADO-RS, a rendered frame", "1.5 x", "1.0 x", reading.rendered_frame),
}
PATIENT_MATCH = "patient-match"
STORESCP = "storescp"
"""Not to compare with: what the sending and writing alone cost."""


def main() -> None:
    rows = [*ALONE, *COMPARED, STORESCP, PATIENT_MATCH]
    wanted = sys.argv[1:] or rows
    if unknown := set(wanted) - {*rows}:
        sys.exit(f"no row {', '.join(sorted(unknown))}; there are {', '.join(rows)}")
    print(
        f"{machine()}; medians of {RUNS}; load {os.getloadavg()[0]:.1f} at the start, which should be near 0"
    )
    print_alone([name for name in wanted if name in ALONE])
    print_compared([name for name in wanted if name in COMPARED], with_storescp=STORESCP in wanted)
    if PATIENT_MATCH in wanted:
        print("\n" + "\n".join(matching.table()))


def print_alone(names: list[str]) -> None:
    if names:
        print("\n| figure | wanted | measured |\n|---|---|---|")
    for name in names:
        for figure, wanted, measured in ALONE[name]():
            print(f"| {figure} | under {wanted} | {measured} |", flush=True)


def print_compared(names: list[str], with_storescp: bool) -> None:
    if not names and not with_storescp:
        return
    print(
        f"\n{COUNT} CT slices of 512 x 512 x 16 bit beside {orthanc_version()}, each file synced and indexed;"
    )
    print("the ratio is the median of pairs, one run right after the other\n")
    print("| figure | gateway | Orthanc | ratio | must | aim |\n|---|---|---|---|---|---|")
    for name in names:
        row = COMPARED[name]
        print(f"| {' | '.join((row.figure, *row.measure().cells(), row.must, row.aim))} |", flush=True)
    if with_storescp:
        taken = seconds(imaging.bare_storescp())
        print(f"\ndcmtk's storescp, without index and sync, one association: {taken}", flush=True)


def machine() -> str:
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


def orthanc_version() -> str:
    """As it calls itself, such as Orthanc 1.10.1."""
    told = subprocess.run([server_program() or "Orthanc", "--version"], capture_output=True, text=True)
    return f"Orthanc {told.stdout.split()[1]}"


if __name__ == "__main__":
    main()
