"""What is not there at all: the question, the child, a physician to answer to, a study that the record names."""

from collections.abc import Iterator

from gateway.case.expected import merged
from gateway.case.fetching import PROBLEM_WORDS, FetchState
from gateway.case.model import (
    Case,
    ExpectedStudy,
    Finding,
    ItemKind,
    Section,
    Severity,
    Study,
    Told,
)

WITHDRAWN = frozenset({"revoked", "entered-in-error", "on-hold", "completed"})
_REACHABLE = frozenset({"phone", "email", "fax", "sms", "url"})


def no_question(case: Case) -> Iterator[Finding]:
    """No request for an opinion was sent, or a request without words.

    How: the question is the ServiceRequest's notes, else its order details, else its reasons.
    Limits: the words are not understood: any text counts as a question.
    """
    if not case.record.questions:
        yield Finding(
            "no-question",
            "no-question",
            Severity.BLOCKS,
            "The question",
            "The records came without a request (ServiceRequest).",
            remedy="Please send the question that the specialist should answer.",
        )
        return
    for question in case.record.questions:
        if not question.text.strip():
            yield Finding(
                f"no-question:{question.source.reference}",
                "no-question",
                Severity.BLOCKS,
                "The question",
                "The request says that a second opinion is wanted, and not what it should answer.",
                remedy="Please add the question as note, reason or order detail.",
            )


def request_withdrawn(case: Case) -> Iterator[Finding]:
    """The hospital has taken its request back.

    How: ServiceRequest.status is revoked, entered-in-error, on-hold or completed.
    Limits: a request that is taken back in words only is not noticed.
    """
    for question in case.record.questions:
        if question.status in WITHDRAWN:
            yield Finding(
                f"request-withdrawn:{question.source.reference}",
                "request-withdrawn",
                Severity.BLOCKS,
                "The request",
                f"The hospital's request has the status '{question.status}'.",
                remedy="Please confirm whether the opinion is still wanted.",
            )


def no_patient(case: Case) -> Iterator[Finding]:
    """The record says nothing of whose it is, or too little to be sure.

    How: the Patient must tell a name, a birth date and a sex.
    Limits: a year alone counts as birth date, and ``unknown`` as sex.
    """
    patient = case.record.patient
    absent = [
        words
        for words, value in (
            ("name", patient and patient.names),
            ("birth date", patient and patient.birth_date),
            ("sex", patient and patient.sex),
        )
        if not value
    ]
    if absent:
        yield Finding(
            "no-patient",
            "no-patient",
            Severity.BLOCKS,
            "The child's identity",
            f"The records do not tell the child's {', '.join(absent)}.",
            remedy="Please send the Patient with name, birth date and sex.",
        )


def no_reachable_physician(case: Case) -> Iterator[Finding]:
    """Nobody to whom the opinion can be sent and who can be asked.

    How: one who asks (ServiceRequest.requester, else the Composition's author, else the general practitioner) must have
    a phone, email, fax, sms or url, of their own or of their PractitionerRole.
    Limits: nothing is dialled or mailed to try it; a fax number or a web address alone is enough.
    """
    physicians = case.record.physicians
    if any(contact.system in _REACHABLE and contact.value for p in physicians for contact in p.contacts):
        return
    named = [p.name or p.organisation for p in physicians if p.name or p.organisation]
    known = f"Named: {', '.join(named)}. " if named else ""
    yield Finding(
        "no-reachable-physician",
        "no-reachable-physician",
        Severity.BLOCKS,
        "The referring physician",
        f"{known}No telephone number or e-mail address of the referring physician was sent.",
        remedy="Please send one: the opinion goes to that physician, who must be reachable.",
    )


def section_not_told(case: Case) -> Iterator[Finding]:
    """A section of a FHIR document that does not say whether there is anything.

    How: a section without entries and words, or with an emptyReason other than nilknown; in an International Patient
    Summary a mandatory section that is not there. A section that says that nothing is known is evidence and no finding,
    and so is one that another document of the record tells.
    Threshold: problems, allergies and medications limit the opinion; other sections are a note.
    Limits: sections are told apart by code, without a code by title. Words are not understood.
    """
    told = {_name(s) for s in case.record.sections if s.told in (Told.ENTRIES, Told.WORDS, Told.NONE_KNOWN)}
    for name, section in {_name(s): s for s in case.record.sections}.items():
        wanted = _MANDATORY.get(name)
        items = (i for i in case.record.items if i.kind is wanted and i.concept != section.reason)
        if name in told or any(items):
            continue
        reason = section.reason.text
        yield Finding(
            f"section-not-told:{name}",
            "section-not-told",
            Severity.LIMITS if wanted else Severity.NOTE,
            section.title,
            f"The records do not say whether there is anything: {reason}."
            if reason
            else "The records say neither what there is nor that there is nothing.",
            (("section", name),),
            "Please send it, or say that nothing is known.",
        )


def _name(section: Section) -> str:
    return section.concept.codings[0][1] if section.concept.codings else section.title


_MANDATORY = {"11450-4": ItemKind.CONDITION, "48765-2": ItemKind.ALLERGY, "10160-0": ItemKind.MEDICATION}
"""LOINC codes of the mandatory sections of an International Patient Summary, and what they are of."""


def study_not_received(case: Case) -> Iterator[Finding]:
    """A study that the record names and of which not one instance has come.

    How: each ImagingStudy of the record is looked for by Study Instance UID, or where it has none by accession number
    and issuer. A study that is held for a person to compare is told by study-held instead.
    Where the records say from where it can be had, the gateway fetches it itself, and the finding says so, or why it
    could not be had.
    Limits: imaging that is mentioned in words only, in a letter or a report, is not looked for.
    """
    for expected in merged(case.record.expected_studies):
        if received(case, expected) is None and not _is_held(case, expected):
            yield Finding(
                f"study-not-received:{expected.study_instance_uid or expected.source.reference}",
                "study-not-received",
                Severity.LIMITS,
                expected.description or "An imaging study",
                f"The records name this imaging study, and no image of it has arrived.{fetching(case, expected)}",
                _evidence(expected),
                "Please send the study.",
            )


def fetching(case: Case, expected: ExpectedStudy) -> str:
    """A sentence on the gateway's own fetching, '' where it fetches nothing: for a report, without technical detail.

    It changes only with the state, so that a waiver and what a signer has read stand while images come in.
    """
    fetch = case.fetch_of(expected.study_instance_uid)
    if fetch is None or fetch.state is FetchState.COMPLETE:
        return ""
    if fetch.state is FetchState.PENDING:
        return " The gateway is fetching it."
    return f" The gateway could not fetch it. {PROBLEM_WORDS[fetch.problem]}" if fetch.problem else ""


def received(case: Case, expected: ExpectedStudy) -> Study | None:
    """The received study that an ImagingStudy of the record means: same UID, or same accession of the same issuer."""
    for study in case.studies:
        if expected.study_instance_uid:
            if study.study_instance_uid == expected.study_instance_uid:
                return study
        elif expected.accession is not None and study.accession == expected.accession:
            return study
    return None


def _is_held(case: Case, expected: ExpectedStudy) -> bool:
    return any(h.study.study_instance_uid == expected.study_instance_uid for h in case.held_studies)


def _evidence(expected: ExpectedStudy) -> tuple[tuple[str, str], ...]:
    facts = [("Study Instance UID", expected.study_instance_uid)]
    if expected.accession is not None:
        facts.append(("accession number", expected.accession.value))
    if expected.instance_count is not None:
        facts.append(("images expected", str(expected.instance_count)))
    return tuple((name, value) for name, value in facts if value)
