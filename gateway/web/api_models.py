"""What the staff API takes and gives. Facts of a case keep the shape that the rules give them (case/model.py)."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from gateway.case.access import Role
from gateway.case.checklist import Line
from gateway.case.fetching import Fetch
from gateway.case.model import (
    CaseFinding,
    Delivery,
    Enquiry,
    HeldStudy,
    Opinion,
    Record,
    Study,
)
from gateway.case.status import CaseStatus

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class _Body(BaseModel):
    """No text has a NUL, which PostgreSQL does not take; half a surrogate pair is no text for pydantic either."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*")
    @classmethod
    def _without_nul(cls, value: Any) -> Any:
        if any("\0" in text for text in ([value] if isinstance(value, str) else value)):
            raise ValueError("a text has no NUL character")
        return value


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class SignIn(_Body):
    login: str = Field(min_length=1, max_length=100)
    password: str = Field(min_length=1, max_length=1000)


class Nothing(_Body):
    """An empty object."""


class Reason(_Body):
    because: Words


class Question(_Body):
    """``finding_ids``: the findings that answer the question when they close."""

    text: Words
    finding_ids: list[Id] = Field(default_factory=list, max_length=500)


class Assignment(_Body):
    specialist_id: Id


class Waiver(_Body):
    finding_id: Id
    because: Words


class OpinionText(_Body):
    findings_text: str = Field("", max_length=200_000)
    conclusion: str = Field("", max_length=200_000)
    recommendations: str = Field("", max_length=200_000)


class Signature(_Body):
    """``confirmed`` is the ``fingerprint`` of the case as the signer saw it; a case that changed is not signed."""

    confirmed: Sha256


class StudyDecision(_Body):
    study_id: Id
    because: Words


class Retry(_Body):
    delivery_id: Id


class Refetch(_Body):
    fetch_id: Id


class CaseFilter(BaseModel):
    status: list[CaseStatus] = Field(
        default_factory=list, description="Statuses wanted; all where none is given."
    )
    q: str = Field(
        "",
        max_length=200,
        description="Only cases with each of these words in their number or a name of the child; accents do not count.",
    )
    limit: int = Field(50, ge=1, le=500, description="The most cases that one answer has.")
    offset: int = Field(
        0, ge=0, le=10_000_000, description="How many cases to leave out: ``next_offset`` of the page before."
    )


class StudyFilter(BaseModel):
    state: list[Literal["waiting", "held", "refused"]] = Field(
        default_factory=list, description="States wanted; all three where none is given."
    )


class UserFilter(BaseModel):
    role: Role = Field(description="Only people who have this role.")


class UserAnswer(_Answer):
    id: str
    name: str
    roles: list[str]


class UserList(_Answer):
    users: list[UserAnswer]


class CaseLine(_Answer):
    id: str
    patient_name: str
    partner_name: str
    status: str
    assignee_name: str
    open_findings: int
    blocking_findings: int
    found_after_signing: int
    failed_deliveries: int
    opened_at: datetime
    updated_at: datetime


class CaseList(_Answer):
    """``total`` cases are found; ``next_offset`` is null on the last page."""

    cases: list[CaseLine]
    total: int
    next_offset: int | None


class CaseAnswer(_Answer):
    """``actions`` are what the caller may do to the case now; ``checklist`` is what its question needs."""

    id: str
    partner_id: str
    partner_name: str
    status: str
    opened_at: datetime
    updated_at: datetime
    service_request: str
    assignee_id: str
    assignee_name: str
    declined_because: str
    record: Record
    studies: tuple[Study, ...]
    held_studies: tuple[HeldStudy, ...]
    findings: tuple[CaseFinding, ...]
    opinions: tuple[Opinion, ...]
    enquiries: tuple[Enquiry, ...]
    deliveries: tuple[Delivery, ...]
    fetches: tuple[Fetch, ...]
    checklist: tuple[Line, ...]
    actions: list[str]
    fingerprint: str


class ActAnswer(_Answer):
    """The case after an act. ``created`` is the id of the question, draft or opinion that the act made, or empty."""

    case_id: str
    status: str
    actions: list[str]
    created: str


class ActLine(_Answer):
    at: datetime
    who: str
    did: str
    about: str
    channel: str
    action: str
    subject: str


class Timeline(_Answer):
    acts: list[ActLine]


class StudyPlace(_Answer):
    """A received study. ``case_id`` of a held one is only the candidate."""

    study: Study
    partner_id: str
    partner_name: str
    state: str
    case_id: str
    reasons: tuple[str, ...]
    decided_by: str
    received_at: datetime
    updated_at: datetime


class StudyList(_Answer):
    studies: list[StudyPlace]


class IssueAnswer(_Answer):
    severity: str
    code: str
    text: str
    expression: str | None = None


class ErrorAnswer(_Answer):
    """``error`` is the cause's name, ``detail`` plain words, ``issues`` every single fault."""

    error: str
    detail: str
    issues: list[IssueAnswer]
