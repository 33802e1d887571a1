"""The rows. Constraints carry the invariants: what must never be twice, or without its parent.

Times are aware UTC. Identifiers are the gateway's own unless a docstring says otherwise.
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from gateway.clock import UTC


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime on databases that keep no zone (SQLite) as on those that do."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("naive datetime")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _sorted(most: int) -> String:
    """A text that compares by its code points, which a range of an index needs: PostgreSQL's locale may differ."""
    return String(most).with_variant(String(most, collation="C"), "postgresql")


class Row(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: Instant, dict[str, Any]: JSON, list[str]: JSON}


class PartnerRow(Row):
    """A referring hospital, network or PACS. ``assigning_authority`` issues identifiers without an issuer."""

    __tablename__ = "partner"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    assigning_authority: Mapped[str] = mapped_column(String(200))
    jwks: Mapped[dict[str, Any] | None]
    jwks_url: Mapped[str] = mapped_column(String(500), default="")
    scopes: Mapped[list[str]]
    fhir_endpoint: Mapped[str] = mapped_column(String(500), default="")
    fhir_token_url: Mapped[str] = mapped_column(String(500), default="")
    fhir_client_id: Mapped[str] = mapped_column(String(255), default="")
    fhir_scopes: Mapped[list[str]] = mapped_column(default=list)
    notify_endpoints: Mapped[list[str]] = mapped_column(default=list)
    dicomweb_endpoints: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    dicomweb_token_url: Mapped[str] = mapped_column(String(500), default="")
    dicomweb_client_id: Mapped[str] = mapped_column(String(255), default="")
    dicomweb_scopes: Mapped[list[str]] = mapped_column(default=list)
    dicomweb_login: Mapped[str] = mapped_column(String(500), default="")  # name:password
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class PartnerAeRow(Row):
    """A partner's DICOM application entity. A calling AE title belongs to one partner only."""

    __tablename__ = "partner_ae"

    ae_title: Mapped[str] = mapped_column(String(16), primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"), index=True)
    host: Mapped[str] = mapped_column(String(255), default="")
    port: Mapped[int] = mapped_column(default=0)
    called_ae_title: Mapped[str] = mapped_column(String(16), default="")
    addresses: Mapped[list[str]] = mapped_column(default=list)
    certificate: Mapped[str] = mapped_column(String(500), default="")
    tls: Mapped[bool] = mapped_column(Boolean, default=False)


class UserRow(Row):
    __tablename__ = "app_user"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    login: Mapped[str] = mapped_column(String(100), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(String(255))
    roles: Mapped[list[str]]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class LoginSessionRow(Row):
    """A signed-in browser. ``id`` is the SHA-256 of the cookie's secret, so a stolen table opens nothing."""

    __tablename__ = "login_session"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("app_user.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class OAuthAssertionRow(Row):
    """A client assertion that was used: (issuer, jti) may not come again before it expires (RFC 7523 3)."""

    __tablename__ = "oauth_assertion"

    issuer: Mapped[str] = mapped_column(String(200), primary_key=True)
    jti: Mapped[str] = mapped_column(String(255), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class SigningKeyRow(Row):
    """The gateway's own keys (private JWK): for access tokens (ES256) and for client assertions (ES384)."""

    __tablename__ = "signing_key"

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    jwk: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ReceiptRow(Row):
    """What came in, byte for byte. Never changed, never deleted (decision 1)."""

    __tablename__ = "receipt"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"))
    channel: Mapped[str] = mapped_column(String(16))  # fhir, stow-rs, c-store, wado-rs, c-get, page
    address: Mapped[str] = mapped_column(String(255))  # peer address and, for DIMSE, calling AE
    content_type: Mapped[str] = mapped_column(String(120))
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    object_key: Mapped[str] = mapped_column(String(200))
    received_at: Mapped[datetime]
    case_id: Mapped[str | None] = mapped_column(ForeignKey("case_file.id"), index=True)
    state: Mapped[str] = mapped_column(String(16), default="kept")  # kept, refused
    answer: Mapped[dict[str, Any] | None]  # how a bundle was answered, for the same bundle again

    __table_args__ = (
        Index("ix_receipt_partner_sha", "partner_id", "sha256"),
        Index("ix_receipt_state", "state", "received_at"),
    )


class ResourceRow(Row):
    """One version of one FHIR resource of one partner.

    ``fhir_id`` is unique within partner and type: two hospitals' Patient/123 are two children.
    ``identity`` finds the same resource when it is sent again. ``content`` is the resource as JSON
    text with references to entries of the same bundle resolved; the exact bytes stay in the receipt.
    """

    __tablename__ = "fhir_resource"

    pk: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"))
    type: Mapped[str] = mapped_column(String(64))
    fhir_id: Mapped[str] = mapped_column(_sorted(64))
    version: Mapped[int]
    current: Mapped[bool] = mapped_column(Boolean, default=True)
    identity: Mapped[str] = mapped_column(String(500))
    fingerprint: Mapped[str] = mapped_column(String(64))
    receipt_id: Mapped[str] = mapped_column(ForeignKey("receipt.id"), index=True)
    path: Mapped[str] = mapped_column(String(200))
    content: Mapped[str] = mapped_column(Text)
    case_id: Mapped[str | None] = mapped_column(ForeignKey("case_file.id"))
    updated_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("partner_id", "type", "fhir_id", "version"),
        Index("ix_fhir_resource_identity", "partner_id", "type", "identity"),
        Index("ix_fhir_resource_case", "case_id", "current"),
        Index("ix_fhir_resource_listed", "partner_id", "type", "current", "updated_at", "fhir_id"),
        Index("ix_fhir_resource_arrival", "partner_id", "pk"),
    )


class SearchProgressRow(Row):
    """Up to which resource a partner's can be searched; those after it are not in the tables of values yet."""

    __tablename__ = "search_progress"

    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"), primary_key=True)
    resource_pk: Mapped[int] = mapped_column(BigInteger)


class SearchKeyRow(Row):
    """A value of a resource that searches compare as a whole: a hash of it with its place (search_index.py).

    Rows of versions that are no longer current stay; like all of these values they can be made again at any time.
    """

    __tablename__ = "search_key"

    key: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    resource_pk: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)

    __table_args__ = ({"sqlite_with_rowid": False},)  # the key is the table


class SearchDateRow(Row):
    """The time of a resource's value, [low, high) in microseconds since 1970. ``place``: a hash of where it stands."""

    __tablename__ = "search_date"

    place: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    resource_pk: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    low: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    high: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)

    __table_args__ = (
        Index("ix_search_date_low", "place", "low", "high", "resource_pk"),
        {"sqlite_with_rowid": False},
    )


class SearchTextRow(Row):
    """A text of a resource as searches compare its parts. ``place`` is a hash of where it stands."""

    __tablename__ = "search_text"

    place: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(_sorted(250), primary_key=True)
    resource_pk: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)

    __table_args__ = (
        Index("ix_search_text_resource", "place", "resource_pk"),
        {"sqlite_with_rowid": False},
    )


