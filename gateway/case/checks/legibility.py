"""What is there and cannot be read: empty or undecodable attachments, faults in accepted entries."""

from collections.abc import Iterator

from gateway.case.model import Case, Content, Finding, Severity

MAX_PLACES = 20
_WORDS = {
    Content.EMPTY: "The document arrived without content.",
    Content.ELSEWHERE: "The document was only named by an address that the programme cannot open.",
    Content.UNDECODABLE: "The document cannot be opened.",
}


def attachment_unreadable(case: Case) -> Iterator[Finding]:
    """A document whose bytes are absent, elsewhere, or do not open.

    How: the bytes must be there, be base64, and have the size and the SHA-1 hash that the record says; then a PDF must
    have a first page and need no password, an image must decode, a DICOM file must be whole, a text must be in its
    character set and not blank.
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

    How: the faults that the sender was told, as long as no later version of the resource has come. The same fault at
    many places of one delivery is one finding.
    Threshold: 20 places are listed, and the number of the others.
    Limits: what validation does not look at, see fhir/fhir.md.
    """
    places: dict[tuple[str, str], list[str]] = {}
    for fault in case.record.faults:
        places.setdefault((fault.source.receipt_id, fault.text), []).append(fault.expression)
    for (receipt_id, text), found in places.items():
        yield Finding(
            f"record-fault:{receipt_id}:{text}",
            "record-fault",
            Severity.NOTE,
            "A faulty entry in the records" if len(found) == 1 else f"{len(found)} faults in the records",
            text,
            tuple(_places(list(dict.fromkeys(found)))),
            "Please correct the entry and send it again.",
        )


def _places(found: list[str]) -> Iterator[tuple[str, str]]:
    """Evidence has one value of each name."""
    for number, place in enumerate(found[:MAX_PLACES], 1):
        yield ("place" if number == 1 else f"place {number}"), place
    if len(found) > MAX_PLACES:
        yield "more places", str(len(found) - MAX_PLACES)
