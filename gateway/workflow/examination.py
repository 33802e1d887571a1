"""Does a document open? Looked at where no document can do harm (limited.py)."""

import os

import structlog

from gateway.errors import GatewayError
from gateway.workflow.limited import LimitedProcesses, Limits

MEMORY_BYTES = 512 * 1024 * 1024
CPU_SECONDS = 10
WALL_SECONDS = 60.0
NOT_WITHIN_LIMITS = "The document could not be opened within the limits of time and memory."

log = structlog.get_logger(__name__)


def problem_of(limited: LimitedProcesses, content: bytes, content_type: str) -> str:
    """Empty when the document opens; otherwise what is wrong, in plain words. Never raises."""
    limits = Limits(MEMORY_BYTES, CPU_SECONDS, WALL_SECONDS)
    try:
        with os.fdopen(os.memfd_create("document"), "w+b") as document, open(os.devnull, "w+b") as nothing:
            document.write(content)
            document.flush()
            done = limited.run("document", document, nothing, limits, content_type=content_type[:1000])
            return str(done["problem"])
    except (GatewayError, OSError, MemoryError) as error:
        log.warning("document-not-examined", cause=type(error).__name__)
        return NOT_WITHIN_LIMITS