class CaseRow(Row):
    """A second-opinion case. ``record`` is the normalised FHIR side; it can be made again at any time."""

    __tablename__ = "case_file"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"), index=True)
    status: Mapped[str] = mapped_column(String(32), index=True)
    told_status: Mapped[str] = mapped_column(String(32), default="")  # the last that subscribers were told
    service_request: Mapped[str] = mapped_column(String(128), default="")
    search_text: Mapped[str] = mapped_column(Text, default="")  # see search_words in cases.py
    patient_name: Mapped[str] = mapped_column(Text, default="")
    assignee_id: Mapped[str | None] = mapped_column(ForeignKey("app_user.id"), index=True)
    declined_because: Mapped[str] = mapped_column(Text, default="")
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime] = mapped_column(index=True)
    identity: Mapped[str] = mapped_column(Text, default="")  # of the record: what imaging is matched with
    record: Mapped[str] = mapped_column(
        Text
    )  # last, as SQLite reads a row up to the column that is asked for

    __table_args__ = (Index("ix_case_file_request", "partner_id", "service_request"),)


class StudyRow(Row):
    """A received study of one partner, in a case or waiting for one.

    ``join_state``: waiting (no case found), held (``case_id`` is only a candidate: a contradiction or
    too little evidence), joined, refused (a person said no).
    ``join_reasons`` are the evidence in words. ``attributes`` and ``patients`` come from the headers. The columns of
    the patient are of its first instance; the other patients that its instances name have rows of their own.
    The numbers, modalities and SOP classes are of its instances without those that have no address of their own.
    """

    __tablename__ = "study"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"))
    study_instance_uid: Mapped[str] = mapped_column(String(64))
    accession_number: Mapped[str] = mapped_column(Text, default="")
    accession_issuer: Mapped[str] = mapped_column(Text, default="")
    study_date: Mapped[str] = mapped_column(Text, default="")
    study_time: Mapped[str] = mapped_column(Text, default="")
    description: Mapped[str] = mapped_column(Text, default="")
    patient_id: Mapped[str] = mapped_column(Text, default="")
    patient_name: Mapped[str] = mapped_column(Text, default="")
    patient_birth_date: Mapped[str] = mapped_column(Text, default="")
    patient_sex: Mapped[str] = mapped_column(Text, default="")
    patient_id_start: Mapped[str] = mapped_column(_sorted(64), default="")  # these four: see search_keys.py
    accession_start: Mapped[str] = mapped_column(_sorted(64), default="")
    search_date: Mapped[str] = mapped_column(_sorted(8), default="")
    search_time: Mapped[str] = mapped_column(_sorted(13), default="")
    number_of_series: Mapped[int] = mapped_column(default=0)
    number_of_instances: Mapped[int] = mapped_column(default=0)
    number_of_patients: Mapped[int] = mapped_column(default=1)
    patient_series: Mapped[int] = mapped_column(default=0)  # these two: of its first patient alone
    patient_instances: Mapped[int] = mapped_column(default=0)
    modalities: Mapped[list[str]] = mapped_column(default=list)
    sop_classes: Mapped[list[str]] = mapped_column(default=list)
    attributes: Mapped[dict[str, Any]]  # study-level DICOM JSON model, as first received
    patients: Mapped[list[dict[str, Any]]] = mapped_column(
        JSON
    )  # each distinct identity inside, Demographics as JSON
    case_id: Mapped[str | None] = mapped_column(ForeignKey("case_file.id"), index=True)
    join_state: Mapped[str] = mapped_column(String(16), default="waiting", index=True)
    join_reasons: Mapped[list[str]]
    decided_by: Mapped[str] = mapped_column(String(100), default="")
    received_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    series: Mapped[list["SeriesRow"]] = relationship(
        back_populates="study", order_by="SeriesRow.series_number"
    )

    __table_args__ = (
        UniqueConstraint("partner_id", "study_instance_uid"),
        Index("ix_study_received", "partner_id", "received_at", "id"),
        Index("ix_study_patient_id", "partner_id", "patient_id_start"),
        Index("ix_study_accession", "partner_id", "accession_start"),
        Index("ix_study_date", "partner_id", "search_date", "received_at", "id"),
    )


