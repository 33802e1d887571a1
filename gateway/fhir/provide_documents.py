"""IHE MHD 4.2 Provide Document Bundle [ITI-65] (ITI TF-2: 3.65), as its Document Recipient: what is wrong with one.

What would lose a document, mix it up or give it to another child refuses the transaction. Metadata that its level
(XDR MS or XDS DS, ITI TF-3: Table 4.3.1-3) asks for and that is missing is told in the entry's outcome, for a
recipient may be robust there (2:3.65.4.1.3).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from gateway.errors import Issue
from gateway.workflow.submission import Entry
from mappings.attachments import open_attachment
from mappings.fhir_elements import Resource, has_code, objects, reference, text, texts

_IHE = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/"
_SUBMISSION_SET, _FOLDER = "submissionset", "folder"


class Level(StrEnum):
    """How much metadata Bundle.meta.profile promises (2:3.65.4.1.2.1)."""

    MINIMAL = "IHE.MHD.Minimal.ProvideBundle"
    UNCONTAINED = "IHE.MHD.UnContained.Comprehensive.ProvideBundle"
    COMPREHENSIVE = "IHE.MHD.Comprehensive.ProvideBundle"


def level_of(bundle: Resource, entries: Iterable[Entry]) -> Level | None:
    """The level by meta.profile; minimal for a transaction with a SubmissionSet that names none; None: no ITI-65."""
    meta = bundle.get("meta")
    named = texts(meta.get("profile")) if isinstance(meta, dict) else []
    found = [level for level in Level if any(p.split("|")[0] == f"{_IHE}{level}" for p in named)]
    if found:
        return found[-1]
    is_submission = bundle.get("type") == "transaction" and _lists(entries, _SUBMISSION_SET)
    return Level.MINIMAL if is_submission else None


def bundle_faults(bundle_type: str, entries: tuple[Entry, ...]) -> list[Issue]:
    """How many of each kind, and whether all are about one child."""
    submissions, documents = _lists(entries, _SUBMISSION_SET), _of(entries, "DocumentReference")
    found = []
    if bundle_type != "transaction":
        words = f"A Provide Document Bundle (ITI-65) is a transaction, and this is a {bundle_type}."
        found.append(Issue("error", "business-rule", words, "Bundle.type"))
    if len(submissions) != 1:
        words = f"One SubmissionSet (List with the code submissionset) was expected, and {len(submissions)} stand here."
        found.append(Issue("error", "business-rule", words, "Bundle.entry"))
    if not documents:
        words = "At least one DocumentReference was expected, and none stands here."
        found.append(Issue("error", "business-rule", words, "Bundle.entry"))
    if len(patients := _of(entries, "Patient")) > 1:
        words = f"One Patient at most was expected, and {len(patients)} stand here."
        found.append(Issue("error", "business-rule", words, "Bundle.entry"))
    return found + _of_another_subject(submissions, documents, entries)


def tell_their_patient(entries: tuple[Entry, ...]) -> bool:
    """Whether each new document tells in itself who its patient is: a contained sourcePatientInfo."""
    documents = [e for e in _of(entries, "DocumentReference") if e.method == "POST"]
    return bool(documents) and all(_is_told(e.resource or {}) for e in documents)


def with_faults(level: Level, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries with what is wrong with each as a document, its bytes, its list."""
    held = {e.full_url: e for e in entries if e.full_url} | {_own_name(e): e for e in entries if _own_name(e)}
    listed = {
        reference(item.get("item"))
        for e in _lists(entries, _SUBMISSION_SET)
        for item in objects((e.resource or {}).get("entry"))
    }
    return tuple(
        replace(entry, issues=(*entry.issues, *_entry_faults(level, entry, held, listed)))
        for entry in entries
    )


def _entry_faults(level: Level, entry: Entry, held: dict[str, Entry], listed: set[str]) -> Iterator[Issue]:
    if entry.resource is None:
        return
    if entry.type == "DocumentReference":
        yield from _metadata_faults(_DOCUMENT, level, entry)
        if text(entry.resource.get("status")) != "superseded":
            yield from _content_faults(entry, held)
            if not {entry.full_url, _own_name(entry)} & listed:
                told = "The SubmissionSet does not list this document."
                yield Issue("warning", "business-rule", told, f"{entry.path}.resource")
    elif entry.type == "List":
        is_folder = has_code(entry.resource.get("code"), _FOLDER)
        yield from _metadata_faults(_FOLDER_LIST if is_folder else _SUBMISSION_LIST, level, entry)
        if any(reference(one) for one in _recipients(entry.resource)):
            told = "UnknownRecipient: nobody is notified by intendedRecipient; the programme's intake sees the case."
            yield Issue("information", "not-supported", told, f"{entry.path}.resource.extension")


def _content_faults(entry: Entry, held: dict[str, Entry]) -> Iterator[Issue]:
    """One attachment with an address; its bytes are in the bundle and are what hash and size say."""
    path = f"{entry.path}.resource"
    contents = objects((entry.resource or {}).get("content"))
    if len(contents) != 1:
        told = f"One content was expected in a DocumentReference of MHD, and {len(contents)} stand here."
        yield Issue("error", "business-rule", told, f"{path}.content")
    for index, content in enumerate(contents):
        where = f"{path}.content[{index}].attachment"
        attachment = content.get("attachment")
        yield from _attachment_faults(attachment if isinstance(attachment, dict) else {}, held, where)


