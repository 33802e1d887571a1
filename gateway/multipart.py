"""multipart/related bodies, read as they arrive (RFC 2387, RFC 2046 5.1, PS3.18 8.6).

Each part is in a spool on disk as soon as its bytes are here, and is handed over when it ends: memory stays the same
for a body of a kilobyte and of many gigabytes. Parts need no Content-Disposition.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from gateway.errors import BodyBroken, TooLarge

if TYPE_CHECKING:
    from gateway.store.objects import Spool

READ_BYTES = 256 * 1024
MAX_PARTS = 100_000
MAX_PREAMBLE_BYTES = 64 * 1024
MAX_BOUNDARY_CHARACTERS = 200  # RFC 2046 says 70; longer ones are seen and harmless


@dataclass(slots=True)
class Part:
    """A complete part. ``headers`` have names in lower case.

    ``spool`` is removed after it was taken, unless who takes it sets ``is_retained`` and removes it later.
    """

    number: int
    content_type: str
    spool: Spool
    headers: dict[str, str] = field(default_factory=dict)
    is_retained: bool = False


def read_body(stream: IO[bytes], max_bytes: int, content_length: int | None = None) -> Iterator[bytes]:
    """The body in pieces; ``content_length`` is None for a chunked one.

    Raises TooLarge past ``max_bytes``, and before anything is read where the length says so; BodyBroken when the
    connection breaks off.
    """
    if content_length is not None and content_length > max_bytes:
        raise _too_large(max_bytes)
    total = 0
    while True:
        try:
            chunk = stream.read(READ_BYTES)
        except OSError as error:  # gunicorn's NoMoreData and ChunkMissingTerminator are OSErrors
            raise BodyBroken("The body breaks off before its end.") from error
        total += len(chunk)
        if not chunk and content_length is not None and total < content_length:
            raise BodyBroken(f"The body breaks off after {total} of {content_length} bytes.")
        if not chunk:
            return
        if total > max_bytes:
            yield chunk[: max_bytes - total]
            raise _too_large(max_bytes)
        yield chunk


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"The body has more than the {max_bytes} bytes that are taken at once.")


def read_parts(
    chunks: Iterator[bytes], boundary: str, open_spool: Callable[[], Spool], take: Callable[[Part], None]
) -> None:
    """Give every part to ``take``, in order.

    Raises BodyBroken, in words for the sender, when the boundary is wrong, there is no part, or the body ends early.
    """
    reader = _PartReader(open_spool, take)
    with reader:
        _feed(reader, chunks, _checked(boundary))
        if not reader.ended:
            raise BodyBroken(
                f"The body ends early, inside part {reader.count}: there is no closing boundary."
            )
        if not reader.count:
            raise BodyBroken("The multipart body has no part.")


def _checked(boundary: str) -> bytes:
    try:
        found = boundary.encode("ascii")
    except UnicodeEncodeError as error:
        raise BodyBroken("The boundary in Content-Type is not ASCII.") from error
    if not 0 < len(found) <= MAX_BOUNDARY_CHARACTERS:
        raise BodyBroken(f"Content-Type needs a boundary of 1 to {MAX_BOUNDARY_CHARACTERS} characters.")
    return found


def _feed(reader: _PartReader, chunks: Iterator[bytes], boundary: bytes) -> None:
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": reader.begin,
            "on_header_field": reader.header_field,
            "on_header_value": reader.header_value,
            "on_header_end": reader.header_end,
            "on_headers_finished": reader.headers_finished,
            "on_part_data": reader.data,
            "on_part_end": reader.end_part,
            "on_end": reader.end,
        },
    )
    try:
        for chunk in _from_first_boundary(chunks, b"--" + boundary):
            parser.write(chunk)
    except FormParserError as error:
        raise BodyBroken(f"The multipart structure of the body is broken at part {reader.count}.") from error


def _from_first_boundary(chunks: Iterator[bytes], delimiter: bytes) -> Iterator[bytes]:
    """The body without its preamble, which RFC 2046 5.1.1 allows and says to ignore."""
    seen = b""
    for chunk in chunks:
        seen += chunk
        start = 0 if seen.startswith(delimiter) else seen.find(b"\n" + delimiter) + 1
        if start or seen.startswith(delimiter):
            yield seen[start:]
            yield from chunks
            return
        if len(seen) > MAX_PREAMBLE_BYTES:
            break
    raise BodyBroken("The boundary that Content-Type gives does not stand in the body.")


class _PartReader:
    """Callbacks of the parser; a context manager that leaves no spool behind."""

    def __init__(self, open_spool: Callable[[], Spool], take: Callable[[Part], None]) -> None:
        self._open_spool, self._take = open_spool, take
        self._spool: Spool | None = None
        self._headers: dict[str, str] = {}
        self._field = self._value = b""
        self.count = 0
        self.ended = False
        self._decode: Callable[[bytes], bytes] = bytes

    def __enter__(self) -> _PartReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def begin(self) -> None:
        self.count += 1
        self._headers = {}
        if self.count > MAX_PARTS:
            raise TooLarge(f"More than {MAX_PARTS} parts in one request.")

    def header_field(self, found: bytes, start: int, end: int) -> None:
        self._field += found[start:end]

    def header_value(self, found: bytes, start: int, end: int) -> None:
        self._value += found[start:end]

    def header_end(self) -> None:
        self._headers[self._field.decode("latin-1").strip().lower()] = self._value.decode("latin-1").strip()
        self._field = self._value = b""

    def headers_finished(self) -> None:
        self._spool = self._open_spool()
        is_base64 = self._headers.get("content-transfer-encoding", "").lower() == "base64"
        self._decode = _Base64().decode if is_base64 else bytes

    def data(self, found: bytes, start: int, end: int) -> None:
        if self._spool is not None:
            self._spool.write(self._decode(found[start:end]))

    def end_part(self) -> None:
        if self._spool is None:
            raise BodyBroken(f"Part {self.count} ends inside its headers.")
        part = Part(self.count, self._headers.get("content-type", ""), self._spool, self._headers)
        try:
            self._take(part)
        finally:
            if part.is_retained:
                self._spool = None
            self._drop()

    def end(self) -> None:
        self.ended = True

    def _drop(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.__exit__(None, None, None)


class _Base64:
    """Content-Transfer-Encoding base64, as mail libraries write it though HTTP needs none (RFC 2045 6.8)."""

    def __init__(self) -> None:
        self._rest = b""

    def decode(self, found: bytes) -> bytes:
        """What is whole so far. Raises BodyBroken."""
        letters = self._rest + b"".join(found.split())
        whole = len(letters) // 4 * 4
        self._rest = letters[whole:]
        try:
            return binascii.a2b_base64(letters[:whole], strict_mode=True)
        except binascii.Error as error:
            raise BodyBroken("A part says that it is base64, and is not.") from error
