"""The DIMSE services that the gateway uses on an association that it opens (PS3.7 9, 10)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.uid import UID

from gateway.errors import PeerRefused
from gateway.senders.dicom_association import Association, Message, Patience
from gateway.senders.dicom_negotiation import Called, associate

C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001  # Command Field (0000,0100), PS3.7 Table E.1-1
N_EVENT_REPORT_RQ, N_EVENT_REPORT_RSP = 0x0100, 0x8100
MEDIUM = 0x0000  # Priority (0000,0700)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status (0000,0900) and Error Comment (0000,0902) of a response."""

    status: int
    comment: str = ""

    @property
    def is_success(self) -> bool:
        return self.status == 0x0000

    @property
    def is_warning(self) -> bool:
        """PS3.7 C.3; what was asked was done."""
        return self.status in (0x0001, 0x0107, 0x0116) or self.status >> 12 == 0xB


class Scu:
    """Every service raises PeerUnreachable when the association ends, or no answer comes in time."""

    def __init__(self, association: Association) -> None:
        self.association = association

    def context_of(self, abstract_syntax: str, transfer_syntax: str = "") -> int | None:
        return self.association.context_of(abstract_syntax, transfer_syntax)

    def accepted_syntaxes(self, abstract_syntax: str) -> tuple[str, ...]:
        """The transfer syntaxes in which the peer takes it."""
        accepted = self.association.accepted.values()
        return tuple(transfer for abstract, transfer in accepted if abstract == abstract_syntax)

    def store(
        self,
        context_id: int,
        sop_class_uid: str,
        sop_instance_uid: str,
        data: BinaryIO,
        originator: tuple[str, int] | None = None,
    ) -> Answer:
        """C-STORE of a data set as its bytes stand (PS3.7 9.1.1); ``originator`` is who asked for it by C-MOVE."""
        command = Dataset()
        command.AffectedSOPClassUID = UID(sop_class_uid)
        command.CommandField = C_STORE_RQ
        command.MessageID = self.association.next_message_id()
        command.Priority = MEDIUM
        command.AffectedSOPInstanceUID = UID(sop_instance_uid)
        if originator is not None:
            command.MoveOriginatorApplicationEntityTitle, command.MoveOriginatorMessageID = originator
        return self._ask(context_id, command, data, C_STORE_RSP)

    def report_event(
        self, sop_class_uid: str, sop_instance_uid: str, event_type: int, information: Dataset
    ) -> Answer:
        """N-EVENT-REPORT (PS3.7 10.1.1). Raises PeerRefused when the peer did not accept the SOP class."""
        context_id = self.context_of(sop_class_uid)
        if context_id is None:
            raise PeerRefused("The DICOM peer does not accept the SOP class of the event.")
        command = Dataset()
        command.AffectedSOPClassUID = UID(sop_class_uid)
        command.CommandField = N_EVENT_REPORT_RQ
        command.MessageID = self.association.next_message_id()
        command.AffectedSOPInstanceUID = UID(sop_instance_uid)
        command.EventTypeID = event_type
        content = BytesIO(self.association.encoded(context_id, information))
        return self._ask(context_id, command, content, N_EVENT_REPORT_RSP)

    def _ask(self, context_id: int, command: Dataset, data: BinaryIO | None, answer_field: int) -> Answer:
        self.association.send(context_id, command, data)
        message = self.association.receive()
        if not _answers(message, command, answer_field):
            raise self.association.broken("another message than the answer")
        return Answer(int(message.command.Status), str(message.command.get("ErrorComment", "")))


def _answers(message: Message, command: Dataset, answer_field: int) -> bool:
    answer = message.command
    if "Status" not in answer or answer.get("CommandField") != answer_field:
        return False
    return bool(answer.get("MessageIDBeingRespondedTo") == command.MessageID)


@contextmanager
def call(
    called: Called,
    contexts: Sequence[tuple[str, Sequence[str]]],
    provided: Collection[str] = (),
    patience: Patience | None = None,
) -> Iterator[Scu]:
    """An association with the peer; see ``associate``."""
    with associate(called, contexts, provided=provided, patience=patience) as association:
        yield Scu(association)
