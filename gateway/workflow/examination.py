"""Documents are opened in a process of their own, which may fail, hang or grow without harm to the worker.

It is given neither the worker's environment, where secrets stand, nor its open files.
"""

import os
import subprocess
import sys

import structlog

MEMORY_BYTES = 512 * 1024 * 1024
CPU_SECONDS = 10
WALL_SECONDS = 60  # a busy machine gives a process its seconds late
NOT_WITHIN_LIMITS = "The document could not be opened within the limits of time and memory."
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")

log = structlog.get_logger(__name__)


def problem_of(content: bytes, content_type: str) -> str:
    """Empty when the document opens; otherwise what is wrong, in plain words. Never raises."""
    limits = (str(MEMORY_BYTES), str(CPU_SECONDS))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gateway.workflow.examiner", *limits, _argument(content_type)],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=WALL_SECONDS,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            check=True,
        )
        return done.stdout.decode()
    except Exception as error:  # noqa: BLE001 - a document that cannot be examined is a finding, and stops no check
        log.warning("document-not-examined", cause=type(error).__name__)
        return NOT_WITHIN_LIMITS


def _argument(content_type: str) -> str:
    """As an operating system takes it: short, and without NUL or half a surrogate pair."""
    return content_type[:1000].encode("ascii", "replace").decode().replace("\0", "?")
