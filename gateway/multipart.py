"""multipart/related bodies, read as they arrive (RFC 2387, RFC 2046 5.1, PS3.18 8.6).

Each part is in a spool on disk as soon as its bytes are here, and is handed over when it ends: memory stays the same
for a body of a kilobyte and of many gigabytes. Parts need no Content-Disposition. A part whose own headers or encoding
are broken is handed over with its ``fault`` and as it stands in the body: it concerns no other.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.errors import BodyBroken, TooLarge

if TYPE_CHECKING:
    from gateway.store.objects import Spool

MAX_PARTS = 100_000
MAX_PREAMBLE_BYTES = 64 * 1024
MAX_HEADER_BYTES = 32 * 1024
MAX_HEADERS = 256
MAX_PADDING_BYTES = 1024
MAX_BOUNDARY_CHARACTERS = 200  # RFC 2046 says 70; longer ones are seen and harmless
_BLANK_LINE = b"\r\n\r\n"
_AFTER_DELIMITER = re.compile(
    rb"(--)|[ \t]{0,%d}\r\n" % (MAX_PADDING_BYTES - 2)
)  # transport padding (RFC 2046 5.1.1)
_PERHAPS_AFTER_DELIMITER = re.compile(rb"-?|[ \t]*\r?")
_FIELD_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 2.2
_FOLD = re.compile(r"\r\n(?=[ \t])")  # RFC 5322 2.2.3


@dataclass(slots=True)
class Part:
    """A complete part. ``headers`` have names in lower case.

    ``fault`` says in words why it cannot be taken, '' where it can: then ``spool`` has it as it stood in the body.
    ``spool`` is removed after it was taken, unless who takes it sets ``is_retained`` and removes it later.
    """

    number: int
    content_type: str
    spool: Spool
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    is_retained: bool = False


def read_parts(
    chunks: Iterator[bytes], boundary: str, open_spool: Callable[[], Spool], take: Callable[[Part], None]
) -> None:
    """Give every part to ``take``, in order.

    Raises BodyBroken, in words for the sender, when the boundary is wrong, there is no part, or the body ends early.
    """
    reader = _PartReader(_checked(boundary), open_spool, take)
    with reader:
        try:
            for chunk in chunks:
                reader.feed(chunk)
        except (BodyBroken, TooLarge):
            reader.take_complete()
            raise
        reader.finish()


def _checked(boundary: str) -> bytes:
    try:
        found = boundary.encode("ascii")
    except UnicodeEncodeError as error:
        raise BodyBroken("The boundary in Content-Type is not ASCII.") from error
    if not 0 < len(found) <= MAX_BOUNDARY_CHARACTERS:
        raise BodyBroken(f"Content-Type needs a boundary of 1 to {MAX_BOUNDARY_CHARACTERS} characters.")
    return found


class _PartReader:
    """Finds the parts in whatever pieces the body comes; a context manager that leaves no spool behind.

    ``_step`` is what is to be done with ``_held`` from ``_at`` on; it says whether there is more to do at once.
    """

    def __init__(
        self, boundary: bytes, open_spool: Callable[[], Spool], take: Callable[[Part], None]
    ) -> None:
        self._open_spool, self._take = open_spool, take
        self._delimiter = b"\r\n--" + boundary
        self._held, self._at = b"\n", 0  # as after a line: a delimiter may begin the body
        self._passed = 0
        self._step = self._pass_preamble
        self._part: Part | None = None
        self._base64: _Base64 | None = None
        self._line_end = self._count = 0

    def __enter__(self) -> _PartReader:
        return self

    def __exit__(self, *_: object) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.spool.__exit__(None, None, None)

    def feed(self, chunk: bytes) -> None:
        left = self._held[self._at :]
        self._held, self._at = left + chunk if left else chunk, 0
        while self._step():
            pass

    def finish(self) -> None:
        """The body has ended. Raises BodyBroken where it may not end there."""
        if not self._count:
            if self._step == self._pass_preamble:
                raise _no_boundary()
            raise BodyBroken("The multipart body has no part.")
        if self._step != self._pass_epilogue:
            where = "after" if self._is_complete else "inside"
            self.take_complete()
            raise BodyBroken(
                f"The body ends early, {where} part {self._count}: there is no closing boundary."
            )

    @property
    def _is_complete(self) -> bool:
        """Whether the part that is read stands whole before a delimiter, after which nothing has come yet."""
        return self._part is not None and self._step == self._judge_delimiter

    def take_complete(self) -> None:
        if self._is_complete:
            self._end_part()

    def _pass_preamble(self) -> bool:
        """RFC 2046 5.1.1 allows it and says to ignore it."""
        delimiter = self._delimiter[1:]
        found = self._held.find(delimiter, self._at)
        if found < 0:
            until = max(len(self._held) - len(delimiter) + 1, self._at)
            self._passed += until - self._at
            self._at = until
            if self._passed > MAX_PREAMBLE_BYTES:
                raise _no_boundary()
            return False
        self._at, self._step = found + len(delimiter), self._judge_delimiter
        return True

    def _pass_epilogue(self) -> bool:
        self._at = len(self._held)
        return False

    def _judge_delimiter(self) -> bool:
        """Whether it is one: the boundary may be the beginning of other letters."""
        match = _AFTER_DELIMITER.match(self._held, self._at)
        is_short = len(self._held) - self._at < MAX_PADDING_BYTES
        if match is None and is_short and _PERHAPS_AFTER_DELIMITER.fullmatch(self._held, self._at):
            return False
        if match is None:
            self._step = self._read_content if self._part is not None else self._pass_preamble
            self._write(self._delimiter)
            return True
        if self._part is not None:
            self._end_part()
        if match[1]:
            self._step = self._pass_epilogue
        else:
            self._at = match.end() - 2  # the end of the line may begin a blank line, or another delimiter
            self._begin_part()
        return True

    def _begin_part(self) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            raise TooLarge(f"More than {MAX_PARTS} parts in one request.")
        self._part, self._base64 = Part(self._count, "", self._open_spool()), None
        self._step = self._read_headers

    def _read_headers(self) -> bool:
        end = self._held.find(_BLANK_LINE, self._at)
        delimiter = self._held.find(self._delimiter, self._at)
        known = end if end >= 0 else len(self._held)
        if 0 <= delimiter < known:
            self._fail("ends inside its headers")
        elif known - self._at > MAX_HEADER_BYTES:
            self._fail(f"has headers of more than {MAX_HEADER_BYTES} bytes")
        elif end < 0:
            return False
        elif self._takes_headers(self._held[self._at : end].decode("latin-1")):
            self._at = end + 2
        self._line_end = 2
        self._step = self._read_content
        return True

    def _takes_headers(self, block: str) -> bool:
        part = self._open_part
        lines = _FOLD.sub("", block).split("\r\n")[1:]
        if len(lines) > MAX_HEADERS:
            self._fail(f"has more than {MAX_HEADERS} headers")
            return False
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not _FIELD_NAME.fullmatch(name.strip()):
                self._fail("has a header line without a name and a colon")
                return False
            part.headers[name.strip().lower()] = value.strip()
        part.content_type = part.headers.get("content-type", "")
        if part.headers.get("content-transfer-encoding", "").lower() == "base64":
            self._base64 = _Base64()
        return True

    def _read_content(self) -> bool:
        found = self._held.find(self._delimiter, self._at)
        if found >= 0:
            self._write(memoryview(self._held)[self._at : found])
            self._at, self._step = found + len(self._delimiter), self._judge_delimiter
            return True
        until = len(self._held)
        # a delimiter may begin here: its first letter is nowhere else in it
        start = self._held.rfind(b"\r", max(self._at, until - len(self._delimiter) + 1))
        if start >= 0 and self._delimiter.startswith(self._held[start:]):
            until = start
        self._write(memoryview(self._held)[self._at : until])
        self._at = until
        return False

    def _write(self, content: bytes | memoryview) -> None:
        """Content of the part that is open, which begins after the end of a line."""
        if self._part is None:
            return
        if self._line_end:
            passed = min(self._line_end, len(content))
            content, self._line_end = content[passed:], self._line_end - passed
        if self._base64 is not None:
            try:
                content = self._base64.decode(bytes(content))
            except ValueError:
                self._fail_base64()
        self._part.spool.write(content)

    def _end_part(self) -> None:
        if self._base64 is not None and self._base64.rest:
            self._fail_base64()
        part, self._part = self._open_part, None
        try:
            self._take(part)
        finally:
            if not part.is_retained:
                part.spool.__exit__(None, None, None)

    @property
    def _open_part(self) -> Part:
        if self._part is None:
            raise ValueError("no part is open")
        return self._part

    def _fail(self, how: str) -> None:
        part = self._open_part
        part.headers.clear()
        part.content_type, part.fault = "", f"The part {how}."

    def _fail_base64(self) -> None:
        self._base64, self._open_part.fault = None, "The part says that it is base64, and is not."


def _no_boundary() -> BodyBroken:
    return BodyBroken("The boundary that Content-Type gives does not stand in the body.")


class _Base64:
    """Content-Transfer-Encoding base64, as mail libraries write it though HTTP needs none (RFC 2045 6.8)."""

    def __init__(self) -> None:
        self.rest = b""

    def decode(self, found: bytes) -> bytes:
        """What is whole so far. Raises ValueError."""
        letters = self.rest + b"".join(found.split())
        whole = len(letters) // 4 * 4
        self.rest = letters[whole:]
        return binascii.a2b_base64(letters[:whole], strict_mode=True)
