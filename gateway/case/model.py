"""One second-opinion case in plain values: what was received, what it says, where each fact stands.

Dates are FHIR date strings, possibly partial (``2019``, ``2019-05``, ``2019-05-03``): a missing
day is never invented. Instants are aware UTC datetimes.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gateway.case.fetching import Fetch


@dataclass(frozen=True, slots=True)
class Source:
    """The exact place a fact was read from.

    ``receipt_id`` and ``sha256`` name the stored bytes. ``path`` is the FHIRPath inside a bundle
    (``Bundle.entry[3].resource``); for imaging it is None and ``sop_instance_uid`` is set.
    """

    receipt_id: str
    sha256: str
    path: str | None = None
    sop_instance_uid: str | None = None
    reference: str | None = None  # the gateway's own FHIR reference, e.g. Patient/abc


@dataclass(frozen=True, slots=True)
class Coded:
    """A concept: words, and every code that was sent for it."""

    text: str
    codings: tuple[tuple[str, str], ...] = ()  # (system, code)


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier and who issued it. Only equal within one issuer."""

    value: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Name:
    """One form of a person's name. ``script`` is alphabetic, ideographic or phonetic (PS3.5 6.2.1.1)."""

    text: str
    family: str = ""
    given: tuple[str, ...] = ()
    use: str = ""
    script: str = "alphabetic"


@dataclass(frozen=True, slots=True)
class Contact:
    """A way to reach someone: FHIR ContactPoint system (phone, email, ...) and value."""

    system: str
    value: str


@dataclass(frozen=True, slots=True)
class Person:
    """A guardian or a referring physician, and how to reach them."""

    name: str
    role: str = ""
    organisation: str = ""
    contacts: tuple[Contact, ...] = ()
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Demographics:
    """Who a record says the child is. ``sex`` is a FHIR AdministrativeGender code or empty.

    ``deceased`` is the date as sent, ``yes`` where none was, or empty: alive, or nothing said.
    """

    names: tuple[Name, ...] = ()
    birth_date: str = ""
    sex: str = ""
    identifiers: tuple[Identifier, ...] = ()
    language: str = ""
    address: str = ""
    deceased: str = ""
    source: Source | None = None

    @property
    def display_name(self) -> str:
        return self.names[0].text if self.names else ""


class ItemKind(StrEnum):
    CONDITION = "condition"
    MEDICATION = "medication"
    ALLERGY = "allergy"
    RESULT = "result"
    REPORT = "report"
    PROCEDURE = "procedure"
    IMMUNIZATION = "immunization"


@dataclass(frozen=True, slots=True)
class ClinicalItem:
    """One clinical statement. ``value`` is display text with its unit, ``date`` as it was sent.

    ``absent`` is why an Observation has no value (dataAbsentReason), empty where it has one or gives no reason.
    """

    kind: ItemKind
    concept: Coded
    status: str
    value: str
    date: str
    source: Source
    absent: Coded = Coded("")


class Content(StrEnum):
    """What stands behind an attachment."""

    PRESENT = "present"
    EMPTY = "empty"
    ELSEWHERE = "elsewhere"  # only a URL that the gateway does not hold
    UNDECODABLE = "undecodable"


@dataclass(frozen=True, slots=True)
class Relation:
    """How a document stands to another one.

    ``code`` is of FHIR R4 document-relationship-type: replaces, transforms (a translation or another form of it),
    appends, signs. ``target`` is the other one's DocumentReference (``Type/id``, or as it was sent).
    """

    code: str
    target: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document of the record. ``content`` says if it can be opened, ``problem`` why not.

    ``id`` is the FHIR id of its resource and the attachment's index: ``abc-0``.
    """

    id: str
    title: str
    concept: Coded
    content_type: str
    language: str
    date: str
    size_bytes: int
    content: Content
    problem: str
    source: Source
    sha256: str = ""  # of the decoded bytes, empty where there are none
    superseded: bool = False
    relations: tuple[Relation, ...] = ()


class Told(StrEnum):
    """Whether a section of a FHIR document says something."""

    ENTRIES = "entries"
    WORDS = "words"  # a narrative, and no entries
    NONE_KNOWN = "none known"  # its author knows that there is nothing: evidence
    UNKNOWN = "unknown"  # said to be empty, for another reason: withheld, unavailable, not asked
    NOTHING = "nothing"  # neither words nor a reason, or not there although it must be


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a FHIR document. ``reason`` is why it is empty: emptyReason, or the entry that says so."""

    title: str
    concept: Coded
    told: Told
    reason: Coded
    source: Source