class OtherPatientRow(Row):
    """A patient whom instances of a study name, and who is not that of its first instance (ADR 31).

    ``number`` is the place in the study's ``patients``, from 1 on. ``attributes`` is the study-level DICOM JSON of the
    first of these instances. The numbers are of them alone, without those that have no address of their own.
    """

    __tablename__ = "other_patient"

    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"))
    patient_id: Mapped[str] = mapped_column(Text)
    patient_name: Mapped[str] = mapped_column(Text)
    patient_birth_date: Mapped[str] = mapped_column(Text)
    patient_sex: Mapped[str] = mapped_column(Text)
    patient_id_start: Mapped[str] = mapped_column(_sorted(64))
    attributes: Mapped[dict[str, Any]]
    patient_series: Mapped[int] = mapped_column(default=0)
    patient_instances: Mapped[int] = mapped_column(default=0)

    __table_args__ = (Index("ix_other_patient_id", "partner_id", "patient_id_start"),)


class StudyNameRow(Row):
    """A name of a study, of its patient or its referring physician, as searches compare it (search_keys.py).

    ``keyword`` is PatientName or ReferringPhysicianName, ``form`` group or word. ``patient_number`` is the place in the
    study's ``patients``, 0 for a physician.
    """

    __tablename__ = "study_name"

    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"), primary_key=True)
    keyword: Mapped[str] = mapped_column(String(64), primary_key=True)
    form: Mapped[str] = mapped_column(String(8), primary_key=True)
    text: Mapped[str] = mapped_column(_sorted(250), primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), primary_key=True)
    patient_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=0)

    __table_args__ = ({"sqlite_with_rowid": False},)  # the key is the table


