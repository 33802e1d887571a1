"""Storage commitment as data sets: Action Information and Event Information (PS3.4 Tables J.3-1, J.3-2)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from pydicom.dataset import Dataset
from pydicom.uid import UID

from gateway.errors import InvalidContent

SOP_CLASS_UID = "1.2.840.10008.1.20.1"  # Storage Commitment Push Model
SOP_INSTANCE_UID = "1.2.840.10008.1.20.1.1"  # its well-known instance (PS3.4 J.3.5)
REQUEST_ACTION_TYPE = 1
ALL_COMMITTED, SOME_FAILED = 1, 2  # Event Type ID (0000,1002)
MAX_REFERENCES = 200_000


class Reason(IntEnum):
    """Failure Reason (0008,1197), PS3.3 C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_INSTANCE = 0x0112
    CLASS_CONFLICT = 0x0119
    DUPLICATE_TRANSACTION_UID = 0x0131


@dataclass(frozen=True, slots=True)
class Reference:
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    reference: Reference
    reason: Reason


def read_request(ds: Dataset) -> CommitmentRequest:
    """Transaction UID (0008,1195) and Referenced SOP Sequence (0008,1199), both type 1. Raises InvalidContent."""
    transaction_uid = str(ds.get("TransactionUID") or "").strip()
    references = tuple(map(_reference, ds.get("ReferencedSOPSequence") or ()))
    if not UID(transaction_uid).is_valid or not references:
        raise InvalidContent("The request lacks its Transaction UID, or what is to be committed.")
    if len(references) > MAX_REFERENCES:
        raise InvalidContent(f"The request names more than {MAX_REFERENCES} instances.")
    return CommitmentRequest(transaction_uid, references)


def _reference(item: Dataset) -> Reference:
    found = Reference(
        str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or "")
    )
    if not (found.sop_class_uid and found.sop_instance_uid):
        raise InvalidContent("A reference lacks its SOP Class UID or its SOP Instance UID.")
    return found


def to_event(
    transaction_uid: str, committed: Sequence[Reference], failures: Sequence[Failure], retrieve_ae_title: str
) -> tuple[int, Dataset]:
    """Event Type ID and Event Information. What is committed can be retrieved from ``retrieve_ae_title``."""
    event = Dataset()
    event.TransactionUID = UID(transaction_uid)
    event.RetrieveAETitle = retrieve_ae_title
    if committed:
        event.ReferencedSOPSequence = _items(committed)
    if not failures:
        return ALL_COMMITTED, event
    event.FailedSOPSequence = _items(failure.reference for failure in failures)
    for item, failure in zip(event.FailedSOPSequence, failures, strict=True):
        item.FailureReason = int(failure.reason)
    return SOME_FAILED, event


def _items(references: Iterable[Reference]) -> list[Dataset]:
    items = []
    for reference in references:
        item = Dataset()
        item.ReferencedSOPClassUID = UID(reference.sop_class_uid)
        item.ReferencedSOPInstanceUID = UID(reference.sop_instance_uid)
        items.append(item)
    return items
