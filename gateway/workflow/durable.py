"""Durable work: DBOS queues and workflows. The only module that imports dbos (decision 5).

Work is named by a kind and the id of its subject. It is coalesced without losing an arrival: the
workflow id carries how often work of this kind has begun for the subject, and beginning is
counted in a transaction before the state is read. Enqueueing again before it begins names the same
workflow; enqueueing after names the next one.
"""

from __future__ import annotations

import socket
import threading
from enum import StrEnum
from typing import TYPE_CHECKING

from gateway.store import jobs
from gateway.store.database import Database, Session

if TYPE_CHECKING:
    from dbos import DBOSClient

    from gateway.services import Services

APPLICATION = "second-opinion-gateway"
APPLICATION_VERSION = "1"  # raise only when a running workflow's steps change
QUEUE = "gateway"
POLLING_SECONDS = 0.2
RETRY_SECONDS = (5, 30, 120, 600, 3600, 4 * 3600, *[12 * 3600] * 10)  # about five and a half days


class Work(StrEnum):
    """Kinds of durable work; the subject is the id of the named thing."""

    PLACE_STUDY = "place-study"
    CHECK_CASE = "check-case"
    DELIVER = "deliver"


class Jobs:
    """Enqueues work inside the caller's transaction. Connects at the first use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._client: DBOSClient | None = None
        self._lock = threading.Lock()

    def enqueue(self, session: Session, work: Work, subject: str) -> None:
        """The work exists exactly if the transaction commits."""
        begun = jobs.times_begun(session, work, subject)
        self._dbos().enqueue_in_transaction(
            session,
            {
                "workflow_name": work.value,
                "queue_name": QUEUE,
                "workflow_id": f"{work}:{subject}:{begun}",
                "app_version": APPLICATION_VERSION,
            },
            subject,
        )

    def _dbos(self) -> DBOSClient:
        with self._lock:
            if self._client is None:
                from dbos import DBOSClient

                self._client = DBOSClient(
                    system_database_engine=self._database.engine,
                    dbos_system_schema="dbos",
                    application_name=APPLICATION,
                    lazy=True,
                    retry_connection_errors=False,
                )
            return self._client


def migrate(url: str) -> None:
    """Create or update DBOS's own tables in the application's database (a SQLAlchemy URL)."""
    from dbos import DBOS

    DBOS.migrate(url)


def launch(services: Services) -> None:
    """Start running work in this process; returns at once. ``stop`` ends it.

    A worker that was killed resumes its workflows here: executor id and version are the same again.
    """
    from dbos import DBOS, DBOSConfig

    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": services.config.sqlalchemy_url,
        "executor_id": socket.gethostname(),
        "application_version": APPLICATION_VERSION,
        "use_listen_notify": False,
        "log_level": "WARNING",
    }
    DBOS(config=config)
    _define_workflows(services)
    DBOS.launch()
    DBOS.register_queue(
        QUEUE, worker_concurrency=2, polling_interval_sec=POLLING_SECONDS, on_conflict="always_update"
    )


def stop() -> None:
    """Finish the running steps and close."""
    from dbos import DBOS

    DBOS.destroy()


def _define_workflows(services: Services) -> None:
    from dbos import DBOS

    from gateway.workflow import deliver, intake, normalise

    @DBOS.workflow(name=Work.PLACE_STUDY.value)
    def place_study(study_id: str) -> None:
        _begin(services, Work.PLACE_STUDY, study_id)
        DBOS.run_step({"name": "place"}, normalise.place_study, services, study_id)

    @DBOS.workflow(name=Work.CHECK_CASE.value)
    def check_case(case_id: str) -> None:
        _begin(services, Work.CHECK_CASE, case_id)
        DBOS.run_step({"name": "check"}, intake.check_case, services, case_id)

    @DBOS.workflow(name=Work.DELIVER.value)
    def deliver_report(delivery_id: str) -> None:
        _begin(services, Work.DELIVER, delivery_id)
        for pause in (*RETRY_SECONDS, None):
            if DBOS.run_step({"name": "attempt"}, deliver.attempt, services, delivery_id, pause is None):
                return
            if pause is not None:
                DBOS.sleep(pause)


def _begin(services: Services, work: Work, subject: str) -> None:
    with services.database.transaction() as session:
        jobs.begin(session, work, subject)
