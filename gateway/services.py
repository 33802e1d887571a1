"""The composition root: what every process of the gateway is built from. Nothing opens at import or here."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.auth.keyring import Keyring
from gateway.config import LOOPBACK, Config
from gateway.store.database import Database
from gateway.store.filesystem import FileObjectStore
from gateway.store.objects import ObjectStore
from gateway.workflow.durable import Jobs


def push_over_fhir(endpoint: str, bundle: bytes) -> str:
    """senders/fhir_rest.py, loaded by the process that sends; returns what the receiver answered."""
    from gateway.senders import fhir_rest

    return str(fhir_rest.push_transaction(endpoint, bundle))


@dataclass(frozen=True, slots=True)
class Services:
    config: Config
    database: Database
    objects: ObjectStore
    jobs: Jobs
    keyring: Keyring
    push: Callable[[str, bytes], str] = push_over_fhir


def build_services(config: Config) -> Services:
    """Wire the implementations that ``config`` names."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(config.sqlalchemy_url)
    keyring = Keyring(database, allow_loopback=config.host in LOOPBACK)
    return Services(config, database, _object_store(config), Jobs(database), keyring)


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
