"""What C-MOVE and C-GET have in common (PS3.4 C.4.2, C.4.3): what is asked for, its sub-operations, the responses."""

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import structlog
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from gateway.case.access import Partner
from gateway.dimse.serving import Request
from gateway.dimse.status import (
    CANCELLED,
    IDENTIFIER_DOES_NOT_MATCH,
    MATCHES_NOT_COUNTED,
    PENDING,
    SOME_SUB_OPERATIONS_FAILED,
    SUB_OPERATIONS_REFUSED,
    SUCCESS,
    Outcome,
    outcome,
    outcome_of,
)
from gateway.errors import GatewayError, InvalidContent, StoreUnavailable
from gateway.store import retrieval
from gateway.workflow import disclosure

if TYPE_CHECKING:
    from gateway.store.tables import InstanceRow

_UNIQUE_KEYS = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
_LEVELS = list(_UNIQUE_KEYS)
_MOST_ABOVE = 1000
_MOST_COUNTED = 0xFFFF  # VR US
_MOST_FAILED_UIDS = 1000  # what an explicit VR UI can hold: 65,534 bytes

log = structlog.get_logger(__name__)


class SubOperation(Enum):
    """How one C-STORE ended (PS3.4 C.4.2.1.6)."""

    COMPLETED = "NumberOfCompletedSuboperations"
    WARNING = "NumberOfWarningSuboperations"
    FAILED = "NumberOfFailedSuboperations"


Delivery = Generator[tuple["InstanceRow", SubOperation], None, None]
"""Sends instance after instance, and tells of each how that ended; may be closed before it is through.

Raises GatewayError when no more may be sent.
"""


@dataclass
class Progress:
    """Of the sub-operations of one request."""

    total: int
    ended: dict[SubOperation, int] = field(default_factory=lambda: dict.fromkeys(SubOperation, 0))
    failed_uids: list[str] = field(default_factory=list)

    def count(self, row: "InstanceRow", how: SubOperation) -> None:
        self.ended[how] += 1
        if how is SubOperation.FAILED and len(self.failed_uids) < _MOST_FAILED_UIDS:
            self.failed_uids.append(row.sop_instance_uid)

    def fail(self, rows: Sequence["InstanceRow"]) -> None:
        for row in rows:
            self.count(row, SubOperation.FAILED)

    @property
    def done(self) -> int:
        return sum(self.ended.values())

    @property
    def remaining(self) -> int:
        return self.total - self.done

    def parameters(self, *, with_remaining: bool) -> dict[str, Any]:
        """For a response: how many remain is told while it goes on and when it was cancelled (PS3.4 Table C.4-2)."""
        counts = {how.value: min(count, _MOST_COUNTED) for how, count in self.ended.items()}
        remaining = {"NumberOfRemainingSuboperations": min(self.remaining, _MOST_COUNTED)}
        return counts | (remaining if with_remaining else {})

    def status(self) -> int:
        """Refused where none was successful (PS3.4 C.4.2.3.1)."""
        failed = self.ended[SubOperation.FAILED]
        if failed and failed == self.total:
            return SUB_OPERATIONS_REFUSED
        return SOME_SUB_OPERATIONS_FAILED if failed or self.ended[SubOperation.WARNING] else SUCCESS


def wanted(request: Request, with_patients: bool) -> dict[str, Sequence[str]]:
    """The unique keys of the Identifier and their values: that of its level, and those above it where they are given.

    At the level asked for there may be several (list of UID matching, PS3.4 C.2.2.2.2). Raises InvalidContent, with the
    reason, for what is no Identifier of the model: study root has no patient level.
    """
    identifier = request.data_set(request.message.Identifier)
    level = str(identifier.get("QueryRetrieveLevel", "")).strip()
    if level not in _LEVELS[0 if with_patients else 1 :]:
        raise InvalidContent("The Query/Retrieve Level is not one of this model.")
    keywords = [_UNIQUE_KEYS[each] for each in _LEVELS[: _LEVELS.index(level) + 1]]
    keys = {keyword: _values(identifier, keyword) for keyword in keywords}
    if not keys[_UNIQUE_KEYS[level]]:
        raise InvalidContent(f"{_UNIQUE_KEYS[level]} is missing.")
    if any(set(value) & set("*?") for values in keys.values() for value in values):
        raise InvalidContent("Unique keys have no wildcards.")
    if any(len(values) > _MOST_ABOVE for keyword, values in keys.items() if keyword != _UNIQUE_KEYS[level]):
        raise InvalidContent(f"Unique keys above the level have {_MOST_ABOVE} values at most.")
    return {keyword: values for keyword, values in keys.items() if values}


