"""multipart/related as PACS and careless clients send it."""

import base64
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import multipart
from gateway.errors import BodyBroken, TooLarge
from gateway.multipart import read_parts
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
        self.faults: list[str] = []
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
        self.faults.append(part.fault)
        part.is_retained = self.keeps

    def read(self, body: bytes, boundary: str = BOUNDARY, piece_bytes: int = 10_000) -> list[bytes]:
        read_parts(pieces(body, piece_bytes), boundary, self.open_spool, self.take)
        return self.contents

    @property
    def files_left(self) -> int:
        return sum(os.path.exists(spool.path) for spool in self.spools)


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


@pytest.mark.parametrize(
    ("headers", "fault"),
    [
        ("no colon here", "The part has a header line without a name and a colon."),
        ("two words: x", "The part has a header line without a name and a colon."),
        ("A: " + "b" * 200_000, "The part has headers of more than 32768 bytes."),
        ("\r\n".join(f"H{i}: x" for i in range(3000)), "The part has more than 256 headers."),
    ],
)
@pytest.mark.parametrize("piece_bytes", [7, 100_000])
def test_a_part_with_broken_headers_fails_alone_and_is_kept_as_it_stands(taken, headers, fault, piece_bytes):
    broken = body_of([b"x"], headers).split(f"--{BOUNDARY}\r\n".encode())[1].rsplit(b"\r\n--", 1)[0]
    body = body_of([b"before"])[: -len(f"--{BOUNDARY}--\r\n")] + body_of([b"x"], headers)
    body = body[: -len(f"--{BOUNDARY}--\r\n")] + body_of([b"after"])
    assert taken.read(body, piece_bytes=piece_bytes) == [b"before", broken, b"after"]
    assert taken.faults == ["", fault, ""]
    assert (taken.headers[1], taken.content_types[1]) == ({}, "")


@pytest.mark.parametrize("piece_bytes", [1, 5, 100_000])
def test_a_part_that_ends_inside_its_headers_fails_alone(taken, piece_bytes):
    body = f"--{BOUNDARY}\r\nContent-Type: a/b\r\n".encode() + body_of([b"after"])
    assert taken.read(body, piece_bytes=piece_bytes) == [b"Content-Type: a/b", b"after"]
    assert taken.faults == ["The part ends inside its headers.", ""]


@pytest.mark.parametrize("head", [b"", b"X: y\r\n"])
@pytest.mark.parametrize("piece_bytes", [1, 5, 100_000])
def test_a_part_may_have_nothing_at_all_after_its_headers(taken, head, piece_bytes):
    body = f"--{BOUNDARY}\r\n".encode() + head + b"\r\n" + body_of([b"after"])
    assert taken.read(body, piece_bytes=piece_bytes) == [b"", b"after"]
    assert taken.faults == ["", ""]


@pytest.mark.parametrize("content", [b"===", b"QUJD\r\nQUI", b"\xff\xfe"])
def test_a_part_that_says_base64_and_is_not_fails_alone(taken, content):
    body = body_of([content], "Content-Transfer-Encoding: base64")
    body = body[: -len(f"--{BOUNDARY}--\r\n")] + body_of([b"after"])
    assert taken.read(body)[1:] == [b"after"]
    assert taken.faults == ["The part says that it is base64, and is not.", ""]


@pytest.mark.parametrize("fold", ["\r\n ", "\r\n\t", "\r\n   \t"])
@pytest.mark.parametrize("piece_bytes", [1, 100_000])
def test_the_headers_of_a_part_may_be_folded(taken, fold, piece_bytes):
    taken.read(
        body_of([b"x"], f"Content-Type:{fold}application/dicom;{fold}transfer-syntax=1.2\r\nA: b"),
        piece_bytes=piece_bytes,
    )
    assert taken.headers[0]["a"] == "b"
    assert taken.content_types[0].split() == ["application/dicom;", "transfer-syntax=1.2"]


@pytest.mark.parametrize("padding", [b" ", b"\t", b"  \t  "])
@pytest.mark.parametrize("piece_bytes", [1, 3, 100_000])
def test_any_delimiter_may_be_padded(taken, padding, piece_bytes):
    body = body_of(FILES).replace(f"--{BOUNDARY}\r\n".encode(), f"--{BOUNDARY}".encode() + padding + b"\r\n")
    body = body.replace(f"--{BOUNDARY}--".encode(), f"--{BOUNDARY}--".encode() + padding)
    assert taken.read(body, piece_bytes=piece_bytes) == FILES


@pytest.mark.parametrize("more", [b"x", b"-x", b" x", b"\rx", b"\r\r\n", b"-" + bytes(9), b" " * 2000])
@pytest.mark.parametrize("piece_bytes", [1, 5, 100_000])
def test_a_boundary_that_goes_on_is_content(taken, more, piece_bytes):
    content = b"a\r\n--" + BOUNDARY.encode() + more + b"\r\n--"
    assert taken.read(body_of([content, b"after"]), piece_bytes=piece_bytes) == [content, b"after"]


@pytest.mark.parametrize("rest", [b"", b"-", b" ", b" \r", b"\r"])
@pytest.mark.parametrize("piece_bytes", [1, 100_000])
@pytest.mark.parametrize("breaks", [False, True])
def test_a_part_before_a_last_delimiter_without_its_end_is_complete(taken, rest, piece_bytes, breaks):
    def chunks() -> Iterator[bytes]:
        yield from pieces(body_of(FILES)[: -len("--\r\n")] + rest, piece_bytes)
        if breaks:
            raise BodyBroken("The body breaks off before its end.")

    with pytest.raises(BodyBroken, match="breaks off" if breaks else "ends early, after part 4"):
        read_parts(chunks(), BOUNDARY, taken.open_spool, taken.take)
    assert taken.contents == FILES
    assert taken.files_left == 0


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