class SeriesRow(Row):
    __tablename__ = "series"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"))
    series_instance_uid: Mapped[str] = mapped_column(String(64), index=True)
    series_number: Mapped[int | None] = mapped_column(BigInteger)
    modality: Mapped[str] = mapped_column(Text, default="")
    description: Mapped[str] = mapped_column(Text, default="")
    body_part: Mapped[str] = mapped_column(Text, default="")
    number_of_instances: Mapped[int] = mapped_column(default=0)  # without those that are shadowed
    patients: Mapped[list[int]] = mapped_column(
        JSON, default=lambda: [0]
    )  # places in the study's ``patients``
    attributes: Mapped[dict[str, Any]]

    study: Mapped[StudyRow] = relationship(back_populates="series")
    instances: Mapped[list["InstanceRow"]] = relationship(
        back_populates="series", order_by="InstanceRow.instance_number"
    )

    __table_args__ = (UniqueConstraint("study_id", "series_instance_uid"),)


class InstanceRow(Row):
    """A received SOP instance. The same UID with another data set is a second row with ``conflict`` set.

    Such a one is ``shadowed`` too where one before it is of the same series: both have the same address, which gives
    the first. ``patient_number`` is the place in the study's ``patients`` (ADR 31).

    The data set begins at ``dataset_offset`` of the file: who sends an instance writes the preamble and group 0002
    anew, so that one sent by C-STORE and again by STOW-RS differs there and is the same. The transfer syntax stands in
    group 0002 but belongs to the identity: under another one the bytes mean other pixels.
    """

    __tablename__ = "instance"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"))
    series_id: Mapped[str] = mapped_column(ForeignKey("series.id"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64))
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    transfer_syntax_uid: Mapped[str] = mapped_column(String(64))
    instance_number: Mapped[int | None] = mapped_column(BigInteger)
    position: Mapped[float | None]
    frames: Mapped[int] = mapped_column(BigInteger, default=1)
    rows: Mapped[int | None] = mapped_column(BigInteger)
    columns: Mapped[int | None] = mapped_column(BigInteger)
    conflict: Mapped[bool] = mapped_column(Boolean, default=False)
    shadowed: Mapped[bool] = mapped_column(Boolean, default=False)
    patient_number: Mapped[int] = mapped_column(default=0)
    fault: Mapped[str] = mapped_column(Text, default="")
    sha256: Mapped[str] = mapped_column(String(64))
    dataset_offset: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    object_key: Mapped[str] = mapped_column(String(200))
    receipt_id: Mapped[str] = mapped_column(ForeignKey("receipt.id"))
    received_at: Mapped[datetime]

    series: Mapped[SeriesRow] = relationship(back_populates="instances")

    __table_args__ = (UniqueConstraint("partner_id", "sop_instance_uid", "sha256", name="uq_instance_file"),)