def _attachment_faults(attachment: Resource, held: dict[str, Entry], where: str) -> Iterator[Issue]:
    url = text(attachment.get("url"))
    document = held.get(url)
    if not url:
        told = "The document's address is missing: attachment.url names the Binary of this bundle."
        yield Issue("error", "required", told, f"{where}.url")
    elif document is None and url.startswith(("http://", "https://")):
        told = "The document is elsewhere, and the gateway does not fetch it: send it as a Binary."
        yield Issue("information", "not-supported", told, f"{where}.url")
    elif document is None or document.type not in ("Binary", "Bundle"):
        told = "The address names no Binary and no document Bundle of this bundle."
        yield Issue("error", "not-found", told, f"{where}.url")
    elif document.type == "Bundle":
        yield from _fhir_document_faults(attachment, document, where)
    else:
        plain = {k: v for k, v in attachment.items() if k != "data"}
        if problem := open_attachment(plain, {url: document.resource or {}}).problem:
            yield Issue("error", "value", problem, where)
        missing = [name for name in ("hash", "size") if name not in attachment]
        if missing:
            told = f"Without {' and '.join(missing)} nobody can tell whether the bytes are whole."
            yield Issue("warning", "business-rule", told, where)


def _fhir_document_faults(attachment: Resource, document: Entry, where: str) -> Iterator[Issue]:
    """The FHIR Document Publish option: hash and size measure nothing that is sent, and are absent."""
    if (document.resource or {}).get("type") != "document":
        told = "A Bundle that is a document is of the type document."
        yield Issue("error", "value", told, f"{document.path}.resource.type")
    if present := [name for name in ("hash", "size") if name in attachment]:
        told = f"Of a FHIR document in the bundle {' and '.join(present)} cannot be compared, and shall be absent."
        yield Issue("warning", "business-rule", told, where)


@dataclass(frozen=True, slots=True)
class _Metadata:
    """Paths that a resource must have: always, from UNCONTAINED up, and what COMPREHENSIVE wants contained."""

    minimal: tuple[str, ...]
    comprehensive: tuple[str, ...] = ()
    contained: tuple[str, ...] = ()


_DOCUMENT = _Metadata(
    ("masterIdentifier", "content.attachment.contentType"),
    (
        *("type", "category", "subject", "securityLabel", "content.attachment.language"),
        *("content.attachment.creation", "content.format", "context.facilityType", "context.practiceSetting"),
        "context.sourcePatientInfo",
    ),
    ("author", "authenticator", "context.sourcePatientInfo"),
)
_SUBMISSION_LIST = _Metadata(
    ("identifier", "date", "extension:ihe-sourceId"),
    ("subject", "extension:ihe-designationType"),
    ("source",),
)
_FOLDER_LIST = _Metadata(("identifier",), ("subject", "title", "extension:ihe-designationType"))


def _metadata_faults(wanted: _Metadata, level: Level, entry: Entry) -> Iterator[Issue]:
    resource = entry.resource or {}
    for name in wanted.minimal if level is Level.MINIMAL else (*wanted.minimal, *wanted.comprehensive):
        if not _at(resource, name):
            told = f"'{name}' is missing; {level.removesuffix('.ProvideBundle')} asks for it."
            yield Issue("warning", "required", told, f"{entry.path}.resource.{name.split(':')[0]}")
    for name in wanted.contained if level is Level.COMPREHENSIVE else ():
        if any(named and not named.startswith("#") for named in map(reference, _at(resource, name))):
            told = f"'{name}' is to be contained; {level.removesuffix('.ProvideBundle')} asks for it."
            yield Issue("warning", "business-rule", told, f"{entry.path}.resource.{name}")


def _at(resource: Resource, name: str) -> list[Any]:
    """What stands at a path of elements, or the extension of IHE with that id."""
    if name.startswith("extension:"):
        url = f"{_IHE}{name.removeprefix('extension:')}"
        return [e for e in objects(resource.get("extension")) if e.get("url") == url]
    found: list[Any] = [resource]
    for element in name.split("."):
        values = [item.get(element) for item in found if isinstance(item, dict)]
        found = [one for value in values for one in (value if isinstance(value, list) else [value]) if one]
    return found


def _of_another_subject(
    submissions: list[Entry], documents: list[Entry], entries: tuple[Entry, ...]
) -> list[Issue]:
    """One submission is about one patient (ITI TF-3: 4.2.3.1.5)."""
    named = {name: e.index for e in entries for name in (e.full_url, _own_name(e)) if name}
    first: str | int = ""
    found = []
    for entry in (e for e in [*submissions, *documents, *_lists(entries, _FOLDER)] if e.method == "POST"):
        told = reference((entry.resource or {}).get("subject"))
        subject = named.get(told, told)
        if subject != "" and first == "":
            first = subject
        elif subject not in ("", first):
            words = "The subject differs from the SubmissionSet's: one submission is about one patient."
            found.append(Issue("error", "business-rule", words, f"{entry.path}.resource.subject"))
    return found


def _is_told(document: Resource) -> bool:
    context = document.get("context")
    told = reference(context.get("sourcePatientInfo")) if isinstance(context, dict) else ""
    return any(told == f"#{text(c.get('id'))}" for c in objects(document.get("contained")))


def _recipients(submission: Resource) -> list[Any]:
    return [e.get("valueReference") for e in _at(submission, "extension:ihe-intendedRecipient")]


def _lists(entries: Iterable[Entry], code: str) -> list[Entry]:
    return [e for e in _of(entries, "List") if has_code((e.resource or {}).get("code"), code)]


def _of(entries: Iterable[Entry], type_name: str) -> list[Entry]:
    return [e for e in entries if e.type == type_name]


def _own_name(entry: Entry) -> str:
    own = text((entry.resource or {}).get("id"))
    return f"{entry.type}/{own}" if own else ""
