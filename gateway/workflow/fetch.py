"""Fetch a study from where its records say that it is; tried again until it is whole or a person must look.

Nothing is fetched twice: what is here by SOP Instance UID is not asked for, also after a break in the middle. What
comes goes through the one door, and must be the instance that was asked for; which case it belongs to is decided as of
any other imaging (place_study.py).
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.case.access import SYSTEM_ACTOR, Origin
from gateway.case.expected import Progress, counted, listed
from gateway.case.fetching import (
    PASSING,
    PROBLEM_WORDS,
    FetchState,
    InstanceAddress,
    MissingInstance,
    Problem,
    foremost,
)
from gateway.case.model import ExpectedStudy
from gateway.case.status import OPEN
from gateway.clock import utc_now
from gateway.errors import (
    GatewayError,
    InstanceMismatch,
    NotDicom,
    StudyMismatch,
)
from gateway.store import cases, fetches, partners
from gateway.workflow import durable
from gateway.workflow.durable import RETRY_SECONDS
from gateway.workflow.faults import log_fault
from gateway.workflow.fetch_from import ImagingSource, RegisteredPlace, registered_places
from gateway.workflow.fetch_outcome import SETTLED, Outcome
from gateway.workflow.fetch_plan import begin_round, complete, tell_cases
from gateway.workflow.receive import receive_instance

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from gateway.services import Services
    from gateway.store.objects import Spool
    from gateway.store.partners import Registration
    from gateway.store.tables import FetchRow

FETCH_FAILED, FETCH_DELAYED = "fetch-failed", "fetch-delayed"
TRIES_FOR_ABSENT = 5
"""Images may still be on their way to the archive when the referral comes: about a quarter of an hour."""
PROGRESS_SECONDS = 1.0
LOOK_SECONDS = 0.1
"""Whether the place may still be asked is looked at no more often."""
MAX_MISSING_TOLD = 500


@dataclass(frozen=True, slots=True)
class _Job:
    """One try: what is wanted, and what was found out before in this round."""

    fetch_id: str
    round: int
    partner: Registration
    expected: ExpectedStudy | None
    settled: tuple[MissingInstance, ...]


def attempt(services: Services, subject: str, last: bool) -> bool:
    """One try of ``fetch id/round``; True when the round is over, False when it must be tried again.

    May be repeated at any time.
    """
    fetch_id, _, number = subject.rpartition("/")
    while (job := _job(services, fetch_id, int(number))) is not None:
        outcome = _try(services, job)
        if (is_over := _record(services, job, outcome, last)) is not None:
            return is_over
    return True


def _job(services: Services, fetch_id: str, number: int) -> _Job | None:
    """None when the round is over."""
    with services.database.reading() as session:
        row = fetches.row(session, fetch_id)
        if row.round != number or row.state != FetchState.PENDING:
            return None
        _, expected = fetches.wanted(session, fetch_id, OPEN)
        settled = tuple(m for m in fetches.missing_of(row) if m.problem in SETTLED)
        return _Job(fetch_id, number, partners.get(session, row.partner_id), expected, settled)


def _try(services: Services, job: _Job) -> Outcome:
    outcome = Outcome(problems={m.sop_instance_uid: m.problem for m in job.settled})
    if job.expected is None:
        outcome.trouble.add(Problem.NOT_WANTED)
        return outcome
    outcome.wanted = {address.sop_instance_uid: address for address in listed(job.expected)}
    places = registered_places(job.expected.places, job.partner)
    if not places:
        outcome.trouble.add(Problem.DISABLED if job.partner.disabled else Problem.NOT_REGISTERED)
    for place in places:
        if (refused := _refused(services, job.partner, place)) is not None:
            outcome.trouble.add(refused)
        else:
            _fetch_from(services, job, job.expected, place, outcome)
    return outcome


def _refused(services: Services, partner: Registration, place: RegisteredPlace) -> Problem | None:
    """Why nothing is to be asked of the place any more, as registered now."""
    with services.database.reading() as session:
        now = partners.get(session, partner.id)
    if now.disabled:
        return Problem.DISABLED
    return None if place in (*now.dicomweb_endpoints, *now.application_entities) else Problem.NOT_REGISTERED


def _fetch_from(
    services: Services, job: _Job, expected: ExpectedStudy, place: RegisteredPlace, outcome: Outcome
) -> None:
    """What is not here yet, from one place."""
    try:
        with services.connect(job.partner, place) as source:
            if not listed(expected):
                found = source.instances(expected.study_instance_uid)
                outcome.wanted |= {a.sop_instance_uid: a for a in found if _is_meant(expected, a)}
            _retrieve(services, job, expected, place, source, outcome)
    except GatewayError as error:
        outcome.note(error)
    except Exception as error:  # noqa: BLE001 (edge of a durable step: an unknown fault must not end the tries unseen)
        log_fault("fetch.fault", error, fetch=job.fetch_id)
        outcome.note(error)


def _retrieve(
    services: Services,
    job: _Job,
    expected: ExpectedStudy,
    place: RegisteredPlace,
    source: ImagingSource,
    outcome: Outcome,
) -> None:
    uid = expected.study_instance_uid
    stored = _stored(services, job, uid)
    settled = {m.sop_instance_uid for m in job.settled}
    missing = [address for uid, address in outcome.wanted.items() if uid not in stored | settled]
    if missing:
        here = len(stored.intersection(outcome.wanted))
        source.retrieve(uid, missing, _Receiving(services, job, uid, place, source, outcome, here))


def _stored(services: Services, job: _Job, study_instance_uid: str) -> set[str]:
    with services.database.reading() as session:
        return fetches.stored_uids(session, job.partner.id, study_instance_uid)


def _is_meant(expected: ExpectedStudy, address: InstanceAddress) -> bool:
    """A record that lists fewer series than it counts lists examples; else it lists those that it means."""
    series = {one.series_instance_uid for one in expected.series}
    if not series or len(series) < (expected.series_count or 0):
        return True
    return address.series_instance_uid in series


class _Receiving:
    """Brings what a source gives through the one door."""

    def __init__(
        self,
        services: Services,
        job: _Job,
        study_instance_uid: str,
        place: RegisteredPlace,
        source: ImagingSource,
        outcome: Outcome,
        here: int,
    ) -> None:
        self._place, self._may_ask, self._looked_at = place, True, -math.inf
        self._services, self._job, self._outcome, self._here = services, job, outcome, here
        self._study_instance_uid = study_instance_uid
        self._origin = Origin(source.channel, source.address)
        self._told_at = -math.inf

    def goes_on(self) -> bool:
        return self._is_permitted() and not durable.is_stopping()

    def _is_permitted(self) -> bool:
        """The operator may disable the partner or take the place away meanwhile; the outcome then tells it."""
        if self._may_ask and time.monotonic() - self._looked_at > LOOK_SECONDS:
            refused = _refused(self._services, self._job.partner, self._place)
            if refused is not None:
                self._outcome.trouble.add(refused)
            self._may_ask, self._looked_at = refused is None, time.monotonic()
        return self._may_ask

    def open_spool(self) -> Spool:
        return self._services.objects.spool(self._services.config.max_stow_bytes)

    def take(self, address: InstanceAddress, spool: Spool) -> bool:
        if not self._is_permitted():
            return False
        partner, uid = self._job.partner.partner, address.sop_instance_uid
        try:
            receive_instance(self._services, partner, spool, self._origin, self._study_instance_uid, uid)
        except (NotDicom, StudyMismatch, InstanceMismatch) as error:
            self._outcome.note(error, address)
            return False
        self._outcome.problems.pop(uid, None)
        self._here += 1
        self._tell()
        return True

    def look_again(self) -> None:
        stored = _stored(self._services, self._job, self._study_instance_uid)
        self._here = len(stored.intersection(self._outcome.wanted))
        self._tell()

    def refuse(self, address: InstanceAddress, error: GatewayError) -> None:
        self._outcome.note(error, address)

    def _tell(self) -> None:
        """How far it is, for whoever looks; not for every instance."""
        if time.monotonic() - self._told_at < PROGRESS_SECONDS:
            return
        self._told_at = time.monotonic()
        with self._services.database.transaction() as session:
            row = fetches.row(session, self._job.fetch_id, lock=True)
            if row.round == self._job.round:
                row.here, row.updated_at = self._here, utc_now()
                row.expected = max(len(self._outcome.wanted), row.expected or 0)


def _record(services: Services, job: _Job, outcome: Outcome, last: bool) -> bool | None:
    """Whether the round is over; None when more is wanted since, and is to be fetched at once."""
    with services.database.transaction() as session:
        for case_id in fetches.wanted(session, job.fetch_id, OPEN)[0]:
            cases.row(session, SYSTEM_ACTOR, case_id, lock=True)  # as everywhere: the case first
        row = fetches.row(session, job.fetch_id, lock=True)
        if row.round != job.round or row.state != FetchState.PENDING:
            return True
        case_ids, expected = fetches.wanted(session, job.fetch_id, OPEN)
        if durable.is_stopping():
            begin_round(services, session, row)
            return True
        if expected != job.expected:
            return None
        row.tries += 1
        stored = fetches.stored_uids(session, row.partner_id, row.study_instance_uid)
        found = _progress(job, outcome, stored)
        if found.is_complete:
            complete(services, session, row, found, case_ids)
            return True
        return _note_what_is_missing(services, session, row, found, outcome, stored, case_ids, last)


def _progress(job: _Job, outcome: Outcome, stored: set[str]) -> Progress:
    """Where the records list nothing, the archive's list counts, and at least as many as the records count."""
    if job.expected is None:
        return Progress(None, len(stored))
    here = len(stored.intersection(outcome.wanted)) if outcome.wanted else len(stored)
    least = 0 if listed(job.expected) else counted(job.expected) or 0
    return Progress(max(len(outcome.wanted), least) or None, here)


