"""What can go wrong, named by its cause and not by a protocol.

    GatewayError
    ├── InvalidContent            the sender's content cannot be read or breaks a rule
    │   ├── BodyBroken            the body ends early, or is not the multipart that its header says
    │   ├── NotFhir               not a FHIR resource, or of an unknown type
    │   ├── UnsupportedVersion    a FHIR release that is not spoken
    │   ├── Unattributed          sent by itself, and it names no child and no case
    │   ├── NotDicom              not a DICOM file, truncated, or without its UIDs
    │   ├── StudyMismatch         an instance of another study than the one addressed
    │   └── InstanceMismatch      a data set that is another instance than the one announced
    ├── UnsupportedMediaType      the body's media type is not read here
    ├── NotAcceptable             the answer's media type is not written here
    ├── TooLarge                  more bytes than the limit allows
    ├── TooManyRequests           more of a partner's at one time than is taken on
    ├── NotSupported              an interaction that the gateway does not offer
    ├── Unauthenticated           no valid credentials
    ├── Forbidden                 valid credentials that do not allow this
    ├── UnknownSender             an application entity that is no registered partner
    ├── NotFound                  nothing of that identity that the caller may see
    ├── Conflict                  the state does not allow the act
    │   ├── TransitionRefused     the case's status does not allow the act
    │   ├── ReviewBlocked         a finding that blocks review is open
    │   ├── VersionMismatch       another version is here than the one that a change is made for
    │   └── SeveralMatches        more than one is here of what a condition means to name one
    ├── StoreUnavailable          database or object store cannot be reached, or is full
    └── DeliveryFailed            the receiver did not take what was sent
        ├── PeerUnreachable       may succeed later
        └── PeerRefused           the receiver said no: a person must look

``str(error)`` is safe to show to the sender: plain words, never record text.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Issue:
    """One fault, as FHIR R4 OperationOutcome.issue tells it.

    ``severity`` is an IssueSeverity code, ``code`` an IssueType code, ``expression`` a FHIRPath
    (0..1), ``text`` plain words for the sender: what was expected and what was found. ``full_url`` is that of
    the bundle's entry in which it stands.
    """

    severity: str
    code: str
    text: str
    expression: str | None = None
    full_url: str = ""


@dataclass
class GatewayError(Exception):
    """Base of all expected errors; ``issues`` carries every fault found, not only the first."""

    message: str = "The request could not be completed."
    issues: tuple[Issue, ...] = field(default=())

    def __str__(self) -> str:
        return self.message


class InvalidContent(GatewayError):
    pass


class BodyBroken(InvalidContent):
    pass


class NotFhir(InvalidContent):
    pass


class UnsupportedVersion(InvalidContent):
    pass


class Unattributed(InvalidContent):
    pass


class NotDicom(InvalidContent):
    pass


class StudyMismatch(InvalidContent):
    pass


class InstanceMismatch(InvalidContent):
    pass


class UnsupportedMediaType(GatewayError):
    pass


class NotAcceptable(GatewayError):
    pass


class TooLarge(GatewayError):
    pass


class TooManyRequests(GatewayError):
    pass


class NotSupported(GatewayError):
    pass


class Unauthenticated(GatewayError):
    pass


class Forbidden(GatewayError):
    pass


class UnknownSender(GatewayError):
    pass


class NotFound(GatewayError):
    pass


class Conflict(GatewayError):
    pass


class TransitionRefused(Conflict):
    pass


class ReviewBlocked(Conflict):
    pass


class VersionMismatch(Conflict):
    pass


class SeveralMatches(Conflict):
    pass


class StoreUnavailable(GatewayError):
    pass


class DeliveryFailed(GatewayError):
    pass


class PeerUnreachable(DeliveryFailed):
    pass


class PeerRefused(DeliveryFailed):
    pass
