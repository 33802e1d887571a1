"""The one table from an error to what a DICOMweb peer sees: HTTP status, and FailureReason of an instance.

HTTP status codes: PS3.18 8.5 and the tables of 10.4.3 (retrieve), 10.5.3 (store), 10.6.3 (search).
Failure and warning reasons: PS3.18 Tables I.2-1 and I.2-2.
"""

from dataclasses import dataclass

from gateway import errors
from gateway.errors import GatewayError

PROCESSING_FAILURE = 0x0110  # Table I.2-2: a general failure in processing
OUT_OF_RESOURCES = 0xA700  # Table I.2-2, A7xx: the same instance may be stored when it is sent again later
DATA_SET_MISMATCH = 0xA900  # Table I.2-2, A9xx: not the instance that was announced
NOT_SUPPORTED = 0xC122  # Table I.2-2: the transfer syntax, or the media type that stands for it
CANNOT_UNDERSTAND = 0xC000  # Table I.2-2, Cxxx: the origin server cannot understand the data

DATA_SET_DOES_NOT_MATCH = 0xB007  # Table I.2-1: stored; it does not keep the constraints of its SOP class

# Bxxx is the range of warnings (Table I.2-1), which has no code for this. B00E (45070) is what Microsoft's DICOM
# service says for an instance that exists already; here it means stored, beside the other one.
OTHER_CONTENT_STORED_BEFORE = 0xB00E


@dataclass(frozen=True, slots=True)
class Status:
    """``http`` answers a request; ``failure_reason`` tells of one instance among others that may be stored."""

    http: int
    failure_reason: int


STATUS: dict[type[GatewayError], Status] = {
    GatewayError: Status(500, PROCESSING_FAILURE),
    errors.InvalidContent: Status(400, CANNOT_UNDERSTAND),
    errors.BodyBroken: Status(400, CANNOT_UNDERSTAND),
    errors.NotFhir: Status(400, CANNOT_UNDERSTAND),
    errors.UnsupportedVersion: Status(400, CANNOT_UNDERSTAND),
    errors.Unattributed: Status(400, CANNOT_UNDERSTAND),
    errors.NotDicom: Status(400, CANNOT_UNDERSTAND),
    errors.StudyMismatch: Status(409, DATA_SET_MISMATCH),
    errors.InstanceMismatch: Status(409, DATA_SET_MISMATCH),
    errors.UnsupportedMediaType: Status(415, NOT_SUPPORTED),
    errors.NotAcceptable: Status(406, PROCESSING_FAILURE),
    errors.TooLarge: Status(413, OUT_OF_RESOURCES),
    errors.TooManyRequests: Status(429, PROCESSING_FAILURE),
    errors.NotSupported: Status(501, PROCESSING_FAILURE),
    errors.Unauthenticated: Status(401, PROCESSING_FAILURE),
    errors.Forbidden: Status(403, PROCESSING_FAILURE),
    errors.UnknownSender: Status(403, PROCESSING_FAILURE),
    errors.NotFound: Status(404, PROCESSING_FAILURE),
    errors.Conflict: Status(409, PROCESSING_FAILURE),
    errors.TransitionRefused: Status(409, PROCESSING_FAILURE),
    errors.ReviewBlocked: Status(409, PROCESSING_FAILURE),
    errors.VersionMismatch: Status(409, PROCESSING_FAILURE),
    errors.SeveralMatches: Status(409, PROCESSING_FAILURE),
    errors.StoreUnavailable: Status(503, OUT_OF_RESOURCES),
    errors.DeliveryFailed: Status(502, PROCESSING_FAILURE),
    errors.PeerUnreachable: Status(504, PROCESSING_FAILURE),
    errors.PeerRefused: Status(502, PROCESSING_FAILURE),
}


def status_of(error: GatewayError) -> Status:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
