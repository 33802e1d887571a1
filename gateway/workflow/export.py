"""Bulk export of a partner's own data (Bulk Data Access 2.0.0, Export): into files of one resource type each."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import simplejson
import structlog

from gateway.case.access import Partner
from gateway.errors import StoreUnavailable
from gateway.store import partners
from gateway.store.async_requests import DONE, FAILED
from gateway.workflow import durable, respond_async

if TYPE_CHECKING:
    from gateway.services import Services
    from gateway.store.tables import AsyncRequestRow

FILE_BYTES = 64 * 1024 * 1024  # before it is compressed; the resource that passes it is still inside
LOOK_EVERY = 500  # resources between two looks whether it is still wanted
_GZIP = 16 + zlib.MAX_WBITS
OUTCOMES = "OperationOutcome"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be exported: of ``types``, what was changed after ``since`` and received until ``until``.

    ``of_patients``: only what is in a Patient's compartment, and in none but those of ``patients`` where any are named.
    ``filters`` are searches as ``Type?name=value``, joined by "or" for each type.
    """

    partner: Partner
    types: tuple[str, ...]
    until: datetime
    since: datetime | None = None
    of_patients: bool = False
    patients: frozenset[str] = frozenset()
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A resource as JSON; ``opinion_id`` is set on a report that the gateway made."""

    type: str
    text: str
    opinion_id: str = ""


Exported = Callable[["Services", Export], Iterator[Line]]
"""The lines, all of a type after one another."""


@dataclass(slots=True)
class File:
    """Kept in gzip; ``size_bytes`` are those of the ndjson, ``gzip_bytes`` those that are kept."""

    type: str
    number: int
    count: int = 0
    size_bytes: int = 0
    gzip_bytes: int = 0
    opinions: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Manifest:
    output: list[File]
    error: list[File]


def manifest_of(row: AsyncRequestRow) -> Manifest:
    """Of an export that is done."""
    told = simplejson.loads(row.answer)
    return Manifest([File(**one) for one in told["output"]], [File(**one) for one in told["error"]])


def key_of(request_id: str, number: int) -> str:
    """Where a file is lent."""
    return f"{respond_async.files_of(request_id)}/{number}"


class _Stopped(Exception):
    """The request was cancelled, or the worker ends."""


def attempt(services: Services, request_id: str, last: bool) -> bool:
    """One try to write all files; True when they are written or given up.

    May be repeated at any time: the same files are written anew.
    """
    row = respond_async.begin(services, request_id)
    if row is None:
        return True
    try:
        manifest = _write(services, row)
    except (_Stopped, StoreUnavailable):
        is_over = last or not respond_async.is_wanted(services, request_id)
        if is_over:
            respond_async.finish(services, request_id, FAILED)
        return is_over
    except Exception:  # a fault of our own: the hospital must not wait for days to be told
        log.exception("export-failed", request=request_id)
        respond_async.finish(services, request_id, FAILED)
        return True
    respond_async.finish(services, request_id, DONE, simplejson.dumps(asdict(manifest)))
    return True


def _write(services: Services, row: AsyncRequestRow) -> Manifest:
    with _Writer(services, row.id) as writer:
        for number, line in enumerate(services.exported(services, _export_of(services, row))):
            if number % LOOK_EVERY == 0:
                _go_on(services, row.id)
            writer.write(line)
        output = writer.finish()
        for text in row.asked["notes"]:
            writer.write(Line(OUTCOMES, text))
        return Manifest(output, writer.finish())


def _go_on(services: Services, request_id: str) -> None:
    if durable.is_stopping() or not respond_async.is_wanted(services, request_id):
        raise _Stopped


def _export_of(services: Services, row: AsyncRequestRow) -> Export:
    with services.database.reading() as session:
        registered = partners.get(session, row.partner_id).partner
    asked: dict[str, Any] = row.asked
    if row.transaction_at is None:
        raise ValueError("it was not begun")
    return Export(
        Partner(registered.id, registered.name, registered.assigning_authority, tuple(row.scopes)),
        tuple(asked["types"]),
        row.transaction_at,
        datetime.fromisoformat(asked["since"]) if asked["since"] else None,
        asked["of_patients"],
        frozenset(asked["patients"]),
        tuple(asked["filters"]),
    )


class _Writer:
    """Lines into files, one open at a time: a new one for each type, and where one is full."""

    def __init__(self, services: Services, request_id: str) -> None:
        self._services, self._request_id = services, request_id
        self._files: list[File] = []
        self._number = 0
        self._open = ExitStack()
        self._file: File | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def write(self, line: Line) -> None:
        file = self._file
        if file is None or file.type != line.type or file.size_bytes >= FILE_BYTES:
            self._close()
            file = self._begin(line.type)
        packed = f"{line.text}\n".encode()
        file.count += 1
        file.size_bytes += len(packed)
        file.opinions += [line.opinion_id] if line.opinion_id else []
        self._spool.write(self._gzip.compress(packed))

    def finish(self) -> list[File]:
        """What was written since the last time."""
        self._close()
        files, self._files = self._files, []
        return files

    def _begin(self, type_name: str) -> File:
        self._number += 1
        self._file = File(type_name, self._number)
        self._spool = self._open.enter_context(self._services.objects.spool())
        self._gzip = zlib.compressobj(wbits=_GZIP)
        return self._file

    def _close(self) -> None:
        if self._file is None:
            return
        with self._open:
            self._spool.write(self._gzip.flush())
            self._file.gzip_bytes = self._spool.size_bytes
            self._services.objects.lend(self._spool, key_of(self._request_id, self._file.number))
        self._files.append(self._file)
        self._file = None
