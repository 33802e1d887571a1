"""An HTTP client that costs next to nothing itself: bodies go from file to socket within the kernel."""

import json
import socket
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from tests.bench.peers import Peer
from tests.bench.slices import Slices

_ROOT = "/dicom-web"
_BOUNDARY = "bench-7f3a"
_BEFORE = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
_AFTER, _END = b"\r\n", f"--{_BOUNDARY}--\r\n".encode()
_BUFFER_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 300


def connected(peer: Peer) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", peer.http_port, timeout=TIMEOUT_SECONDS)
    connection.connect()
    return connection


def store(connection: HTTPConnection, headers: dict[str, str], slices: Slices, wanted: range) -> None:
    """STOW-RS in one request; after the last slice comes the first again, as that of another study."""
    files = slices.files
    numbers = [index % len(files) for index in wanted]
    sizes = [files[number].stat().st_size for number in numbers]
    _begin(connection, headers, sum(sizes) + len(numbers) * len(_BEFORE + _AFTER) + len(_END))
    for index, number in zip(wanted, numbers, strict=True):
        if number == 0 and index != wanted.start:
            slices.renew()
        _send_part(connection.sock, slices, number)
    connection.sock.sendall(_END)
    answer = connection.getresponse()
    stored = json.loads(answer.read())
    assert answer.status == 200, stored
    assert len(stored["00081199"]["Value"]) == len(numbers), "ReferencedSOPSequence (0008,1199)"


def _begin(connection: HTTPConnection, headers: dict[str, str], size_bytes: int) -> None:
    connection.putrequest("POST", f"{_ROOT}/studies")
    sent = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}',
        "Content-Length": str(size_bytes),
        "Accept": "application/dicom+json",
    }
    for name, value in (headers | sent).items():
        connection.putheader(name, value)
    connection.endheaders()


def _send_part(sock: socket.socket, slices: Slices, number: int) -> None:
    header = slices.headers[number]
    sock.sendall(_BEFORE + header, socket.MSG_MORE)
    with slices.files[number].open("rb") as file:
        sock.sendfile(file, len(header))
    sock.sendall(_AFTER, socket.MSG_MORE)


def read_to_its_end(peer: Peer, headers: dict[str, str], path: str, accept: str) -> int:
    """GET, and throw away what comes; returns how many bytes that was, framing included."""
    connection = connected(peer)
    sent = {**headers, "Accept": accept, "Connection": "close"}
    connection.request("GET", f"{_ROOT}{path}", headers=sent)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read(1000)
    return _drain(answer)


def _drain(answer: HTTPResponse) -> int:
    buffer, total = bytearray(_BUFFER_BYTES), 0
    while got := answer.fp.readinto(buffer):
        total += got
    return total


def get(connection: HTTPConnection, headers: dict[str, str], path: str, accept: str) -> bytes:
    connection.request("GET", f"{_ROOT}{path}", headers={**headers, "Accept": accept})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body[:1000]
    return body


def get_json(peer: Peer, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        get(connected(peer), peer.headers(), path, "application/dicom+json")
    )
    return found
