"""The A-ASSOCIATE-RQ, what is wrong with it, and what becomes of it (PS3.8 9.3.2 to 9.3.4, PS3.7 Annex D)."""

import random
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import acse
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.sop_class import CTImageStorage, MRImageStorage, Verification

from tests.support.dimse import RunningListener, dcmtk, listener_in_this_process
from tests.support.gateway_process import GatewayProcess
from tests.support.processes import wait_until
from tests.support.wire_peer import (
    ABORT,
    APPLICATION_CONTEXT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    P_DATA,
    Pdu,
    Request,
    context,
    element,
    item,
    pdu,
    role,
    user_information,
    wire_peer,
)

IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
STORAGE_COMMITMENT_PULL = "1.2.840.10008.1.20.2"
ECHO = (context(1, Verification, IMPLICIT_LITTLE),)
STORE = (context(1, CTImageStorage, IMPLICIT_LITTLE),)
USER_REJECTION, ABSTRACT_SYNTAX_NOT_SUPPORTED = 1, 3  # PS3.8 Table 9-18
AT_ONCE_SECONDS = 5.0
"""Less than any time after which the gateway gives something up."""


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with listener_in_this_process(tmp_path_factory.mktemp("negotiation")) as running:
        yield running


def answered(gateway: RunningListener | GatewayProcess, request: Request) -> Pdu:
    with wire_peer(gateway) as peer:
        return peer.ask(request)


@pytest.mark.parametrize(
    "request_",
    [
        Request(ECHO, more=item(0x60, b"unknown")),
        Request(ECHO, more=item(0x21, b"no item of a request")),
        Request(ECHO, user_information(item(0x5A, b"unknown"), item(0x77, b"unknown too"))),
        Request((item(0x20, ECHO[0][4:] + item(0x41, b"unknown")),)),
    ],
    ids=["item", "item-of-an-answer", "user-information", "presentation-context"],
)
def test_items_of_unknown_types_are_passed_over(listener: RunningListener, request_: Request) -> None:
    assert answered(listener, request_).results == {1: 0}


@pytest.mark.parametrize(
    "sub_item",
    [item(0x57, b"\0\4abcd"), item(0x58, b"\x09\1\0\4user\0\0"), item(0x58, b""), item(0x55, "é".encode())],
    ids=["common-extended", "identity-of-another-type", "identity-without-anything", "version-name"],
)
def test_what_is_not_looked_at_refuses_nothing_whatever_is_in_it(
    listener: RunningListener, sub_item: bytes
) -> None:
    assert answered(listener, Request(ECHO, user_information(sub_item))).results == {1: 0}


def test_items_may_come_in_any_order(listener: RunningListener) -> None:
    reordered = Request(
        (), b"", application_context=user_information() + ECHO[0] + item(0x10, APPLICATION_CONTEXT)
    )
    assert answered(listener, reordered).results == {1: 0}


def test_a_name_with_padding_is_the_same_name(listener: RunningListener) -> None:
    padded = Request((context(1, Verification + "\0", IMPLICIT_LITTLE + "\0"),))
    assert answered(listener, padded).results == {1: 0}


@pytest.mark.parametrize("version", [0x0001, 0x0003, 0xFFFF])
def test_of_the_protocol_version_one_bit_is_looked_at(listener: RunningListener, version: int) -> None:
    assert answered(listener, Request(ECHO, version=version)).kind == ASSOCIATE_AC


@pytest.mark.parametrize("version", [0x0000, 0x0002])
@pytest.mark.parametrize("contexts", [ECHO, ()], ids=["whole", "as-only-that-version-may-understand"])
def test_another_protocol_version_is_rejected(
    listener: RunningListener, version: int, contexts: tuple[bytes, ...]
) -> None:
    answer = answered(listener, Request(contexts, version=version))
    assert (answer.kind, answer.reason) == (ASSOCIATE_RJ, (1, 2, 2))


def test_another_application_context_is_rejected(listener: RunningListener) -> None:
    answer = answered(listener, Request(ECHO, application_context=item(0x10, b"1.2.3")))
    assert (answer.kind, answer.reason) == (ASSOCIATE_RJ, (1, 1, 2))


@pytest.mark.parametrize(
    "calling",
    [b"", b"HOSPITAL_A\0\0", b"HOSPITAL\\A", b"H\xd6SPITAL"],
    ids=["blank", "nul", "backslash", "latin"],
)
def test_a_calling_ae_title_that_is_none_is_rejected_as_not_recognized(
    listener: RunningListener, calling: bytes
) -> None:
    answer = answered(listener, Request(ECHO, calling=calling))
    assert (answer.kind, answer.reason) == (ASSOCIATE_RJ, (1, 1, 3))


def test_for_development_too_a_calling_ae_needs_a_title(dev_gateway: GatewayProcess) -> None:
    assert answered(dev_gateway, Request(ECHO, calling=b"ANYBODY")).kind == ASSOCIATE_AC
    assert answered(dev_gateway, Request(ECHO, calling=b"")).reason == (1, 1, 3)


