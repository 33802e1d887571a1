"""Which case a study belongs to. It joins by itself only on strong evidence without a contradiction (decision 4).

It stays so only as long as that holds for every image of it (ADR 29).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway import audit
from gateway.case.access import SYSTEM_ACTOR
from gateway.case.checks.identity import identity_absent, identity_differs
from gateway.case.model import Demographics, FindingState, Identifier
from gateway.case.patient_match import Match, Verdict, match
from gateway.case.status import OPEN, UNDER_REVIEW
from gateway.clock import utc_now
from gateway.store import cases, findings, partners, studies
from gateway.store.cases import CaseIdentity, KnownCase
from gateway.store.database import Session
from gateway.store.tables import CaseRow, StudyRow
from gateway.workflow.durable import Work

if TYPE_CHECKING:
    from gateway.services import Services

TAKEN_OUT = "it was in the case until images came that may be of somebody else"


def place_study(services: Services, study_id: str) -> None:
    """Find the case of a study and join it when the evidence allows; otherwise it waits, or is held for a person."""
    with services.database.transaction() as session:
        case_id = studies.joined_by_itself(session, study_id)
        case = cases.row(session, SYSTEM_ACTOR, case_id, lock=True) if case_id else None  # before its study
        study = studies.row(session, SYSTEM_ACTOR, study_id, lock=True)
        before = study.case_id
        if not study.decided_by and study.join_state != studies.JOINED:
            _place(session, study)
        elif case is not None and case.id == before and not study.decided_by:
            _hold_if_doubtful(session, case, study)
        for case_id in sorted({found for found in (before, study.case_id) if found is not None}):
            services.jobs.enqueue(session, Work.CHECK_CASE, case_id)


def undecided_for(session: Session, row: CaseRow) -> list[str]:
    """Ids of undecided studies that are held for the case, or may be of its child."""
    identity = cases.identity_of(row)
    return [
        study.id
        for study in studies.undecided(session, row.partner_id)
        if study.case_id == row.id or _match(identity, study).verdict is not Verdict.DIFFERENT
    ]


def _place(session: Session, study: StudyRow) -> None:
    partner = partners.get(session, study.partner_id).partner
    known = [(c, _match(c.identity, study)) for c in cases.known(session, partner, sorted(OPEN))]
    before = (study.case_id, study.join_state)
    same = _closest([(c, m) for c, m in known if m.verdict is Verdict.SAME], study)
    doubtful = [(c, m) for c, m in known if m.verdict in (Verdict.CONTRADICTED, Verdict.POSSIBLE)]
    if len(same) == 1:
        _set_place(study, studies.JOINED, same[0][0].id, same[0][1].reasons)
    elif same:
        _set_place(study, studies.HELD, same[0][0].id, ("more than one open case of this child",))
    elif doubtful:
        doubtful.sort(key=lambda found: found[1].verdict is not Verdict.CONTRADICTED)
        _set_place(study, studies.HELD, doubtful[0][0].id, doubtful[0][1].reasons)
    else:
        _set_place(study, studies.WAITING, None, ("no open case is about this child",))
    if (study.case_id, study.join_state) != before:
        case_id = study.case_id or before[0]
        audit.record(session, SYSTEM_ACTOR, f"study-{study.join_state}", f"study:{study.id}", case_id=case_id)


def _hold_if_doubtful(session: Session, case: CaseRow, study: StudyRow) -> None:
    """What came since the study joined may be another child's: a person decides, unless one has seen just that.

    What a signed opinion rests on stays where it is; the finding that something differs is made after signing then.
    """
    found = _match(cases.identity_of(case), study)
    is_mixed = any(one.verdict is Verdict.SAME for one in _matches(cases.identity_of(case), study))
    if case.status not in UNDER_REVIEW or found.verdict is Verdict.SAME or not is_mixed:
        return
    if _is_waived(session, case, study):
        return
    _set_place(study, studies.HELD, case.id, (TAKEN_OUT, *found.reasons))
    case.updated_at = utc_now()
    audit.record(session, SYSTEM_ACTOR, f"study-{studies.HELD}", f"study:{study.id}", case_id=case.id)


def _is_waived(session: Session, row: CaseRow, study: StudyRow) -> bool:
    """Whether a person decided that review goes on in spite of all that is to be told of whose images these are."""
    states = {findings.key_of(f.finding): f.state for f in findings.of_case(session, row.id)}
    case = cases.to_case(session, row)
    told = [
        states.get(findings.key_of(finding))
        for check in (identity_differs, identity_absent)
        for finding in check(case)
        if ("Study Instance UID", study.study_instance_uid) in finding.evidence
    ]
    return bool(told) and all(state is FindingState.WAIVED for state in told)


def _closest(same: list[tuple[KnownCase, Match]], study: StudyRow) -> list[tuple[KnownCase, Match]]:
    """Of a child's several cases those that name the study; of those the ones whose opinion is still to be written."""
    naming = [(c, m) for c, m in same if _ways_named(c.identity, study)] or same
    return [(c, m) for c, m in naming if c.status in UNDER_REVIEW] or naming


def _set_place(study: StudyRow, state: str, case_id: str | None, reasons: tuple[str, ...]) -> None:
    study.join_state, study.case_id, study.join_reasons = state, case_id, list(reasons)


def _match(case: CaseIdentity, study: StudyRow) -> Match:
    """Every identity inside the study must agree with the case's child; the worst verdict counts.

    Where one may be this child and another is not, a person decides.
    """
    matches = _matches(case, study)
    worst = [Verdict.CONTRADICTED, Verdict.DIFFERENT, Verdict.POSSIBLE, Verdict.SAME]
    found = min(matches, key=lambda m: worst.index(m.verdict))
    if found.verdict is not Verdict.DIFFERENT or all(m.verdict is Verdict.DIFFERENT for m in matches):
        return found
    evidence_for = tuple(dict.fromkeys(reason for m in matches for reason in m.evidence_for))
    verdict = Verdict.CONTRADICTED if found.evidence_against else Verdict.POSSIBLE
    return Match(verdict, evidence_for, found.evidence_against)


def _matches(case: CaseIdentity, study: StudyRow) -> list[Match]:
    known, named = case.patient or Demographics(), _ways_named(case, study)
    return [match(known, patient, named) for patient in studies.patients_of(study)]


def _ways_named(case: CaseIdentity, study: StudyRow) -> list[str]:
    ways = []
    if study.study_instance_uid in case.study_uids:
        ways.append("the referral names this study")
    if (
        study.accession_number
        and Identifier(study.accession_number, study.accession_issuer) in case.accessions
    ):
        ways.append("the referral names this accession number")
    return ways
