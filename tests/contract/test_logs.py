"""What a process of the gateway writes to its log: lines that a machine reads, with own ids only."""

import json
import subprocess
import sys
from typing import Any


def logged(code: str) -> list[dict[str, Any]]:
    """The log lines of a process that sets up logging and runs ``code``; it writes nothing else."""
    start = "import logging, structlog, warnings\nfrom gateway.processes import logs\nlogs.configure()\n"
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_is_json_with_time_level_and_logger() -> None:
    (line,) = logged("structlog.get_logger('gateway.x').info('stored', receipt='r1')")
    assert (line["event"], line["receipt"]) == ("stored", "r1")
    assert (line["level"], line["logger"]) == ("info", "gateway.x")
    assert line["timestamp"].endswith("Z")


def test_an_exception_is_told_by_type_and_stack_and_never_by_its_message() -> None:
    code = """
def read():
    try:
        int('Jane Doe')
    except ValueError as error:
        raise KeyError('Jane Doe') from error
for name in ('gateway.x', 'sqlalchemy'):
    try:
        read()
    except KeyError:
        structlog.get_logger(name).exception('failed')
        logging.getLogger(name).exception('failed too')
"""
    lines = logged(code)
    assert len(lines) == 4
    for line in lines:
        assert "Jane" not in str(line)
        assert [told["type"] for told in line["exception"]] == ["KeyError", "ValueError"]
        assert line["exception"][0]["stack"][-1].endswith(" read")


def test_an_expected_error_tells_its_message_because_it_is_safe() -> None:
    code = """
from gateway.errors import StoreUnavailable
try:
    raise StoreUnavailable('The disk is full.')
except StoreUnavailable:
    structlog.get_logger('gateway').exception('failed')
"""
    (line,) = logged(code)
    assert line["exception"][0]["message"] == "The disk is full."


def test_a_query_string_is_left_out_of_what_the_web_server_logs() -> None:
    code = (
        "logging.getLogger('gunicorn.error').error('Error handling request %s', '/studies?PatientName=DOE')"
    )
    (line,) = logged(code)
    assert line["event"] == "Error handling request /studies?…"


def test_libraries_that_quote_records_are_silent() -> None:
    code = """
for name in ('pydicom', 'pynetdicom.acse', 'weasyprint', 'dicomweb_client.web', 'urllib3.connection'):
    logging.getLogger(name).error('Jane Doe')
warnings.warn('Invalid value for VR PN: Jane Doe')
"""
    assert logged(code) == []


def test_dbos_writes_warnings_in_the_same_form_and_nothing_less() -> None:
    code = """
from dbos import DBOS
DBOS(config={'name': 'x-test', 'system_database_url': 'sqlite://', 'log_level': 'WARNING'})
logging.getLogger('dbos').info('chatter')
logging.getLogger('dbos').warning('trouble')
"""
    assert [line["event"] for line in logged(code)] == ["trouble"]


def test_a_line_that_cannot_be_written_is_not_printed_with_what_it_says() -> None:
    assert logged("logging.getLogger('gateway').error('%d children', 'Jane Doe')") == []