@pytest.mark.parametrize("called", [b"", b"SECONDOPINION\0"], ids=["blank", "nul"])
def test_a_called_ae_title_that_is_none_is_rejected_as_not_recognized(
    listener: RunningListener, called: bytes
) -> None:
    answer = answered(listener, Request(ECHO, called=called))
    assert (answer.kind, answer.reason) == (ASSOCIATE_RJ, (1, 1, 7))


NOT_TO_BE_ANSWERED = {
    "no-application-context": Request(ECHO, application_context=b""),
    "two-application-contexts": Request(ECHO, more=item(0x10, APPLICATION_CONTEXT)),
    "no-presentation-context": Request(()),
    "no-user-information": Request(ECHO, b""),
    "user-information-twice": Request(ECHO, more=user_information()),
    "context-id-0": Request((context(0, Verification, IMPLICIT_LITTLE), *ECHO)),
    "context-id-even": Request((context(2, Verification, IMPLICIT_LITTLE), *ECHO)),
    "context-id-twice": Request((context(1, CTImageStorage, IMPLICIT_LITTLE), *ECHO)),
    "no-transfer-syntax": Request((context(1, Verification), context(3, Verification, IMPLICIT_LITTLE))),
    "no-transfer-syntax-for-storage": Request((context(1, CTImageStorage),)),
    "no-abstract-syntax": Request((item(0x20, b"\1\0\0\0" + item(0x40, IMPLICIT_LITTLE.encode())),)),
    "two-abstract-syntaxes": Request((item(0x20, ECHO[0][4:] + item(0x30, CTImageStorage.encode())),)),
    "empty-abstract-syntax": Request((context(1, "", IMPLICIT_LITTLE),)),
    "empty-transfer-syntax": Request((context(1, Verification, ""),)),
    "name-that-is-none": Request((context(1, "abc", IMPLICIT_LITTLE),)),
    "name-that-is-too-long": Request((context(1, "1." + "2" * 63, IMPLICIT_LITTLE),)),
    "context-without-anything": Request((item(0x20, b""),)),
    "item-longer-than-its-request": Request(ECHO, more=b"\x60\0\xff\xff"),
    "item-without-its-length": Request(ECHO, more=b"\x60\0"),
    "sub-item-longer-than-its-item": Request(ECHO, user_information(b"\x54\0\xff\xff\0\1a")),
    "role-other-than-0-and-1": Request(STORE, user_information(role(CTImageStorage, 7, 9))),
    "role-without-anything": Request(STORE, user_information(item(0x54, b""))),
    "extended-of-no-class": Request(ECHO, user_information(item(0x56, b"\0\3\xff\xfe\xfd\1"))),
    "maximum-length-of-two-bytes": Request(ECHO, item(0x50, item(0x51, b"\0\1"))),
    "asynchronous-of-one-byte": Request(ECHO, user_information(item(0x53, b"\1"))),
}


@pytest.mark.parametrize("request_", NOT_TO_BE_ANSWERED.values(), ids=NOT_TO_BE_ANSWERED)
def test_a_request_that_is_broken_is_aborted_at_once(listener: RunningListener, request_: Request) -> None:
    with wire_peer(listener) as peer:
        answer = peer.ask(request_)
        assert (answer.kind, answer.seconds < AT_ONCE_SECONDS) == (ABORT, True)
        assert peer.is_closed()
    wait_until(lambda: acceptors() == [])


def test_of_two_hundred_damaged_requests_each_is_answered_at_once(listener: RunningListener) -> None:
    user = user_information(role(CTImageStorage, 1, 1), item(0x53, b"\0\1\0\1"), item(0x58, b"\1\0\0\1u\0\0"))
    whole = Request((*ECHO, context(3, CTImageStorage, EXPLICIT_LITTLE)), user).encoded()[6:]
    chance = random.Random(1)
    kinds = set()
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 5))):
            at, size = chance.randrange(len(damaged)), chance.randrange(5)
            damaged[at : at + chance.randrange(5)] = chance.randbytes(size)
        with wire_peer(listener) as peer:
            peer.send(pdu(ASSOCIATE_RQ, bytes(damaged)))
            answer = peer.receive()
            assert answer.seconds < AT_ONCE_SECONDS, damaged
            kinds.add(answer.kind)
    assert kinds == {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}
    wait_until(lambda: acceptors() == [])


def test_whatever_fails_while_an_association_is_negotiated_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise IndexError

    with listener_in_this_process(tmp_path, max_associations=1) as listener:
        with monkeypatch.context() as patch, wire_peer(listener) as peer:
            patch.setattr(acse, "negotiate_unrestricted", failing)
            assert peer.ask(Request(ECHO)).kind == ABORT
            assert peer.is_closed()
        wait_until(lambda: acceptors() == [])
        assert answered(listener, Request(ECHO)).kind == ASSOCIATE_AC


