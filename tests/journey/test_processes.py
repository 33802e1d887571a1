"""The processes: they start, come back, and stop without leaving anything."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pynetdicom.sop_class import Verification

from tests.support import processes
from tests.support.dimse import association, dcmtk
from tests.support.gateway_process import PARTS, GatewayProcess
from tests.support.processes import listens, wait_until

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
READY_SECONDS = 20  # the figure is 5; this is what a busy machine may need


@pytest.fixture(scope="module")
def running() -> Iterator[GatewayProcess]:
    """A gateway whose parts may be killed."""
    with GatewayProcess() as process:
        yield process


def wait_for_new(gateway: GatewayProcess, part: str, old: int) -> None:
    """Until another process runs the part and does its work."""
    wait_until(lambda: gateway.pids().get(part, old) != old)
    wait_until(lambda: listens(gateway.http_port) and listens(gateway.dicom_port))
    gateway.wait_ready(READY_SECONDS)


def test_every_part_runs_and_says_so(running: GatewayProcess) -> None:
    status, body = running.readiness()
    assert status == 200
    assert set(body["parts"].values()) == {"ready"}
    assert set(body["parts"]) >= set(PARTS)
    assert sorted(running.pids()) == sorted(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_killed_comes_back(running: GatewayProcess, part: str) -> None:
    others = {name: pid for name, pid in running.pids().items() if name != part}
    old = running.kill_part(part)
    wait_for_new(running, part, old)
    assert running.pids().items() >= others.items()


def test_the_process_that_serves_http_comes_back(running: GatewayProcess) -> None:
    (serving,) = processes.children(running.pids()["web"])
    os.kill(serving, signal.SIGKILL)
    running.wait_ready(READY_SECONDS)
    assert processes.children(running.pids()["web"]) != [serving]


def test_a_part_that_hangs_makes_the_gateway_unready_until_it_goes_on(running: GatewayProcess) -> None:
    hung = running.pids()["dimse"]
    os.kill(hung, signal.SIGSTOP)
    try:
        wait_until(lambda: "silent" in running.readiness()[1].get("parts", {}).get("dimse", ""))
        assert running.readiness()[0] == 503
        assert running.readiness()[1]["parts"]["worker"] == "ready"
    finally:
        os.kill(hung, signal.SIGCONT)
    running.wait_ready(READY_SECONDS)


def test_each_process_that_serves_dicom_comes_back_and_meanwhile_the_others_serve() -> None:
    with GatewayProcess(environment={"GATEWAY_DIMSE_PROCESSES": "3"}) as gateway:
        gateway.add_partner("hospital-a", ae_title="HOSPITAL_A")
        first, *others = gateway.dimse_pids()
        assert len(others) == 2
        for pid in others:
            os.kill(pid, signal.SIGKILL)
            assert dcmtk("echoscu", gateway).returncode == 0
            assert gateway.readiness()[0] == 200
        wait_until(lambda: len(set(gateway.dimse_pids()) - {first, *others}) == 2)
        os.kill(first, signal.SIGKILL)
        assert dcmtk("echoscu", gateway).returncode == 0


def test_the_limit_of_associations_holds_for_all_processes_together() -> None:
    limits = {"GATEWAY_DIMSE_PROCESSES": "3", "GATEWAY_MAX_ASSOCIATIONS": "5"}
    with GatewayProcess(environment=limits) as gateway, ExitStack() as open_ones:
        gateway.add_partner("hospital-a", ae_title="HOSPITAL_A")
        for _ in range(5):
            open_ones.enter_context(association(gateway, [(Verification, IMPLICIT_LITTLE)]))
        assert "F: Reason: Local Limit Exceeded" in dcmtk("echoscu", gateway).stdout
        open_ones.close()
        assert dcmtk("echoscu", gateway).returncode == 0


def test_a_dicom_port_that_another_gateway_has_is_not_shared_with_it() -> None:
    """Imaging would go to either."""
    with GatewayProcess() as gateway:
        second = GatewayProcess()
        second.dicom_port = gateway.dicom_port
        second.launch()
        assert second.wait() == 1
        assert f"port {gateway.dicom_port} (DICOM)" in second.log_text


def test_a_gateway_that_cannot_keep_anything_is_not_ready(running: GatewayProcess) -> None:
    objects, away = running.data_dir / "objects", running.data_dir / "away"
    objects.rename(away)
    objects.write_text("in the way")
    try:
        status, body = running.readiness()
        assert (status, body["parts"]["objects"]) == (503, "not writable")
    finally:
        objects.unlink()
        away.rename(objects)
    assert running.readiness()[0] == 200


def test_the_address_is_printed_and_no_log_line_is_a_failure(running: GatewayProcess) -> None:
    assert f"Ready. Pages {running.base_url}/" in running.log_text
    assert "Traceback" not in running.log_text


def test_sigterm_stops_all_and_leaves_no_process() -> None:
    with GatewayProcess() as gateway:
        everybody = gateway.all_pids()
        assert gateway.stop() == 0
        assert processes.wait_until_ended(everybody, 1) == []
        assert not listens(gateway.http_port)
        assert not listens(gateway.dicom_port)
        assert "part-killed" not in gateway.log_text


def test_killing_the_supervisor_leaves_no_orphan_and_it_starts_again_on_the_same_data() -> None:
    with GatewayProcess() as gateway:
        everybody = gateway.all_pids()
        os.kill(gateway.pid, signal.SIGKILL)
        gateway.wait()
        assert processes.wait_until_ended(everybody, 5) == []
        gateway.start()


def test_dev_refuses_an_address_that_others_can_reach(tmp_path: Path) -> None:
    gateway = GatewayProcess(dev=True, options=("--host", "0.0.0.0"))
    gateway.launch()
    assert gateway.wait() == 2
    assert len(gateway.log_text.splitlines()) == 1
    assert "loopback" in gateway.log_text


def test_an_address_that_others_can_reach_is_refused_without_the_url_by_which_they_do() -> None:
    gateway = GatewayProcess(options=("--host", "0.0.0.0"))
    gateway.launch()
    assert gateway.wait() == 2
    assert len(gateway.log_text.splitlines()) == 1
    assert "GATEWAY_PUBLIC_URL" in gateway.log_text


def test_dev_warns(dev_gateway: GatewayProcess) -> None:
    assert "WARNING: --dev" in dev_gateway.log_text


def test_a_setting_that_cannot_be_is_one_line_that_names_it() -> None:
    gateway = GatewayProcess(environment={"GATEWAY_WEB_THREADS": "many"})
    gateway.launch()
    assert gateway.wait() == 2
    assert len(gateway.log_text.splitlines()) == 1
    assert "GATEWAY_WEB_THREADS" in gateway.log_text


@pytest.mark.parametrize("which", ["http_port", "dicom_port"])
def test_a_port_that_is_taken_is_said_in_one_line(which: str) -> None:
    gateway = GatewayProcess()
    with socket.create_server(("127.0.0.1", getattr(gateway, which))):
        gateway.launch()
        assert gateway.wait() == 1
    other = {"http_port": "dicom_port", "dicom_port": "http_port"}[which]
    assert len(gateway.log_text.splitlines()) == 1
    assert str(getattr(gateway, which)) in gateway.log_text
    assert str(getattr(gateway, other)) not in gateway.log_text


def test_a_database_that_is_away_is_said_and_nothing_starts(tmp_path: Path) -> None:
    missing = f"sqlite:///{tmp_path}/missing/gateway.sqlite"
    gateway = GatewayProcess(environment={"GATEWAY_DATABASE_URL": missing})
    gateway.launch()
    assert gateway.wait() == 1
    assert "database is not available" in gateway.log_text
    assert "Traceback" not in gateway.log_text


def test_the_whole_gateway_runs_on_postgresql(postgres_url: str) -> None:
    with GatewayProcess(environment={"GATEWAY_DATABASE_URL": postgres_url}) as gateway:
        old = gateway.kill_part("worker")
        wait_for_new(gateway, "worker", old)
