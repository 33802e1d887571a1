"""Who acts, and what they may see or do: the one place that decides."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.case.status import INTAKE, SPECIALIST, SYSTEM
from gateway.errors import Forbidden


class Role(StrEnum):
    INTAKE = INTAKE
    SPECIALIST = SPECIALIST


@dataclass(frozen=True, slots=True)
class Partner:
    """A referring hospital or network: sees its own data only.

    ``assigning_authority`` issues the identifiers that name no issuer; ``scopes`` are SMART v2 system scopes.
    """

    id: str
    name: str
    assigning_authority: str
    scopes: tuple[str, ...] = ("system/*.cruds",)

    @property
    def actor(self) -> str:
        return f"partner:{self.id}"


@dataclass(frozen=True, slots=True)
class User:
    """A member of staff who is signed in."""

    id: str
    name: str
    roles: frozenset[str]

    @property
    def actor(self) -> str:
        return f"user:{self.id}"


@dataclass(frozen=True, slots=True)
class System:
    """The gateway's own worker."""

    roles: frozenset[str] = frozenset({SYSTEM})
    id: str = "system"
    name: str = "gateway"

    @property
    def actor(self) -> str:
        return "system"


@dataclass(frozen=True, slots=True)
class Origin:
    """How an act reached the gateway: ``channel`` (fhir, stow-rs, c-store, page, ...) and the peer's address.

    ``request_id`` names an HTTP request, as its X-Request-ID and its log lines do.
    """

    channel: str = ""
    address: str = ""
    request_id: str = ""


NO_ORIGIN = Origin()
SYSTEM_ACTOR = System()
Viewer = Partner | User | System


class Scope(StrEnum):
    """Which cases, and which of their imaging and reports, a viewer may see."""

    ALL = "all"
    OWN = "own"  # what the partner itself sent, and what was made of it
    ASSIGNED = "assigned"  # cases that are assigned to the user


def scope(viewer: Viewer) -> Scope:
    """Partners see their own, intake all, a specialist what is assigned to them; the store puts it into SQL."""
    match viewer:
        case Partner():
            return Scope.OWN
        case User() if Role.INTAKE not in viewer.roles:
            return Scope.ASSIGNED
        case User() | System():
            return Scope.ALL


class HasAssignee(Protocol):
    """What of a case decides who writes its opinion; rows and Case alike have it."""

    @property
    def assignee_id(self) -> str | None: ...


def require_author(user: Viewer, case: HasAssignee) -> None:
    """Only the specialist whom the case is assigned to drafts and signs; raises Forbidden."""
    if isinstance(user, User) and Role.SPECIALIST in user.roles and case.assignee_id == user.id:
        return
    raise Forbidden("Only the specialist whom this case is assigned to may write its opinion.")


def may_read_opinion(viewer: Viewer, author_id: str, is_signed: bool) -> bool:
    """Whoever may see the case reads what is signed; a draft is its author's, and intake's to read."""
    return is_signed or author_id == viewer.id or scope(viewer) is Scope.ALL


def require_role(user: Viewer, *roles: Role) -> None:
    """Raises Forbidden unless the user has one of the roles."""
    if isinstance(user, System) or (isinstance(user, User) and user.roles.intersection(roles)):
        return
    raise Forbidden(f"This needs the role {' or '.join(roles)}.")
