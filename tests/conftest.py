"""What every test may use, and the rule that nothing is skipped where it counts."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With CI=true a skipped test has failed: there, everything a test needs must be installed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _in_ci():
        report.outcome = "failed"
        report.longrepr = _failure(item, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """The same for a module that skips as a whole, as pytest.importorskip does."""
    report = yield
    if report.skipped and _in_ci():
        report.outcome = "failed"
        report.longrepr = _failure(collector, report)
    return report


def _in_ci() -> bool:
    return os.environ.get("CI") == "true"


def _failure(node, report) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    return f"{node.nodeid} was skipped, and with CI=true that is a failure: {reason}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real FHIR and DICOM files: GATEWAY_TEST_DATA, else shared/data beside the project."""
    folder = Path(os.environ.get("GATEWAY_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no folder of real files: set GATEWAY_TEST_DATA ({folder} does not exist)")
    return folder
