"""What is there and cannot be read: empty or undecodable attachments, faults in accepted entries."""

from collections.abc import Iterator

from gateway.case.model import Case, Content, Finding, Severity

_WORDS = {
    Content.EMPTY: "The document arrived without content.",
    Content.ELSEWHERE: "The document was only named by an address that the programme cannot open.",
    Content.UNDECODABLE: "The document cannot be opened.",
}


def attachment_unreadable(case: Case) -> Iterator[Finding]:
    """A document whose bytes are absent, elsewhere, or do not open."""
    for document in case.record.documents:
        if document.superseded or document.content is Content.PRESENT:
            continue
        yield Finding(
            f"attachment-unreadable:{document.id}",
            "attachment-unreadable",
            Severity.LIMITS,
            document.title,
            _WORDS[document.content],
            (("cause", document.problem), ("place", document.source.path or "")),
            "Please send the document itself again.",
        )


def record_fault(case: Case) -> Iterator[Finding]:
    """A fault of an entry that was accepted all the same."""
    for fault in case.record.faults:
        yield Finding(
            f"record-fault:{fault.source.receipt_id}:{fault.expression}:{fault.text}",
            "record-fault",
            Severity.NOTE,
            "A faulty entry in the records",
            fault.text,
            (("place", fault.expression),),
            "Please correct the entry and send it again.",
        )