def _values(identifier: Dataset, keyword: str) -> list[str]:
    value = identifier.get(keyword)
    values = value if isinstance(value, MultiValue | list) else [value]
    return [text for text in (str(value).strip() for value in values if value is not None) if text]


def extended(information: bytes) -> bytes:
    """The answer to a SOP Class Extended Negotiation (PS3.4 Tables C.5-2, C.5-3): relational retrieval, and no more."""
    return bytes(int(place == 0 and asked == 1) for place, asked in enumerate(information))


def find(request: Request, keys: dict[str, Sequence[str]]) -> tuple[Partner, list["InstanceRow"]]:
    """The partner that asks, and its instances. Raises Forbidden, UnknownSender, StoreUnavailable."""
    partner = request.permitted("r")
    with request.services.database.reading() as session:
        return partner, retrieval.instances(session, partner, keys)


def disclose(
    request: Request, partner: Partner, channel: str, rows: Sequence["InstanceRow"], **detail: str
) -> None:
    """On the trail, by study, before a byte goes out."""
    counts = Counter(f"study:{row.series.study_id}" for row in rows)
    subjects = {study: {"instances": count, **detail} for study, count in counts.items()}
    origin = request.origin(channel)
    disclosure.record_each(request.services, partner, disclosure.READ, subjects, origin)


def run(request: Request, rows: Sequence["InstanceRow"], delivery: Delivery) -> None:
    """Carry the sub-operations out and answer: after each, and at the end. A peer that has gone is answered nothing.

    Where no more may be sent, what is left has failed: only a cancelled retrieval ends with some that remain
    (PS3.4 C.4.2.1.6).
    """
    progress = Progress(len(rows))
    refused: Outcome | None = None
    with closing(delivery):
        try:
            for row, how in delivery:
                progress.count(row, how)
                if not request.is_open or request.is_cancelled:
                    break
                request.respond(Outcome(PENDING), **progress.parameters(with_remaining=True))
        except GatewayError as error:
            log.warning("retrieval-stopped", cause=type(error).__name__, reason=str(error))
            refused = refusal(error) or outcome_of(error)
            progress.fail(rows[progress.done :])
    if request.is_open:
        code = CANCELLED if progress.remaining else progress.status()
        _finish(request, progress, refused or Outcome(code))


def _finish(request: Request, progress: Progress, ended: Outcome) -> None:
    """With Failed SOP Instance UID List (0008,0058) where there were failures (PS3.4 C.4.2.1.4.2)."""
    failed = None
    if progress.failed_uids:
        failed = Dataset()
        failed.FailedSOPInstanceUIDList = progress.failed_uids
        if progress.ended[SubOperation.FAILED] > _MOST_FAILED_UIDS:
            ended = outcome(
                ended.code, f"More failed than the {_MOST_FAILED_UIDS} instances that are listed."
            )
    counts = progress.parameters(with_remaining=ended.code == CANCELLED)
    request.respond(ended, ("Identifier", failed) if failed else None, **counts)
    service = type(request.message).__name__
    log.info("retrieved", service=service, status=f"{ended.code:04X}", **_counted(progress))


def _counted(progress: Progress) -> dict[str, int]:
    return {how.name.lower(): count for how, count in progress.ended.items()}


def refusal(error: Exception) -> Outcome | None:
    """The statuses that only retrieval has (PS3.4 Tables C.4-2, C.4-3)."""
    match error:
        case StoreUnavailable():
            return outcome(MATCHES_NOT_COUNTED, str(error))
        case InvalidContent():
            return outcome(IDENTIFIER_DOES_NOT_MATCH, str(error))
    return None
