"""``gateway demo`` as a newcomer runs it, in a folder of their own."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from pypdf import PdfReader

from gateway.demo.folders import alone_in
from tests.support import processes
from tests.support.gateway_process import clean_environment

STEPS = 22


def start_demo(folder: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", "demo"],
        cwd=folder,
        env=clean_environment() | {"PYTHONUNBUFFERED": "1"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_take_signals,
    )


def _take_signals() -> None:
    """As from a terminal: a suite that runs in the background hands its ignored signals on."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def lines_until(demo: subprocess.Popen[str], words: str) -> list[str]:
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError("".join(lines))


def assert_nothing_runs(pids: list[int]) -> None:
    assert len(pids) > 3, "the demo, the supervisor and its three parts should have been running"
    assert processes.wait_until_ended(pids, 10) == []


@dataclass
class Kept:
    """A demo that has been played and that runs on: KEEP=1."""

    process: subprocess.Popen[str]
    output: str
    folder: Path
    pids: list[int]


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("newcomer")
    with start_demo(folder, KEEP="1") as demo:
        try:
            output = "".join(lines_until(demo, "specialist  login"))
            yield Kept(demo, output, folder / "demo-output", processes.family(demo.pid))
        finally:
            demo.send_signal(signal.SIGTERM)


def test_the_demo_verifies_every_step(kept):
    assert len(re.findall(r"^ *\d+\.\d s  ✓ ", kept.output, re.MULTILINE)) == STEPS, kept.output
    assert "Every step was verified" in kept.output


def test_the_demo_shows_findings_as_they_open_and_close(kept):
    opened, closed = (re.findall(rf"^ +{sign} (.+)$", kept.output, re.MULTILINE) for sign in (r"\+", "-"))
    assert len(opened) == 6
    assert len(closed) == 5
    assert "CT chest without contrast (study-not-received)" in set(map(about, opened)) - set(
        map(about, closed)
    )


def about(line: str) -> str:
    return line.split("  ", 1)[1].strip()


def test_the_report_of_the_demo_parses_and_its_pdf_opens(kept):
    report = DiagnosticReport.model_validate_json((kept.folder / "diagnostic-report.json").read_bytes())
    assert report.status == "final"
    assert len(PdfReader(kept.folder / "report.pdf").pages) >= 1
    assert "PRETEXT II" in (kept.folder / "report.html").read_text("utf-8")


def test_the_case_of_the_demo_tells_where_every_fact_stands(kept):
    case = json.loads((kept.folder / "case.json").read_bytes())
    assert case["status"] == "delivered"
    items = case["record"]["items"] + case["record"]["documents"]
    assert items
    assert all(item["source"]["receipt_id"] and item["source"]["path"] for item in items)


def test_the_picture_of_the_case_page_is_a_png(kept):
    assert (kept.folder / "case-page.png").read_bytes().startswith(b"\x89PNG")


def test_a_kept_demo_answers_until_it_is_interrupted_and_then_ends_with_0(kept):
    address = re.search(r"Pages: (http://127\.0\.0\.1:\d+)/", kept.output)[1]
    assert answers(f"{address}/readyz")
    kept.process.send_signal(signal.SIGINT)
    assert kept.process.wait(60) == 0
    assert not answers(f"{address}/readyz")
    assert_nothing_runs(kept.pids)


def test_a_failing_step_is_named_with_the_gateways_log_and_nothing_is_left(tmp_path):
    """With an echoscu that always succeeds, a stranger seems to be admitted."""
    for program in ("echoscu", "storescu"):
        (tmp_path / program).symlink_to("/bin/true")
    with start_demo(tmp_path, PATH=str(tmp_path)) as demo:
        lines_until(demo, "The gateway is ready")
        pids = processes.family(demo.pid)
        output, _ = demo.communicate(timeout=90)
    assert demo.returncode == 1
    assert re.search(r"✗ try without credentials: an unknown AE title was admitted", output), output
    assert "The end of the gateway's log:" in output
    assert_nothing_runs(pids)


def test_without_dcmtk_the_demo_says_what_to_install_and_starts_nothing(tmp_path):
    with start_demo(tmp_path, PATH=str(tmp_path)) as demo:
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert len(output.splitlines()) == 1
    assert "echoscu and storescu" in output
    assert "apt-get install dcmtk" in output


@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
    ids=["SIGTERM", "SIGHUP", "SIGKILL"],
)
def test_the_demo_ended_half_way_leaves_no_process_and_no_folder(tmp_path, sent, code):
    (tmp_path / "tmp").mkdir()
    with start_demo(tmp_path, TMPDIR=str(tmp_path / "tmp")) as demo:
        lines_until(demo, "The gateway is ready")
        pids = processes.family(demo.pid)
        assert list((tmp_path / "tmp").glob("gateway-demo-*"))
        demo.send_signal(sent)
        demo.communicate(timeout=60)
    assert demo.returncode == code
    assert_nothing_runs(pids)
    assert not list((tmp_path / "tmp").glob("gateway-demo-*"))


def test_a_second_demo_does_not_write_into_the_same_folder(tmp_path):
    (tmp_path / "demo-output").mkdir()
    with alone_in(tmp_path / "demo-output"), start_demo(tmp_path) as demo:
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "another demo is writing to" in output


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