class ExaminationRow(Row):
    """What opening an attachment's bytes told; made once per SHA-256. ``problem`` is empty when it opens."""

    __tablename__ = "examination"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    content_type: Mapped[str] = mapped_column(String(120), primary_key=True)
    problem: Mapped[str] = mapped_column(Text, default="")
    examined_at: Mapped[datetime]


class FindingRow(Row):
    __tablename__ = "finding"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case_file.id"))
    key: Mapped[str] = mapped_column(String(400))
    check: Mapped[str] = mapped_column(String(64))
    severity: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    remedy: Mapped[str] = mapped_column(Text, default="")
    evidence: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    waived_by: Mapped[str] = mapped_column(String(200), default="")
    waived_because: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (UniqueConstraint("case_id", "key"),)


class EnquiryRow(Row):
    __tablename__ = "enquiry"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case_file.id"), index=True)
    text: Mapped[str] = mapped_column(Text)
    finding_ids: Mapped[list[str]]
    asked_by: Mapped[str] = mapped_column(String(200))
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]


class OpinionRow(Row):
    """A draft, then a signed opinion. A signed row is never updated (decision 7): the store refuses."""

    __tablename__ = "opinion"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case_file.id"), index=True)
    author_id: Mapped[str] = mapped_column(ForeignKey("app_user.id"))
    author_name: Mapped[str] = mapped_column(String(200))
    findings_text: Mapped[str] = mapped_column(Text)
    conclusion: Mapped[str] = mapped_column(Text)
    recommendations: Mapped[str] = mapped_column(Text)
    drafted_at: Mapped[datetime]
    signed_at: Mapped[datetime | None]
    report_key: Mapped[str] = mapped_column(String(200), default="")  # DiagnosticReport JSON
    report_subject: Mapped[str] = mapped_column(String(128), default="")  # what searches ask of it
    report_based_on: Mapped[str] = mapped_column(String(128), default="")
    report_sha256: Mapped[str] = mapped_column(String(64), default="")
    html_key: Mapped[str] = mapped_column(String(200), default="")
    pdf_key: Mapped[str] = mapped_column(String(200), default="")
    parcel_key: Mapped[str] = mapped_column(String(200), default="")  # the transaction that brings it back
    parcel_sha256: Mapped[str] = mapped_column(String(64), default="")


class DeliveryRow(Row):
    __tablename__ = "delivery"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case_file.id"), index=True)
    opinion_id: Mapped[str] = mapped_column(ForeignKey("opinion.id"))
    channel: Mapped[str] = mapped_column(String(32))
    address: Mapped[str] = mapped_column(String(500))
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str] = mapped_column(Text, default="")
    receipt: Mapped[str] = mapped_column(Text, default="")
    updated_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("opinion_id", "channel", "address"),)


class FetchRow(Row):
    """The fetching of one study from where its records say that it is. One for all cases that name the study.

    ``round`` counts how often it was begun anew: work of an earlier round is over. ``tries`` are those of this round.
    """

    __tablename__ = "fetch"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"))
    study_instance_uid: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    expected: Mapped[int | None]
    here: Mapped[int] = mapped_column(default=0)
    problem: Mapped[str] = mapped_column(String(32), default="")
    reason: Mapped[str] = mapped_column(Text, default="")
    missing: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    round: Mapped[int] = mapped_column(default=0)
    tries: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("partner_id", "study_instance_uid"),)


