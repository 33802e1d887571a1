"""The body of a request as it arrives, whole or in chunks (RFC 9112 6, 7.1), and only as much of it as is taken."""

from collections.abc import Iterator
from contextlib import suppress
from typing import IO

from gunicorn.http.errors import ParseException

from gateway.errors import BodyBroken, TooLarge

READ_BYTES = 256 * 1024


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
        except (OSError, ParseException) as error:  # gunicorn's, of a connection and of chunks (RFC 9112 7.1)
            yield from _held_back(stream, max_bytes - total)
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


def _held_back(stream: IO[bytes], max_bytes: int) -> Iterator[bytes]:
    """What had come before a chunked body broke off, and was not given yet."""
    with suppress(OSError, ParseException):
        while max_bytes > 0 and (chunk := stream.read(min(READ_BYTES, max_bytes))):
            max_bytes -= len(chunk)
            yield chunk


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"The body has more than the {max_bytes} bytes that are taken at once.")
