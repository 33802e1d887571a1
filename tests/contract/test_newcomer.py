"""What a newcomer reads is so: the README and the targets of the Makefile."""

import importlib.util
import re
import subprocess
from pathlib import Path

from gateway.config import Config
from mappings.opinion_to_report import report_of, to_diagnostic_report
from tests.support.reviewed_case import OPINION, PROGRAMME, SIGNED_AT, reviewed_case

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_what_a_target_runs_is_there() -> None:
    modules = re.findall(r"python -m (tests\.\w+)", (ROOT / "Makefile").read_text())
    assert "tests.soak" in modules
    assert [name for name in modules if importlib.util.find_spec(f"{name}.__main__") is None] == []


def test_the_readme_names_every_target_that_help_lists() -> None:
    helped = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^make (\w+)", helped, re.MULTILINE)
    [others] = re.findall(r"lists the others: (.*)", README)
    assert {*re.findall(r"`(\w+)`", others), "demo", "test", "help"} >= set(targets) - {
        "setup",
        "lock",
        "clean",
    }


def test_the_readme_asks_for_the_gateways_own_report() -> None:
    [(system, code)] = re.findall(r"DiagnosticReport\?code=([^|']+)\|([\w-]+)", README)
    report = report_of(reviewed_case(), OPINION, SIGNED_AT, PROGRAMME)
    sent = to_diagnostic_report(report, "http://127.0.0.1:8080/fhir", b"<p/>", b"%PDF")
    assert (system, code) in [(coding["system"], coding["code"]) for coding in sent["code"]["coding"]]


def test_every_variable_that_the_readme_names_is_one() -> None:
    named = set(re.findall(r"GATEWAY_([A-Z_]+)", README)) - {"TEST_DATA"}
    assert named <= {name.upper() for name in Config.model_fields}
    assert {"PUBLIC_URL", "PROXIES"} <= named
