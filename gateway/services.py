"""The composition root: what every process of the gateway is built from. Nothing opens at import or here."""

import fcntl
import os
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gateway.auth import scopes
from gateway.auth.keyring import Keyring
from gateway.case.subscription import Wanted
from gateway.config import LOOPBACK, Config
from gateway.errors import PeerRefused
from gateway.store.database import Database
from gateway.store.filesystem import FileObjectStore
from gateway.store.objects import ObjectStore
from gateway.store.partners import ApplicationEntity, DicomWebEndpoint, Registration
from gateway.workflow.durable import Jobs
from gateway.workflow.fetch_from import Connect, RegisteredPlace
from gateway.workflow.limited import LimitedProcesses

if TYPE_CHECKING:
    from gateway.case.access import Partner
    from gateway.senders.access_tokens import AccessTokens
    from gateway.senders.dicom_scu import Scu
    from gateway.store.objects import Spool
    from gateway.store.tables import AsyncRequestRow
    from gateway.workflow.export import Export, Exported, Line
    from gateway.workflow.fetch_from import ImagingSource
    from gateway.workflow.receive_later import AnswerLater

IMAGING_SCOPES = ("system/ImagingStudy.rs",)
"""Asked at a DICOMweb endpoint's authorization server unless others are registered; as the gateway's own asks."""


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
        return _access_tokens(self._keyring)


def _access_tokens(keyring: Keyring) -> "AccessTokens":
    from gateway.auth import own_assertion
    from gateway.senders.access_tokens import AccessTokens

    return AccessTokens(partial(own_assertion.sign, keyring))


Notify = Callable[[Registration, Wanted, dict[str, Any]], None]
"""Sends a notification Bundle to where a subscriber wants it. Raises PeerUnreachable, PeerRefused."""


class NotifyOverHttp:
    """senders/, loaded by the process that sends; only what the partner may still read is sent."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback

    def __call__(self, partner: Registration, wanted: Wanted, bundle: dict[str, Any]) -> None:
        from gateway.senders.notification import post_notification
        from gateway.workflow.notify_endpoint import is_registered
        from mappings.subscription_topics import TOPICS

        focus_type = TOPICS[wanted.topic].focus_type
        if not scopes.allows(partner.scopes, focus_type, "r"):
            raise PeerRefused(f"The hospital may not read {focus_type} any more.")
        post_notification(
            wanted.endpoint,
            _written(bundle, wanted.media_type),
            {**dict(wanted.headers), "Content-Type": wanted.media_type},
            wanted.timeout_seconds,
            is_registered=is_registered(partner, wanted.endpoint),
            allow_loopback=self._allow_loopback,
        )


def _written(resource: dict[str, Any], media_type: str) -> bytes:
    from gateway.fhir.xml_format import to_xml
    from gateway.store.resources import dumps
    from mappings.fhir_definitions import Release

    return to_xml(resource, Release.R4) if media_type.endswith("xml") else dumps(resource).encode()


class CallAe(Protocol):
    """Opens an association with a partner's AE, proposing each (abstract syntax, transfer syntaxes).

    Of the abstract syntaxes in ``provided`` the gateway is the SCP. It is released at the end of the ``with``. Raises
    PeerUnreachable, PeerRefused.
    """

    def __call__(
        self,
        entity: ApplicationEntity,
        contexts: Sequence[tuple[str, Sequence[str]]],
        provided: Collection[str] = (),
    ) -> "AbstractContextManager[Scu]": ...


class CallOverDicom:
    """senders/, loaded by the process that calls."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def __call__(
        self,
        entity: ApplicationEntity,
        contexts: Sequence[tuple[str, Sequence[str]]],
        provided: Collection[str] = (),
    ) -> "AbstractContextManager[Scu]":
        from gateway.dimse import tls
        from gateway.senders.dicom_negotiation import Called
        from gateway.senders.dicom_scu import call

        registered = entity.certificate
        called = Called(
            entity.ae_title,
            entity.host,
            entity.port,
            own_ae_title=entity.called_ae_title or self._config.ae_title,
            tls=tls.client_context(self._config, registered) if entity.tls else None,
            certificate_fits=partial(tls.shows_registered, registered) if entity.tls and registered else None,
        )
        return call(called, contexts, provided)


