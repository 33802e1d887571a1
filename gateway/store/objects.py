"""Bytes at rest: written once under their SHA-256, never rewritten.

Everything that arrives is first a ``Spool``: a local temporary file that can be read while it is
still nobody's. ``ObjectStore.keep`` makes it durable; only then may a peer be told of success.
"""

import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BufferedReader, RawIOBase
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from gateway.errors import StoreUnavailable, TooLarge


@dataclass(frozen=True, slots=True)
class Stored:
    """A durable object: its key, the SHA-256 of its bytes in hex, and its size.

    ``is_noted``: what it was kept with a note of is durable with it, and ``left_behind`` tells of it for as long as its
    spool was not removed.
    """

    key: str
    sha256: str
    size_bytes: int
    is_noted: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A short text (of 60 bytes there is room in an inode of ext4), and when the bytes came: the file's own time."""

    text: bytes
    arrived_at: datetime


_READ_BYTES = 16 * 1024
_PREFIX = "incoming-"
NOTE = "user.gateway.note"  # the extended attribute (xattr(7))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ABANDONED_SECONDS = 24 * 3600
SPARE_BYTES = 64 * 1024 * 1024  # with less left on its disk, the gateway is not ready


class Spool:
    """Bytes on their way in, hashed while they are written. A context manager: what is not kept is removed."""

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.path = os.path.join(folder, f"{_PREFIX}{secrets.token_hex(16)}")
        self._file = _new_file(self.path)
        self._is_open = True
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._max_bytes = max_bytes

    def write(self, chunk: bytes | memoryview) -> None:
        """Raises TooLarge before the limit is passed, StoreUnavailable when the disk is full."""
        if self._max_bytes is not None and self.size_bytes + len(chunk) > self._max_bytes:
            raise TooLarge(f"More than the {self._max_bytes} bytes that are taken at once.")
        written = 0
        try:
            while written < len(chunk):
                written += os.write(self._file, chunk[written:] if written else chunk)
        except OSError as error:
            raise StoreUnavailable("The gateway cannot store files now; please send again.") from error
        self._hash.update(chunk)
        self.size_bytes += len(chunk)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def reader(self) -> BufferedReader:
        """The bytes so far, from the start, wherever the file is meanwhile; only while the spool is open."""
        return BufferedReader(_ReadFromStart(self._file), _READ_BYTES)

    def note(self, note: Note) -> bool:
        """Write a note beside the bytes, not into them; whether the file system can do so."""
        arrived = (note.arrived_at - _EPOCH) // timedelta(microseconds=1) * 1000
        try:
            os.setxattr(self._file, NOTE, note.text)
            os.utime(self._file, ns=(arrived, arrived))
        except OSError:
            return False
        return True

    def start_sync(self) -> None:
        """Have the disk begin with what is written, while something else is done."""
        with suppress(OSError):
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        """The file stays where it is until ``remove``."""
        if self._is_open:
            self._is_open = False
            os.close(self._file)

    def remove(self) -> None:
        self.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def _new_file(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o600)


class _ReadFromStart(RawIOBase):
    """A place of its own in a file that is open already, by pread(2); closing it leaves the file open."""

    def __init__(self, file: int) -> None:
        super().__init__()
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._file, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._file).st_size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at


@dataclass(frozen=True, slots=True)
class Noted:
    """A file that has a note, and the key of the object that it was to become."""

    key: str
    note: Note
    path: Path


class ObjectStore(Protocol):
    """Two implementations: files of one machine, and S3, GCS or Azure."""

    def spool(self, max_bytes: int | None = None) -> Spool:
        """A new empty spool on this machine."""
        ...

    def keep(self, spool: Spool, note: Note | None = None) -> Stored:
        """Make the spooled bytes durable; the same bytes again are the same object. Raises StoreUnavailable.

        With a ``note`` for ``noted_since``, where the store can hold one and the object is new.
        """
        ...

    def noted_since(self, moment: datetime) -> Iterator[Noted]:
        """The objects that were kept with a note since then. Raises StoreUnavailable."""
        ...

    def left_behind(self) -> Iterator[Noted]:
        """The spools of objects kept with a note that were not removed. Raises StoreUnavailable."""
        ...

    def open(self, key: str) -> BinaryIO:
        """The object's bytes, seekable. Raises NotFound, StoreUnavailable."""
        ...

    def lend(self, spool: Spool, key: str) -> None:
        """Make the spooled bytes durable for a while, under a key below LENT; replaces what stood there.

        Raises StoreUnavailable.
        """
        ...

    def take_back(self, folder: str) -> None:
        """Remove what was lent under keys below ``folder``, which is itself below LENT. Raises StoreUnavailable."""
        ...

    def check(self) -> None:
        """Tries to keep something. Raises StoreUnavailable where that fails; costs little."""
        ...


def remove_abandoned_spools(folder: Path) -> None:
    """What a killed process left behind, told by its age; nothing in it was ever acknowledged."""
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()


def noted(path: Path, key: Callable[[], str]) -> Noted | None:
    """``key`` is asked only where there is a note."""
    try:
        text = os.getxattr(path, NOTE)
    except OSError:  # it has none
        return None
    arrived_at = _EPOCH + timedelta(microseconds=path.stat().st_mtime_ns // 1000)
    return Noted(key(), Note(text, arrived_at), path)


def noted_spools(folder: Path) -> Iterator[Noted]:
    """Raises StoreUnavailable."""
    try:
        for path in sorted(folder.glob(f"{_PREFIX}*")):
            with suppress(FileNotFoundError):  # it was indexed meanwhile
                if found := noted(path, partial(_key_of_content, path)):
                    yield found
    except OSError as error:
        raise StoreUnavailable("The gateway cannot read its files now.") from error


def _key_of_content(path: Path) -> str:
    with path.open("rb") as file:
        return object_key(hashlib.file_digest(file, "sha256").hexdigest())


def check_spools(folder: Path) -> None:
    """Raises OSError unless a spool can be written in ``folder``."""
    with Spool(folder):
        free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < SPARE_BYTES:
        raise OSError(errno.ENOSPC, "disk nearly full")


def object_key(sha256: str) -> str:
    """In 256 folders: of a million objects, 4,000 in each."""
    return f"{sha256[:2]}/{sha256}"


LENT = "lent/"
"""What was made here and can be made again stands below it; nothing else is ever removed."""


def lent(key: str) -> str:
    """``key``, which can be removed. Raises ValueError for one of what was received."""
    if not re.fullmatch(rf"{LENT}[A-Za-z0-9-]+(/[A-Za-z0-9-]+)?", key):
        raise ValueError(f"nothing is removed but below {LENT}")
    return key


def keep_bytes(objects: ObjectStore, chunks: Iterable[bytes]) -> Stored:
    """Store bytes that are already in memory."""
    with objects.spool() as spool:
        for chunk in chunks:
            spool.write(chunk)
        return objects.keep(spool)


def read_bytes(objects: ObjectStore, key: str) -> bytes:
    with objects.open(key) as reader:
        return reader.read()
