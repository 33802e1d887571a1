"""Durable work: DBOS queues and workflows. The only module that imports dbos (decision 5).

Work is named by a kind and the id of its subject. It is coalesced without losing an arrival: the
workflow id carries how often work of this kind has begun for the subject, and beginning is
counted in a transaction before the state is read. Enqueueing again before it begins names the same
workflow; enqueueing after names the next one.

A workflow is one act that may be done twice. When it fails, the next attempt is a workflow of its
own, enqueued with a delay, so that what waits for a hospital's server holds up nobody's place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from gateway.errors import StoreUnavailable
from gateway.store import jobs
from gateway.store.database import Database, Session, after_commit

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions

    from gateway.services import Services

APPLICATION = "second-opinion-gateway"
APPLICATION_VERSION = "1"  # raise only when running workflows cannot be finished by the new code
QUEUE, FETCH_QUEUE, EXPORT_QUEUE, NOTIFY_QUEUE = "gateway", "fetch", "export", "notify"
CONCURRENCY = 2
FETCHES = 2  # a fetch may take hours; it must not stand in the way of what is done in no time
EXPORTS = 1  # nor must an export
NOTIFICATIONS = 4  # nor a subscriber's server, which may let each wait for a minute
POLLING_SECONDS, SLOW_POLLING_SECONDS = 0.2, 1.0
STORE_RETRY_SECONDS = 1.0
STOP_SECONDS = 10
SETTLE_SECONDS = 2.0
NOTED_AT_MOST = 1000
FORGET_AT_ONCE = 500  # so that nobody waits long for the database
RETRY_SECONDS = (5, 30, 120, 600, 3600, 4 * 3600, *[12 * 3600] * 10)  # a little more than five days

Perform = Callable[["Services", "Work", str, bool], bool]

_stopping = threading.Event()

log = structlog.get_logger(__name__)


class Work(StrEnum):
    """Kinds of durable work; the subject is the id of the named thing."""

    PLACE_STUDY = "place-study"
    CHECK_CASE = "check-case"
    DELIVER = "deliver"
    FETCH_STUDY = "fetch-study"  # the id of the fetch, a stroke, and the number of its round
    REPORT_COMMITMENT = "report-commitment"
    EXPORT = "export"
    NOTIFY = "notify"  # the id of the subscription, a stroke, and the number of its round
    RECEIVE_BUNDLE = "receive-bundle"


class Jobs:
    """Enqueues work inside the caller's transaction. Connects at the first use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._client: DBOSClient | None = None
        self._lock = threading.Lock()
        self._waiting: dict[str, None] = {}  # what this process knows to be enqueued

    def enqueue(self, session: Session, work: Work, subject: str, *, more_may_come: bool = False) -> None:
        """The work exists exactly if the transaction commits.

        ``more_may_come``: work that has been done for the subject before is not done again for each of many arrivals.
        """
        begun = jobs.times_begun(session, work, subject)
        workflow_id = f"{work}:{subject}:{begun}"
        if workflow_id in self._waiting:  # had it begun since, its number would have changed
            return
        options = _options(work)
        options["workflow_id"] = workflow_id
        if more_may_come and begun:
            options["delay_seconds"] = SETTLE_SECONDS
        self._enqueue(session, options, subject, 0)
        after_commit(session, lambda: self._note(workflow_id))

    def _note(self, workflow_id: str) -> None:
        self._waiting[workflow_id] = None
        while len(self._waiting) > NOTED_AT_MOST:
            self._waiting.pop(next(iter(self._waiting)), None)

    def enqueue_again(
        self, session: Session, work: Work, subject: str, workflow_id: str, attempt: int
    ) -> None:
        """The next attempt of a failed workflow, after the pause that its number asks for."""
        first = workflow_id.partition("~")[0]
        options = _options(work)
        options["workflow_id"] = f"{first}~{attempt}"
        options["delay_seconds"] = RETRY_SECONDS[attempt - 1]
        self._enqueue(session, options, subject, attempt)

    def forget_finished(self, before: datetime) -> int:
        """Delete DBOS's rows of work that ended before then; how many.

        No workflow id comes again by that: how often work has begun stays in the ``job`` table, one short row for each
        case, study and delivery.
        """
        forgotten = 0
        while ids := self._finished(before):
            self._dbos().delete_workflows(ids)
            forgotten += len(ids)
        return forgotten

    def _finished(self, before: datetime) -> list[str]:
        found = self._dbos().list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"],
            completed_before=before.isoformat(),
            limit=FORGET_AT_ONCE,
            load_input=False,
            load_output=False,
        )
        return [workflow.workflow_id for workflow in found]

    def _enqueue(self, session: Session, options: EnqueueOptions, subject: str, attempt: int) -> None:
        self._dbos().enqueue_in_transaction(session, options, subject, attempt)

    def _dbos(self) -> DBOSClient:
        with self._lock:
            if self._client is None:
                from dbos import DBOSClient

                self._client = DBOSClient(
                    system_database_engine=self._database.engine,
                    application_name=APPLICATION,
                    lazy=True,
                    retry_connection_errors=False,
                )
            return self._client


_OWN_QUEUES = {Work.FETCH_STUDY: FETCH_QUEUE, Work.EXPORT: EXPORT_QUEUE, Work.NOTIFY: NOTIFY_QUEUE}


