"""Fetches imaging from a partner's application entity: C-FIND, then C-GET, or C-MOVE to the gateway's own listener.

C-GET comes on the association that asked, so that the archive needs to know nothing of the gateway but its title. What
it cannot give so, or where it does not offer C-GET, is asked by C-MOVE (PS3.4 C.4.2, C.4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import TYPE_CHECKING, Self, TypeVar

from gateway.case.fetching import InstanceAddress
from gateway.errors import NotFound
from gateway.senders.dicom_find import (
    BASIC_SYNTAXES,
    FIND,
    Found,
    failure,
    find_instances,
    identifier,
    is_answer,
    request,
    send,
)
from gateway.senders.dicom_get import C_GET, get_instances
from gateway.senders.dicom_scu import Scu
from mappings.dicom_values import texts

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from gateway.workflow.fetch_from import Receiver

C_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
UIDS_IN_ONE_REQUEST = 50
CLASSES_IN_ONE_ASSOCIATION = 7
SYNTAXES = (
    *BASIC_SYNTAXES,
    *("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"),
    *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 100, 102, 201, 203)),
)
"""Each is proposed in a context of its own, so that the archive can send as it has stored; 128 contexts at most."""
COMMON_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("2", "4", "1", "1.1", "6.1", "3.1", "7"))
"""CT, MR, CR, DX, US, US multi-frame, secondary capture: proposed where the archive tells no SOP class."""
_C_MOVE_RQ, _C_MOVE_RSP = 0x0021, 0x8021
_PENDING, _SUCCESS, _WARNING = 0xFF00, 0x0000, 0xB000
_QUERY = tuple((model, BASIC_SYNTAXES) for model in (FIND, C_GET, C_MOVE))

Part = TypeVar("Part")
Contexts = Sequence[tuple[str, Sequence[str]]]
Call = Callable[[Contexts, Collection[str]], AbstractContextManager[Scu]]
"""Opens an association; of the abstract syntaxes in the second argument the gateway is the SCP."""


class DicomSource:
    """One registered application entity with an address; a context manager. Raises PeerUnreachable, PeerRefused."""

    channel = "c-get"

    def __init__(self, address: str, own_ae_title: str, call: Call) -> None:
        self.address = address
        self._own_ae_title = own_ae_title
        self._call = call

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Associations last only as long as something is asked."""

    def instances(self, study_instance_uid: str) -> list[InstanceAddress]:
        """Raises NotFound when the archive has nothing of the study."""
        with self._call(_QUERY, ()) as scu:
            found = find_instances(scu, study_instance_uid)
        if not found:
            raise NotFound("The archive has nothing of the study.")
        return [one.address for one in found]

    def retrieve(
        self, study_instance_uid: str, wanted: Sequence[InstanceAddress], receiver: Receiver
    ) -> None:
        """By C-GET what the archive has of it; by C-MOVE what did not come so."""
        series = dict.fromkeys(address.series_instance_uid for address in wanted)
        with self._call(_QUERY, ()) as scu:
            known = {found.address: found for found in find_instances(scu, study_instance_uid, series)}
            offers_get = scu.context_of(C_GET) is not None
        for address in wanted:
            if address not in known:
                receiver.refuse(address, NotFound("The archive does not have it."))
        there = [known[address] for address in wanted if address in known]
        left = self._get(study_instance_uid, there, receiver) if offers_get else there
        if left and receiver.goes_on():
            self._move(study_instance_uid, left, receiver)

    def _get(self, study_instance_uid: str, there: list[Found], receiver: Receiver) -> list[Found]:
        """What did not come."""
        named = list(dict.fromkeys(found.sop_class_uid for found in there if found.sop_class_uid))
        left: list[Found] = []
        for some in _parts(named, CLASSES_IN_ONE_ASSOCIATION):
            of_them = [found for found in there if found.sop_class_uid in some]
            left += self._get_of(some, study_instance_uid, of_them, receiver)
        if nameless := [found for found in there if not found.sop_class_uid]:
            left += self._get_of(COMMON_CLASSES, study_instance_uid, nameless, receiver)
        return left

    def _get_of(
        self, classes: Sequence[str], study_instance_uid: str, there: list[Found], receiver: Receiver
    ) -> list[Found]:
        if not receiver.goes_on():
            return []
        contexts = [(C_GET, BASIC_SYNTAXES), *((one, (syntax,)) for one in classes for syntax in SYNTAXES)]
        left: list[Found] = []
        with self._call(contexts, classes) as scu:
            for keys, part in _requests(study_instance_uid, there):
                left += get_instances(scu, keys, part, receiver)
                if not receiver.goes_on():
                    return []
        return left

    def _move(self, study_instance_uid: str, left: list[Found], receiver: Receiver) -> None:
        with self._call([(C_MOVE, BASIC_SYNTAXES)], ()) as scu:
            for keys, part in _requests(study_instance_uid, left):
                status, failed = self._moved(scu, keys, receiver)
                receiver.look_again()
                if not receiver.goes_on():
                    return
                if status not in (_SUCCESS, _WARNING):
                    raise failure(status)
                for found in part:
                    if status == _WARNING and (not failed or found.address.sop_instance_uid in failed):
                        receiver.refuse(found.address, failure(status))

    def _moved(self, scu: Scu, keys: Dataset, receiver: Receiver) -> tuple[int, frozenset[str]]:
        """Status of the last response, and Failed SOP Instance UID List (0008,0058).

        When the receiver does not go on, the association is aborted, and the status is pending.
        """
        context_id, command = request(scu, C_MOVE, _C_MOVE_RQ)
        command.MoveDestination = self._own_ae_title
        send(scu, context_id, command, keys)
        while receiver.goes_on():
            message = scu.association.receive()
            if not is_answer(message, command, _C_MOVE_RSP):
                raise scu.association.broken("another message than the answer")
            if (status := int(message.command.Status)) != _PENDING:
                failed = texts(scu.association.decoded(message), "FailedSOPInstanceUIDList")
                return status, frozenset(failed)
        scu.association.abort()
        return _PENDING, frozenset()


def _requests(study_instance_uid: str, found: Iterable[Found]) -> Iterator[tuple[Dataset, list[Found]]]:
    """Identifiers of one series each, and what they ask for."""
    for series, members in groupby(found, lambda one: one.address.series_instance_uid):
        for part in _parts(list(members), UIDS_IN_ONE_REQUEST):
            uids = "\\".join(one.address.sop_instance_uid for one in part)
            keys = {
                "StudyInstanceUID": study_instance_uid,
                "SeriesInstanceUID": series,
                "SOPInstanceUID": uids,
            }
            yield identifier("IMAGE", keys), part


def _parts(of: list[Part], size: int) -> Iterator[list[Part]]:
    return (of[start : start + size] for start in range(0, len(of), size))
