"""A real worker whose work is a line in a journal: to hold up, let fail and kill.

In the folder ``control``: ``hold-SUBJECT`` makes work on SUBJECT wait, ``fail-SUBJECT`` makes it fail once.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import func, select

from gateway.config import Config
from gateway.services import Services, build_services
from gateway.store.tables import AuditRow
from gateway.workflow import durable
from gateway.workflow.durable import Work
from tests.support.gateway_process import clean_environment


class WorkerProcess:
    """A context manager: started inside, killed after."""

    def __init__(self, data_dir: Path, database_url: str, machine: str = "a") -> None:
        self.control = data_dir / "control"
        self.control.mkdir(parents=True, exist_ok=True)
        self._command = [sys.executable, "-m", "tests.support.worker_process", str(self.control), machine]
        self._environment = clean_environment() | {
            "GATEWAY_DATA_DIR": str(data_dir),
            "GATEWAY_DATABASE_URL": database_url,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, env=self._environment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def journal(self) -> list[str]:
        path = self.control / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, seen: Callable[[list[str]], bool], seconds: float = 20) -> list[str]:
        """The journal once ``seen`` is true of it."""
        deadline = time.monotonic() + seconds
        while not seen(self.journal()):
            assert self._process is not None
            assert self._process.poll() is None, "the worker has ended"
            assert time.monotonic() < deadline, f"the journal is still {self.journal()}"
            time.sleep(0.02)
        return self.journal()

    def hold(self, subject: str) -> None:
        (self.control / f"hold-{subject}").touch()

    def release(self, subject: str) -> None:
        (self.control / f"hold-{subject}").unlink()

    def let_fail(self, subject: str) -> None:
        (self.control / f"fail-{subject}").touch()


def _perform(control: Path, services: Services, _work: Work, subject: str, _final: bool) -> bool:
    _write(control, f"begin {subject} {_seen(services, subject)}")
    while (control / f"hold-{subject}").exists():
        time.sleep(0.02)
    failing = control / f"fail-{subject}"
    if failing.exists():
        failing.unlink()
        _write(control, f"fail {subject}")
        raise ValueError(subject)
    _write(control, f"end {subject}")
    return True


def _seen(services: Services, subject: str) -> int:
    """How much of the subject's state this run sees: its rows of the audit trail."""
    with services.database.reading() as session:
        return session.scalar(select(func.count()).where(AuditRow.subject == subject)) or 0


def _write(control: Path, line: str) -> None:
    with (control / "journal").open("a") as journal:
        journal.write(line + "\n")
        journal.flush()
        os.fsync(journal.fileno())


def main(control: Path, machine: str) -> None:
    durable.RETRY_SECONDS = (1, *durable.RETRY_SECONDS[1:])
    durable.launch(build_services(Config()), machine, lambda *work: _perform(control, *work))
    while True:
        time.sleep(0.3)
        durable.take_over_from_dead({machine})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
