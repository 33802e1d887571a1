"""Where the demo works, and where it writes: the one is gone afterwards, the other is one demo's at a time."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.demo.timeline import StepFailed

_REMOVE_SECONDS = 10.0  # processes that are being killed may still write


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Raises StepFailed while another demo writes there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StepFailed(f"another demo is writing to {folder}: wait for its end") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def passing_folder() -> Iterator[Path]:
    """A temporary folder that a process of its own removes when this one has left it or has ended, however.

    Call it while there is one thread only: it forks.
    """
    folder = Path(tempfile.mkdtemp(prefix="gateway-demo-"))
    waiting, held = os.pipe()
    remover = os.fork()
    if not remover:
        os.close(held)
        _remove_after(waiting, folder)
    os.close(waiting)
    try:
        yield folder
    finally:
        os.close(held)
        os.waitpid(remover, 0)


def _remove_after(waiting: int, folder: Path) -> None:
    """The pipe ends when nobody holds its other end."""
    try:
        os.setsid()  # neither Ctrl-C nor the terminal's end is for this one
        os.read(waiting, 1)
        deadline = time.monotonic() + _REMOVE_SECONDS
        while folder.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(0)
