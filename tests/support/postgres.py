"""A real PostgreSQL cluster in a temporary folder: on loopback, without durability, gone afterwards."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import psycopg

from tests.support.gateway_process import free_port

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}


def server_programs() -> Path | None:
    """The folder of initdb and postgres; None when the server is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    return folders[-1] if folders else Path(found).resolve().parent if found else None


class PostgresCluster:
    """A context manager. The server refuses to run as root: root runs it as postgres or nobody."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="gateway-postgres-"))
        self._port = free_port()
        self._as_user: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            account = _unprivileged_account()
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def create_database(self, like: str = "") -> str:
        """The SQLAlchemy URL of a new database: empty, or a copy of the one with the URL ``like``."""
        name = f"gateway_{uuid4().hex}"
        template = like.rpartition("/")[2] or "template0"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://gateway@127.0.0.1:{self._port}/{database}"

    def __enter__(self) -> Self:
        cluster = self._folder / "cluster"
        self._run(
            "initdb", "-D", str(cluster), "-U", "gateway", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"
        )
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", cluster, "-p", str(self._port), *settings],
                stdout=log,
                stderr=log,
                cwd="/",
                **self._as_user,
            )
        self._wait_ready()
        return self

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **self._as_user)
        assert done.returncode == 0, done.stderr

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._url("postgres")).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown: open transactions are rolled back
            self._process.wait(30)
        shutil.rmtree(self._folder)


def _unprivileged_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
