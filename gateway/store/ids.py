"""New identities. None tells anything about a child."""

import hashlib
import secrets
import time
import uuid

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id() -> str:
    """A UUID as FHIR id (datatype id, at most 64 characters): 48 bits of time, 74 random ones (RFC 9562 5.7).

    In the order of time, so that a new row of a large table touches the pages of the last one.
    """
    milliseconds = time.time_ns() // 1_000_000
    high = (milliseconds & 0xFFFFFFFFFFFF) << 16 | 0x7000 | secrets.randbits(12)
    return str(uuid.UUID(int=high << 64 | 0b10 << 62 | secrets.randbits(62)))


def new_case_id() -> str:
    """A case number that people can say on the telephone: SO- and eight Crockford base32 characters (40 bits)."""
    return "SO-" + "".join(secrets.choice(_CROCKFORD) for _ in range(8))


def bounded(key: str, most: int) -> str:
    """``key`` itself, or where it is longer than ``most`` its start and its SHA-256: still one key for one text."""
    if len(key) <= most:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{key[: most - len(digest) - 1]}~{digest}"
