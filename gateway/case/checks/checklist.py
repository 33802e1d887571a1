"""What the programme's checklists demand for the question, and what was sent does not bring."""

from collections.abc import Iterator, Sequence

from gateway.case.checklist import Checklist, ItemState, Need, key_of, lines
from gateway.case.model import Case, Finding, Severity

_SETTLED = (ItemState.PRESENT, ItemState.KNOWN_ABSENT)


def checklist_item(case: Case, checklists: Sequence[Checklist] = ()) -> Iterator[Finding]:
    """A document, result or study that the checklists demand for such a question, and that is not there.

    How: the lists of [checklists.md](checklists.md) apply by the specialty that is asked for, the ICD-10 codes of the
    reasons, and words of the question. An item is recognised by its code, by words in the title or concept of what was
    sent, or by the modality of a received study. It is settled too when the record says that there is none: an IPS
    section with nilknown, an absence code, not-done or not-performed.
    Threshold: each item has its own number of days before the day on which the case was opened, or none; an item
    without a date is not taken for a recent one, and of a partial date its last day counts.
    Limits: texts are not read, only titles and codes, so a letter with a poor title is asked for, and a finding may be
    waived. The question's words are not understood: "no MRI was done" names an MRI. Words are of some languages only.
    """
    for line in lines(case, checklists):
        if line.state not in _SETTLED:
            yield Finding(
                key_of(line.item_id),
                "checklist-item",
                Severity.LIMITS if line.need is Need.REQUIRED else Severity.NOTE,
                line.name,
                line.note,
                (("checklist", line.checklist),),
                line.ask,
            )
