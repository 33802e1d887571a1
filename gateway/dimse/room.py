"""How many associations there may be at one time, in all of a machine's DICOM processes together."""

import hashlib
import mmap
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from gateway.config import Config

_PLACE_BYTES = 8
_FREE = 0


class Room:
    """Places in memory that forked processes share; each process writes only its own, so nothing is ever locked.

    A place is taken before it is known to be within the limits, and given back when it is not: two processes at once
    may both refuse, and never both admit one too many.
    """

    def __init__(self, config: "Config", processes: int) -> None:
        self.is_shared = processes > 1
        self._limit = config.max_associations
        self._limit_of_partner = config.max_associations_of_partner
        self._places = memoryview(mmap.mmap(-1, processes * self._limit * _PLACE_BYTES)).cast("Q")
        self._lock = threading.Lock()  # of the threads of one process

    def clear(self, process: int) -> None:
        """What a process that died had taken."""
        for place in self._own(process):
            self._places[place] = _FREE

    def take(self, process: int, partner_id: str) -> int | None:
        """A place; None when there is none for anybody, or for this partner."""
        key = int.from_bytes(hashlib.sha256(partner_id.encode()).digest()[:_PLACE_BYTES], "big") or 1
        with self._lock:
            place = next((place for place in self._own(process) if self._places[place] == _FREE), None)
            if place is None:
                return None
            self._places[place] = key
        taken = [other for other in self._places if other != _FREE]
        if len(taken) <= self._limit and taken.count(key) <= self._limit_of_partner:
            return place
        self.give_back(place)
        return None

    def give_back(self, place: int) -> None:
        self._places[place] = _FREE

    def _own(self, process: int) -> range:
        return range(process * self._limit, (process + 1) * self._limit)


@dataclass(frozen=True, slots=True)
class RoomOfProcess:
    room: Room
    process: int = 0

    @classmethod
    def alone(cls, config: "Config") -> Self:
        return cls(Room(config, 1))

    def take(self, partner_id: str) -> int | None:
        return self.room.take(self.process, partner_id)
