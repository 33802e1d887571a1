"""Request bodies that end, break off, or are more than is taken."""

import pytest
from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.unreader import IterUnreader

from gateway.errors import BodyBroken, TooLarge
from gateway.request_body import read_body


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


class ChunkedBody(Body):
    """As gunicorn gives a chunked one, of a connection that ends after these bytes."""

    def __init__(self, sent: bytes) -> None:
        super().__init__(ChunkedReader(None, IterUnreader([sent])))


@pytest.mark.parametrize("end", [b"5\r\nabc", b"zz\r\n", b"3\r\nabcde\r\n", b"5", b""])
def test_what_came_of_a_chunked_body_before_it_broke_off_is_given(end):
    body, given = ChunkedBody(b"4\r\nwhol\r\n1\r\ne\r\n" + end), []
    with pytest.raises(BodyBroken, match="breaks off"):
        given.extend(read_body(body, 1000))
    assert b"".join(given).startswith(b"whole")


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
