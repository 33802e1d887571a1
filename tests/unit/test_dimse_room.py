"""How many associations there may be, in several processes that share the memory of the count."""

from gateway.config import Config
from gateway.dimse.room import Room, RoomOfProcess


def rooms(processes: int, **limits: int) -> list[RoomOfProcess]:
    room = Room(Config(**limits), processes)
    return [RoomOfProcess(room, process) for process in range(processes)]


def test_the_limit_is_of_all_processes_together() -> None:
    first, second = rooms(2, max_associations=3, max_associations_of_partner=3)
    places = [first.take("a"), second.take("b"), first.take("c")]
    assert None not in places
    assert second.take("d") is None
    first.room.give_back(places[0])
    assert second.take("d") is not None


def test_one_partner_has_its_own_limit_in_all_processes_together() -> None:
    first, second = rooms(2, max_associations=8, max_associations_of_partner=2)
    assert None not in [first.take("a"), second.take("a")]
    assert first.take("a") is None
    assert first.take("b") is not None


def test_what_is_refused_takes_no_place() -> None:
    (only,) = rooms(1, max_associations=2, max_associations_of_partner=1)
    assert only.take("a") is not None
    assert [only.take("a") for _ in range(5)] == [None] * 5
    assert only.take("b") is not None


def test_a_process_that_starts_anew_has_given_back_what_it_had_and_no_more() -> None:
    first, second = rooms(2, max_associations=2, max_associations_of_partner=2)
    assert None not in [first.take("a"), second.take("b")]
    first.room.clear(0)
    assert first.take("c") is not None
    assert second.take("d") is None
