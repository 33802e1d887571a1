"""Logins and passwords of staff: Argon2id with the parameters of RFC 9106 scaled to many sign-ins at once."""

import re
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH, MAX_LENGTH = 12, 200
UNUSABLE = "!"
"""The hash of a user who cannot sign in with a password."""
_LOGIN = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}")
# 19 MiB a check: sixteen threads that check at once stay under the memory of a small machine.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def normal_login(login: str) -> str:
    return unicodedata.normalize("NFKC", login).strip().lower()


def is_login(text: str) -> bool:
    """Whether any user could have this login."""
    return _LOGIN.fullmatch(text) is not None


def faults(password: str, login: str) -> list[str]:
    """What makes a new password unfit, in plain words (NIST SP 800-63B: length counts, composition does not)."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        return [f"the password must have {MIN_LENGTH} to {MAX_LENGTH} characters"]
    if len(set(password)) < 5 or (login and password.lower() == login):
        return ["the password is too easy to guess"]
    return []


def hashed(password: str) -> str:
    return _HASHER.hash(_normal(password))


def matches(password: str, password_hash: str | None) -> bool:
    """Does the same work where there is no hash, so that the time tells nothing about who exists."""
    usable = password_hash if password_hash and password_hash != UNUSABLE else _decoy()
    try:
        _HASHER.verify(usable, _normal(password))
    except (VerificationError, InvalidHashError):
        return False
    return usable == password_hash


@cache
def _decoy() -> str:
    return hashed("nobody's password")


def _normal(password: str) -> bytes:
    """The same password from every keyboard (RFC 8265 4.2)."""
    return unicodedata.normalize("NFKC", password).encode(errors="surrogatepass")
