"""multipart/related as PACS and careless clients send it."""

import base64
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import multipart
from gateway.errors import TooLarge
from gateway.multipart import BodyBroken, read_body, read_parts
from gateway.store.objects import Spool
from tests.support.dicom_files import BOUNDARY
from tests.support.dicom_files import multipart as body_of

FILES = [
    b"first",
    b"",
    b"\r\n--test-boundary-8d1",
    bytes(random.Random(1).randrange(256) for _ in range(5000)),
]


class Taken:
    """Collects what a reader hands over, as the gateway does: through spools that are gone after."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self.content_types: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.keeps = False
        self.spools: list[Spool] = []
        self._folder = tempfile.TemporaryDirectory()

    def open_spool(self) -> Spool:
        self.spools.append(Spool(Path(self._folder.name)))
        return self.spools[-1]

    def take(self, part: multipart.Part) -> None:
        with part.spool.reader() as reader:
            self.contents.append(reader.read())
        self.content_types.append(part.content_type)
        self.headers.append(part.headers)
        part.is_retained = self.keeps

    def read(self, body: bytes, boundary: str = BOUNDARY, piece_bytes: int = 10_000) -> list[bytes]:
        read_parts(pieces(body, piece_bytes), boundary, self.open_spool, self.take)
        return self.contents

    @property
    def files_left(self) -> int:
        return sum(spool.path.exists() for spool in self.spools)


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.fixture
def taken() -> Taken:
    return Taken()


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 64, 1000, 100_000])
def test_parts_come_out_as_they_went_in_however_they_are_cut(taken, piece_bytes):
    assert taken.read(body_of(FILES), piece_bytes=piece_bytes) == FILES
    assert taken.files_left == 0


def test_parts_without_any_header_are_read(taken):
    body = body_of(FILES).replace(b"Content-Type: application/dicom\r\n", b"")
    assert taken.read(body) == FILES
    assert set(taken.content_types) == {""}


def test_the_content_type_of_a_part_is_told(taken):
    taken.read(body_of([b"x"], "content-TYPE: application/dicom; transfer-syntax=1.2\r\nContent-Location: a"))
    assert taken.content_types == ["application/dicom; transfer-syntax=1.2"]


@pytest.mark.parametrize("piece_bytes", [1, 5, 100_000])
def test_a_part_in_base64_is_decoded(taken, piece_bytes):
    body = body_of([base64.encodebytes(FILES[3])], "content-transfer-ENCODING: Base64")
    assert taken.read(body, piece_bytes=piece_bytes) == [FILES[3]]


@pytest.mark.parametrize("encoding", ["binary", "8bit", "7bit", "BINARY"])
def test_a_part_in_another_transfer_encoding_is_taken_as_it_stands(taken, encoding):
    assert taken.read(body_of(FILES, f"Content-Transfer-Encoding: {encoding}")) == FILES


def test_a_part_that_says_base64_and_is_not_is_told(taken):
    with pytest.raises(BodyBroken, match="base64, and is not"):
        taken.read(body_of([b"===="], "Content-Transfer-Encoding: base64"))


def test_headers_of_a_part_are_told_whatever_their_case(taken):
    taken.read(body_of([b"x"], "CONTENT-location:  a/b \r\ncontent-type: image/jpeg"))
    assert taken.headers == [{"content-location": "a/b", "content-type": "image/jpeg"}]


def test_a_part_may_be_kept_by_who_takes_it(taken):
    taken.keeps = True
    taken.read(body_of(FILES))
    assert taken.files_left == len(FILES)


@pytest.mark.parametrize("preamble", [b"\r\n", b"\r\n\r\n", b"This is a multipart message.\r\n"])
def test_what_stands_before_the_first_boundary_is_ignored(taken, preamble):
    assert taken.read(preamble + body_of(FILES), piece_bytes=5) == FILES


@pytest.mark.parametrize("epilogue", [b"", b"\r\n", b"anything at all"])
def test_what_stands_after_the_last_boundary_is_ignored(taken, epilogue):
    assert taken.read(body_of(FILES).rstrip() + epilogue) == FILES


def test_a_wrong_boundary_is_told(taken):
    with pytest.raises(BodyBroken, match="boundary that Content-Type gives does not stand in the body"):
        taken.read(body_of(FILES), boundary="another")


def test_a_wrong_boundary_is_told_before_the_whole_body_is_read(taken):
    chunks = pieces(bytes(10_000_000), 10_000)
    with pytest.raises(BodyBroken):
        read_parts(chunks, BOUNDARY, taken.open_spool, taken.take)
    assert next(chunks)


@pytest.mark.parametrize("boundary", ["", "ä", "x" * 201])
def test_a_boundary_that_is_none_is_told(taken, boundary):
    with pytest.raises(BodyBroken, match="boundary"):
        taken.read(body_of(FILES), boundary=boundary)


def test_a_body_that_ends_early_is_told_and_its_complete_parts_are_taken(taken):
    with pytest.raises(BodyBroken, match="ends early, inside part 4"):
        taken.read(body_of(FILES)[:-100])
    assert taken.contents == FILES[:3]
    assert taken.files_left == 0


@pytest.mark.parametrize("body", [b"", b"--test-boundary-8d1f--\r\n"])
def test_a_body_without_parts_is_told(taken, body):
    with pytest.raises(BodyBroken):
        taken.read(body)


def test_broken_part_headers_are_told(taken):
    with pytest.raises(BodyBroken, match="structure of the body is broken at part 1"):
        taken.read(body_of([b"x"], "no colon here"))


@pytest.mark.parametrize("headers", ["A: " + "b" * 100_000, "\r\n".join(f"H{i}: x" for i in range(1000))])
def test_part_headers_are_limited(taken, headers):
    with pytest.raises(BodyBroken):
        taken.read(body_of([b"x"], headers))


def test_the_number_of_parts_is_limited(taken, monkeypatch):
    monkeypatch.setattr(multipart, "MAX_PARTS", 3)
    with pytest.raises(TooLarge, match="More than 3 parts"):
        taken.read(body_of([b"x"] * 4))


def test_an_error_while_a_part_is_taken_leaves_no_spool(taken):
    def take(part: multipart.Part) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        read_parts(pieces(body_of(FILES), 10), BOUNDARY, taken.open_spool, take)
    assert len(taken.spools) == 1
    assert taken.files_left == 0


class Stream:
    """A request body that may break off as gunicorn tells it."""

    def __init__(self, body: bytes, breaks_with: OSError | None = None) -> None:
        self._body, self._breaks_with = body, breaks_with
        self.reads = 0

    def read(self, size: int) -> bytes:
        self.reads += 1
        found, self._body = self._body[:size], self._body[size:]
        if not found and self._breaks_with is not None:
            raise self._breaks_with
        return found


def test_a_chunked_body_is_read_to_its_end():
    assert b"".join(read_body(Stream(b"x" * 600_000), 1_000_000)) == b"x" * 600_000


def test_a_connection_that_breaks_is_told():
    with pytest.raises(BodyBroken, match="breaks off"):
        list(read_body(Stream(b"x", OSError("No more data")), 1000))


def test_a_body_shorter_than_its_length_is_told():
    with pytest.raises(BodyBroken, match="breaks off after 5 of 9 bytes"):
        list(read_body(Stream(b"short"), 1000, content_length=9))


def test_too_much_is_told_while_it_is_read():
    with pytest.raises(TooLarge, match="more than the 1000 bytes"):
        list(read_body(Stream(b"x" * 1001), 1000))


def test_too_much_is_told_before_it_is_read_where_the_length_says_so():
    stream = Stream(b"x" * 1001)
    with pytest.raises(TooLarge):
        list(read_body(stream, 1000, content_length=1001))
    assert stream.reads == 0
