"""Opening a document harms nobody: it happens in a process with limits, whatever the bytes do to a decoder."""

import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.workflow import examination
from gateway.workflow.examination import NOT_WITHIN_LIMITS, problem_of

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


def test_what_opens_has_no_problem() -> None:
    assert problem_of(png(8, 8), "image/png") == ""


def test_what_is_wrong_is_told_in_words() -> None:
    assert problem_of(b"%PDX-1.7", "application/pdf") == "The bytes are no PDF."


def test_an_image_of_more_pixels_than_may_be_decoded_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "MEMORY_BYTES", 160 * 1024 * 1024)
    assert problem_of(png(13300, 13300), "image/png") == "The image is too large to be opened safely."


def test_what_takes_too_much_memory_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "MEMORY_BYTES", 160 * 1024 * 1024)
    assert problem_of(bytes(200 * 1024 * 1024), "text/plain") == NOT_WITHIN_LIMITS


def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "CPU_SECONDS", 1)
    assert problem_of(ENDLESS, "text/plain; charset=punycode") == NOT_WITHIN_LIMITS


def test_what_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "WALL_SECONDS", 0.001)
    assert problem_of(png(8, 8), "image/png") == NOT_WITHIN_LIMITS
    assert not any(_environment(child) for child in _children())


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
def test_no_media_type_makes_it_fail(content_type: str) -> None:
    assert problem_of(b"x", content_type) != NOT_WITHIN_LIMITS


def test_the_process_is_not_given_the_secrets_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SECRET_KEY", "secret")
    monkeypatch.setattr(examination, "CPU_SECONDS", 1)
    with ThreadPoolExecutor(1) as threads:
        problem = threads.submit(problem_of, ENDLESS, "text/plain; charset=punycode")
        environments = set()
        while not problem.done():
            environments |= {environment for child in _children() if (environment := _environment(child))}
            time.sleep(0.01)
    assert environments
    assert not any(b"GATEWAY_" in environment for environment in environments)


def _children() -> list[str]:
    return [
        child
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def _environment(pid: str) -> bytes:
    """Empty while the process is not yet the program that it is to be, and once it has ended."""
    with suppress(OSError):
        if b"gateway.workflow.examiner" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return Path(f"/proc/{pid}/environ").read_bytes()
    return b""
