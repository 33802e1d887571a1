"""Which partner calls on a DICOM association: by AE title, network address and certificate."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.auth import scopes
from gateway.auth.accounts import demo_partner
from gateway.case.access import Partner
from gateway.errors import Forbidden, UnknownSender
from gateway.store import partners
from gateway.store.partners import ApplicationEntity

if TYPE_CHECKING:
    from gateway.services import Services

FINGERPRINT = "sha256:"
_SHORT_NAMES = {  # of what openssl calls the attributes of a name (RFC 4514 3)
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """A peer's X.509 certificate, already verified by TLS.

    ``fingerprint`` is ``sha256:`` and 64 hex digits; ``subject`` is written as openssl's ``-nameopt RFC2253`` does.
    """

    fingerprint: str
    subject: str

    @classmethod
    def of(cls, connection: socket.socket) -> Certificate | None:
        """The one that the peer of a connection has shown; None without TLS, or where it has shown none."""
        if not isinstance(connection, ssl.SSLSocket):
            return None
        try:
            encoded = connection.getpeercert(binary_form=True)
            described: Any = connection.getpeercert()
        except (OSError, ValueError):  # it has closed meanwhile
            return None
        return cls(fingerprint_of(encoded), _subject(described)) if encoded and described else None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for an association, as the A-ASSOCIATE-RQ and the connection tell it."""

    ae_title: str
    called_ae_title: str = ""
    address: str = ""
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class KnownAe:
    """``entity`` is None for who is partner demo without being registered (``dev``)."""

    partner: Partner
    entity: ApplicationEntity | None

    def may_call(self, called_ae_title: str, own_ae_title: str) -> bool:
        """Whether the gateway is to be called so: by the title that is registered for this peer, else by its own."""
        if self.entity is None:
            return True
        return called_ae_title == (self.entity.called_ae_title or own_ae_title)


def authenticate_ae(services: Services, caller: Caller) -> Partner:
    """The partner whose application entity calls; raises UnknownSender."""
    return known_ae(services, caller).partner


@dataclass(frozen=True, slots=True)
class Recognised:
    """Whose application entity calls, and all that was registered of its title when it was asked; None: not asked."""

    partner: Partner
    mark: tuple[Any, ...] | None


def authenticate_again(services: Services, caller: Caller, before: Recognised) -> Recognised:
    """As ``authenticate_ae``, and cheap as long as the operator has changed nothing since ``before``."""
    with services.database.reading() as session:
        mark = partners.mark(session, caller.ae_title)
    if before.mark is not None and before.mark == mark:
        return before
    return Recognised(authenticate_ae(services, caller), mark)


def require_imaging_scope(partner: Partner, *interactions: str) -> None:
    """What DICOMweb asks of a token: of ImagingStudy one of the interactions c, r and s. Raises Forbidden."""
    if not any(scopes.allows(partner.scopes, "ImagingStudy", one) for one in interactions):
        raise Forbidden(f"This partner may not {scopes.INTERACTIONS[interactions[0]]} imaging.")


def known_ae(services: Services, caller: Caller) -> KnownAe:
    """The registered application entity that calls; leading and trailing spaces of its title mean nothing (PS3.5 6.2).

    With ``dev`` any other title is partner demo. Raises UnknownSender, also for a partner that is disabled and for a
    registered title that comes from another address or with another certificate.
    """
    with services.database.reading() as session:
        known = caller.ae_title.isprintable()  # PostgreSQL takes no NUL
        found = partners.by_calling_ae(session, caller.ae_title) if known else None
    if found is None:
        if services.config.dev:
            return KnownAe(demo_partner(services), None)
        raise UnknownSender("The calling AE title is not registered for any partner.")
    registration, entity = found
    if registration.disabled:
        raise UnknownSender("The calling AE title belongs to a partner that is disabled.")
    if not _comes_from(entity, caller.address):
        raise UnknownSender("The calling AE title is registered for another network address.")
    if entity.certificate and not is_certificate(caller.certificate, entity.certificate):
        raise UnknownSender("The calling AE title is registered with another certificate.")
    return KnownAe(registration.partner, entity)


def is_certificate(shown: Certificate | None, registered: str) -> bool:
    return shown is not None and registered in (shown.fingerprint, shown.subject)


def fingerprint_of(encoded: bytes) -> str:
    """Of a certificate in DER."""
    return FINGERPRINT + hashlib.sha256(encoded).hexdigest()


def _comes_from(entity: ApplicationEntity, address: str) -> bool:
    if not entity.addresses and not entity.host:
        return True
    try:
        caller = _plain(ipaddress.ip_address(address))
    except ValueError:
        return False
    networks = [ipaddress.ip_network(text) for text in entity.addresses] or _networks_of(entity.host)
    return any(caller in network for network in networks)


def _networks_of(host: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Every address of a host; none while its name cannot be resolved."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_network(_plain(ipaddress.ip_address(str(entry[4][0])))) for entry in found]


def _plain(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IPv4 address that a socket for both tells as IPv6."""
    return getattr(address, "ipv4_mapped", None) or address


def _subject(described: dict[str, Any]) -> str:
    """RFC 4514 2: the last relative name first."""
    names = [
        "+".join(f"{_SHORT_NAMES.get(kind, kind)}={_escaped(value)}" for kind, value in relative)
        for relative in described["subject"]
    ]
    return ",".join(reversed(names))


def _escaped(value: str) -> str:
    """RFC 4514 2.4."""
    escaped = "".join(f"\\{letter}" if letter in ',+"\\<>;' else letter for letter in value)
    return f"\\{escaped}" if escaped.startswith((" ", "#")) else escaped
