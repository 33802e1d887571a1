"""A decoder that fails, hangs or grows ends one request, and nothing of one job is left for the next."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames

from gateway.errors import NotAcceptable, NotFound, StoreUnavailable
from gateway.workflow import limited as limited_module
from gateway.workflow.limited import KEPT, MIB, NOT_WITHIN_LIMITS, LimitedProcesses, Limits
from gateway.workflow.limited_server import SPARES
from tests.support import processes
from tests.support.dicom_files import encode, make_file
from tests.support.dimse import TEST_FILES

LIMITS = Limits(1024 * MIB, cpu_seconds=20, wall_seconds=60.0, output_bytes=64 * MIB)
ENDLESS = "ü".encode("punycode") * 200_000  # takes time by the square of its length


@pytest.fixture(scope="module")
def limited() -> Iterator[LimitedProcesses]:
    found = LimitedProcesses()
    yield found
    found.close()


def run(limited: LimitedProcesses, job: str, content: bytes, limits: Limits = LIMITS, **how: Any) -> bytes:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sink:
        source.write(content)
        source.flush()
        limited.run(job, source, sink, limits, **how)
        return written(sink)


def written(sink: BinaryIO) -> bytes:
    sink.seek(0)
    return sink.read()


def render(limited: LimitedProcesses, content: bytes, limits: Limits = LIMITS, **how: Any) -> bytes:
    wanted = {"frames": [], "media_type": "image/png", "quality": 90} | how
    return run(limited, "render", content, limits, **wanted)


def endless(limited: LimitedProcesses, limits: Limits, owner: str = "") -> None:
    run(limited, "document", ENDLESS, limits, owner=owner, content_type="text/plain; charset=punycode")


def test_an_image_is_rendered(limited):
    assert render(limited, make_file()).startswith(b"\x89PNG")


def test_what_a_job_refuses_is_told_in_its_words(limited):
    with pytest.raises(NotAcceptable, match="no pixel data"):
        render(limited, make_file(PixelData=None))
    with pytest.raises(NotAcceptable, match="not a DICOM file"):
        render(limited, b"nothing")
    with pytest.raises(NotFound, match="no frame 7"):
        render(limited, make_file(), frames=[7])


def test_a_job_that_takes_too_long_is_ended(limited):
    started = time.monotonic()
    with pytest.raises(NotAcceptable, match=NOT_WITHIN_LIMITS):
        endless(limited, Limits(512 * MIB, cpu_seconds=60, wall_seconds=0.5))
    with pytest.raises(NotAcceptable, match=NOT_WITHIN_LIMITS):
        endless(limited, Limits(512 * MIB, cpu_seconds=1, wall_seconds=60.0))
    assert time.monotonic() - started < 40
    assert render(limited, make_file())


def test_a_job_that_grows_is_ended(limited):
    with pytest.raises(NotAcceptable, match=NOT_WITHIN_LIMITS):
        run(limited, "document", bytes(64 * MIB), Limits(16 * MIB, 20, 60.0), content_type="text/plain")
    assert render(limited, make_file())


def test_a_job_that_writes_too_much_is_ended(limited):
    with pytest.raises(NotAcceptable, match=NOT_WITHIN_LIMITS):
        render(limited, make_file(), Limits(1024 * MIB, 20, 60.0, output_bytes=10))
    assert render(limited, make_file())


def bombs() -> dict[str, bytes]:
    """Images that claim, or decode to, more than they should."""
    ds = dcmread(TEST_FILES / "JPEG2000.dcm")
    frame = bytearray(next(generate_frames(ds.PixelData, number_of_frames=1)))
    at = frame.index(b"\xff\x51") + 6
    frame[at : at + 8] = (60_000).to_bytes(4) * 2
    ds.PixelData = encapsulate([bytes(frame)])
    huge = encode(ds, ds.file_meta.TransferSyntaxUID)
    wide = make_file(Rows=65_535, Columns=65_535)
    rle = dcmread(TEST_FILES / "MR_small_RLE.dcm")
    rle.PixelData = encapsulate([b"\x01\0\0\0\x40\0\0\0" + bytes(56) + b"\x81\0" * 100])
    return {"huge": huge, "wide": wide, "rle": encode(rle, rle.file_meta.TransferSyntaxUID)}


@pytest.mark.parametrize("name", ["huge", "wide", "rle"])
def test_a_bomb_is_a_refusal(limited, name):
    with pytest.raises(NotAcceptable):
        render(limited, bombs()[name], Limits(512 * MIB, 10, 30.0, 64 * MIB))
    assert render(limited, make_file())


@pytest.mark.parametrize(
    "name",
    [
        *("JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm"),
        "JPGExtended.dcm",
    ],
)
def test_damaged_frames_are_refused_or_rendered_and_stop_nothing(limited, name):
    content = (TEST_FILES / name).read_bytes()
    for place in range(1, 12):
        at = len(content) * place // 12
        damaged = content[:at] + bytes(b ^ 0xFF for b in content[at : at + 40]) + content[at + 40 :]
        with suppress(NotAcceptable):
            assert render(limited, damaged).startswith(b"\x89PNG")
    assert render(limited, content).startswith(b"\x89PNG")


def process_of_job(limited: LimitedProcesses, owner: str) -> int:
    with (
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as sink,
        limited.start("document", source, sink, LIMITS, owner, content_type="image/svg+xml") as job,
    ):
        job.result()
        return job.process


def test_a_process_serves_one_owner_and_no_other(limited):
    """No other's bytes were ever in its memory; without an owner it serves once."""
    owners = ("a", "a", "b", "a", "b", "", "")
    a1, a2, b1, a3, b2, alone, another = (process_of_job(limited, owner) for owner in owners)
    assert a1 == a2 == a3
    assert b1 == b2
    assert len({a1, b1, alone, another}) == 4


