"""What a specialist has read before signing, as one value: whoever signs, signs what was shown."""

import hashlib
from dataclasses import asdict

from gateway.case.model import Case


def fingerprint(case: Case) -> str:
    """SHA-256 over the draft, whose it is, and everything that the signed report will declare."""
    draft = case.draft_opinion
    shown = (
        case.id,
        asdict(case.record),
        (draft.author_id, draft.findings_text, draft.conclusion, draft.recommendations) if draft else None,
        [
            (f.id, f.state, f.finding.text, f.finding.evidence, f.waived_because)
            for f in case.unresolved_findings
        ],
        [(study.study_instance_uid, study.instance_count) for study in case.studies],
        [held.study.study_instance_uid for held in case.held_studies],
    )
    return hashlib.sha256(repr(shown).encode()).hexdigest()
