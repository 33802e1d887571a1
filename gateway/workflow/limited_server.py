"""The program that opens foreign bytes (see limited.py): ``python -m gateway.workflow.limited_server``.

It imports the decoders once and forks processes for jobs. Some wait already when a job comes, so that no peer waits
for a fork. It never opens a job's bytes itself, and ends when the socket that jobs come by is closed.
"""

import gc
import json
import math
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from gateway.errors import InvalidContent, NotAcceptable, NotFound

SPARES = 4
IDLE_SECONDS = 20.0
_MESSAGE_BYTES = 64 * 1024
_POLL_MILLISECONDS = 1000
_PID_BYTES = 4
_MOST_JOBS = 500  # then a new process, whatever the decoders have gathered
_OWN_BYTES = 0  # of the program itself, before any job

Job = Callable[..., dict[str, Any]]


def _jobs() -> dict[str, Job]:
    """Every job by name: a function of the file to read, the file to write, and its parameters."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads do not survive a fork, and reserve address space
    from mappings import document_legibility, pixel_encoding, pixel_rendering, sr_to_html, transcoding

    return {
        "document": document_legibility.examine,
        "frames": pixel_encoding.write_frames,
        "render": pixel_rendering.render,
        "report": sr_to_html.write_report,
        "transcode": transcoding.transcode,
    }


def _warm(jobs: dict[str, Job]) -> None:
    """Load and remember what the first image would, by an image of our own."""
    from mappings.sample_image import sample_image

    for media_type in ("image/jpeg", "image/png"):
        with os.fdopen(os.memfd_create("sample"), "w+b") as source, open(os.devnull, "w+b") as sink:
            source.write(sample_image())
            source.flush()
            source.seek(0)
            jobs["render"](source, sink, frames=[], media_type=media_type, quality=90)


def main(descriptor: int) -> None:
    global _OWN_BYTES
    jobs = _jobs()
    _warm(jobs)
    _OWN_BYTES = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
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
        _warm(jobs)  # the pages that it will write are copied now, and not when a peer waits
        _serve(requests, tell, jobs)
    finally:
        os._exit(0)


def _serve(requests: socket.socket, tell: int, jobs: dict[str, Job]) -> None:
    """One job, and then those of the same owner, until there is none for a while."""
    message, descriptors, _, _ = socket.recv_fds(requests, _MESSAGE_BYTES, 3)
    if not message:  # the other side has closed
        return
    os.write(tell, os.getpid().to_bytes(_PID_BYTES))
    os.close(tell)
    requests.close()
    with socket.socket(fileno=descriptors.pop(0)) as line:
        for _ in range(_MOST_JOBS):
            line.send(_do(json.loads(message), descriptors, jobs))
            line.settimeout(IDLE_SECONDS)
            try:
                message, descriptors, _, _ = socket.recv_fds(line, _MESSAGE_BYTES, 2)
            except TimeoutError:
                return
            if not message:
                return


def _do(wanted: dict[str, Any], descriptors: list[int], jobs: dict[str, Job]) -> bytes:
    with os.fdopen(descriptors[0], "rb") as source, os.fdopen(descriptors[1], "w+b") as sink:
        _limit_all(wanted["limits"])
        said = _run(jobs[wanted["job"]], source, sink, wanted["parameters"])
        sink.flush()
    signal.setitimer(signal.ITIMER_REAL, 0)
    return json.dumps(said | {"process": os.getpid()}).encode()


def _run(job: Job, source: IO[bytes], sink: IO[bytes], parameters: dict[str, Any]) -> dict[str, Any]:
    try:
        source.seek(0)
        return {"result": job(source, sink, **parameters)}
    except (NotAcceptable, InvalidContent, NotFound) as error:
        return {"refused": str(error), "cause": type(error).__name__}


def _limit_all(limits: dict[str, Any]) -> None:
    """The kernel ends a process that passes one. Memory and processor time count from what it has used already."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime) + limits["cpu_seconds"]
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, limits["output_bytes"])
    _limit(resource.RLIMIT_CPU, seconds)
    _limit(resource.RLIMIT_AS, _OWN_BYTES + limits["memory_bytes"])
    signal.setitimer(signal.ITIMER_REAL, limits["wall_seconds"])


def _limit(kind: int, wanted: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


if __name__ == "__main__":
    main(int(sys.argv[1]))
