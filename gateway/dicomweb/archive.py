"""application/zip: instances as files of an archive, streamed (PS3.18 8.7.3, Supplement 211)."""

import zipfile
from collections.abc import Iterable, Iterator
from io import RawIOBase
from typing import TYPE_CHECKING

from gateway.dicomweb.payload import Payload, primed

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ZIP = "application/zip"
_LARGE_BYTES = (
    2 * 1024**3
)  # such a file's entry needs the ZIP64 format, which is to be known before it is written

File = tuple[str, int | None, Iterator[bytes]]


def zipped(files: Iterable[File]) -> Payload:
    """Name, size and content of each. Not compressed: images hardly get smaller."""
    headers = {"Content-Disposition": 'attachment; filename="dicom.zip"'}
    return Payload(ZIP, None, primed(_write(files)), headers)


def _write(files: Iterable[File]) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, size, chunks in files:
            is_large = size is None or size >= _LARGE_BYTES
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=is_large) as entry:
                for chunk in chunks:
                    entry.write(chunk)
                    yield sink.take()
    yield sink.take()


class _Sink(RawIOBase):
    """Takes what is written, and gives it away in between."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: "ReadableBuffer") -> int:
        before = len(self._held)
        self._held += content
        return len(self._held) - before

    def take(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return held
