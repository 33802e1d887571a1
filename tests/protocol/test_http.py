"""HTTP itself (RFC 9110, RFC 9112): what is not clear is refused and runs nothing, and nothing half-kept is left."""

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from tests.support.bundles import FHIR_JSON, document_reference, referral
from tests.support.dicom_files import BOUNDARY, make_file, multipart, related
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

HOST = b"Host: 127.0.0.1\r\n"
SMUGGLED = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
LARGE_BYTES = 1_500_000  # a door reads in pieces of up to 1 MiB
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture
def peer(gateway: GatewayProcess) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", gateway.http_port), timeout=10)) as opened:
        yield opened


def everything_from(peer: socket.socket) -> bytes:
    received = b""
    while chunk := peer.recv(65536):
        received += chunk
    return received


def until(peer: socket.socket, ending: bytes) -> bytes:
    received = b""
    while ending not in received:
        chunk = peer.recv(65536)
        assert chunk, f"the connection ended after {received!r}"
        received += chunk
    return received


@pytest.mark.parametrize(
    ("framing", "status"),
    [
        (b"Content-Length: 4\r\n" + CHUNKED, 400),
        (CHUNKED + b"Content-Length: 4\r\n", 400),
        (b"Content-Length: 4\r\nContent-Length: 44\r\n", 400),
        (b"Content-Length: +4\r\n", 400),
        (b"Content-Length: 4, 4\r\n", 400),
        (b"Transfer-Encoding: gzip\r\n", 400),
        (b"Transfer-Encoding: chunked, chunked\r\n", 400),
        (b"Transfer-Encoding: xchunked\r\n", 501),
        (b"Transfer-Encoding : chunked\r\n", 400),
        (b"X-Folded: a\r\n Transfer-Encoding: chunked\r\n", 400),
        (b"Content-Length: 4\n\n", 400),
    ],
)
def test_a_body_whose_end_is_not_clear_is_refused_and_nothing_after_it_runs(
    peer: socket.socket, framing: bytes, status: int
) -> None:
    peer.sendall(b"POST /healthz HTTP/1.1\r\n" + HOST + framing + b"\r\n0\r\n\r\n" + SMUGGLED)
    answer = everything_from(peer)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"alive" not in answer


def test_what_is_not_http_is_refused_and_not_quoted_in_the_log(
    gateway: GatewayProcess, peer: socket.socket
) -> None:
    peer.sendall(b"MSH|^~\\&|SECRETNAME\r\n\r\n")
    assert everything_from(peer).startswith(b"HTTP/1.1 400 ")
    assert "SECRETNAME" not in gateway.log_text


@pytest.mark.parametrize("size", [20_000, 200_000, 5_000_000])
def test_a_header_that_is_too_large_is_431(peer: socket.socket, size: int) -> None:
    try:
        peer.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-Large: " + b"x" * size + b"\r\n\r\n")
    except ConnectionError:
        return
    assert everything_from(peer).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("size", [10_000, 200_000])
