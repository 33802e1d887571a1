"""Objects in S3, Google Cloud Storage or Azure by obstore; spools stay on this machine."""

import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from gateway.errors import NotFound, StoreUnavailable
from gateway.store.objects import Spool, Stored, object_key

_CHUNK_BYTES = 1024 * 1024


class RemoteObjectStore:
    """``url`` is s3://bucket/prefix, gs://… or az://…; credentials come from the environment of the cloud's own tools."""

    def __init__(self, url: str, incoming: Path) -> None:
        self._store = from_url(url)
        self._incoming = incoming

    def spool(self, max_bytes: int | None = None) -> Spool:
        return Spool(self._incoming, max_bytes)

    def keep(self, spool: Spool) -> Stored:
        key = object_key(spool.sha256)
        try:
            with spool.reader() as reader:
                obstore.put(self._store, key, reader)
        except (BaseError, OSError) as error:
            raise StoreUnavailable("The gateway cannot store files now; please send again.") from error
        return Stored(key, spool.sha256, spool.size_bytes)

    def open(self, key: str) -> BinaryIO:
        local = tempfile.TemporaryFile(dir=self._incoming)
        try:
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=_CHUNK_BYTES):
                local.write(chunk)
        except FileNotFoundError as error:
            local.close()
            raise NotFound("The stored bytes are not there.") from error
        except (BaseError, OSError) as error:
            local.close()
            raise StoreUnavailable("The gateway cannot read its files now.") from error
        local.seek(0)
        return cast(BinaryIO, local)