class FetchWishRow(Row):
    """What the records of one case say of a study that is to be fetched: ``expected`` is an ExpectedStudy as JSON."""

    __tablename__ = "fetch_wish"

    fetch_id: Mapped[str] = mapped_column(ForeignKey("fetch.id"), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case_file.id"), primary_key=True, index=True)
    expected: Mapped[str] = mapped_column(Text)


class CommitmentRow(Row):
    """A request for storage commitment (PS3.4 J.3) by a partner's application entity.

    ``references`` are pairs of SOP class and SOP instance UID. ``state``: waiting, reported, undelivered. Until
    ``held_until`` the association of the request reports the outcome, afterwards the worker does.
    """

    __tablename__ = "commitment"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"))
    ae_title: Mapped[str] = mapped_column(String(16))
    transaction_uid: Mapped[str] = mapped_column(String(64))
    is_duplicate: Mapped[bool] = mapped_column(Boolean)  # of a Transaction UID that was in use
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str] = mapped_column(Text, default="")
    held_until: Mapped[datetime | None]
    requested_at: Mapped[datetime] = mapped_column(index=True)
    updated_at: Mapped[datetime]
    references: Mapped[list[list[str]]] = mapped_column(JSON)

    __table_args__ = (Index("ix_commitment_transaction", "partner_id", "transaction_uid"),)


class AsyncRequestRow(Row):
    """A request that is answered later (FHIR R4 async pattern). The row stays, its answer goes at ``expires_at``.

    ``kind``: export, bundle. ``state``: waiting, begun, done, failed, cancelled, expired. ``asked`` is what its kind of
    work needs. ``answer`` is JSON: of an export its files, of a bundle the answer that it would have had at once.
    """

    __tablename__ = "async_request"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"))
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    url: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]]  # of the token that asked
    address: Mapped[str] = mapped_column(String(255))
    asked: Mapped[dict[str, Any]]
    asked_at: Mapped[datetime]
    transaction_at: Mapped[datetime | None]  # what was received until then is in an export
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    answer: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (Index("ix_async_request_partner", "partner_id", "kind", "state"),)


class SubscriptionRow(Row):
    """A partner's Subscription. ``content`` is the resource as JSON; what the gateway says of it stands in columns.

    ``events`` counts its events, ``sent`` are those that the endpoint has taken, in their order. ``round`` counts how
    often sending was begun anew after a failure: work of an earlier round is over. Until ``busy_until`` somebody is
    sending.
    """

    __tablename__ = "subscription"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"))
    topic: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(16))
    version: Mapped[int]
    events: Mapped[int] = mapped_column(default=0)
    sent: Mapped[int] = mapped_column(default=0)
    round: Mapped[int] = mapped_column(default=0)
    heartbeat_seconds: Mapped[int] = mapped_column(BigInteger, default=0)
    last_error: Mapped[str] = mapped_column(Text, default="")
    failing_since: Mapped[datetime | None]
    tried_at: Mapped[datetime | None]
    busy_until: Mapped[datetime | None]
    end_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    content: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        Index("ix_subscription_topic", "partner_id", "topic", "status"),
        Index("ix_subscription_status", "status"),
    )


class SubscriptionEventRow(Row):
    """One event of one subscription. ``focus`` and ``context`` are ``Type/id``; they are the gateway's own ids."""

    __tablename__ = "subscription_event"

    subscription_id: Mapped[str] = mapped_column(ForeignKey("subscription.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    focus: Mapped[str] = mapped_column(String(128))
    context: Mapped[str] = mapped_column(String(128))
    case_id: Mapped[str] = mapped_column(ForeignKey("case_file.id"))


class JobRow(Row):
    """How often a kind of durable work has begun for one subject: makes its workflow id (see workflow/durable.py)."""

    __tablename__ = "job"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    begun: Mapped[int] = mapped_column(default=0)


class AuditRow(Row):
    """Who did what to what, when, from where. Inserted in the transaction of the act; never changed."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(200))
    case_id: Mapped[str | None] = mapped_column(String(36), index=True)
    channel: Mapped[str] = mapped_column(String(16), default="")
    address: Mapped[str] = mapped_column(String(255), default="")
    request_id: Mapped[str] = mapped_column(String(64), default="")
    detail: Mapped[dict[str, Any]]

    __table_args__ = (Index("ix_audit_action", "action", "subject", "at"),)


class HeartbeatRow(Row):
    """When each part of each machine last said that it can do work; read by /readyz."""

    __tablename__ = "heartbeat"

    part: Mapped[str] = mapped_column(String(16), primary_key=True)
    machine: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime]