def test_an_address_that_is_too_long_is_414(peer: socket.socket, size: int) -> None:
    peer.sendall(b"GET /" + b"x" * size + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert everything_from(peer).startswith(b"HTTP/1.1 414 ")


def test_requests_that_come_at_once_are_answered_in_their_order(peer: socket.socket) -> None:
    last = b"GET /nothing-here HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    peer.sendall(SMUGGLED + b"GET /readyz HTTP/1.1\r\n" + HOST + b"\r\n" + last[:20])
    first = until(peer, b'"parts"')
    assert first.index(b"alive") < first.index(b'"parts"')
    peer.sendall(last[20:])
    assert b"HTTP/1.1 404 " in everything_from(peer)


def test_a_head_that_comes_byte_by_byte_is_understood(peer: socket.socket) -> None:
    for byte in SMUGGLED:
        peer.sendall(bytes([byte]))
    assert b"alive" in until(peer, b"}")


def test_a_sender_who_asks_first_is_told_to_continue(peer: socket.socket) -> None:
    head = b"POST /oauth/token HTTP/1.1\r\n" + HOST + b"Content-Type: application/x-www-form-urlencoded\r\n"
    peer.sendall(head + b"Content-Length: 9\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
    assert until(peer, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    peer.sendall(b"grant=one")
    assert everything_from(peer).startswith(b"HTTP/1.1 400 ")


def test_another_expectation_is_417(peer: socket.socket) -> None:
    peer.sendall(b"POST /oauth/token HTTP/1.1\r\n" + HOST + b"Expect: miracles\r\nContent-Length: 0\r\n\r\n")
    assert everything_from(peer).startswith(b"HTTP/1.1 417 ")


@pytest.mark.parametrize("door", [b"/dicom-web/studies", b"/fhir"])
@pytest.mark.parametrize("size_line", [b"zz", b"-5", b"", b"5;\x00", b"0x5", b"FFFFFFFFFFFFFFFFFFFF"])
def test_a_chunk_of_no_clear_size_ends_the_connection_and_nothing_is_kept(
    gateway: GatewayProcess, partner: Partner, peer: socket.socket, size_line: bytes, door: bytes
) -> None:
    token = partner.token().encode()
    head = b"POST " + door + b" HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + token + b"\r\n"
    peer.sendall(head + b"Content-Type: application/dicom\r\n" + CHUNKED + b"\r\n")
    peer.sendall(size_line + b"\r\nDICOM\r\n")
    peer.shutdown(socket.SHUT_WR)
    assert everything_from(peer).startswith(b"HTTP/1.1 400 ")
    assert incoming(gateway) == []


def test_nothing_is_left_of_a_stow_whose_connection_is_reset_but_what_was_whole(
    gateway: GatewayProcess, partner: Partner, peer: socket.socket
) -> None:
    whole, cut = make_file(), make_file() + bytes(LARGE_BYTES)
    body = multipart([whole, cut])[: -LARGE_BYTES // 2]
    head = b"POST /dicom-web/studies HTTP/1.1\r\n" + HOST
    head += b"Authorization: Bearer " + partner.token().encode() + b"\r\n"
    head += f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}\r\n'.encode()
    peer.sendall(head + b"Content-Length: %d\r\n\r\n" % (len(body) + 10_000) + body)
    wait_until(lambda: incoming(gateway) != [])
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    wait_until(lambda: incoming(gateway) == [])
    kept = [path.read_bytes() for path in (gateway.data_dir / "objects").rglob("*") if path.is_file()]
    assert whole in kept
    assert not any(len(file) > LARGE_BYTES / 4 and cut.startswith(file) for file in kept)


def test_a_form_without_end_is_not_taken(gateway: GatewayProcess) -> None:
    """The sign-in reads a form before it knows who sends it; a file in it would go to disk."""
    form = {"login": (None, "intake"), "file": ("x", b"x" * 3_000_000)}
    answer = requests.post(f"{gateway.base_url}/sign-in", files=form, timeout=20)
    assert answer.status_code == 413


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_what_is_larger_than_any_form_is_taken_by_the_doors_for_files(
    gateway: GatewayProcess, partner: Partner, chunked: bool
) -> None:
    image = make_file(PixelData=b"\0" * 5_000_000, Rows=2500, Columns=1000)
    letter = document_reference(b"%PDF-1.7 " + b"x" * 5_000_000)
    for path, kind, body in (
        ("/dicom-web/studies", related(), multipart([image])),
        ("/fhir", FHIR_JSON, json.dumps(referral(document=letter)).encode()),
    ):
        headers = partner.headers() | {"Content-Type": kind}
        sent = iter([body]) if chunked else body
        answer = requests.post(f"{gateway.base_url}{path}", data=sent, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text


def incoming(gateway: GatewayProcess) -> list[Path]:
    return list((gateway.data_dir / "incoming").glob("*"))


def wait_until(true) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.02)
