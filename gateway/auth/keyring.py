"""The keys that a process remembers: the gateway's own, and those behind the partners' JWKS URLs."""

import time
from dataclasses import dataclass
from threading import Lock

from joserfc.jwk import ECKey

from gateway.auth import jwks_client
from gateway.auth.client_keys import ClientKey, read_jwks
from gateway.errors import Unauthenticated
from gateway.store import credentials
from gateway.store.database import Database

REFETCH_SECONDS = 60.0
"""How soon an unknown kid makes the gateway ask a partner's JWKS URL again."""
RETRY_SECONDS = 10.0
"""How soon after a failure a JWKS URL is asked again, and after a miss the own keys are read again."""
TOKEN_ALGORITHM, ASSERTION_ALGORITHM = "ES256", "ES384"
_CURVES = {TOKEN_ALGORITHM: "P-256", ASSERTION_ALGORITHM: "P-384"}


@dataclass(slots=True)
class _Remembered:
    keys: list[ClientKey]
    fetched_at: float
    until: float
    failure: str = ""

    def must_be_fetched_for(self, kid: str, now: float) -> bool:
        if now >= self.until:
            return True
        unknown = not any(key.kid == kid for key in self.keys)
        return unknown and now - self.fetched_at >= REFETCH_SECONDS


class Keyring:
    """One per process. ``allow_loopback``: a JWKS URL may be on this machine, because the gateway is only there."""

    def __init__(self, database: Database, *, allow_loopback: bool) -> None:
        self._database = database
        self._allow_loopback = allow_loopback
        self._own: dict[str, ECKey] = {}
        self._own_read_at = 0.0
        self._own_lock = Lock()
        self._remembered: dict[str, _Remembered] = {}
        self._url_locks: dict[str, Lock] = {}
        self._url_locks_lock = Lock()

    @property
    def allow_loopback(self) -> bool:
        return self._allow_loopback

    def signing_key(self) -> ECKey:
        """The key that signs access tokens."""
        return self._own_key(TOKEN_ALGORITHM)

    def assertion_key(self) -> ECKey:
        """The key by which the gateway proves who it is to a partner's authorization server."""
        return self._own_key(ASSERTION_ALGORITHM)

    def verifying_key(self, kid: str) -> ECKey | None:
        """The own key for access tokens of that kid, which another process may have made since."""
        with self._own_lock:
            if kid not in self._own and time.monotonic() - self._own_read_at >= RETRY_SECONDS:
                self._read_own()
            key = self._own.get(kid)
            return key if key and key.alg == TOKEN_ALGORITHM else None

    def public_keys(self) -> list[dict[str, object]]:
        """Every own key as a public JWK."""
        with self._own_lock:
            self._complete_own()
            return [dict(key.as_dict(private=False)) for key in self._own.values()]

    def keys_at(self, url: str, kid: str) -> list[ClientKey]:
        """The usable keys at a partner's JWKS URL. Raises Unauthenticated when they cannot be read."""
        with self._lock_of(url):
            now = time.monotonic()
            known = self._remembered.get(url)
            if known is None or known.must_be_fetched_for(kid, now):
                known = self._fetch(url, known if known and now < known.until else None)
            if known.failure:
                raise Unauthenticated(known.failure)
            return known.keys

    def _fetch(self, url: str, still_valid: _Remembered | None) -> _Remembered:
        now = time.monotonic()
        try:
            fetched = jwks_client.fetch(url, allow_loopback=self._allow_loopback)
        except Unauthenticated as error:
            fresh = still_valid or _Remembered([], now, now + RETRY_SECONDS, error.message)
            fresh.fetched_at = now
        else:
            fresh = _Remembered(read_jwks(fetched.jwks)[0], now, now + fetched.max_age_seconds)
        self._remembered[url] = fresh
        return fresh

    def _lock_of(self, url: str) -> Lock:
        with self._url_locks_lock:
            return self._url_locks.setdefault(url, Lock())

    def _own_key(self, algorithm: str) -> ECKey:
        with self._own_lock:
            self._complete_own()
            return next(key for key in self._own.values() if key.alg == algorithm)

    def _complete_own(self) -> None:
        """The first process that needs an own key makes all: a peer that caches /oauth/jwks then has each of them."""
        if self._missing():
            self._read_own()
        if missing := self._missing():
            self._make_own(missing)
            self._read_own()

    def _missing(self) -> set[str]:
        return set(_CURVES) - {str(key.alg) for key in self._own.values()}

    def _read_own(self) -> None:
        with self._database.reading() as session:
            keys = [ECKey.import_key(jwk) for jwk in credentials.signing_keys(session)]
        self._own = {str(key.kid): key for key in keys}
        self._own_read_at = time.monotonic()

    def _make_own(self, algorithms: set[str]) -> None:
        keys = [
            ECKey.generate_key(_CURVES[name], parameters={"use": "sig", "alg": name}, auto_kid=True)
            for name in algorithms
        ]
        with self._database.transaction() as session:
            for key in keys:
                credentials.add_first_signing_key(session, str(key.kid), dict(key.as_dict(private=True)))
