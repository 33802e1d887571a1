"""C-GET as SCU: instances come on the association that asked for them, and go to disk as they arrive (PS3.4 C.4.3)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, cast

from pydicom.dataset import Dataset

from gateway.case.fetching import InstanceAddress
from gateway.errors import GatewayError, StoreUnavailable
from gateway.senders.dicom_association import Message
from gateway.senders.dicom_find import Found, is_answer, request, send
from gateway.senders.dicom_scu import C_STORE_RQ, C_STORE_RSP, Scu
from mappings.dicom_file_meta import encode_file_meta

if TYPE_CHECKING:
    from gateway.store.objects import Spool
    from gateway.workflow.fetch_from import Receiver

C_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_C_GET_RQ, _C_GET_RSP = 0x0010, 0x8010
_PENDING, _SUCCESS, _NOT_AUTHORISED, _DOES_NOT_MATCH = 0xFF00, 0x0000, 0x0124, 0xA900


def get_instances(scu: Scu, keys: Dataset, wanted: list[Found], receiver: Receiver) -> list[Found]:
    """Ask by C-GET; what did not come of it. Raises PeerUnreachable, StoreUnavailable.

    When the receiver does not go on, the association is aborted: no message of PS3.7 stops an SCP that sends at once.
    """
    context_id, command = request(scu, C_GET, _C_GET_RQ)
    send(scu, context_id, command, keys)
    left = {found.address.sop_instance_uid: found for found in wanted}
    while receiver.goes_on():
        with ExitStack() as arriving:
            arrival = _Arrival(scu, receiver, arriving)
            message = scu.association.receive(arrival.begin)
            if message.command.get("CommandField") == C_STORE_RQ:
                uid = str(message.command.get("AffectedSOPInstanceUID", ""))
                found = left.pop(uid, None)
                _answer(scu, message, arrival.take(found.address) if found else _NOT_AUTHORISED)
            elif not is_answer(message, command, _C_GET_RSP):
                raise scu.association.broken("another message than the answer")
            elif int(message.command.Status) != _PENDING:
                return list(left.values())
    scu.association.abort()
    return list(left.values())


class _Arrival:
    """The data set of one C-STORE, which becomes a DICOM file in a spool.

    What goes wrong while it arrives is kept until it has ended: the association goes on with the next instance.
    """

    def __init__(self, scu: Scu, receiver: Receiver, until: ExitStack) -> None:
        self._scu, self._receiver, self._until = scu, receiver, until
        self._spool: Spool | None = None
        self._error: GatewayError | None = None

    def begin(self, context_id: int, command: Dataset) -> BinaryIO | None:
        if command.get("CommandField") != C_STORE_RQ:
            return None
        _, transfer_syntax_uid = self._scu.association.accepted[context_id]
        named = (str(command.get("AffectedSOPClassUID", "")), str(command.get("AffectedSOPInstanceUID", "")))
        try:
            self._spool = self._until.enter_context(self._receiver.open_spool())
        except GatewayError as error:
            self._error = error
        self.write(encode_file_meta(*named, transfer_syntax_uid))
        return cast(BinaryIO, self)

    def write(self, fragment: bytes) -> int:
        if self._error is None and self._spool is not None:
            try:
                self._spool.write(fragment)
            except GatewayError as error:
                self._error = error
        return len(fragment)

    def take(self, address: InstanceAddress) -> int:
        """The status for the archive. Raises StoreUnavailable."""
        if isinstance(self._error, StoreUnavailable):
            raise self._error
        if self._error is not None or self._spool is None:
            self._receiver.refuse(address, self._error or GatewayError("It came without a data set."))
            return _DOES_NOT_MATCH
        return _SUCCESS if self._receiver.take(address, self._spool) else _DOES_NOT_MATCH


def _answer(scu: Scu, message: Message, status: int) -> None:
    asked, answer = message.command, Dataset()
    answer.AffectedSOPClassUID = asked.AffectedSOPClassUID
    answer.CommandField = C_STORE_RSP
    answer.MessageIDBeingRespondedTo = asked.MessageID
    answer.AffectedSOPInstanceUID = asked.AffectedSOPInstanceUID
    answer.Status = status
    scu.association.send(message.context_id, answer)
