"""GatewayError to HTTP status (RFC 9110 15) for pages and the staff API: every class has its line."""

from gateway import errors
from gateway.errors import GatewayError

HTTP_STATUS: dict[type[GatewayError], int] = {
    errors.InvalidContent: 400,
    errors.BodyBroken: 400,
    errors.NotFhir: 400,
    errors.UnsupportedVersion: 400,
    errors.Unattributed: 400,
    errors.NotDicom: 400,
    errors.StudyMismatch: 409,
    errors.InstanceMismatch: 409,
    errors.UnsupportedMediaType: 415,
    errors.NotAcceptable: 406,
    errors.TooLarge: 413,
    errors.TooManyRequests: 429,
    errors.NotSupported: 405,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.UnknownSender: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TransitionRefused: 409,
    errors.ReviewBlocked: 409,
    errors.VersionMismatch: 409,
    errors.SeveralMatches: 409,
    errors.StoreUnavailable: 503,
    errors.DeliveryFailed: 502,
    errors.PeerUnreachable: 502,
    errors.PeerRefused: 502,
}


def http_status(error: GatewayError) -> int:
    return HTTP_STATUS.get(type(error), 500)
