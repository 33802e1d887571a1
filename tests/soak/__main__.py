"""``make soak``: several hospitals send by every door without pause, while parts of the gateway are killed.

The first half of the time has the killings, the second half has none, and there memory must not grow. In the end all
that was acknowledged must be there. SECONDS_TO_SEND is how long, 180 unless set. Ends 0 only if all is well.
"""

import os
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from pynetdicom import _config

from tests.support import processes
from tests.support.gateway_process import INTAKE, PARTS, SPECIALIST, GatewayProcess
from tests.support.steady_sender import Sender, everything_is_there, kill_part

SECONDS = float(os.environ.get("SECONDS_TO_SEND") or 180)
SENDERS = {"hospital-a": 2, "hospital-b": 1}
KILL_EVERY_SECONDS = (3.0, 12.0)
SAMPLE_SECONDS = 1.0
SETTLE_SHARE = 0.25
"""Of the quiet half, before memory is compared: each part that was killed loads what it needs at its first use."""
ALLOWED_GROWTH = 0.15
MIB = 1024 * 1024


def main() -> int:
    _config.STORE_SEND_CHUNKED_DATASET = True  # pynetdicom has it once for all threads
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gateway-soak-") as name, GatewayProcess() as gateway:
        senders = hospitals(gateway, Path(name))
        for sender in senders:
            sender.start()
        try:
            kills = kill_at_random(gateway, senders, SECONDS / 2)
            before, after = memory_in_quiet(gateway, senders, SECONDS / 2)
        finally:
            for sender in senders:
                sender.stop.set()
        taken = check(gateway, senders)
    faults = [*taken, *growth(before, after)]
    for fault in faults:
        print(f"FAULT {fault}")
    cases, instances = sum(len(s.cases) for s in senders), sum(len(s.instances) for s in senders)
    print(
        f"soak {'failed' if faults else 'passed'} in {time.monotonic() - started:.0f} s: {cases} cases and "
        f"{instances} instances acknowledged by {len(senders)} senders, {kills} processes killed, "
        f"memory {before / MIB:.0f} MiB, then {after / MIB:.0f} MiB, {len(faults)} faults"
    )
    return 1 if faults else 0


def hospitals(gateway: GatewayProcess, folder: Path) -> list[Sender]:
    for staff in (INTAKE, SPECIALIST):
        gateway.add_user(staff)
    senders = []
    for partner_id, count in SENDERS.items():
        partner = gateway.add_partner(partner_id, ae_title=partner_id.replace("-", "_").upper())
        senders += [Sender(gateway, partner, folder) for _ in range(count)]
    return senders


def kill_at_random(gateway: GatewayProcess, senders: list[Sender], seconds: float) -> int:
    """How many were killed; each is back before the next is chosen."""
    deadline, kills = time.monotonic() + seconds, 0
    while (left := deadline - time.monotonic()) > 0 and not failed(senders):
        time.sleep(min(left, random.uniform(*KILL_EVERY_SECONDS)))
        part = random.choice([*PARTS, "everything"])
        kill_part(gateway, part)
        kills += 1
        told(f"{part} killed and back", senders)
    return kills


def memory_in_quiet(gateway: GatewayProcess, senders: list[Sender], seconds: float) -> tuple[float, float]:
    """Proportional memory of all processes: its median early and late."""
    deadline = time.monotonic() + seconds
    samples = []
    while time.monotonic() < deadline and not failed(senders):
        samples.append(processes.proportional_memory_bytes(gateway.all_pids()))
        if len(samples) % 30 == 0:
            told(f"memory {samples[-1] / MIB:.0f} MiB", senders)
        time.sleep(SAMPLE_SECONDS)
    settled = samples[int(len(samples) * SETTLE_SHARE) :] or [0]
    third = max(1, len(settled) // 3)
    return median(settled[:third]), median(settled[-third:])


def check(gateway: GatewayProcess, senders: list[Sender]) -> list[str]:
    """What is wrong with what was acknowledged."""
    faults = []
    for number, sender in enumerate(senders, 1):
        sender.join(120)
        if sender.is_alive() or sender.failure:
            faults.append(f"sender {number} did not end well: {sender.failure or 'it still waits'!r}")
            continue
        try:
            everything_is_there(gateway, sender)
        except AssertionError as error:
            faults.append(f"of sender {number} something is lost or altered: {error}")
    if "Traceback" in gateway.log_text or "unexpected-error" in gateway.log_text:
        faults.append("the gateway's log tells of an unexpected error")
    return faults


def growth(before: float, after: float) -> list[str]:
    if after <= before * (1 + ALLOWED_GROWTH):
        return []
    return [f"memory grew from {before / MIB:.0f} to {after / MIB:.0f} MiB under steady load"]


def failed(senders: list[Sender]) -> bool:
    return any(sender.failure for sender in senders)


def told(what: str, senders: list[Sender]) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {what}; {sum(len(s.cases) for s in senders)} cases", flush=True)


if __name__ == "__main__":
    sys.exit(main())
