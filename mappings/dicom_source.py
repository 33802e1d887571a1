"""The bytes of a data set, read forwards only: as they stand in the file, or inflated (PS3.5 A.5)."""

import zlib
from typing import BinaryIO, Protocol

from gateway.errors import NotDicom

MAX_INFLATED_BYTES = 512 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class Source(Protocol):
    """Bytes that are only ever read forwards. ``broken`` says why there are no more, where that is not their end."""

    at: int
    broken: str

    def read(self, count: int) -> bytes: ...
    def skip(self, count: int) -> int: ...

    def ahead(self, count: int) -> bytes:
        """At most so many of the next bytes, perhaps none; they are still to be read."""
        ...


class FileSource:
    broken = ""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self.at = file, size, file.tell()

    def read(self, count: int) -> bytes:
        found = self._file.read(min(count, self._size - self.at))
        self.at += len(found)
        return found

    def skip(self, count: int) -> int:
        count = min(count, self._size - self.at)
        self.at = self._file.seek(count, 1)
        return count

    def ahead(self, count: int) -> bytes:
        found = self._file.read(min(count, self._size - self.at))
        self._file.seek(self.at)
        return found


class InflatedSource:
    """The data set of Deflated Explicit VR Little Endian (PS3.5 A.5), inflated on the way and never as a whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._inflater = file, zlib.decompressobj(-zlib.MAX_WBITS)
        self._ready, self.broken = b"", ""
        self._total = self.at = 0

    def read(self, count: int) -> bytes:
        while len(self._ready) < count and (more := self._inflate()):
            self._ready += more
        found, self._ready = self._ready[:count], self._ready[count:]
        self.at += len(found)
        return found

    def skip(self, count: int) -> int:
        left = count
        while left and (found := self.read(min(left, _CHUNK_BYTES))):
            left -= len(found)
        return count - left

    def ahead(self, count: int) -> bytes:
        return b""

    def _inflate(self) -> bytes:
        found = b""
        while not found and not self._inflater.eof and not self.broken:
            packed = self._inflater.unconsumed_tail or self._file.read(_CHUNK_BYTES)
            if not packed:
                self.broken = "The file ends early: its deflated data set stops in the middle (PS3.5 A.5)."
            try:
                found = self._inflater.decompress(packed, _CHUNK_BYTES)
            except zlib.error:
                self.broken = "The deflated data set cannot be inflated (PS3.5 A.5)."
        self._total += len(found)
        if self._total > MAX_INFLATED_BYTES:
            raise NotDicom(f"The deflated data set inflates to more than {MAX_INFLATED_BYTES} bytes.")
        return found
