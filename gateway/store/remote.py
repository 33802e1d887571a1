"""Objects in S3, Google Cloud Storage or Azure by obstore; spools stay on this machine."""

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from gateway.errors import NotFound, StoreUnavailable
from gateway.store.objects import Note, Noted, Spool, Stored, check_spools, lent, object_key

PROBE_SECONDS = 30.0
_PROBE = "probe"
_PROBE_TIMEOUT_SECONDS = 3.0
_CHUNK_BYTES = 1024 * 1024
_RETRIES = 3
_RETRY_TIMEOUT = timedelta(seconds=20)  # a peer waits meanwhile; its own time-out is not much longer


class RemoteObjectStore:
    """``url`` is s3://bucket/prefix, gs://… or az://…; credentials come from the cloud's own variables."""

    def __init__(self, url: str, incoming: Path) -> None:
        try:
            self._store = from_url(
                url,
                retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_TIMEOUT},
            )
        except (BaseError, ValueError) as error:
            raise StoreUnavailable("The object store's URL cannot be used.") from error
        self._incoming = incoming
        self._probing = threading.Lock()
        self._probe_after = 0.0

    def spool(self, max_bytes: int | None = None) -> Spool:
        try:
            return Spool(self._incoming, max_bytes)
        except OSError as error:
            raise StoreUnavailable("The gateway cannot store files now; please send again.") from error

    def keep(self, spool: Spool, note: Note | None = None) -> Stored:
        key = object_key(spool.sha256)
        try:
            if self._size_bytes(key) != spool.size_bytes:
                with spool.reader() as reader:
                    obstore.put(self._store, key, reader)
        except (BaseError, OSError) as error:
            raise StoreUnavailable("The gateway cannot store files now; please send again.") from error
        return Stored(key, spool.sha256, spool.size_bytes)

    def noted_since(self, moment: datetime) -> Iterator[Noted]:
        return iter(())

    def left_behind(self) -> Iterator[Noted]:
        return iter(())

    def open(self, key: str) -> BinaryIO:
        try:
            return self._fetch(key)
        except FileNotFoundError as error:
            raise NotFound("The stored bytes are not there.") from error
        except (BaseError, OSError) as error:
            raise StoreUnavailable("The gateway cannot read its files now.") from error

    def lend(self, spool: Spool, key: str) -> None:
        try:
            with spool.reader() as reader:
                obstore.put(self._store, lent(key), reader)
        except (BaseError, OSError) as error:
            raise StoreUnavailable("The gateway cannot store files now; please ask again.") from error

    def take_back(self, folder: str) -> None:
        try:
            for found in obstore.list(self._store, f"{lent(folder)}/"):
                obstore.delete(self._store, [one["path"] for one in found])
        except (BaseError, OSError) as error:
            raise StoreUnavailable("The gateway cannot remove its files now.") from error

    def check(self) -> None:
        try:
            check_spools(self._incoming)
            self._put_probe()
        except (BaseError, OSError) as error:
            raise StoreUnavailable("The gateway cannot store files now.") from error

    def _put_probe(self) -> None:
        """At most every PROBE_SECONDS while it succeeds: each costs money."""
        with self._probing:
            if time.monotonic() >= self._probe_after:
                asyncio.run(self._put_soon(_PROBE))
                self._probe_after = time.monotonic() + PROBE_SECONDS

    async def _put_soon(self, key: str) -> None:
        await asyncio.wait_for(obstore.put_async(self._store, key, b""), _PROBE_TIMEOUT_SECONDS)

    def _size_bytes(self, key: str) -> int | None:
        """None when there is no such object."""
        try:
            return obstore.head(self._store, key)["size"]
        except FileNotFoundError:
            return None

    def _fetch(self, key: str) -> BinaryIO:
        """A local copy without a name, which can be read from any place and vanishes when it is closed."""
        chunks = obstore.get(self._store, key).stream(min_chunk_size=_CHUNK_BYTES)
        self._incoming.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._incoming) as local:
            for chunk in chunks:
                local.write(chunk)
            local.seek(0)
            return os.fdopen(os.dup(local.fileno()), "rb")
