"""Bodies of answers: streamed, in one part or several (PS3.18 8.6)."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from typing import BinaryIO

from gateway.dicomweb.media_types import MULTIPART_RELATED

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Payload:
    """A body to stream; ``size_bytes`` is None where it is not known before it is made. ``warnings``: for the peer."""

    content_type: str
    size_bytes: int | None
    chunks: Iterator[bytes]
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """``open`` begins to read its bytes; ``location`` is its own address, or ''."""

    content_type: str
    size_bytes: int | None
    open: Callable[[], Iterator[bytes]]
    location: str = ""


def single(part: Part) -> Payload:
    """What cannot be read is an error before the answer has begun."""
    headers = {"Content-Location": part.location} if part.location else {}
    return Payload(part.content_type, part.size_bytes, primed(part.open()), headers)


def multipart(parts: Iterable[Part], part_type: str) -> Payload:
    """One part after another. The size is told where all of them tell theirs."""
    boundary = secrets.token_hex(24)  # cannot occur in the files: 192 random bits
    size = _size(parts, boundary) if isinstance(parts, list) else None
    content_type = f'{MULTIPART_RELATED}; type="{part_type}"; boundary={boundary}'
    return Payload(content_type, size, primed(_multipart(parts, boundary)))


def primed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Begins to read now. Raises what the first chunk raises."""
    for first in chunks:
        return _closing(chain([first], chunks), chunks)
    return iter(())


def _closing(chained: Iterator[bytes], chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A peer that goes away ends the reading at once."""
    with ExitStack() as stack:
        if close := getattr(chunks, "close", None):
            stack.callback(close)
        yield from chained


def read_all(file: BinaryIO) -> Iterator[bytes]:
    """The rest of the file, which is closed then."""
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _multipart(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    waiting = b""
    for part in parts:
        waiting += _head(boundary, part)
        for chunk in part.open():
            yield waiting + chunk
            waiting = b""
    yield waiting + _tail(boundary)


def _size(parts: list[Part], boundary: str) -> int | None:
    total = len(_tail(boundary))
    for part in parts:
        if part.size_bytes is None:
            return None
        total += len(_head(boundary, part)) + part.size_bytes
    return total


def _head(boundary: str, part: Part) -> bytes:
    location = f"\r\nContent-Location: {part.location}" if part.location else ""
    return f"\r\n--{boundary}\r\nContent-Type: {part.content_type}{location}\r\n\r\n".encode()


def _tail(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()