def test_whatever_fails_in_the_upper_layer_ends_the_association(
    listener: RunningListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> bytes:
        raise ValueError

    with monkeypatch.context() as patch, wire_peer(listener) as peer:
        patch.setattr(A_ASSOCIATE_AC, "encode", failing)
        assert peer.ask(Request(ECHO)).kind == ABORT
        assert peer.is_closed()
    wait_until(lambda: acceptors() == [])


def acceptors() -> list[str]:
    """The threads of associations that have not ended."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("AcceptorThread")]


@pytest.mark.parametrize("request_", [NOT_TO_BE_ANSWERED["no-transfer-syntax"], Request(ECHO, calling=b"")])
def test_a_peer_that_stays_after_it_was_refused_keeps_no_thread(
    listener: RunningListener, request_: Request
) -> None:
    with wire_peer(listener) as peer:
        peer.ask(request_)
        wait_until(lambda: acceptors() == [], seconds=AT_ONCE_SECONDS)


def test_broken_requests_take_no_association_away(tmp_path: Path) -> None:
    with listener_in_this_process(tmp_path, max_associations=1) as listener:
        for _ in range(10):
            assert answered(listener, NOT_TO_BE_ANSWERED["no-transfer-syntax"]).kind == ABORT
        assert dcmtk("echoscu", listener).returncode == 0


def test_a_context_in_which_the_peer_will_be_neither_user_nor_provider_is_refused(
    listener: RunningListener,
) -> None:
    contexts = (context(1, CTImageStorage, IMPLICIT_LITTLE), context(3, MRImageStorage, IMPLICIT_LITTLE))
    answer = answered(listener, Request(contexts, user_information(role(CTImageStorage, 0, 0))))
    assert answer.results == {1: USER_REJECTION, 3: 0}


def test_a_role_may_be_said_for_each_context_of_a_class(listener: RunningListener) -> None:
    """PS3.7 D.3.3.4.1 has it once for a class; nothing is unclear when it is there again."""
    contexts = (context(1, CTImageStorage, IMPLICIT_LITTLE), context(3, CTImageStorage, EXPLICIT_LITTLE))
    roles = (role(CTImageStorage, 1, 1), role(CTImageStorage, 1, 1))
    assert answered(listener, Request(contexts, user_information(*roles))).results == {1: 0, 3: 0}


def test_the_retired_storage_commitment_pull_is_no_storage(listener: RunningListener) -> None:
    contexts = (
        context(1, STORAGE_COMMITMENT_PULL, IMPLICIT_LITTLE),
        context(3, CTImageStorage, IMPLICIT_LITTLE),
    )
    assert answered(listener, Request(contexts)).results == {1: ABSTRACT_SYNTAX_NOT_SUPPORTED, 3: 0}


@pytest.mark.parametrize("longest", [1, 7])
def test_a_peer_whose_pdus_hold_no_fragment_is_rejected(listener: RunningListener, longest: int) -> None:
    answer = answered(listener, Request(ECHO, user_information(longest=longest)))
    assert (answer.kind, answer.reason) == (ASSOCIATE_RJ, (1, 2, 1))


@pytest.mark.parametrize("user", [user_information(longest=0), user_information(longest=8), item(0x50, b"")])
def test_any_other_length_of_pdus_is_taken(listener: RunningListener, user: bytes) -> None:
    assert answered(listener, Request(ECHO, user)).kind == ASSOCIATE_AC


NO_PDU: dict[str, tuple[Callable[[], bytes], tuple[int, int]]] = {
    "unknown-type": (lambda: pdu(9, b"abcd"), (2, 1)),
    "second-request": (lambda: Request(ECHO).encoded(), (2, 2)),
    "four-gigabytes": (lambda: b"\x04\0\xff\xff\xff\xff", (2, 6)),
    "command-that-lacks-everything": (
        lambda: pdu(P_DATA, struct.pack(">IBB", 12, 1, 3) + element(0x0100, b"\x20\0")),
        (2, 6),
    ),
    "value-longer-than-its-pdu": (lambda: pdu(P_DATA, b"\0\0\x13\x88\1\3abcd"), (2, 6)),
    "value-without-its-header": (lambda: pdu(P_DATA, b"\0\0\0\1\1"), (2, 6)),
}


@pytest.mark.parametrize(("sent", "reason"), NO_PDU.values(), ids=NO_PDU)
def test_an_abort_says_what_was_wrong(
    listener: RunningListener, sent: Callable[[], bytes], reason: tuple[int, int]
) -> None:
    with wire_peer(listener) as peer:
        assert peer.ask(Request(ECHO)).kind == ASSOCIATE_AC
        peer.send(sent())
        answer = peer.receive()
        assert (answer.kind, answer.reason) == (ABORT, reason)
        assert peer.is_closed()


@pytest.mark.parametrize("kind", [ASSOCIATE_RQ, P_DATA])
def test_a_first_pdu_of_four_gigabytes_is_aborted_unread(listener: RunningListener, kind: int) -> None:
    with wire_peer(listener) as peer:
        peer.send(pdu(kind, b"")[:2] + b"\xff\xff\xff\xff")
        assert peer.receive().kind == ABORT
        assert peer.is_closed()


def test_the_abort_reaches_a_peer_that_goes_on_sending(listener: RunningListener) -> None:
    with wire_peer(listener) as peer:
        peer.ask(Request(ECHO))
        peer.send(pdu(9, b"") + bytes(4 * 1024 * 1024))
        assert peer.receive().kind == ABORT
