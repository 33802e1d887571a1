"""A real ``gateway serve`` on free loopback ports with a data folder of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.support import processes
from tests.support.partner import Partner
from tests.support.warm_commands import warm_commands

READY_SECONDS = 30
STOP_SECONDS = 40
PARTS = ("web", "dimse", "worker")


@dataclass(frozen=True)
class StaffLogin:
    login: str
    name: str
    password: str
    roles: tuple[str, ...]


INTAKE = StaffLogin("intake", "Ines Intake", "correct horse intake", ("intake",))
SPECIALIST = StaffLogin("specialist", "Dr Sam Specialist", "correct horse specialist", ("specialist",))


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class GatewayProcess:
    """A context manager: started and ready inside, stopped after. May be started again on the same data.

    ``environment`` adds GATEWAY_… variables, such as GATEWAY_DATABASE_URL.
    """

    def __init__(
        self,
        *,
        dev: bool = False,
        data_dir: Path | None = None,
        environment: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-test-")
        self.data_dir = data_dir or Path(self._folder.name) / "data"
        self.dev = dev
        self.http_port = free_port()
        self.dicom_port = free_port()
        self.ae_title = "SECONDOPINION"
        self.partners: dict[str, Partner] = {}
        self._options = options
        self._environment = clean_environment() | (environment or {})
        self._log = Path(self._folder.name) / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def fhir_url(self) -> str:
        return f"{self.base_url}/fhir"

    @property
    def dicomweb_url(self) -> str:
        return f"{self.base_url}/dicom-web"

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self._process is not None, "the gateway is not started"
        return self._process.pid

    def pids(self) -> dict[str, int]:
        """The process of each part that runs now: web, dimse, worker."""
        named = {
            processes.name(child).removeprefix("gateway-"): child for child in processes.children(self.pid)
        }
        return {part: named[part] for part in PARTS if part in named}

    def dimse_pids(self) -> list[int]:
        """The processes that share the DICOM port."""
        return [
            child
            for child in processes.children(self.pid)
            if processes.name(child).startswith("gateway-dimse")
        ]

    def all_pids(self) -> list[int]:
        """The supervisor and every process under it."""
        return processes.family(self.pid)

    @property
    def log_text(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> Self:
        """Start and wait until it is ready."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Start and do not wait."""
        assert self._process is None or self._process.poll() is not None, "the gateway runs already"
        command = [
            *(sys.executable, "-m", "gateway.cli", "serve"),
            *("--data-dir", str(self.data_dir)),
            *("--http-port", str(self.http_port), "--dicom-port", str(self.dicom_port)),
            *("--ae-title", self.ae_title),
            *(("--dev",) if self.dev else ()),
            *self._options,
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Status and body of /readyz; 0 while nobody answers."""
        try:
            response = requests.get(f"{self.base_url}/readyz", timeout=5)
            return response.status_code, response.json()
        except (requests.RequestException, ValueError):
            return 0, {}

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while (state := self.readiness())[0] != 200:
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                log = self.log_text[-8000:]
                self.kill()
                raise AssertionError(f"the gateway is not ready: {state}\n{log}")
            time.sleep(0.05)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit code of the supervisor."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM; returns the exit code once the supervisor has ended."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL to the supervisor and everything under it."""
        if self._process is None or self._process.poll() is not None:
            return
        family = self.all_pids()
        for pid in family:
            _kill(pid)
        self._process.wait(10)
        processes.wait_until_ended(family, 10)

    def kill_part(self, part: str) -> int:
        """SIGKILL to one part; returns the id that it had."""
        pid = self.pids()[part]
        _kill(pid)
        return pid

    def command(
        self, *arguments: str, stdin: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run ``gateway …`` as the operator of this gateway."""
        environment = self._environment | {"GATEWAY_DATA_DIR": str(self.data_dir)}
        done = warm_commands().run(arguments, stdin, environment)
        if check:
            assert done.returncode == 0, f"gateway {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def add_partner(
        self,
        partner_id: str,
        *,
        name: str = "",
        ae_title: str = "",
        assigning_authority: str = "",
        options: tuple[str, ...] = (),
    ) -> Partner:
        """Register a partner with a new key pair, as the operator does."""
        partner = Partner(partner_id, name or partner_id, ae_title, self.base_url, assigning_authority)
        jwks = Path(self._folder.name) / f"{partner_id}.jwks.json"
        jwks.write_text(json.dumps(partner.jwks()))
        wanted = ["--name", partner.name, "--jwks", str(jwks), *options]
        if ae_title:
            wanted += ["--ae", ae_title]
        if assigning_authority:
            wanted += ["--assigning-authority", assigning_authority]
        self.command("partner", "add", partner_id, *wanted)
        self.partners[partner_id] = partner
        return partner

    def add_user(self, staff: StaffLogin) -> None:
        roles = [option for role in staff.roles for option in ("--role", role)]
        self.command(
            *("user", "add", staff.login, "--name", staff.name, "--password-stdin", *roles),
            stdin=staff.password + "\n",
        )

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process is not None:
                self.stop()
        finally:
            self.kill()
            self._folder.cleanup()


def clean_environment() -> dict[str, str]:
    """This environment without any GATEWAY_… of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
