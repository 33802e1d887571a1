"""C-FIND as SCU: what a partner's archive has of a study (PS3.4 C.4.1), in the Study Root model."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import UID

from gateway.case.fetching import InstanceAddress, is_uid
from gateway.errors import GatewayError, PeerRefused, PeerUnreachable
from gateway.senders.dicom_association import Message
from gateway.senders.dicom_scu import MEDIUM, Scu
from mappings.dicom_values import PYDICOM_ERRORS, text

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
BASIC_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
MAX_MATCHES = 100_000
_C_FIND_RQ, _C_FIND_RSP = 0x0020, 0x8020
_PENDING = frozenset({0xFF00, 0xFF01})


@dataclass(frozen=True, slots=True)
class Found:
    """An instance that the archive has; ``sop_class_uid`` is empty where it does not say."""

    address: InstanceAddress
    sop_class_uid: str


def find_instances(scu: Scu, study_instance_uid: str, series: Collection[str] | None = None) -> list[Found]:
    """Of the study, or of these series of it. Series first: of the Study Root model only one level is asked at a time.

    Raises PeerUnreachable, PeerRefused.
    """
    if series is None:
        of_study = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": ""}
        series = dict.fromkeys(text(ds, "SeriesInstanceUID") for ds in _find(scu, "SERIES", of_study))
    return [found for uid in series if is_uid(uid) for found in _of_series(scu, study_instance_uid, uid)]


def _of_series(scu: Scu, study_instance_uid: str, series_instance_uid: str) -> Iterator[Found]:
    keys = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series_instance_uid}
    for ds in _find(scu, "IMAGE", keys | {"SOPInstanceUID": "", "SOPClassUID": ""}):
        uid, sop_class_uid = text(ds, "SOPInstanceUID"), text(ds, "SOPClassUID")
        if is_uid(uid):
            address = InstanceAddress(series_instance_uid, uid)
            yield Found(address, sop_class_uid if is_uid(sop_class_uid) else "")


def identifier(level: str, keys: dict[str, str]) -> Dataset:
    """Unique keys, and return keys that are empty (PS3.4 C.4.1.1.3); an instance's UIDs may be a list."""
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def request(scu: Scu, sop_class_uid: str, command_field: int) -> tuple[int, Dataset]:
    """The context and the command of a C-FIND, C-GET or C-MOVE. Raises PeerRefused where it is not accepted."""
    context_id = scu.context_of(sop_class_uid)
    if context_id is None:
        raise PeerRefused("The archive does not accept the query/retrieve service that is needed.")
    command = Dataset()
    command.AffectedSOPClassUID = UID(sop_class_uid)
    command.CommandField = command_field
    command.MessageID = scu.association.next_message_id()
    command.Priority = MEDIUM
    return context_id, command


def send(scu: Scu, context_id: int, command: Dataset, keys: Dataset) -> None:
    scu.association.send(context_id, command, BytesIO(scu.association.encoded(context_id, keys)))


def is_answer(message: Message, command: Dataset, command_field: int) -> bool:
    answer = message.command
    return (
        answer.get("CommandField") == command_field
        and answer.get("MessageIDBeingRespondedTo") == command.MessageID
        and isinstance(answer.get("Status"), int)
    )


def failure(status: int) -> GatewayError:
    """PS3.4 Tables C.4-1 to C.4-3: what will pass, and what a person must look at."""
    words = f"The archive answered with status 0x{status:04X}"
    if status == 0xA801:
        return PeerRefused(f"{words}: it does not know the gateway as a move destination.")
    if status in (0xA700, 0xA701, 0xA702, 0xFE00, 0xB000) or 0xC000 <= status <= 0xCFFF:
        return PeerUnreachable(f"{words}.")
    return PeerRefused(f"{words}.")


def _find(scu: Scu, level: str, keys: dict[str, str]) -> Iterator[Dataset]:
    wanted = identifier(level, keys)
    context_id, command = request(scu, FIND, _C_FIND_RQ)
    send(scu, context_id, command, wanted)
    for _ in range(MAX_MATCHES):
        message = scu.association.receive()
        if not is_answer(message, command, _C_FIND_RSP):
            raise scu.association.broken("another message than the answer")
        status = int(message.command.Status)
        if status == 0x0000:
            return
        if status not in _PENDING:
            raise failure(status)
        try:
            yield scu.association.decoded(message)
        except PYDICOM_ERRORS as error:
            raise scu.association.broken("a match that cannot be read") from error
    raise scu.association.broken("more matches than are taken")
