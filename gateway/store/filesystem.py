"""Objects as files: written beside, given their name, fsynced with the folder.

Named first: then one journal commit holds name and bytes. After a loss of power a name may stand before bytes that
are not all there; nobody was told of such an object, and the same bytes sent again replace it.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from gateway.errors import NotFound, StoreUnavailable
from gateway.store.objects import (
    Note,
    Noted,
    Spool,
    Stored,
    check_spools,
    lent,
    noted,
    noted_spools,
    object_key,
)

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

    def keep(self, spool: Spool, note: Note | None = None) -> Stored:
        target = os.path.join(self._objects, object_key(spool.sha256))
        try:
            is_noted = note is not None and spool.note(note)
            if _is_named(spool, target):
                spool.sync()
            else:
                is_noted = False
                _sync(target)
            _sync(os.path.dirname(target))
        except OSError as error:
            raise StoreUnavailable("The gateway cannot store files now; please send again.") from error
        return Stored(object_key(spool.sha256), spool.sha256, spool.size_bytes, is_noted)

    def noted_since(self, moment: datetime) -> Iterator[Noted]:
        since = moment.timestamp()
        try:
            for folder in sorted(self._objects.glob("??")):
                if folder.stat().st_mtime >= since:  # of when a name last came into it
                    yield from _noted_in(folder, since)
        except OSError as error:
            raise StoreUnavailable("The gateway cannot read its files now.") from error

    def left_behind(self) -> Iterator[Noted]:
        return noted_spools(self._incoming)

    def open(self, key: str) -> BinaryIO:
        try:
            return open(self._objects / key, "rb")
        except FileNotFoundError as error:
            raise NotFound("The stored bytes are not there.") from error
        except OSError as error:
            raise StoreUnavailable("The gateway cannot read its files now.") from error

    def lend(self, spool: Spool, key: str) -> None:
        target = self._objects / lent(key)
        try:
            spool.sync()
            _make_folder(target.parent)
            os.replace(spool.path, target)
            _sync(target.parent)
        except OSError as error:
            raise StoreUnavailable("The gateway cannot store files now; please ask again.") from error

    def take_back(self, folder: str) -> None:
        try:
            shutil.rmtree(self._objects / lent(folder))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreUnavailable("The gateway cannot remove its files now.") from error

    def check(self) -> None:
        try:
            check_spools(self._incoming)
            _make_folder(self._objects)
            with Spool(self._incoming) as probe:
                os.rename(probe.path, self._objects / _PROBE)
            (self._objects / _PROBE).unlink(missing_ok=True)  # another process may look at the same time
        except OSError as error:
            raise StoreUnavailable("The gateway cannot store files now.") from error


def _holds(target: str, spool: Spool) -> bool:
    """Whether exactly these bytes are there already."""
    try:
        if os.stat(target).st_size != spool.size_bytes:
            return False
        with open(target, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == spool.sha256
    except FileNotFoundError:
        return False


def _is_named(spool: Spool, target: str) -> bool:
    """Whether this very file stands under that name now; if not, another with the same bytes does."""
    try:
        _link(spool.path, target)
    except FileExistsError:
        if not _holds(target, spool):  # it was cut short by a loss of power
            os.replace(spool.path, target)
        return False
    return True


def _link(path: str, target: str) -> None:
    try:
        os.link(path, target)
    except FileNotFoundError:
        _make_folder(Path(target).parent)
        os.link(path, target)


def _noted_in(folder: Path, since: float) -> Iterator[Noted]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.stat().st_mtime >= since and (
                found := noted(Path(entry.path), partial(object_key, entry.name))
            ):
                yield found


def _make_folder(folder: Path) -> None:
    """Create ``folder`` and make each new name durable."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _sync(new.parent)


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
