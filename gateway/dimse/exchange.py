"""Messages that the gateway sends on a peer's own association while it serves a request: C-STORE of a C-GET, events."""

import time
from io import BytesIO
from queue import Empty
from typing import TYPE_CHECKING, Any, BinaryIO

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA

from gateway.dimse.command_set import NO_DATA_SET, fragment_bytes

if TYPE_CHECKING:
    from pynetdicom.association import Association

MAX_FRAGMENT_BYTES = 128 * 1024
_COMMAND, _LAST = 0x01, 0x02  # bits of the message control header (PS3.8 E.2)
_MOST_WAITING = 16  # fragments that the peer has not taken yet: no data set is ever whole in memory
_POLL_SECONDS = 0.001
_LOOK_SECONDS = 0.1


def is_open(assoc: "Association") -> bool:
    """Whether the peer is still there, and has asked neither for release nor for abort."""
    return assoc.is_established and assoc.dul.is_alive() and assoc.dul.peek_next_pdu() is None


def send(assoc: "Association", context_id: int, command: Dataset, data: BinaryIO | None = None) -> bool:
    """One message (PS3.7 6.3); a data set is read piece by piece. False when the association has ended."""
    command.CommandDataSetType = NO_DATA_SET if data is None else 0x0001
    command.CommandGroupLength = len(encode(command, True, True) or b"")
    content = BytesIO(encode(command, True, True) or b"")
    if not _send_fragments(assoc, context_id, _COMMAND, content):
        return False
    return data is None or _send_fragments(assoc, context_id, 0, data)


def _send_fragments(assoc: "Association", context_id: int, control: int, content: BinaryIO) -> bool:
    size = fragment_bytes(min(assoc.dimse.maximum_pdu_size or MAX_FRAGMENT_BYTES, MAX_FRAGMENT_BYTES))
    fragment = content.read(size)
    while following := content.read(size):
        if not _send_fragment(assoc, context_id, control, fragment):
            return False
        fragment = following
    return _send_fragment(assoc, context_id, control | _LAST, fragment)


def wait_for_room(assoc: "Association") -> bool:
    """Until the peer has taken most of what was sent. False when the association has ended."""
    while assoc.dul.to_provider_queue.qsize() >= _MOST_WAITING:
        if not is_open(assoc):
            return False
        time.sleep(_POLL_SECONDS)
    return is_open(assoc)


def _send_fragment(assoc: "Association", context_id: int, control: int, fragment: bytes) -> bool:
    if not wait_for_room(assoc):
        return False
    primitive = P_DATA()
    values: Any = [[context_id, bytes((control,)) + fragment]]
    primitive.presentation_data_value_list = values
    assoc.dul.send_pdu(primitive)
    assoc.dul._idle_timer.restart()
    return is_open(assoc)


def receive_answer(assoc: "Association", message_id: int, seconds: float) -> Any | None:
    """The response to that message, as pynetdicom's primitive; None when none comes in time or the association ends.

    A request that comes meanwhile is served after this one.
    """
    deadline = time.monotonic() + seconds
    requests = []
    try:
        while time.monotonic() < deadline and is_open(assoc):
            try:
                received: Any = assoc.dimse.msg_queue.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
            message = received[1]
            if message is not None and message.MessageIDBeingRespondedTo == message_id:
                return message
            if message is not None and message.MessageIDBeingRespondedTo is None:
                requests.append(received)
    finally:
        for received in requests:
            assoc.dimse.msg_queue.put(received)
    return None