def test_a_process_that_failed_or_is_gone_is_not_used_again(limited):
    first = process_of_job(limited, "c")
    with pytest.raises(NotAcceptable, match=NOT_WITHIN_LIMITS):
        endless(limited, Limits(512 * MIB, cpu_seconds=1, wall_seconds=60.0), owner="c")
    second = process_of_job(limited, "c")
    assert second != first
    os.kill(second, signal.SIGKILL)
    assert process_of_job(limited, "c") not in (first, second)


def test_no_more_processes_wait_than_are_wanted_and_none_stays():
    others = set(servers())
    limited = LimitedProcesses()
    try:
        assert render(limited, make_file())
        [server] = set(servers()) - others
        for owner in "abcdefgh":
            render(limited, make_file(), owner=owner)
        time.sleep(0.5)
        waiting = [pid for pid in processes.children(server) if processes.alive(pid)]
        assert 1 <= len(waiting) <= SPARES + KEPT
        os.kill(server, signal.SIGKILL)
        assert render(limited, make_file())
    finally:
        limited.close()
    processes.wait_until_ended([server, *waiting], 10)


def test_when_every_place_is_taken_who_comes_later_is_told(monkeypatch):
    monkeypatch.setattr(limited_module, "AT_ONCE", 1)
    limited = LimitedProcesses()
    try:
        slow = Limits(512 * MIB, cpu_seconds=20, wall_seconds=3.0)
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(endless, limited, slow)
            time.sleep(0.3)
            with pytest.raises(StoreUnavailable, match="busy"):
                render(limited, make_file(), Limits(512 * MIB, 20, 0.2, MIB))
            with pytest.raises(NotAcceptable, match=NOT_WITHIN_LIMITS):
                first.result()
        assert render(limited, make_file())
    finally:
        limited.close()


def servers() -> list[int]:
    """The programs that fork, of this process."""
    return [pid for pid in processes.children(os.getpid()) if is_server(pid)]


def is_server(pid: int) -> bool:
    try:
        return b"gateway.workflow.limited_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_the_bytes_that_are_read_are_left_as_they_are(limited):
    content = make_file()
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sink:
        source.write(content)
        source.flush()
        limited.run("transcode", source, sink, LIMITS, transfer_syntax="1.2.840.10008.1.2.5")
        assert written(source) == content
        assert dcmread(BytesIO(written(sink))).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.5"
