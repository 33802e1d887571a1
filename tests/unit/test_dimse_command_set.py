"""Command sets of C-STORE messages, against pynetdicom's."""

import struct
from typing import Any

import pytest
from pynetdicom import dimse_messages
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF

from gateway.dimse.command_set import (
    C_STORE_RQ,
    StoreRequest,
    command_field,
    read_elements,
    read_store_request,
    store_response,
)
from gateway.dimse.status import Outcome

CT, UID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"


def request() -> bytes:
    """As pynetdicom writes it."""
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 7, 2
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CT, UID
    message = dimse_messages.C_STORE_RQ()
    message.primitive_to_message(primitive)
    message.command_set.CommandDataSetType = 0x0001
    (pdata,) = message.encode_msg(1, 0)
    return bytes(pdata.presentation_data_value_list[0][1][1:])


def test_a_request_is_read() -> None:
    elements = read_elements(request())
    assert command_field(elements) == C_STORE_RQ
    assert read_store_request(3, elements) == StoreRequest(3, 7, CT, UID, True)


@pytest.mark.parametrize("comment", ["", "odd", "even"])
def test_a_response_is_what_pynetdicom_reads(comment: str) -> None:
    pdu = P_DATA_TF()
    pdu.decode(store_response(StoreRequest(3, 7, CT, UID, True), Outcome(0xA700, comment)))
    message = dimse_messages.C_STORE_RSP()
    assert message.decode_msg(pdu.to_primitive())
    answer: Any = message.message_to_primitive()
    assert message.context_id == 3
    assert (answer.MessageIDBeingRespondedTo, answer.Status) == (7, 0xA700)
    assert (answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID) == (CT, UID)
    assert (answer.ErrorComment or "") == comment


@pytest.mark.parametrize(
    "broken",
    [
        request()[:-1],
        request() + b"\0",
        struct.pack("<HHI", 0x0008, 0x0018, 0),
        struct.pack("<HHI", 0, 0x0100, 0xFFFFFFFF),
    ],
)
def test_what_is_no_command_set_is_told(broken: bytes) -> None:
    with pytest.raises(ValueError, match="command set"):
        read_elements(broken)


def test_missing_elements_are_empty() -> None:
    assert read_store_request(1, read_elements(b"")) == StoreRequest(1, None, "", "", True)
