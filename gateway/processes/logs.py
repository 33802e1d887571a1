"""Logging of every process: structlog on standard logging, to stderr, JSON lines unless a person reads them.

Logs carry own ids only (decision 10). An exception is therefore told by its type and stack; its message
is left out, because libraries put the values that they choke on into it.
"""

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from gateway.errors import GatewayError

# Libraries whose messages quote what they read: pydicom and pynetdicom quote elements, gunicorn and werkzeug addresses,
# dicomweb_client and urllib3 addresses with UIDs, and what a peer writes into its headers.
_SILENT = ("pydicom", "pynetdicom", "py.warnings", "fontTools", "weasyprint", "dicomweb_client", "urllib3")
_QUERY = re.compile(r"\?[^\s'\"]*")
_OWN = ("gateway", "mappings")
_TO_PEERS = "; please send again."


def configure(level: str = "INFO") -> None:
    """Set up this process; may be called again."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _tell_exception_without_message,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _drop_queries],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer()],
        )
    )
    _route(handler, level)


def reason(error: GatewayError) -> str:
    """For the operator, whom it tells why the database cannot be reached; a peer is told the first half only."""
    told = getattr(error.__cause__, "orig", None)
    if told is None:
        return str(error)
    said = str(error).removesuffix(_TO_PEERS).rstrip(".")
    return f"{said}: {str(told).partition(chr(10))[0].rstrip('.')}."


def _route(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in _OWN:
        logging.getLogger(name).setLevel(level)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    dbos = logging.getLogger("dbos")
    dbos.handlers, dbos.propagate = [handler], False  # with a handler, it adds none of its own
    logging.raiseExceptions = False  # a line that cannot be written is not printed with its arguments instead
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _renderer() -> Processor:
    if sys.stderr.isatty():
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer()


def _drop_queries(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """A query string may hold a patient identifier (QIDO-RS PatientID, FHIR search)."""
    event["event"] = _QUERY.sub("?…", str(event["event"]))
    return event


def _tell_exception_without_message(_logger: Any, _method: str, event: EventDict) -> EventDict:
    wanted = event.pop("exc_info", None)
    error = wanted if isinstance(wanted, BaseException) else wanted[1] if isinstance(wanted, tuple) else None
    if wanted is True:
        error = sys.exc_info()[1]
    if error is not None:
        event["exception"] = [_told(cause) for cause in _chain(error)]
    return event


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, as Python would show it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _told(error: BaseException) -> dict[str, Any]:
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    said = {"message": str(error)} if isinstance(error, GatewayError) else {}
    return {"type": kind, **said, "stack": list(_frames(error.__traceback__))}


def _frames(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        code = trace.tb_frame.f_code
        yield f"{code.co_filename}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next
