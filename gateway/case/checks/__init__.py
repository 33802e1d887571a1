"""Checks: one module per kind of risk. A check is a function from a Case to the findings it makes."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from gateway.case.checklist import Checklist
from gateway.case.checks import checklist, identity, incomplete, legibility, missing, programme
from gateway.case.model import Case, Finding, Severity

Check = Callable[[Case], Iterable[Finding]]

CHECKS: dict[str, Check] = {
    "no-question": missing.no_question,
    "request-withdrawn": missing.request_withdrawn,
    "no-patient": missing.no_patient,
    "no-reachable-physician": missing.no_reachable_physician,
    "section-not-told": missing.section_not_told,
    "study-not-received": missing.study_not_received,
    "series-not-received": incomplete.series_not_received,
    "instances-missing": incomplete.instances_missing,
    "instance-damaged": incomplete.instance_damaged,
    "slice-gap": incomplete.slice_gap,
    "attachment-unreadable": legibility.attachment_unreadable,
    "record-fault": legibility.record_fault,
    "identity-differs": identity.identity_differs,
    "identity-absent": identity.identity_absent,
    "study-held": identity.study_held,
    "mixed-patients": identity.mixed_patients,
    "instance-conflict": identity.instance_conflict,
    "child-deceased": programme.child_deceased,
    "checklist-item": checklist.checklist_item,
}


def run(case: Case, checklists: Sequence[Checklist] = ()) -> list[Finding]:
    """All findings of a case. A check that fails is itself a finding, never a stuck case."""
    demanded = {"checklist-item": partial(checklist.checklist_item, checklists=checklists)}
    found: list[Finding] = []
    for name, check in (CHECKS | demanded).items():
        try:
            found += check(case)
        except Exception as error:  # noqa: BLE001 - a rule's own bug must not hide the other rules' findings
            found.append(_failed(name, error))
    return found


def _failed(name: str, error: Exception) -> Finding:
    return Finding(
        key=f"check-failed:{name}",
        check=name,
        severity=Severity.LIMITS,
        subject=f"The check '{name}'",
        text="This could not be checked automatically; a person must look.",
        evidence=(("cause", type(error).__name__),),
    )
