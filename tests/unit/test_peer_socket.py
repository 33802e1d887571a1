"""What a peer's connection says of how slow the peer is."""

import socket
from collections.abc import Iterator

import pytest

from gateway.processes.peer_socket import Patience, PeerSocket, TooSlow


@pytest.fixture
def ends() -> Iterator[tuple[PeerSocket, socket.socket]]:
    """The gateway's end, and the peer's."""
    accepted, peer = socket.socketpair()
    with PeerSocket(accepted, Patience(silence_seconds=0.1, bytes_per_second=1000)) as ours, peer:
        ours.setblocking(True)
        yield ours, peer


def test_who_waits_for_a_silent_peer_is_told_that_it_is_too_slow(
    ends: tuple[PeerSocket, socket.socket],
) -> None:
    ours, _ = ends
    with pytest.raises(TooSlow):
        ours.recv(1)


def test_who_waits_for_a_peer_that_was_cut_off_is_told_that_it_is_too_slow(
    ends: tuple[PeerSocket, socket.socket],
) -> None:
    ours, _ = ends
    ours.cut_off()
    with pytest.raises(TooSlow):
        ours.recv(1)


def test_who_does_not_wait_gets_what_has_come_from_a_peer_that_was_cut_off(
    ends: tuple[PeerSocket, socket.socket],
) -> None:
    """The poller reads so, and a TooSlow there would end every connection of the process."""
    ours, peer = ends
    peer.sendall(b"late")
    ours.cut_off()
    ours.setblocking(False)
    assert ours.recv(10) == b"late"
    assert ours.recv(10) == b""
