"""The composition root: what every process of the gateway is built from. Nothing opens at import or here."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.auth.keyring import Keyring
from gateway.config import LOOPBACK, Config
from gateway.store.database import Database
from gateway.store.filesystem import FileObjectStore
from gateway.store.objects import ObjectStore
from gateway.store.partners import Registration
from gateway.workflow.durable import Jobs

if TYPE_CHECKING:
    from gateway.senders.access_tokens import AccessTokens


Push = Callable[[Registration, str, bytes], str]
"""Sends a transaction to a partner's FHIR endpoint; returns what the receiver answered."""


class PushOverFhir:
    """senders/, loaded by the process that sends; it remembers the tokens that it was given."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def __call__(self, partner: Registration, endpoint: str, bundle: bytes) -> str:
        from gateway.senders.fhir_rest import push_transaction

        if not partner.fhir_token_url:
            return str(push_transaction(endpoint, bundle))
        return str(push_transaction(endpoint, bundle, token=self._token_of(partner)))

    def _token_of(self, partner: Registration) -> Callable[[str], str]:
        from gateway.senders.access_tokens import Client
        from mappings.report_to_bundle import SCOPES

        client = Client(partner.fhir_token_url, partner.fhir_client_id, partner.fhir_scopes or SCOPES)
        return partial(self._tokens.get, client)

    @cached_property
    def _tokens(self) -> "AccessTokens":
        from gateway.auth import own_assertion
        from gateway.senders.access_tokens import AccessTokens

        return AccessTokens(partial(own_assertion.sign, self._keyring))


@dataclass(frozen=True, slots=True)
class Services:
    config: Config
    database: Database
    objects: ObjectStore
    jobs: Jobs
    keyring: Keyring
    push: Push


def build_services(config: Config) -> Services:
    """Wire the implementations that ``config`` names."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(config.sqlalchemy_url)
    keyring = Keyring(database, allow_loopback=config.host in LOOPBACK)
    return Services(config, database, _object_store(config), Jobs(database), keyring, PushOverFhir(keyring))


def _object_store(config: Config) -> ObjectStore:
    if not config.objects_url or config.objects_url.startswith("file:"):
        folder = Path(config.objects_url.removeprefix("file://")) if config.objects_url else config.data_dir
        return FileObjectStore(folder)
    from gateway.store.remote import RemoteObjectStore

    return RemoteObjectStore(config.objects_url, config.data_dir / "incoming")


def secret_key(config: Config) -> str:
    """The key that signs cookies: configured, or made once in the data folder with mode 0600."""
    configured = config.secret_key.get_secret_value()
    if configured:
        return configured
    path = config.data_dir / "secret-key"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
    return path.read_text()
