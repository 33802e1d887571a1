"""New identities. None tells anything about a child."""

import hashlib
import secrets
import uuid

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id() -> str:
    """A random UUID as FHIR id (datatype id, at most 64 characters)."""
    return str(uuid.uuid4())


def new_case_id() -> str:
    """A case number that people can say on the telephone: SO- and eight Crockford base32 characters (40 bits)."""
    return "SO-" + "".join(secrets.choice(_CROCKFORD) for _ in range(8))


def bounded(key: str, most: int) -> str:
    """``key`` itself, or where it is longer than ``most`` its start and its SHA-256: still one key for one text."""
    if len(key) <= most:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{key[: most - len(digest) - 1]}~{digest}"
