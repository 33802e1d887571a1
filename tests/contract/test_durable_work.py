"""Work that is promised is done: with a real worker, on both databases."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.case.access import NO_ORIGIN, SYSTEM_ACTOR
from gateway.services import Services
from gateway.store import jobs, trail
from gateway.workflow import durable
from gateway.workflow.durable import Work
from tests.support.worker_process import WorkerProcess


@pytest.fixture
def worker(services: Services, database_url: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    """Not started yet."""
    return WorkerProcess(tmp_path, database_url)


def arrive(services: Services, subject: str) -> None:
    """Something about the subject is stored, and work on it is enqueued, in one transaction."""
    with services.database.transaction() as session:
        acts = [trail.Act("test", subject)]
        trail.append(session, acts, at=datetime.now(UTC), actor=SYSTEM_ACTOR.actor, origin=NO_ORIGIN)
        services.jobs.enqueue(session, Work.CHECK_CASE, subject)


def lines(journal: list[str], start: str) -> list[str]:
    return [line for line in journal if line.startswith(start)]


def test_what_arrives_before_work_begins_is_worked_on_once(services: Services, worker: WorkerProcess) -> None:
    for _ in range(5):
        arrive(services, "s1")
    with worker:
        worker.wait_for(lambda journal: "end s1" in journal)
        arrive(services, "s2")
        journal = worker.wait_for(lambda journal: "end s2" in journal)
    assert lines(journal, "begin s1") == ["begin s1 5"]


def test_what_arrives_while_work_is_running_is_worked_on_again(
    services: Services, worker: WorkerProcess
) -> None:
    with worker:
        worker.hold("s1")
        arrive(services, "s1")
        worker.wait_for(lambda journal: "begin s1 1" in journal)
        arrive(services, "s1")
        arrive(services, "s1")
        worker.release("s1")
        worker.wait_for(lambda journal: "begin s1 3" in journal)


def test_what_arrives_after_finished_work_was_forgotten_is_worked_on(
    services: Services, worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "FORGET_AT_ONCE", 2)
    with worker:
        for subject in ("s1", "s2", "s3"):
            arrive(services, subject)
        worker.wait_for(lambda journal: len(lines(journal, "end")) == 3)
        worker.hold("s4")
        arrive(services, "s4")
        worker.wait_for(lambda journal: "begin s4 1" in journal)
        assert services.jobs.forget_finished(datetime.now(UTC) - timedelta(minutes=1)) == 0
        time.sleep(1)  # the last one is written down as finished a moment after its end
        assert services.jobs.forget_finished(datetime.now(UTC)) == 3
        arrive(services, "s1")
        worker.wait_for(lambda journal: "end s1" in journal[journal.index("begin s4 1") :])
        arrive(services, "s4")
        worker.release("s4")
        journal = worker.wait_for(lambda journal: journal.count("end s4") == 2)
    assert lines(journal, "begin s1") == ["begin s1 1", "begin s1 2"]
    assert lines(journal, "begin s4") == ["begin s4 1", "begin s4 2"]


def test_no_arrival_is_lost_however_they_fall(services: Services, worker: WorkerProcess) -> None:
    subjects = [f"s{number % 3}" for number in range(90)]
    with worker, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda subject: arrive(services, subject), subjects))
        last = {"begin s0 30", "begin s1 30", "begin s2 30"}
        worker.wait_for(lambda journal: last <= set(journal), seconds=40)


def test_work_begins_only_before_an_arrival_is_enqueued_or_after_it_is_stored(services: Services) -> None:
    def begin() -> None:
        with services.database.transaction() as session:
            jobs.begin(session, Work.CHECK_CASE, "s1")

    arrive(services, "s1")
    with ThreadPoolExecutor(1) as threads:
        with services.database.transaction() as session:
            services.jobs.enqueue(session, Work.CHECK_CASE, "s1")
            begun = threads.submit(begin)
            with pytest.raises(TimeoutError):
                begun.result(timeout=0.3)
        begun.result(timeout=10)


def test_work_of_a_transaction_that_failed_is_not_done(services: Services, worker: WorkerProcess) -> None:
    with suppress(KeyError), services.database.transaction() as session:
        services.jobs.enqueue(session, Work.CHECK_CASE, "s1")
        raise KeyError
    arrive(services, "s2")
    with worker:
        journal = worker.wait_for(lambda journal: "end s2" in journal)
    assert lines(journal, "begin s1") == []


def test_a_killed_worker_does_its_work_when_it_is_back(services: Services, worker: WorkerProcess) -> None:
    with worker:
        worker.hold("s1")
        arrive(services, "s1")
        worker.wait_for(lambda journal: "begin s1 1" in journal)
        worker.kill()
    worker.release("s1")
    with worker:
        journal = worker.wait_for(lambda journal: "end s1" in journal)
    assert lines(journal, "begin s1") == ["begin s1 1", "begin s1 1"]


def test_the_work_of_a_dead_machine_is_done_by_another(
    services: Services, worker: WorkerProcess, database_url: str, tmp_path: Path
) -> None:
    with worker:
        worker.hold("s1")
        arrive(services, "s1")
        worker.wait_for(lambda journal: "begin s1 1" in journal)
    worker.release("s1")
    with WorkerProcess(tmp_path, database_url, machine="b") as other:
        other.wait_for(lambda journal: "end s1" in journal)


def test_work_that_fails_is_tried_again_and_meanwhile_holds_up_nobody(
    services: Services, worker: WorkerProcess
) -> None:
    with worker:
        for subject in ("s1", "s2", "s3"):
            worker.let_fail(subject)
            arrive(services, subject)
        worker.wait_for(lambda journal: len(lines(journal, "fail")) == 3)
        arrive(services, "s4")
        journal = worker.wait_for(lambda journal: "end s4" in journal)
        assert lines(journal, "end") == ["end s4"]
        journal = worker.wait_for(lambda journal: len(lines(journal, "end")) == 4)
    assert sorted(lines(journal, "end")) == ["end s1", "end s2", "end s3", "end s4"]