@dataclass(frozen=True, slots=True)
class ImagingPlace:
    """Where a record says that imaging can be had: a DICOMweb address, an application entity, a location (0040,E011).

    It is the sender's word, and nothing is asked there unless the operator has registered the place. ``other`` is the
    FHIR connection type of a place that the gateway cannot ask.
    """

    url: str = ""
    ae_title: str = ""
    location_uid: str = ""
    other: str = ""


@dataclass(frozen=True, slots=True)
class ExpectedSeries:
    """A series that a record says exists. ``instances`` is None where no count was given.

    ``sop_instance_uids`` are those that the record lists, which may be a few of them only.
    """

    series_instance_uid: str
    modality: str = ""
    instances: int | None = None
    sop_instance_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExpectedStudy:
    """A study that an ImagingStudy or a manifest says exists; counts are None where not given.

    ``places`` are where it, or a series of it, can be had.
    """

    study_instance_uid: str
    accession: Identifier | None
    description: str
    series_count: int | None
    instance_count: int | None
    series: tuple[ExpectedSeries, ...]
    source: Source
    places: tuple[ImagingPlace, ...] = ()


@dataclass(frozen=True, slots=True)
class Instance:
    """A received SOP instance. ``position`` is the distance in mm along the slice normal, or None.

    ``fault`` says in words where its file is damaged, '' where it is not.
    """

    sop_instance_uid: str
    sop_class_uid: str
    number: int | None
    position: float | None
    frames: int
    sha256: str
    conflict: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    series_instance_uid: str
    number: int | None
    modality: str
    description: str
    body_part: str
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """A received study. ``patient`` is what its DICOM headers say, never what the referral says."""

    id: str
    study_instance_uid: str
    accession: Identifier | None
    description: str
    started: str  # DICOM DA and TM without offset: local time, as sent
    patient: Demographics
    other_patients: tuple[Demographics, ...]  # further, differing identities inside the same study
    series: tuple[Series, ...]

    @property
    def instance_count(self) -> int:
        return sum(len(series.instances) for series in self.series)

    @property
    def title(self) -> str:
        """What people call it: its description, else its modalities and date."""
        when = self.started or "unknown date"
        return self.description or f"{'/'.join(self.modalities) or 'Imaging'} study of {when}"

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(series.modality for series in self.series if series.modality))


@dataclass(frozen=True, slots=True)
class HeldStudy:
    """A study that may belong here but contradicts the child's identity; a person decides."""

    study: Study
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What the hospital or family wants to know; ``source`` is the ServiceRequest."""

    text: str
    specialties: tuple[Coded, ...]
    reasons: tuple[Coded, ...]
    priority: str
    source: Source
    status: str = "active"  # ServiceRequest.status


@dataclass(frozen=True, slots=True)
class CoverNote:
    """What a hospital wrote with documents that it provided: no request, and yet words for people."""

    title: str
    note: str
    date: str
    source: Source


@dataclass(frozen=True, slots=True)
class Record:
    """The FHIR side of a case, read from the bundles that belong to it."""

    patient: Demographics | None = None
    other_patients: tuple[Demographics, ...] = ()  # more than one child in the bundles
    excluded: tuple[Source, ...] = ()  # entries about another patient: kept, and not part of this record
    guardians: tuple[Person, ...] = ()
    physicians: tuple[Person, ...] = ()
    organisation: str = ""
    questions: tuple[Question, ...] = ()
    cover_notes: tuple[CoverNote, ...] = ()
    items: tuple[ClinicalItem, ...] = ()
    documents: tuple[Document, ...] = ()
    sections: tuple[Section, ...] = ()
    expected_studies: tuple[ExpectedStudy, ...] = ()
    faults: tuple["Fault", ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in an accepted entry: the validator's words and the place."""

    text: str
    expression: str
    source: Source


class Severity(StrEnum):
    """BLOCKS review until resolved or waived; LIMITS the opinion and is declared; NOTE informs."""

    BLOCKS = "blocks"
    LIMITS = "limits"
    NOTE = "note"


