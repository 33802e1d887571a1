"""Unknown faults at the edge of a durable step: where one came from goes to the log, under a reference."""

import secrets
import traceback

import structlog

log = structlog.get_logger(__name__)


def log_fault(event: str, error: Exception, **ids: str) -> str:
    """The reference; the error's text is never written, as it may quote the record."""
    reference = secrets.token_hex(4)
    place = traceback.extract_tb(error.__traceback__)[-1]
    log.error(
        event, reference=reference, fault=type(error).__name__, place=f"{place.name}:{place.lineno}", **ids
    )
    return reference