class ConnectToArchives:
    """senders/ again: the registered place of a partner as something that can be asked for imaging."""

    def __init__(self, config: Config, keyring: Keyring, call: CallAe) -> None:
        self._config, self._keyring, self._call = config, keyring, call

    def __call__(self, partner: Registration, place: RegisteredPlace) -> "ImagingSource":
        if isinstance(place, ApplicationEntity):
            return self._by_dimse(place)
        return self._by_dicomweb(partner, place)

    def _by_dimse(self, entity: ApplicationEntity) -> "ImagingSource":
        from gateway.senders.dicom_retrieve import DicomSource

        own_ae_title = entity.called_ae_title or self._config.ae_title
        address = f"{entity.ae_title}@{entity.host}:{entity.port}"
        return DicomSource(address, own_ae_title, partial(self._call, entity))

    def _by_dicomweb(self, partner: Registration, place: DicomWebEndpoint) -> "ImagingSource":
        from gateway.senders.bounded_session import Bounds
        from gateway.senders.dicomweb import DicomWebSource

        config = self._config
        bounds = Bounds(
            config.max_stow_bytes,
            silence_seconds=config.silence_seconds,
            slowest_bytes_per_second=config.slowest_bytes_per_second,
        )
        return DicomWebSource(place.url, self._authorization(partner), bounds)

    def _authorization(self, partner: Registration) -> Callable[[str], str]:
        from gateway.senders.access_tokens import Client
        from gateway.senders.dicomweb import basic_authorization, bearer_authorization, no_authorization

        if partner.dicomweb_login:
            return basic_authorization(partner.dicomweb_login)
        if not partner.dicomweb_token_url:
            return no_authorization
        scopes = partner.dicomweb_scopes or IMAGING_SCOPES
        client = Client(partner.dicomweb_token_url, partner.dicomweb_client_id, scopes)
        return bearer_authorization(partial(self._tokens.get, client))

    @cached_property
    def _tokens(self) -> "AccessTokens":
        return _access_tokens(self._keyring)


def _exported(services: "Services", export: "Export") -> "Iterator[Line]":
    """What the FHIR door would give of a partner's data, read by the process that exports."""
    from gateway.fhir.export_content import exported

    return exported(services, export)


def _answer_later(services: "Services", partner: "Partner", row: "AsyncRequestRow", spool: "Spool") -> str:
    """The FHIR door again, in the process that works off what need not be answered at once."""
    from gateway.fhir.async_bundle import answer_later

    return answer_later(services, partner, row, spool)


@dataclass(frozen=True, slots=True)
class Services:
    config: Config
    database: Database
    objects: ObjectStore
    jobs: Jobs
    keyring: Keyring
    push: Push
    notify: Notify
    call: CallAe
    connect: Connect
    limited: LimitedProcesses
    exported: "Exported"
    answer_later: "AnswerLater"


def build_services(config: Config) -> Services:
    """Wire the implementations that ``config`` names. Raises StoreUnavailable for a URL of none."""
    database = Database(config.sqlalchemy_url)
    keyring = Keyring(database, allow_loopback=config.host in LOOPBACK)
    objects, jobs = _object_store(config), Jobs(database)
    push, call = PushOverFhir(keyring), CallOverDicom(config)
    notify = NotifyOverHttp(allow_loopback=config.dev)
    connect, limited = ConnectToArchives(config, keyring, call), LimitedProcesses()
    return Services(
        config,
        database,
        objects,
        jobs,
        keyring,
        push,
        notify,
        call,
        connect,
        limited,
        _exported,
        _answer_later,
    )


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
    with _locked(config.data_dir):
        return _read_key(path) or _make_key(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go for a process that ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_key(path: Path) -> str:
    """Empty where there is none, also where a machine that lost power left a file without content."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def _make_key(path: Path) -> str:
    """Whole or not at all."""
    made = secrets.token_urlsafe(48)
    descriptor, unfinished = tempfile.mkstemp(prefix="secret-key-", dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    os.rename(unfinished, path)
    return made