class FindingState(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"
    WAIVED = "waived"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something missing, incomplete or doubtful.

    ``key`` is stable: the same defect found again has the same key. ``subject`` names the item in
    human words, ``text`` says what is wrong, ``remedy`` what the hospital can do about it (not printed in a
    report), ``evidence`` the measured facts.
    """

    key: str
    check: str
    severity: Severity
    subject: str
    text: str
    evidence: tuple[tuple[str, str], ...] = ()
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class CaseFinding:
    """A finding in a case's life."""

    id: str
    finding: Finding
    state: FindingState
    opened_at: datetime
    closed_at: datetime | None = None
    waived_by: str = ""
    waived_because: str = ""


@dataclass(frozen=True, slots=True)
class Opinion:
    """A specialist's opinion. Once ``signed_at`` is set nothing of it changes (decision 7)."""

    id: str
    author_id: str
    author_name: str
    findings_text: str
    conclusion: str
    recommendations: str
    drafted_at: datetime
    signed_at: datetime | None = None
    report_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Enquiry:
    """A question of ours to the referring hospital about what is missing."""

    id: str
    text: str
    finding_ids: tuple[str, ...]
    asked_by: str
    asked_at: datetime
    answered_at: datetime | None = None


class DeliveryState(StrEnum):
    AVAILABLE = "available"  # to be fetched by the hospital
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One way that the report goes back. ``receipt`` is what the receiver answered."""

    id: str
    opinion_id: str
    channel: str
    address: str
    state: DeliveryState
    attempts: int
    last_error: str
    receipt: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Case:
    """The one true case: everything known, and everything known to be missing."""

    id: str
    partner_id: str
    partner_name: str
    status: str
    opened_at: datetime
    updated_at: datetime
    record: Record
    service_request: str = ""  # the gateway's FHIR reference, or empty
    assignee_id: str = ""
    assignee_name: str = ""
    declined_because: str = ""
    studies: tuple[Study, ...] = ()
    held_studies: tuple[HeldStudy, ...] = ()
    findings: tuple[CaseFinding, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    enquiries: tuple[Enquiry, ...] = ()
    deliveries: tuple[Delivery, ...] = field(default=())
    fetches: tuple[Fetch, ...] = ()

    def fetch_of(self, study_instance_uid: str) -> Fetch | None:
        """How the gateway's own fetching of the study stands; None where it fetches nothing of it."""
        return next((f for f in self.fetches if f.study_instance_uid == study_instance_uid), None)

    @property
    def open_findings(self) -> tuple[CaseFinding, ...]:
        return tuple(f for f in self.findings if f.state is FindingState.OPEN)

    @property
    def unresolved_findings(self) -> tuple[CaseFinding, ...]:
        """Open or waived: what a signed report must declare."""
        return tuple(f for f in self.findings if f.state is not FindingState.RESOLVED)

    @property
    def blocking_findings(self) -> tuple[CaseFinding, ...]:
        return tuple(f for f in self.open_findings if f.finding.severity is Severity.BLOCKS)

    @property
    def found_after_signing(self) -> tuple[CaseFinding, ...]:
        """Open findings that the signed report cannot tell of: they opened later."""
        signed = self.signed_opinion
        signed_at = signed.signed_at if signed else None
        return tuple(f for f in self.open_findings if signed_at is not None and f.opened_at > signed_at)

    @property
    def signed_opinion(self) -> Opinion | None:
        signed = [o for o in self.opinions if o.signed_at is not None]
        return signed[-1] if signed else None

    @property
    def draft_opinion(self) -> Opinion | None:
        """The draft of the specialist whom the case is assigned to: the one that can be signed."""
        drafts = (o for o in self.opinions if o.signed_at is None and o.author_id == self.assignee_id)
        return next(drafts, None)

    @property
    def earlier_drafts(self) -> tuple[Opinion, ...]:
        """Drafts of specialists whom the case was assigned to before; nobody signs them."""
        return tuple(o for o in self.opinions if o.signed_at is None and o.author_id != self.assignee_id)

    @property
    def failed_deliveries(self) -> tuple[Delivery, ...]:
        """Given up: nothing is sent again until a person has it tried."""
        return tuple(d for d in self.deliveries if d.state is DeliveryState.FAILED)

    @property
    def open_enquiries(self) -> tuple[Enquiry, ...]:
        return tuple(e for e in self.enquiries if e.answered_at is None)
