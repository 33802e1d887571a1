"""The one table from an error to the DIMSE status that the peer sees (PS3.7 Annex C, PS3.4 B.2.3, C.4.2.1.5)."""

import textwrap
from dataclasses import dataclass

from pydicom.dataset import Dataset

from gateway import errors
from gateway.errors import GatewayError

# PS3.7 Annex C
SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
INVALID_ARGUMENT = 0x0115
SOP_CLASS_NOT_SUPPORTED = 0x0122
NO_SUCH_ACTION = 0x0123
NOT_AUTHORIZED = 0x0124
# PS3.4 Table B.2-1
OUT_OF_RESOURCES = 0xA700
DATA_SET_MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
DATA_SET_DOES_NOT_MATCH = 0xB007  # a warning: stored; data set does not match SOP class
# PS3.4 Tables C.4-2, C.4-3
MATCHES_NOT_COUNTED = 0xA701
SUB_OPERATIONS_REFUSED = 0xA702
MOVE_DESTINATION_UNKNOWN = 0xA801
IDENTIFIER_DOES_NOT_MATCH = 0xA900
SOME_SUB_OPERATIONS_FAILED = 0xB000  # a warning
CANCELLED = 0xFE00
PENDING = 0xFF00
# PS3.4 Table C.4-1
PENDING_KEYS_NOT_SUPPORTED = 0xFF01

ERROR_COMMENT_CHARACTERS = 64  # (0000,0902), VR LO

# A retry may succeed only where resources were out (0xA700); every other status says that the same request will fail
# again, so a sender that repeats by status does so where it helps.
STATUS: dict[type[GatewayError], int] = {
    GatewayError: PROCESSING_FAILURE,
    errors.InvalidContent: CANNOT_UNDERSTAND,
    errors.BodyBroken: CANNOT_UNDERSTAND,
    errors.NotFhir: CANNOT_UNDERSTAND,
    errors.UnsupportedVersion: CANNOT_UNDERSTAND,
    errors.Unattributed: CANNOT_UNDERSTAND,
    errors.NotDicom: CANNOT_UNDERSTAND,
    errors.StudyMismatch: DATA_SET_MISMATCH,
    errors.InstanceMismatch: DATA_SET_MISMATCH,
    errors.UnsupportedMediaType: SOP_CLASS_NOT_SUPPORTED,
    errors.NotAcceptable: SOP_CLASS_NOT_SUPPORTED,
    errors.TooLarge: OUT_OF_RESOURCES,
    errors.TooManyRequests: OUT_OF_RESOURCES,
    errors.NotSupported: SOP_CLASS_NOT_SUPPORTED,
    errors.Unauthenticated: NOT_AUTHORIZED,
    errors.Forbidden: NOT_AUTHORIZED,
    errors.UnknownSender: NOT_AUTHORIZED,
    errors.NotFound: NO_SUCH_INSTANCE,
    errors.Conflict: PROCESSING_FAILURE,
    errors.TransitionRefused: PROCESSING_FAILURE,
    errors.ReviewBlocked: PROCESSING_FAILURE,
    errors.VersionMismatch: PROCESSING_FAILURE,
    errors.SeveralMatches: PROCESSING_FAILURE,
    errors.StoreUnavailable: OUT_OF_RESOURCES,
    errors.DeliveryFailed: SUB_OPERATIONS_REFUSED,
    errors.PeerUnreachable: SUB_OPERATIONS_REFUSED,
    errors.PeerRefused: SUB_OPERATIONS_REFUSED,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Status (0000,0900) of a response and Error Comment (0000,0902), '' where there is nothing to say."""

    code: int
    comment: str = ""


def outcome(code: int, words: str = "") -> Outcome:
    """``words`` are cut to what an Error Comment holds: VR LO."""
    plain = words.encode("ascii", "replace").decode().replace("\\", "/")
    return Outcome(code, textwrap.shorten(plain, ERROR_COMMENT_CHARACTERS, placeholder="..."))


def outcome_of(error: GatewayError) -> Outcome:
    """The status of an expected error, with its words."""
    code = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return outcome(code, str(error))


def outcome_of_unexpected(reference: str) -> Outcome:
    """The status of an error that nobody foresaw: the peer sees the log's reference, never the exception's text."""
    return outcome(PROCESSING_FAILURE, f"Internal error; please give us reference {reference}.")


def failure(error: GatewayError) -> Dataset:
    return _data_set(outcome_of(error))


def unexpected(reference: str) -> Dataset:
    return _data_set(outcome_of_unexpected(reference))


def status(code: int, comment: str = "") -> Dataset:
    return _data_set(outcome(code, comment))


def _data_set(found: Outcome) -> Dataset:
    """As pynetdicom's handlers return it."""
    answer = Dataset()
    answer.Status = found.code
    if found.comment:
        answer.ErrorComment = found.comment
    return answer
