"""The data folder of a machine: for its owner only, and for one gateway at a time."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from gateway.errors import GatewayError

OWN_UMASK = 0o077
_PATIENCE_SECONDS = 3.0  # the parts of a supervisor that was killed end a moment after it

log = structlog.get_logger(__name__)


class CannotStart(GatewayError):
    """What the operator must put right first."""


def make(folder: Path) -> None:
    """Create it for its owner alone; one that is there and open to others is said. Raises CannotStart."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(None, "Permission denied")
    except OSError as error:
        raise CannotStart(f"The data folder {folder} cannot be used: {error.strerror}.") from error
    if mode & OWN_UMASK:
        log.warning(
            "data-folder-open-to-others", folder=str(folder), mode=f"{mode:04o}", do="chmod -R go= it"
        )


@contextmanager
def held(folder: Path, *parts: str) -> Iterator[None]:
    """These parts run here, and nobody else's; the kernel lets go for processes that end. Raises CannotStart.

    What is forked meanwhile holds them too, so that no part of a killed supervisor is met by its successor.
    """
    make(folder)
    with ExitStack() as stack:
        for part in parts:
            stack.callback(os.close, _lock(folder, part))
        yield


def _lock(folder: Path, part: str) -> int:
    descriptor = os.open(folder / f"{part}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise CannotStart(
                    f"A gateway runs on the data folder {folder} already ({part}): stop it first."
                ) from None
            time.sleep(0.05)
        else:
            return descriptor
