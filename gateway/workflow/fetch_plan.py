"""Which studies a case's records ask the gateway to fetch: read again whenever something of the case has changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from gateway import audit
from gateway.case.access import SYSTEM_ACTOR, Origin, Role, User, require_role
from gateway.case.expected import Progress, merged, progress
from gateway.case.fetching import FetchState, is_uid
from gateway.case.model import ExpectedStudy, Source
from gateway.case.status import OPEN
from gateway.clock import utc_now
from gateway.errors import Conflict, NotDicom, NotFound
from gateway.store import cases, fetches
from gateway.workflow.durable import Work
from gateway.workflow.place_study import undecided_for
from mappings.key_object_selection import KEY_OBJECT_SELECTION, studies_in_manifest

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from gateway.services import Services
    from gateway.store.tables import CaseRow, FetchRow, InstanceRow

MAX_MANIFESTS = 200
FETCH_BEGUN, FETCH_COMPLETE, FETCH_AGAIN = "fetch-begun", "fetch-complete", "fetch"

log = structlog.get_logger(__name__)


def plan_fetches(services: Services, case_id: str) -> None:
    """Have fetched what the records place somewhere and what is not here. Done any number of times, it is done once.

    Manifests that came as DICOM instances count once their study is joined to the case.
    """
    with services.database.reading() as session:
        documents = fetches.documents_of_class(session, case_id, KEY_OBJECT_SELECTION, MAX_MANIFESTS)
    manifests = tuple(study for document in documents for study in _named_by(services, document))
    with services.database.transaction() as session:
        row = cases.row(session, SYSTEM_ACTOR, case_id, lock=True)
        if row.status not in OPEN:
            return
        expected = merged(_keep_manifests(services, session, row, manifests))
        wished = [_wish(services, session, row, study) for study in expected if _can_be_asked_for(study)]
        fetches.forget_other_wishes(session, case_id, [fetch.id for fetch in wished])


def _named_by(services: Services, document: InstanceRow) -> tuple[ExpectedStudy, ...]:
    source = Source(document.receipt_id, document.sha256, sop_instance_uid=document.sop_instance_uid)
    try:
        with services.objects.open(document.object_key) as file:
            return studies_in_manifest(file, source)
    except (NotDicom, NotFound) as error:
        log.warning("manifest-not-read", instance=document.id, cause=type(error).__name__)
        return ()


def _keep_manifests(
    services: Services, session: Session, row: CaseRow, manifests: tuple[ExpectedStudy, ...]
) -> tuple[ExpectedStudy, ...]:
    """The record names what they name too; imaging that waits is compared anew with what it now names."""
    record = cases.load_record(row.record)
    of_fhir = tuple(e for e in record.expected_studies if e.source.sop_instance_uid is None)
    named = of_fhir + manifests
    if named != record.expected_studies:
        cases.set_record(row, replace(record, expected_studies=named))
        row.updated_at = utc_now()
        for study_id in undecided_for(session, row):
            services.jobs.enqueue(session, Work.PLACE_STUDY, study_id)
    return named


def _can_be_asked_for(study: ExpectedStudy) -> bool:
    return bool(study.places) and is_uid(study.study_instance_uid)


def _wish(services: Services, session: Session, row: CaseRow, study: ExpectedStudy) -> FetchRow:
    """Begin a round for what is new; what is queued or under way reads what is wanted again before it ends."""
    now = utc_now()
    fetch, is_news = fetches.wish(session, row, study, now)
    stored = fetches.stored_uids(session, row.partner_id, study.study_instance_uid)
    _, wanted = fetches.wanted(session, fetch.id, OPEN)
    found = progress(wanted or study, stored)
    is_waiting = fetch.state != FetchState.PENDING or fetch.next_try_at is not None or fetch.round == 0
    if found.is_complete and fetch.state != FetchState.COMPLETE:
        complete(services, session, fetch, found, [row.id])
    elif is_news and is_waiting and not found.is_complete:
        fetch.expected, fetch.here = found.expected, found.here
        begin_round(services, session, fetch)
        tell_cases(services, session, fetch, [row.id], FETCH_BEGUN)
    return fetch


def complete(
    services: Services, session: Session, fetch: FetchRow, found: Progress, case_ids: list[str]
) -> None:
    """All is here, whoever brought it; a round that runs or waits is over."""
    fetch.state, fetch.expected, fetch.here = FetchState.COMPLETE, found.expected, found.here
    fetch.problem, fetch.reason, fetch.missing, fetch.next_try_at = "", "", [], None
    fetch.round, fetch.updated_at = fetch.round + 1, utc_now()
    tell_cases(services, session, fetch, case_ids, FETCH_COMPLETE, here=found.here)


def tell_cases(
    services: Services, session: Session, fetch: FetchRow, case_ids: list[str], action: str, **detail: Any
) -> None:
    """On the trail of each case; what its checks say of the study is looked at again."""
    for case_id in case_ids:
        cases.row(session, SYSTEM_ACTOR, case_id).updated_at = utc_now()
        services.jobs.enqueue(session, Work.CHECK_CASE, case_id)
        audit.record(session, SYSTEM_ACTOR, action, f"fetch:{fetch.id}", case_id=case_id, **detail)


def begin_round(services: Services, session: Session, fetch: FetchRow) -> None:
    """Try at once, and as often as at first."""
    fetch.state, fetch.round, fetch.tries = FetchState.PENDING, fetch.round + 1, 0
    fetch.problem, fetch.reason, fetch.missing, fetch.next_try_at = "", "", [], None
    fetch.updated_at = utc_now()
    services.jobs.enqueue(session, Work.FETCH_STUDY, f"{fetch.id}/{fetch.round}")


def fetch_again(services: Services, user: User, case_id: str, fetch_id: str, origin: Origin) -> None:
    """A person has it tried now: what has failed, or what would be tried later.

    Raises NotFound for what is fetched for another case, Conflict for what is complete or under way.
    """
    with services.database.transaction() as session:
        require_role(user, Role.INTAKE)
        case = cases.row(session, user, case_id, lock=True)
        if case.status not in OPEN:
            raise Conflict("The case is over; nothing is fetched for it.")
        if not fetches.is_of_case(session, fetch_id, case.id):
            raise NotFound("Nothing of that name is fetched for this case.")
        fetch = fetches.row(session, fetch_id, lock=True)
        if fetch.state == FetchState.COMPLETE:
            raise Conflict("All of this study is here already.")
        if fetch.state == FetchState.PENDING and fetch.next_try_at is None:
            raise Conflict("This study is being fetched now.")
        begin_round(services, session, fetch)
        case.updated_at = utc_now()
        services.jobs.enqueue(session, Work.CHECK_CASE, case.id)
        audit.record(session, user, FETCH_AGAIN, f"fetch:{fetch.id}", case_id=case.id, origin=origin)
