"""Images decoded, encoded and rendered, each in a process that may die (limited.py)."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from gateway.store.tables import InstanceRow
from gateway.workflow.limited import MIB, Job, Limits

if TYPE_CHECKING:
    from gateway.services import Services

_MEMORY_BYTES = 1024 * MIB
_LARGEST_FILE_BYTES = 16 * 1024 * MIB
_RENDERING = Limits(_MEMORY_BYTES, cpu_seconds=20, wall_seconds=60.0, output_bytes=512 * MIB)
_MOST_CPU_SECONDS = 600


@contextmanager
def rendering(
    services: "Services", row: InstanceRow, job: str = "render", **how: Any
) -> Iterator["Rendering"]:
    """An image that is being rendered, or a report that is being written, while the caller does something else."""
    with (
        _memory() as sink,
        services.objects.open(row.object_key) as source,
        services.limited.start(job, source, sink, _RENDERING, _owner(row), **how) as running,
    ):
        yield Rendering(running, sink)


class Rendering:
    def __init__(self, job: Job, sink: BinaryIO) -> None:
        self._job, self._sink = job, sink

    def result(self) -> list[bytes]:
        """Each image. Raises NotAcceptable where there can be none."""
        sizes = self._job.result()["sizes"]
        self._sink.seek(0)
        return [self._sink.read(size) for size in sizes]


def encoded_frames(
    services: "Services", row: InstanceRow, frames: list[int], transfer_syntax: str
) -> tuple[BinaryIO, list[int]]:
    """A temporary file with the frames in that transfer syntax, one after another, and their sizes.

    No ``frames`` are all of them as one piece of native pixel data.
    Raises NotAcceptable where one cannot be decoded or encoded.
    """
    return _into_file(
        services,
        row,
        "frames",
        _limits(len(frames) or row.frames),
        frames=frames,
        transfer_syntax=transfer_syntax,
    )


def transcoded(services: "Services", row: InstanceRow, transfer_syntax: str) -> tuple[BinaryIO, int]:
    """A temporary file with the instance in that transfer syntax, and its size. Raises NotAcceptable."""
    sink, sizes = _into_file(services, row, "transcode", _limits(row.frames), transfer_syntax=transfer_syntax)
    return sink, sizes[0]


def _into_file(
    services: "Services", row: InstanceRow, job: str, limits: Limits, **how: Any
) -> tuple[BinaryIO, list[int]]:
    sink: BinaryIO = tempfile.TemporaryFile(dir=services.config.data_dir)  # noqa: SIM115 - the caller closes it
    try:
        with services.objects.open(row.object_key) as source:
            done = services.limited.run(job, source, sink, limits, _owner(row), **how)
        sink.seek(0)
    except BaseException:
        sink.close()
        raise
    return sink, list(done["sizes"])


def _owner(row: InstanceRow) -> str:
    """Images of one study may be decoded in one process after another; of two never."""
    return f"study:{row.series.study_id}"


def _limits(frames: int) -> Limits:
    """Many frames may take longer."""
    seconds = min(20 + frames, _MOST_CPU_SECONDS)
    return Limits(_MEMORY_BYTES, seconds, 3.0 * seconds, _LARGEST_FILE_BYTES)


@contextmanager
def _memory() -> Iterator[BinaryIO]:
    with os.fdopen(os.memfd_create("image"), "w+b") as file:
        yield file
