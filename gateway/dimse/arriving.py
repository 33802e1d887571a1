"""A C-STORE's data set goes to disk as it arrives; it is never held in memory, and never decoded.

pynetdicom can do that too (STORE_RECV_CHUNKED_DATASET), but among the system's temporary files, without a hash, leaving
the file behind when the peer aborts, and ending the association when the disk is full.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import structlog
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE

from gateway.auth.ae import Caller
from gateway.case.access import Origin, Partner
from gateway.dimse.file_meta import encode_file_meta
from gateway.dimse.status import CANNOT_UNDERSTAND
from gateway.errors import GatewayError, NotDicom
from gateway.store.objects import ObjectStore, Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.association import Association
    from pynetdicom.pdu_primitives import P_DATA

log = structlog.get_logger(__name__)

C_STORE_RQ = 0x0001  # Command Field (0000,0100), PS3.7 Table E.1-1


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of an association."""

    caller: Caller
    partner: Partner
    origin: Origin


class ArrivingDataSet(BytesIO):
    """The data set of one message: a C-STORE's becomes a DICOM file in a spool, others, all small, stay in memory.

    pynetdicom writes here in the thread that reads the socket, where an exception would end the association and with
    it the instances that follow. A failure is kept for ``received``, and the rest of this data set let go.
    """

    def __init__(self, message: DIMSEMessage, open_spool: "Callable[[DIMSEMessage], Spool]") -> None:
        super().__init__()
        self._message = message
        self._open_spool = open_spool
        self._spool: Spool | None = None
        self._error: GatewayError | None = None

    def write(self, chunk: Any, /) -> int:
        if getattr(self._message.command_set, "CommandField", None) != C_STORE_RQ:
            return super().write(chunk)
        if self._error is None:
            try:
                self._spool = self._spool or self._open_spool(self._message)
                self._spool.write(chunk)
            except GatewayError as error:
                self._error = error
        return len(chunk)

    def received(self) -> Spool:
        """The complete file. Raises what went wrong while it arrived."""
        if self._error is not None:
            raise self._error
        if self._spool is None:
            raise NotDicom("The C-STORE request came without a data set.")
        return self._spool

    def close(self) -> None:
        """Remove the file unless it was kept."""
        if self._spool is not None:
            self._spool.__exit__(None, None, None)
        super().close()


class StoringDimse(DIMSEServiceProvider):
    """The DIMSE provider of one association. ``peer`` is None until the association is admitted."""

    def __init__(self, assoc: "Association", objects: ObjectStore) -> None:
        super().__init__(assoc)
        self.peer: Peer | None = None
        self._objects = objects
        self._arriving: WeakSet[ArrivingDataSet] = WeakSet()

    def receive_primitive(self, primitive: "P_DATA") -> None:
        if self.message is None:
            self.message = DIMSEMessage()
            arriving = ArrivingDataSet(self.message, self._open_spool)
            self.message.data_set = arriving
            self._arriving.add(arriving)
        try:
            super().receive_primitive(primitive)
        except Exception as error:  # outermost edge of the thread that reads the socket
            log.warning("message-unreadable", exc_info=error)
            self.dul.event_queue.put("Evt19")  # an A-ABORT to the peer (PS3.8 Table 9-10)

    def get_msg(self, block: bool = False) -> Any:
        """Answer a C-STORE that lacks a mandatory element (PS3.7 9.3.1.1); pynetdicom would leave the peer waiting."""
        context_id, message = super().get_msg(block)
        if not isinstance(message, C_STORE) or context_id is None or message.MessageID is None:
            return context_id, message
        if message.is_valid_request:
            return context_id, message
        answer: Any = C_STORE()
        answer.MessageIDBeingRespondedTo = message.MessageID
        answer.Status = CANNOT_UNDERSTAND
        answer.ErrorComment = "The request lacks a mandatory element."
        self.send_msg(answer, context_id)
        return None, None

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """The time that the answer took here is not the peer's idleness."""
        self.dul._idle_timer.restart()
        super().send_msg(primitive, context_id)

    def close(self) -> None:
        """Remove what an association left behind that ended before its last data set was dealt with."""
        for arriving in list(self._arriving):
            arriving.close()

    def _open_spool(self, message: DIMSEMessage) -> Spool:
        contexts = {cx.context_id: cx for cx in self.assoc.accepted_contexts}
        if message.context_id not in contexts:
            raise NotDicom("The presentation context was not accepted.")
        command = message.command_set
        spool = self._objects.spool()
        spool.write(
            encode_file_meta(
                str(command.get("AffectedSOPClassUID", "")),
                str(command.get("AffectedSOPInstanceUID", "")),
                str(contexts[message.context_id].transfer_syntax[0]),
            )
        )
        spool.mark()
        return spool
