"""From where a study may be fetched: only from places that the operator registered for the partner of the records.

What a referral names is the sender's word, and could be any address of any network (server-side request forgery). It
only chooses among the registered places; the registered address is the one that is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, Self
from urllib.parse import urlsplit

from gateway.case.fetching import InstanceAddress
from gateway.case.model import ImagingPlace
from gateway.errors import GatewayError
from gateway.store.objects import Spool
from gateway.store.partners import ApplicationEntity, DicomWebEndpoint, Registration

RegisteredPlace = DicomWebEndpoint | ApplicationEntity
_PORTS = {"http": 80, "https": 443}


class Receiver(Protocol):
    """Takes what a source gives, instance by instance."""

    def goes_on(self) -> bool:
        """Whether to ask for the next one; no when the gateway stops, or nothing more may be asked of the partner."""
        ...

    def open_spool(self) -> Spool: ...

    def take(self, address: InstanceAddress, spool: Spool) -> bool:
        """Whether the file is the instance of that address, and is kept. Raises StoreUnavailable."""
        ...

    def look_again(self) -> None:
        """Something may have come by another door, as by C-MOVE."""
        ...

    def refuse(self, address: InstanceAddress, error: GatewayError) -> None:
        """The instance could not be had."""
        ...


class ImagingSource(Protocol):
    """A registered place that is asked, by DICOMweb or by DIMSE; a context manager.

    Raises PeerUnreachable (may succeed later), PeerRefused (a person must look), NotFound.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def channel(self) -> str: ...

    @property
    def address(self) -> str: ...

    def instances(self, study_instance_uid: str) -> list[InstanceAddress]:
        """What there is of the study. Raises NotFound when it is nothing."""
        ...

    def retrieve(
        self, study_instance_uid: str, wanted: Sequence[InstanceAddress], receiver: Receiver
    ) -> None:
        """Give these to the receiver. What is wrong with one of them is told to it, and stops no other."""
        ...


Connect = Callable[[Registration, RegisteredPlace], ImagingSource]
"""Makes the source of a registered place; nothing is sent before it is asked."""


def registered_places(named: Iterable[ImagingPlace], partner: Registration) -> list[RegisteredPlace]:
    """The partner's registered places that the records name, each once, in the records' order."""
    found = (place for name in named for place in _matches(name, partner))
    return list(dict.fromkeys(found))


def _matches(named: ImagingPlace, partner: Registration) -> Iterator[RegisteredPlace]:
    if named.url:
        origin = _origin(named.url)
        same = [e for e in partner.dicomweb_endpoints if origin is not None and _origin(e.url) == origin]
        yield from sorted(same, key=lambda e: not _is_below(named.url, e.url))[:1]
    if named.location_uid:
        yield from (e for e in partner.dicomweb_endpoints if e.location_uid == named.location_uid)
    if named.ae_title:
        entities = (ae for ae in partner.application_entities if ae.host)
        yield from (ae for ae in entities if ae.ae_title == named.ae_title.strip(" "))


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port (RFC 6454 4); None for what is no URL of HTTP, or names a user."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname.rstrip("."), port


def _is_below(url: str, base: str) -> bool:
    return f"{url.rstrip('/')}/".startswith(f"{base.rstrip('/')}/")
