"""Opening a document harms nobody: it happens in a process with limits, whatever the bytes do to a decoder."""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from gateway.workflow import examination
from gateway.workflow.examination import NOT_WITHIN_LIMITS
from gateway.workflow.limited import LimitedProcesses
from tests.support import processes

ProblemOf = Callable[[bytes, str], str]
ENDLESS = "ü".encode("punycode") * 200_000  # takes time by the square of its length


def png(width: int, height: int) -> bytes:
    """A black image that is small as a file, made without its pixels in memory."""
    head = width.to_bytes(4) + height.to_bytes(4) + bytes([1, 0, 0, 0, 0])
    deflate = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    pixels = b"".join([*(deflate.compress(row) for _ in range(height)), deflate.flush()])
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(part).to_bytes(4) + kind + part + zlib.crc32(kind + part).to_bytes(4)
        for kind, part in ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    )


@pytest.fixture(scope="module")
def limited() -> Iterator[LimitedProcesses]:
    found = LimitedProcesses()
    yield found
    found.close()


@pytest.fixture
def problem_of(limited: LimitedProcesses) -> ProblemOf:
    return partial(examination.problem_of, limited)


def test_what_opens_has_no_problem(problem_of: ProblemOf) -> None:
    assert problem_of(png(8, 8), "image/png") == ""


def test_what_is_wrong_is_told_in_words(problem_of: ProblemOf) -> None:
    assert problem_of(b"%PDX-1.7", "application/pdf") == "The bytes are no PDF."


def test_an_image_of_more_pixels_than_may_be_decoded_is_not_decoded(
    problem_of: ProblemOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "MEMORY_BYTES", 160 * 1024 * 1024)
    assert problem_of(png(13300, 13300), "image/png") == "The image is too large to be opened safely."


def test_what_takes_too_much_memory_is_given_up(
    problem_of: ProblemOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "MEMORY_BYTES", 160 * 1024 * 1024)
    assert problem_of(bytes(200 * 1024 * 1024), "text/plain") == NOT_WITHIN_LIMITS


def test_what_takes_too_long_is_given_up(problem_of: ProblemOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "CPU_SECONDS", 1)
    assert problem_of(ENDLESS, "text/plain; charset=punycode") == NOT_WITHIN_LIMITS


def test_what_stands_still_is_given_up(problem_of: ProblemOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "CPU_SECONDS", 60)
    monkeypatch.setattr(examination, "WALL_SECONDS", 0.5)
    assert problem_of(ENDLESS, "text/plain; charset=punycode") == NOT_WITHIN_LIMITS


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain; charset=undefined",
        "text/plain; charset=\ud800",
        "text/plain; charset=a\0b",
        "image/\0",
        "",
    ],
)
def test_no_media_type_makes_it_fail(problem_of: ProblemOf, content_type: str) -> None:
    assert problem_of(b"x", content_type) != NOT_WITHIN_LIMITS


def test_the_process_is_not_given_the_secrets_of_the_gateway(
    problem_of: ProblemOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_SECRET_KEY", "secret")
    found = LimitedProcesses()
    try:
        assert examination.problem_of(found, b"x", "text/plain") == ""
        environments = [
            Path(f"/proc/{pid}/environ").read_bytes()
            for pid in processes.family(os.getpid())
            if _is_limited(pid)
        ]
    finally:
        found.close()
    assert environments
    assert not any(b"GATEWAY_" in environment for environment in environments)


def _is_limited(pid: int) -> bool:
    with suppress(OSError):
        return b"gateway.workflow.limited_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
