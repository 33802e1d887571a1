"""What is there and cannot be read: empty or undecodable attachments, faults in accepted entries."""

from collections.abc import Iterator

from gateway.case.model import Case, Content, Finding, Severity

_WORDS = {
    Content.EMPTY: "The document arrived without content.",
    Content.ELSEWHERE: "The document was only named by an address that the programme cannot open.",
    Content.UNDECODABLE: "The document cannot be opened.",
}


def attachment_unreadable(case: Case) -> Iterator[Finding]:
    """A document whose bytes are absent, elsewhere, or do not open.

    How: the bytes must be there, be base64, and have the size and the SHA-1 hash that the record says; then a PDF must
    have a first page and need no password, an image must decode, a text must be in its character set and not blank.
    Threshold: images of more than 40 million pixels are not decoded, JPEG apart; opening may take 10 seconds of
    processor time and 512 MiB of memory.
    Limits: that a document opens says nothing of whether a person can read it. Other types, as word processors'
    documents, are not opened.
    """
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
    """A fault of an entry that was accepted all the same.

    How: the faults that the sender was told, as long as no later version of the resource has come.
    Limits: what validation does not look at, see fhir/fhir.md.
    """
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
