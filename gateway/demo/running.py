"""A real ``gateway serve`` with a fresh data folder on free loopback ports, and the operator's commands to it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from gateway.demo.timeline import StepFailed, require

HOST, AE_TITLE = "127.0.0.1", "SECONDOPINION"
READY_SECONDS, STOP_SECONDS, COMMAND_SECONDS = 40.0, 30.0, 30.0
_LOG_TAIL_LINES = 40


class RunningGateway:
    """A context manager: whatever happens inside, nothing of it runs afterwards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.http_port, self.dicom_port = _free_ports(2)
        self._log = folder / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.http_port}"

    def start(self) -> None:
        """In a session of its own, so that Ctrl-C reaches the demo alone, which then stops it in order.

        Should the demo be killed, the kernel kills the gateway too.
        """
        command = [
            *(sys.executable, "-c", _BOUND, str(os.getpid())),
            *("serve", "--host", HOST, "--ae-title", AE_TITLE),
            *("--http-port", str(self.http_port), "--dicom-port", str(self.dicom_port)),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )

    def wait_ready(self) -> dict[str, str]:
        """The parts that /readyz names, all ready; raises StepFailed when they are not in time."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            require(self._process and self._process.poll() is None, "the gateway ended while starting")
            try:
                answer = requests.get(f"{self.url}/readyz", timeout=5)
                if answer.status_code == 200:
                    return dict(answer.json()["parts"])
            except requests.RequestException:
                pass
            time.sleep(0.05)
        raise StepFailed(f"the gateway is not ready after {READY_SECONDS:.0f} s")

    def command(self, *arguments: str, stdin: str = "") -> str:
        """Run ``gateway …`` as the operator does; returns what it prints."""
        done = subprocess.run(
            [*_GATEWAY, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            env=self._environment(),
            check=False,
        )
        require(done.returncode == 0, f"gateway {' '.join(arguments[:2])}: {done.stderr.strip()}")
        return done.stdout

    def wait_until_it_ends(self) -> None:
        if self._process is not None:
            self._process.wait()

    def log_tail(self) -> str:
        if not self._log.exists():
            return ""
        return "\n".join(self._log.read_text("utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:])

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what is left of its session afterwards."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _environment(self) -> Mapping[str, str]:
        """Without any GATEWAY_… of whoever runs the demo."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        return own | {"GATEWAY_DATA_DIR": str(self._folder / "data")}


_GATEWAY = (sys.executable, "-m", "gateway.cli")
_BOUND = """
import sys
from gateway.processes.lifeline import die_with_parent
die_with_parent(int(sys.argv.pop(1)))
from gateway.cli import main
main()
"""


def _free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now, all different."""
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
