"""Command sets of C-STORE messages, as bytes (PS3.7 6.3, 9.3.1, Annex E): implicit VR little endian, group 0000."""

import struct
from dataclasses import dataclass

from gateway.dimse.status import Outcome

C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
NO_DATA_SET = 0x0101
_SOP_CLASS, _COMMAND, _MESSAGE_ID, _RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
_DATA_SET_TYPE, _STATUS, _ERROR_COMMENT, _SOP_INSTANCE = 0x0800, 0x0900, 0x0902, 0x1000
_COMMAND_HEADER, _LAST_OF_COMMAND = 0x01, 0x03  # message control header (PS3.8 E.2)
VALUE_HEADER_BYTES = (
    6  # of a presentation data value: length, context, message control header (PS3.8 9.3.5.1)
)
SMALLEST_PDU_BYTES = VALUE_HEADER_BYTES + 2  # that holds something of a message
_NUMBER = struct.Struct("<HHIH")

Elements = dict[int, bytes]
"""The values of a command set by the element's number; the group is 0000."""


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A C-STORE-RQ (PS3.7 Table 9.3-1). A UID is '' where the element is missing; UIDs are as the sender spelt them."""

    context_id: int
    message_id: int | None
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool


def read_elements(command: bytes) -> Elements:
    """Raises ValueError when the bytes are no command set."""
    found, at = {}, 0
    while at < len(command):
        try:
            group, element, length = struct.unpack_from("<HHI", command, at)
        except struct.error as error:
            raise ValueError("the command set ends inside an element") from error
        at += 8 + length
        if group != 0 or at > len(command):
            raise ValueError("the command set is broken")
        found[element] = command[at - length : at]
    return found


def command_field(found: Elements) -> int | None:
    """Command Field (0000,0100)."""
    return _number(found, _COMMAND)


def read_store_request(context_id: int, found: Elements) -> StoreRequest:
    return StoreRequest(
        context_id,
        _number(found, _MESSAGE_ID),
        _uid(found, _SOP_CLASS),
        _uid(found, _SOP_INSTANCE),
        _number(found, _DATA_SET_TYPE) != NO_DATA_SET,
    )


def store_response(request: StoreRequest, outcome: Outcome, longest_pdu: int = 0) -> bytes:
    """The C-STORE-RSP (PS3.7 Table 9.3-2) in one P-DATA-TF (PS3.8 9.3.5), or more where that is longer than the peer
    takes: ``longest_pdu`` bytes without its head (D.1), 0 for any."""
    command = b"".join(
        (
            _element(_SOP_CLASS, _padded(request.sop_class_uid, b"\0")),
            _numbers(
                (_COMMAND, C_STORE_RSP),
                (_RESPONDED_TO, request.message_id or 0),
                (_DATA_SET_TYPE, NO_DATA_SET),
                (_STATUS, outcome.code),
            ),
            _element(_ERROR_COMMENT, _padded(outcome.comment, b" ")) if outcome.comment else b"",
            _element(_SOP_INSTANCE, _padded(request.sop_instance_uid, b"\0")),
        )
    )
    command = _element(0, struct.pack("<I", len(command))) + command
    if not longest_pdu or len(command) + VALUE_HEADER_BYTES <= longest_pdu:
        return _command_pdu(request.context_id, _LAST_OF_COMMAND, command)
    size = fragment_bytes(longest_pdu)
    starts = range(0, len(command), size)
    return b"".join(
        _command_pdu(
            request.context_id,
            _LAST_OF_COMMAND if at == starts[-1] else _COMMAND_HEADER,
            command[at : at + size],
        )
        for at in starts
    )


def fragment_bytes(longest_pdu: int) -> int:
    """What of a message a P-DATA-TF of one value holds; an even number (PS3.8 E.1)."""
    return (longest_pdu - VALUE_HEADER_BYTES) & ~1


def _command_pdu(context_id: int, control: int, fragment: bytes) -> bytes:
    value = struct.pack(">IBB", len(fragment) + 2, context_id, control) + fragment
    return struct.pack(">BxI", 0x04, len(value)) + value


def _number(found: Elements, element: int) -> int | None:
    value = found.get(element, b"")
    return int.from_bytes(value, "little") if len(value) == 2 else None


def _uid(found: Elements, element: int) -> str:
    return found.get(element, b"").decode("ascii", "replace").strip("\0 ")


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def _numbers(*elements: tuple[int, int]) -> bytes:
    """Elements of VR US."""
    return b"".join(_NUMBER.pack(0, element, 2, value) for element, value in elements)


def _padded(value: str, padding: bytes) -> bytes:
    encoded = value.encode("ascii", "replace")
    return encoded + padding * (len(encoded) % 2)
