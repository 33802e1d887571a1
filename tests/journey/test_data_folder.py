"""The data folder as an operator meets it: private, one gateway at a time, and never made by mistake."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bundles import FhirClient, document_reference, referral
from tests.support.gateway_process import GatewayProcess

TABLES = "There are no tables in"


@pytest.fixture(scope="module")
def running() -> Iterator[GatewayProcess]:
    """Started by somebody whose umask lets everybody read what they write."""
    before = os.umask(0o022)
    try:
        with GatewayProcess() as process:
            yield process
    finally:
        os.umask(before)


def test_nobody_but_the_owner_may_read_what_a_gateway_keeps(running: GatewayProcess) -> None:
    client = FhirClient(running, running.add_partner("hospital-a", name="Hospital A"))
    client.open_case(referral(document=document_reference(b"%PDF-1.4")))
    kept = [running.data_dir, *running.data_dir.rglob("*")]
    assert {path.suffix for path in kept} >= {".sqlite", ".sqlite-wal"}
    assert any(path.is_file() for path in (running.data_dir / "objects").rglob("*"))
    assert [path for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_a_folder_that_others_may_enter_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    gateway = GatewayProcess(data_dir=tmp_path)
    assert "data-folder-open-to-others" in gateway.command("migrate").stderr
    assert stat.S_IMODE((tmp_path / "gateway.sqlite").stat().st_mode) == 0o600


def test_a_second_gateway_on_the_same_folder_does_not_start(running: GatewayProcess) -> None:
    second = GatewayProcess(data_dir=running.data_dir)
    second.launch()
    assert second.wait() == 1
    assert second.log_text.splitlines() == [
        f"gateway: A gateway runs on the data folder {running.data_dir} already (dimse): stop it first."
    ]
    assert running.readiness()[0] == 200


@pytest.mark.parametrize("part", ["dimse", "worker"])
def test_a_second_part_on_the_same_folder_does_not_start(running: GatewayProcess, part: str) -> None:
    done = running.command(part, check=False)
    assert done.returncode == 1
    assert f"already ({part})" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [("case", "list"), ("case", "show", "SO-1"), ("partner", "list"), ("partner", "show", "a")],
    ids=" ".join,
)
def test_a_command_that_reads_makes_no_folder_and_says_what_to_do(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = GatewayProcess(data_dir=tmp_path / "elsewhere").command(*command, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"gateway: {TABLES} {tmp_path}/elsewhere/gateway.sqlite: run `gateway migrate`"
    )
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_postgresql_database_without_tables_is_said_without_its_password(postgres_url: str) -> None:
    url = postgres_url.replace("@", ":geheim@") if "@" in postgres_url else postgres_url
    gateway = GatewayProcess(environment={"GATEWAY_DATABASE_URL": url})
    done = gateway.command("case", "list", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"gateway: {TABLES} postgresql")
    assert "geheim" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("environment", "code", "named"),
    [
        ({"GATEWAY_DATABASE_URL": "mysql://h/x"}, 2, "GATEWAY_DATABASE_URL"),
        ({"GATEWAY_DATABASE_URL": "postgresql://u:geheim@h:port/x"}, 1, "database URL"),
        ({"GATEWAY_DATABASE_URL": "postgresql://u:geheim@127.0.0.1:1/x"}, 1, "Connection refused"),
        ({"GATEWAY_DATABASE_URL": "sqlite:////nowhere/x.sqlite"}, 1, "unable to open database file"),
        ({"GATEWAY_DATABASE_URL": f"sqlite:///{__file__}"}, 1, "file is not a database"),
        ({"GATEWAY_OBJECTS_URL": "bucket"}, 2, "GATEWAY_OBJECTS_URL"),
        ({"GATEWAY_OBJECTS_URL": "s3://"}, 1, "object store"),
    ],
)
def test_a_store_that_cannot_be_reached_is_one_line_with_the_cause(
    environment: dict[str, str], code: int, named: str
) -> None:
    done = GatewayProcess(environment=environment).command("migrate", check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert named in done.stderr
    assert "geheim" not in done.stderr


@pytest.mark.parametrize("command", [("migrate",), ("serve",), ("worker",), ("web",)], ids=" ".join)
def test_a_data_folder_that_cannot_be_made_is_one_line_that_names_it(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    done = GatewayProcess(data_dir=tmp_path / "file" / "data").command(*command, check=False)
    assert done.returncode == 1
    assert done.stderr == f"gateway: The data folder {tmp_path}/file/data cannot be used: Not a directory.\n"
