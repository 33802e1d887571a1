"""Parts that are made before the answer begins, whose head then says what could not be made (PS3.18 10.4.3.1)."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from gateway.dicomweb.payload import CHUNK_BYTES, Part, Payload, multipart
from gateway.errors import GatewayError, StoreUnavailable
from gateway.store.tables import InstanceRow


class MadeParts:
    """What the parts hold is in one temporary file, or read from the store when its turn comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._size = 0
        self._groups: list[Iterable[Part]] = []
        self._missing: dict[str, GatewayError] = {}
        self._warnings: list[str] = []

    def add(self, parts: Iterable[Part]) -> None:
        """Parts that are certain to be read."""
        self._groups.append(parts)

    def add_content(self, content: bytes, content_type: str, location: str) -> None:
        self.add_file(BytesIO(content), [(len(content), content_type, location)])

    def add_file(self, file: BinaryIO, kinds: Sequence[tuple[int, str, str]]) -> None:
        """Size, media type and location of each content of the file, which is closed. Raises StoreUnavailable."""
        with file:
            kept, start = self._keep(file)
        for size, content_type, location in kinds:
            self._groups.append(
                [Part(content_type, size, partial(_read, kept, start, start + size), location)]
            )
            start += size

    def miss(self, row: InstanceRow, cause: GatewayError) -> None:
        """There is no part of that instance."""
        self._missing[row.sop_instance_uid] = cause

    def warn(self, words: str) -> None:
        self._warnings.append(words)

    def payload(self, part_type: str, nothing: GatewayError) -> Payload:
        """206 where an instance is missing, named in a warning. Raises why none is there, or ``nothing``."""
        if not self._groups:
            self.close()
            raise next(iter(self._missing.values()), nothing)
        payload = multipart(chain.from_iterable(self._groups), part_type)
        told = [f"Instance {uid} is not among the parts. {cause}" for uid, cause in self._missing.items()]
        status = HTTPStatus.PARTIAL_CONTENT if self._missing else HTTPStatus.OK
        chunks = self._closing(payload.chunks)
        return replace(payload, chunks=chunks, status=int(status), warnings=(*told, *self._warnings))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _keep(self, file: BinaryIO) -> tuple[BinaryIO, int]:
        """Where its bytes stand now, and from which place on."""
        start = self._size
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed with the answer
            shutil.copyfileobj(file, self._file, CHUNK_BYTES)
            self._file.flush()
        except OSError as error:
            raise StoreUnavailable("The gateway has no room to make this now; please ask again.") from error
        self._size = self._file.tell()
        return self._file, start

    def _closing(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from chunks
        finally:
            self.close()


def _read(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    while start < end and (chunk := os.pread(file.fileno(), min(CHUNK_BYTES, end - start), start)):
        start += len(chunk)
        yield chunk
