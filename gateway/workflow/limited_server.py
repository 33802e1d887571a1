"""The program that opens foreign bytes (see limited.py): ``python -m gateway.workflow.limited_server``.

It imports the decoders once and forks a process for each job. Some wait already when a job comes, so that no peer
waits for a fork. It never opens a job's bytes itself, and ends when the socket that jobs come by is closed.
"""

import gc
import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import IO, Any

from gateway.errors import NotAcceptable, NotDicom, NotFound

SPARES = 2
_MESSAGE_BYTES = 64 * 1024
_POLL_MILLISECONDS = 1000
_PID_BYTES = 4

Job = Callable[..., dict[str, Any]]


def _jobs() -> dict[str, Job]:
    """Every job by name: a function of the file to read, the file to write, and its parameters."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads do not survive a fork, and reserve address space
    from mappings import document_legibility, pixel_decoding, pixel_rendering, sr_to_html, transcoding

    return {
        "document": document_legibility.examine,
        "frames": pixel_decoding.write_frames,
        "render": pixel_rendering.render,
        "report": sr_to_html.write_report,
        "transcode": transcoding.transcode,
    }


def _warm(jobs: dict[str, Job]) -> None:
    """What is loaded and remembered with the first image is so before the forks, by an image of our own."""
    from mappings.sample_image import sample_image

    for media_type in ("image/jpeg", "image/png"):
        with os.fdopen(os.memfd_create("sample"), "w+b") as source, open(os.devnull, "w+b") as sink:
            source.write(sample_image())
            source.flush()
            source.seek(0)
            jobs["render"](source, sink, frames=[], media_type=media_type, quality=90)


def main(descriptor: int) -> None:
    jobs = _jobs()
    _warm(jobs)
    requests = socket.socket(fileno=descriptor)
    taken, tell = os.pipe()
    gc.collect()
    gc.freeze()
    poll = select.poll()
    poll.register(requests, 0)  # only that it hangs up: its messages are for those who wait
    poll.register(taken, select.POLLIN)
    spares: set[int] = set()
    while True:
        while len(spares) < SPARES:
            spares.add(_fork(requests, taken, tell, jobs))
        ready = dict(poll.poll(_POLL_MILLISECONDS))
        if requests.fileno() in ready:
            return
        if taken in ready:
            spares.discard(int.from_bytes(os.read(taken, _PID_BYTES)))
        spares -= _ended()


def _ended() -> set[int]:
    found = set()
    try:
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            found.add(pid)
    except ChildProcessError:
        pass
    return found


def _fork(requests: socket.socket, taken: int, tell: int, jobs: dict[str, Job]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.close(taken)
        _do_one(requests, tell, jobs)
    finally:
        os._exit(0)


def _do_one(requests: socket.socket, tell: int, jobs: dict[str, Job]) -> None:
    message, descriptors, _, _ = socket.recv_fds(requests, _MESSAGE_BYTES, 3)
    if not message:  # the other side has closed
        return
    os.write(tell, os.getpid().to_bytes(_PID_BYTES))
    os.close(tell)
    requests.close()
    wanted = json.loads(message)
    with socket.socket(fileno=descriptors[0]) as reply:
        _limit_all(wanted["limits"])
        with os.fdopen(descriptors[1], "rb") as source, os.fdopen(descriptors[2], "w+b") as sink:
            said = _run(jobs[wanted["job"]], source, sink, wanted["parameters"])
            sink.flush()
        reply.sendall(json.dumps(said).encode())


def _run(job: Job, source: IO[bytes], sink: IO[bytes], parameters: dict[str, Any]) -> dict[str, Any]:
    try:
        source.seek(0)
        return {"result": job(source, sink, **parameters)}
    except (NotAcceptable, NotDicom, NotFound) as error:
        return {"refused": str(error), "cause": type(error).__name__}


def _limit_all(limits: dict[str, Any]) -> None:
    """The kernel ends a process that passes one. Memory counts from what the program itself has."""
    own = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115 - it ends soon
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, limits["output_bytes"])
    _limit(resource.RLIMIT_CPU, limits["cpu_seconds"])
    _limit(resource.RLIMIT_AS, own + limits["memory_bytes"])
    signal.setitimer(signal.ITIMER_REAL, limits["wall_seconds"])


def _limit(kind: int, wanted: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    main(int(sys.argv[1]))
