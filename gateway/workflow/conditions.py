"""Conditional creates of a bundle (ifNoneExist): what is here already answers them (FHIR R4 3.1.0.8.1)."""

from dataclasses import replace

from gateway.case.access import Partner
from gateway.errors import Issue, SeveralMatches
from gateway.store.database import Session
from gateway.workflow.by_identifier import by_identifier
from gateway.workflow.references import conditional_identity, entries_by_name
from gateway.workflow.submission import Entry, Submission
from gateway.workflow.whose import is_another_child

_SEVERAL = "The condition finds several resources that you sent: it must name one."


def answered(session: Session, partner: Partner, submission: Submission) -> Submission:
    """The submission with the one resource that each condition finds.

    The number of another child, and what is about another child, is no match. Raises SeveralMatches where a
    transaction's condition finds several; of a batch that entry alone is refused.
    """
    asked = {
        e.index: conditional_identity(e.if_none_exist, e.type) for e in submission.kept if e.if_none_exist
    }
    wanted = {index: criteria for index, criteria in asked.items() if criteria is not None}
    if not wanted:
        return submission
    found = by_identifier(session, partner, wanted.values())
    own = entries_by_name(submission.kept)
    entries: list[Entry] = []
    for entry in submission.entries:
        here = found[wanted[entry.index]] if entry.index in wanted else []
        same = [
            r for r in here if not is_another_child(session, partner, r.content, entry.resource or {}, own)
        ]
        if len(same) == 1:
            entry = replace(entry, existing=same[0].reference)
        elif same:
            issue = Issue(
                "error", "multiple-matches", _SEVERAL, f"{entry.path}.request.ifNoneExist", entry.full_url
            )
            entry = replace(entry, issues=(*entry.issues, issue), refused=True)
        entries.append(entry)
    told = tuple(i for e in entries for i in e.issues if i.code == "multiple-matches" and i.text == _SEVERAL)
    if told and submission.bundle_type == "transaction":
        raise SeveralMatches(_SEVERAL, told)
    return replace(submission, entries=tuple(entries))
