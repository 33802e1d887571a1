"""What a viewer asks of an archive, each timed from the request to the last byte of the answer."""

import random
import time

from tests.bench.peers import Peer
from tests.bench.slices import COUNT, Slices
from tests.bench.wire import connected, get, read_to_its_end

FRAMES = 20
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_JSON = "application/dicom+json"


def whole_study(peer: Peer, slices: Slices) -> float:
    """WADO-RS of every instance as it is stored."""
    taken, size_bytes = _timed(peer, f"/studies/{slices.study_instance_uid}", AS_STORED)
    assert size_bytes > slices.size_bytes
    return taken


def metadata(peer: Peer, slices: Slices) -> float:
    taken, size_bytes = _timed(peer, f"/studies/{slices.study_instance_uid}/metadata", _JSON)
    assert size_bytes > 1000 * COUNT
    return taken


def instances(peer: Peer, slices: Slices) -> float:
    """QIDO-RS of the instances of the study."""
    taken, size_bytes = _timed(peer, f"/studies/{slices.study_instance_uid}/instances", _JSON)
    assert size_bytes > 100 * COUNT
    return taken


def rendered_frame(peer: Peer, slices: Slices) -> float:
    """The mean of some frames, each of another instance, one after the other on one connection."""
    headers, connection = peer.headers(), connected(peer)
    series = f"/studies/{slices.study_instance_uid}/series/{slices.series_instance_uid}"
    paths = [
        f"{series}/instances/{uid}/frames/1/rendered"
        for uid in random.sample(slices.sop_instance_uids, FRAMES)
    ]
    started = time.monotonic()
    images = [get(connection, headers, path, "image/jpeg") for path in paths]
    taken = time.monotonic() - started
    connection.close()
    assert all(image.startswith(b"\xff\xd8") for image in images), "not JPEG"
    return taken / FRAMES


def _timed(peer: Peer, path: str, accept: str) -> tuple[float, int]:
    headers = peer.headers()
    started = time.monotonic()
    size_bytes = read_to_its_end(peer, headers, path, accept)
    return time.monotonic() - started, size_bytes
