"""Peers that send or read too slowly, or not at all, keep nobody else from being served. They need no credentials."""

import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

import pytest
import requests

from tests.support.bundles import FHIR_JSON, referral
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

GIVES_UP_SECONDS = 10  # a tenth of what the gateway's patience with each of the peers would take
HALF_A_HEAD = b"POST /fhir HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Ty"
FORM = b"POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
SLOW_FORM = FORM + b"Content-Length: 50000\r\n\r\ng"
THREADS = 4
CONNECTIONS = 32


@pytest.fixture(scope="module")
def small() -> Iterator[GatewayProcess]:
    """A gateway with few threads and connections, and patience for minutes."""
    settings = {
        "GATEWAY_WEB_THREADS": THREADS,
        "GATEWAY_HTTP_CONNECTIONS": CONNECTIONS,
        "GATEWAY_HEAD_SECONDS": 100,
        "GATEWAY_SILENCE_SECONDS": 100,
    }
    with GatewayProcess(environment={name: str(value) for name, value in settings.items()}) as process:
        yield process


@pytest.fixture(scope="module")
def impatient() -> Iterator[GatewayProcess]:
    """A gateway with little patience."""
    settings = {
        "GATEWAY_HEAD_SECONDS": 1,
        "GATEWAY_SILENCE_SECONDS": 1.5,
        "GATEWAY_SLOWEST_BYTES_PER_SECOND": 1000,
    }
    with GatewayProcess(environment={name: str(value) for name, value in settings.items()}) as process:
        yield process


def peers(stack: ExitStack, gateway: GatewayProcess, count: int, sends: bytes) -> list[socket.socket]:
    """So many connections that each sent this and then wait."""
    opened = [
        stack.enter_context(
            socket.create_connection(("127.0.0.1", gateway.http_port), timeout=GIVES_UP_SECONDS)
        )
        for _ in range(count)
    ]
    for peer in opened:
        peer.sendall(sends)
    time.sleep(0.2)
    return opened


def assert_serves(gateway: GatewayProcess) -> None:
    """Health, readiness and a door, each on a connection of its own."""
    url = gateway.base_url
    assert requests.get(f"{url}/healthz", timeout=GIVES_UP_SECONDS).status_code == 200
    assert requests.get(f"{url}/readyz", timeout=GIVES_UP_SECONDS).status_code == 200
    assert requests.post(f"{url}/fhir", json={}, timeout=GIVES_UP_SECONDS).status_code == 401


def everything_from(peer: socket.socket) -> bytes:
    received = b""
    while chunk := peer.recv(65536):
        received += chunk
    return received


def answer_to_a_trickle(peer: socket.socket) -> bytes:
    """What a peer gets that sends a byte every fifth of a second; empty when it gets nothing."""
    peer.settimeout(0.2)
    received = b""
    deadline = time.monotonic() + GIVES_UP_SECONDS
    while not received and time.monotonic() < deadline:
        peer.sendall(b"p")
        with suppress(TimeoutError):
            received = peer.recv(100)
    return received


def test_two_hundred_peers_with_half_a_head_stop_nobody(gateway: GatewayProcess) -> None:
    with ExitStack() as stack:
        peers(stack, gateway, 200, HALF_A_HEAD)
        assert_serves(gateway)


def test_sixty_peers_with_a_slow_body_stop_nobody(gateway: GatewayProcess) -> None:
    with ExitStack() as stack:
        peers(stack, gateway, 60, SLOW_FORM)
        assert_serves(gateway)


def test_slow_bodies_in_every_thread_give_way_to_others(small: GatewayProcess) -> None:
    with ExitStack() as stack:
        peers(stack, small, 3 * THREADS, SLOW_FORM)
        assert_serves(small)


def test_bodies_that_are_announced_and_not_sent_stop_nobody(small: GatewayProcess) -> None:
    refused = b"POST /fhir HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000\r\n\r\n{"
    with ExitStack() as stack:
        peers(stack, small, 5 * THREADS, refused)
        assert_serves(small)


def test_peers_that_do_not_read_their_answer_stop_nobody(small: GatewayProcess) -> None:
    asks = b"GET /api/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 400
    with ExitStack() as stack:
        for _ in range(3 * THREADS):
            peer = stack.enter_context(socket.socket())
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.connect(("127.0.0.1", small.http_port))
            peer.sendall(asks)
        for _ in range(5):  # until their answers fill what the kernel holds for them, and after
            time.sleep(0.5)
            assert_serves(small)


def test_more_connections_than_there_may_be_give_way_to_a_new_one(small: GatewayProcess) -> None:
    with ExitStack() as stack:
        silent = peers(stack, small, 3 * CONNECTIONS, b"")
        assert_serves(small)
        assert silent[0].recv(1) == b""


def test_a_head_that_takes_too_long_is_answered_408(impatient: GatewayProcess) -> None:
    with ExitStack() as stack:
        (peer,) = peers(stack, impatient, 1, HALF_A_HEAD)
        assert everything_from(peer).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_trickles_is_answered_408_too(impatient: GatewayProcess) -> None:
    with ExitStack() as stack:
        (peer,) = peers(stack, impatient, 1, HALF_A_HEAD)
        assert answer_to_a_trickle(peer).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_stalls_is_answered_408_and_the_connection_ends(impatient: GatewayProcess) -> None:
    with ExitStack() as stack:
        (peer,) = peers(stack, impatient, 1, SLOW_FORM)
        assert everything_from(peer).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_trickles_is_answered_408(impatient: GatewayProcess) -> None:
    with ExitStack() as stack:
        (peer,) = peers(stack, impatient, 1, SLOW_FORM)
        assert answer_to_a_trickle(peer).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_is_slow_and_yet_fast_enough_is_taken(impatient: GatewayProcess) -> None:
    """It takes longer than the longest silence."""
    body = b"grant_type=unknown&pad=" + b"x" * 4977
    with ExitStack() as stack:
        (peer,) = peers(stack, impatient, 1, FORM + b"Content-Length: 5000\r\nConnection: close\r\n\r\n")
        for start in range(0, len(body), 500):
            peer.sendall(body[start : start + 500])
            time.sleep(0.2)
        assert everything_from(peer).startswith(b"HTTP/1.1 400 ")  # the token endpoint's own answer


def test_health_does_not_wait_for_those_who_wait_to_write(gateway: GatewayProcess, partner: Partner) -> None:
    """More requests than the pool has connections wait to write, as behind one very large bundle."""
    headers = partner.headers(Content_Type=FHIR_JSON)

    def send(_: int) -> int:
        return requests.post(gateway.fhir_url, json=referral(), headers=headers, timeout=30).status_code

    with (
        closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite")) as other,
        ThreadPoolExecutor(24) as pool,
    ):
        other.execute("BEGIN IMMEDIATE")
        sent = pool.map(send, range(24))
        time.sleep(0.7)
        assert_serves(gateway)
        other.rollback()
        assert set(sent) <= {200, 201}


def test_a_gateway_that_stops_does_not_wait_for_slow_peers() -> None:
    with GatewayProcess() as stopping, ExitStack() as stack:
        peers(stack, stopping, 3, SLOW_FORM)
        assert stopping.stop() == 0
