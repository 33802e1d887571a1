"""What every test may use, and the rule that nothing is skipped where it counts."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import INTAKE, SPECIALIST, GatewayProcess
from tests.support.middleman import Middleman
from tests.support.orthanc import Orthanc, server_program
from tests.support.partner import Partner
from tests.support.postgres import PostgresCluster, server_programs

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


def more_files() -> Path | None:
    named = os.environ.get("GATEWAY_TEST_DATA")
    folder = Path(named or ROOT.parent / "shared" / "data")
    if named and not folder.is_dir():
        raise pytest.UsageError(f"GATEWAY_TEST_DATA names no folder: {named}")
    return folder if folder.is_dir() else None


def pytest_report_header() -> str:
    return (
        f"real files beside those in tests/data: {more_files() or 'none (GATEWAY_TEST_DATA names a folder)'}"
    )


@pytest.fixture(scope="session")
def shared_data() -> Path | None:
    """More real FHIR and DICOM files than tests/data and pydicom have, where there are any.

    GATEWAY_TEST_DATA names the folder, else it is shared/data beside the project.
    """
    return more_files()


@pytest.fixture(scope="session")
def gateway() -> Iterator[GatewayProcess]:
    """A running gateway as an operator sets it up: two hospitals, a user of each role, credentials needed."""
    with GatewayProcess() as process:
        process.add_partner("hospital-a", name="Hospital A", ae_title="HOSPITAL_A")
        process.add_partner("hospital-b", name="Hospital B", ae_title="HOSPITAL_B")
        process.add_user(INTAKE)
        process.add_user(SPECIALIST)
        yield process


@pytest.fixture(scope="session")
def partner(gateway: GatewayProcess) -> Partner:
    """Hospital A, calling as HOSPITAL_A."""
    return gateway.partners["hospital-a"]


@pytest.fixture(scope="session")
def other_partner(gateway: GatewayProcess) -> Partner:
    """Hospital B, calling as HOSPITAL_B: it must never see what is hospital A's."""
    return gateway.partners["hospital-b"]


@pytest.fixture(scope="session")
def dev_gateway() -> Iterator[GatewayProcess]:
    """A running gateway for development: everybody on this machine is partner demo."""
    with GatewayProcess(dev=True) as process:
        yield process


@pytest.fixture(scope="session")
def orthanc() -> Iterator[Orthanc]:
    """A running Orthanc, an archive by others: what one test stores in it is there for the next."""
    program = server_program()
    if program is None:
        pytest.skip("no Orthanc: install the Debian packages orthanc and orthanc-dicomweb")
    with Orthanc(program) as server:
        yield server


@pytest.fixture(scope="session")
def middleman(orthanc: Orthanc) -> Iterator[Middleman]:
    """Stands before Orthanc's DICOMweb; see ``archive``."""
    with Middleman(orthanc.dicomweb_url) as between:
        yield between


@pytest.fixture
def archive(middleman: Middleman) -> Middleman:
    """A hospital's archive for the gateway to fetch from: an Orthanc behind a middleman that counts, and may lie."""
    middleman.forget()
    return middleman


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server: install the Debian package postgresql")
    with PostgresCluster(programs) as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: PostgresCluster) -> str:
    """The SQLAlchemy URL of a new, empty PostgreSQL database."""
    return postgres_cluster.create_database()