def _options(work: Work) -> EnqueueOptions:
    queue = _OWN_QUEUES.get(work, QUEUE)
    return {"workflow_name": work.value, "queue_name": queue, "app_version": APPLICATION_VERSION}


def migrate(url: str) -> None:
    """Create or update DBOS's own tables in the application's database (a SQLAlchemy URL), and the queues.

    A worker polls at once the queues that it finds when it starts; another one only after a second.
    """
    from dbos import DBOS, DBOSClient

    DBOS.migrate(_dbos_url(url))
    client = DBOSClient(system_database_url=_dbos_url(url), application_name=APPLICATION)
    queues = (
        (QUEUE, CONCURRENCY, POLLING_SECONDS),
        (FETCH_QUEUE, FETCHES, SLOW_POLLING_SECONDS),
        (EXPORT_QUEUE, EXPORTS, SLOW_POLLING_SECONDS),
        (NOTIFY_QUEUE, NOTIFICATIONS, SLOW_POLLING_SECONDS),
    )
    for queue, concurrency, seconds in queues:
        client.register_queue(queue, worker_concurrency=concurrency, polling_interval_sec=seconds)
    client.destroy()


def _dbos_url(url: str) -> str:
    """DBOS chooses its own driver and refuses a URL that names one."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def launch(services: Services, machine: str, perform: Perform | None = None) -> None:
    """Start running work in this process; returns at once. ``stop`` ends it.

    A worker that was killed resumes its workflows here: ``machine`` and version are the same again.
    """
    from dbos import DBOS, DBOSConfig

    _stopping.clear()
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": _dbos_url(services.config.sqlalchemy_url),
        "sys_db_pool_size": 5,
        "executor_id": machine,
        "application_version": APPLICATION_VERSION,
        "run_migrations": False,
        "log_level": "WARNING",
    }
    DBOS(config=config)
    for work in Work:
        _define_workflow(services, work, perform or perform_step)
    DBOS.launch()


def stop() -> None:
    """Finish the running work and close; what is not finished in time is resumed by the next launch."""
    from dbos import DBOS

    _stopping.set()
    DBOS.destroy(workflow_completion_timeout_sec=STOP_SECONDS)


def is_stopping() -> bool:
    """Work that takes long comes to an end early, and goes on with the next launch."""
    return _stopping.is_set()


def is_running() -> bool:
    """Whether the queues are being polled in this process."""
    polling = {thread.name for thread in threading.enumerate()}
    queues = (QUEUE, *_OWN_QUEUES.values())
    return {f"queue-worker-{queue}" for queue in queues} <= polling


def take_over_from_dead(living: set[str]) -> None:
    """Give the unfinished work of machines that are not ``living`` back to the queue."""
    from dbos import DBOS

    pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
    dead = {workflow.executor_id for workflow in pending if workflow.executor_id} - living
    if dead:
        log.warning("taking-over", machines=sorted(dead))
        DBOS._recover_pending_workflows(sorted(dead))  # DBOS has it in public only for its paid service


def _define_workflow(services: Services, work: Work, perform: Perform) -> None:
    from dbos import DBOS

    @DBOS.workflow(name=work.value)
    def run(subject: str, attempt: int) -> None:
        workflow_id = DBOS.workflow_id or ""
        _in_transaction(services, lambda session: jobs.begin(session, work, subject))
        final = attempt == len(RETRY_SECONDS)
        if _succeeds(perform, services, work, subject, final):
            return
        if final:
            log.error("work-given-up", work=work.value, subject=subject)
            return
        _in_transaction(
            services,
            lambda session: services.jobs.enqueue_again(session, work, subject, workflow_id, attempt + 1),
        )


def _succeeds(perform: Perform, services: Services, work: Work, subject: str, final: bool) -> bool:
    try:
        return perform(services, work, subject, final)
    except Exception:  # the outermost edge of the worker: no bug may lose the work
        log.exception("work-failed", work=work.value, subject=subject, final=final)
        return False


def perform_step(services: Services, work: Work, subject: str, final: bool) -> bool:
    """Whether the work is done; otherwise it is tried again later, unless this was the ``final`` attempt."""
    from gateway.workflow import (
        commit_storage,
        deliver,
        export,
        fetch,
        fetch_plan,
        intake,
        notify_send,
        place_study,
        receive_later,
        searchable,
    )

    match work:
        case Work.PLACE_STUDY:
            place_study.place_study(services, subject)
        case Work.CHECK_CASE:
            fetch_plan.plan_fetches(services, subject)
            intake.check_case(services, subject)
            searchable.make_case_searchable(services, subject)
        case Work.DELIVER:
            return deliver.attempt(services, subject, final)
        case Work.FETCH_STUDY:
            return fetch.attempt(services, subject, final)
        case Work.REPORT_COMMITMENT:
            return commit_storage.attempt(services, subject, final)
        case Work.EXPORT:
            return export.attempt(services, subject, final)
        case Work.NOTIFY:
            return notify_send.attempt(services, subject, final)
        case Work.RECEIVE_BUNDLE:
            return receive_later.attempt(services, subject, final)
    return True


def _in_transaction(services: Services, act: Callable[[Session], None]) -> None:
    """Commit ``act``, however long the database is away: an error here would end the workflow as failed."""
    while True:
        try:
            with services.database.transaction() as session:
                act(session)
            return
        except StoreUnavailable:
            log.warning("database-unavailable")
            time.sleep(STORE_RETRY_SECONDS)