def _note_what_is_missing(
    services: Services,
    session: Session,
    row: FetchRow,
    found: Progress,
    outcome: Outcome,
    stored: set[str],
    case_ids: list[str],
    last: bool,
) -> bool:
    missing = outcome.missing(stored)
    problems = {m.problem for m in missing} | outcome.trouble or {Problem.NOT_THERE}
    is_over = last or not _may_pass(problems, row.tries)
    problem = foremost(problems) or Problem.NOT_THERE
    row.expected, row.here, row.updated_at = found.expected, found.here, utc_now()
    row.missing = [asdict(m) for m in missing[:MAX_MISSING_TOLD]]
    row.problem, row.reason = problem, outcome.reasons.get(problem) or PROBLEM_WORDS[problem]
    row.state = FetchState.FAILED if is_over else FetchState.PENDING
    pause = timedelta(seconds=RETRY_SECONDS[min(row.tries, len(RETRY_SECONDS)) - 1])
    row.next_try_at = None if is_over else row.updated_at + pause
    action = FETCH_FAILED if is_over else FETCH_DELAYED
    tell_cases(services, session, row, case_ids, action, problem=problem, tries=row.tries)
    return is_over


def _may_pass(problems: set[Problem], tries: int) -> bool:
    absent = Problem.NOT_THERE in problems and tries < TRIES_FOR_ABSENT
    return absent or bool(problems & PASSING)
