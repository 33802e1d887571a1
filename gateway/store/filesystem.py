"""Objects as files: written beside, fsynced, renamed into place, the folder fsynced."""

import os
from pathlib import Path
from typing import BinaryIO

from gateway.errors import NotFound, StoreUnavailable
from gateway.store.objects import Spool, Stored, check_spools, object_key

_PROBE = ".probe"


class FileObjectStore:
    """Objects under ``folder/objects``; spools under ``folder/incoming`` on the same file system."""

    def __init__(self, folder: Path) -> None:
        self._objects = folder / "objects"
        self._incoming = folder / "incoming"

    def spool(self, max_bytes: int | None = None) -> Spool:
        try:
            return Spool(self._incoming, max_bytes)
        except OSError as error:
            raise StoreUnavailable("The gateway cannot store files now; please send again.") from error

    def keep(self, spool: Spool) -> Stored:
        key = object_key(spool.sha256)
        target = self._objects / key
        try:
            spool.sync()
            if not self._holds(target, spool.size_bytes):
                _make_folder(target.parent)
                os.rename(spool.path, target)
            _sync_folder(target.parent)
        except OSError as error:
            raise StoreUnavailable("The gateway cannot store files now; please send again.") from error
        return Stored(key, spool.sha256, spool.size_bytes)

    def open(self, key: str) -> BinaryIO:
        try:
            return open(self._objects / key, "rb")
        except FileNotFoundError as error:
            raise NotFound("The stored bytes are not there.") from error
        except OSError as error:
            raise StoreUnavailable("The gateway cannot read its files now.") from error

    def check(self) -> None:
        try:
            check_spools(self._incoming)
            _make_folder(self._objects)
            with Spool(self._incoming) as probe:
                os.rename(probe.path, self._objects / _PROBE)
            (self._objects / _PROBE).unlink(missing_ok=True)  # another process may look at the same time
        except OSError as error:
            raise StoreUnavailable("The gateway cannot store files now.") from error

    @staticmethod
    def _holds(target: Path, size_bytes: int) -> bool:
        try:
            return target.stat().st_size == size_bytes
        except FileNotFoundError:
            return False


def _make_folder(folder: Path) -> None:
    """Create ``folder`` and make each new name durable."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _sync_folder(new.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
