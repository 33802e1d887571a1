"""Registers partners and staff, and refuses what could not work later, with every fault at once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gateway.auth import passwords, scopes
from gateway.auth.client_keys import read_jwks
from gateway.auth.record import COMMAND, OPERATOR, record
from gateway.case.access import Partner, Role, User
from gateway.case.fetching import is_uid
from gateway.errors import Conflict, InvalidContent, Issue, NotFound, UnknownSender
from gateway.public_network import url_fault
from gateway.store import partners, users
from gateway.store.partners import DEMO_PARTNER_ID, ApplicationEntity, Registration

if TYPE_CHECKING:
    from gateway.services import Services

_PARTNER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_AE_TITLE = re.compile(r"[ -\[\]-~]{1,16}")
_CLIENT_ID = re.compile(r"[!-~]{1,255}")
_CERTIFICATE = re.compile(r"|sha256:[0-9a-f]{64}|(?!sha256:)[A-Za-z0-9.]+=[^\x00-\x1f]{1,480}")
_LOGIN = re.compile(r"(?=.{1,500}$)[^:\s]+:\S+")
_SCOPE_TOKEN = re.compile(r"[!#-\[\]-~]{1,500}")  # RFC 6749 A.4
_MAX_NAME, _MAX_URL = 200, 500


def add_user(services: Services, login: str, name: str, password: str, roles: Iterable[str]) -> User:
    """Raises InvalidContent with every fault, Conflict when the login is taken."""
    login, name, wanted = passwords.normal_login(login), name.strip(), frozenset(roles)
    faults = [*_user_faults(login, name, wanted), *passwords.faults(password, login)]
    _refuse(faults, "The user was not added")
    password_hash = passwords.hashed(password)
    with services.database.transaction() as session:
        user = users.add(session, login, name, password_hash, wanted)
        record(session, OPERATOR, "add-user", user.actor, COMMAND)
        return user


def add_partner(services: Services, registration: Registration) -> Registration:
    """Raises InvalidContent with every fault, Conflict when the id or an AE title is taken."""
    new = _trimmed(registration)
    _refuse(_partner_faults(new, services.keyring.allow_loopback), "The partner was not added")
    with services.database.transaction() as session:
        partners.add(session, new)
        record(session, OPERATOR, "add-partner", new.partner.actor, COMMAND)
        return partners.get(session, new.id)


def change_partner(
    services: Services,
    partner_id: str,
    fields: Mapping[str, Any],
    without_aes: Collection[str] = (),
    aes: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Registration:
    """Replace ``fields`` of the Registration, and those that ``aes`` gives of its application entities by their titles.

    An application entity that is not there is added. A key set replaces a JWKS URL, and the other way round. Raises
    NotFound, InvalidContent with every fault, Conflict when an AE title is taken.
    """
    gone = {title.strip(" ") for title in without_aes}
    with services.database.transaction() as session:
        before = partners.get(session, partner_id, lock=True)
        unknown = sorted(gone - {ae.ae_title for ae in before.application_entities})
        new = _changed(before, fields, gone, aes)
        faults = [f"the AE title {title} is not one of its own" for title in unknown]
        faults += _partner_faults(new, services.keyring.allow_loopback)
        _refuse(faults, "The partner was not changed")
        partners.change(session, new)
        record(
            session, OPERATOR, "change-partner", new.partner.actor, COMMAND, changed=_differences(before, new)
        )
        return partners.get(session, new.id)


def disable_partner(services: Services, partner_id: str) -> None:
    """Its tokens, its assertions and its AEs stop at once; what it sent stays. Raises NotFound."""
    _set_disabled(services, partner_id, True, "disable-partner")


def enable_partner(services: Services, partner_id: str) -> None:
    """It is as it was before it was disabled. Raises NotFound."""
    _set_disabled(services, partner_id, False, "enable-partner")


def _set_disabled(services: Services, partner_id: str, disabled: bool, action: str) -> None:
    with services.database.transaction() as session:
        partners.set_disabled(session, partner_id, disabled)
        record(session, OPERATOR, action, f"partner:{partner_id}", COMMAND)


def _changed(
    before: Registration,
    fields: Mapping[str, Any],
    gone: Collection[str],
    aes: Mapping[str, Mapping[str, Any]],
) -> Registration:
    new = replace(before, **fields)
    if new.jwks is not None and new.jwks_url:
        if "jwks" not in fields:
            new = replace(new, jwks=None)
        elif "jwks_url" not in fields:
            new = replace(new, jwks_url="")
    kept = {ae.ae_title: ae for ae in before.application_entities if ae.ae_title not in gone}
    for spelt, changes in aes.items():
        title = spelt.strip(" ")
        kept[title] = replace(kept.get(title, ApplicationEntity(title)), **changes)
    return _trimmed(replace(new, application_entities=tuple(kept.values())))


def _trimmed(registration: Registration) -> Registration:
    """Spaces around a name mean nothing, nor do those around an AE title (PS3.5 6.2)."""
    entities = tuple(
        replace(ae, ae_title=ae.ae_title.strip(" "), called_ae_title=ae.called_ae_title.strip(" "))
        for ae in registration.application_entities
    )
    return replace(registration, name=registration.name.strip(), application_entities=entities)


def _differences(before: Registration, after: Registration) -> list[str]:
    """The names of the fields that differ; their values are for the table of partners only."""
    names = (field.name for field in dataclass_fields(Registration))
    return [name for name in names if getattr(before, name) != getattr(after, name)]


def demo_partner(services: Services) -> Partner:
    """The partner of everybody without credentials under ``dev``; registered when it is first met.

    Raises UnknownSender when it is disabled.
    """
    try:
        with services.database.reading() as session:
            known = partners.get(session, DEMO_PARTNER_ID)
        if known.disabled:
            raise UnknownSender("Partner demo is disabled.")
        return known.partner
    except NotFound:
        demo = Registration(DEMO_PARTNER_ID, "Demo hospital", scopes=scopes.ALL_SCOPES)
        try:
            return add_partner(services, demo).partner
        except Conflict:  # another thread or process has just met it too
            with services.database.reading() as session:
                return partners.get(session, DEMO_PARTNER_ID).partner


def _refuse(faults: list[str], what: str) -> None:
    if faults:
        issues = tuple(Issue("error", "invalid", fault) for fault in faults)
        raise InvalidContent(f"{what}: {'; '.join(faults)}.", issues)


def _user_faults(login: str, name: str, roles: frozenset[str]) -> list[str]:
    faults = []
    if not passwords.is_login(login):
        faults.append(
            "the login must be 1 to 100 letters, digits or . _ @ + - and begin with a letter or digit"
        )
    faults += _name_faults(name)
    if not roles or not roles <= set(Role):
        faults.append(f"a user has one or more of the roles {', '.join(Role)}")
    return faults


def _partner_faults(new: Registration, allow_loopback: bool) -> list[str]:
    faults = []
    if not _PARTNER_ID.fullmatch(new.id):
        faults.append("the id must be 1 to 64 letters, digits or . _ - and begin with a letter or digit")
    faults += _name_faults(new.name)
    if len(new.assigning_authority) > _MAX_NAME or not _is_one_word(new.assigning_authority):
        faults.append(
            f"the assigning authority must be a URI of at most {_MAX_NAME} characters without spaces"
        )
    faults += _key_faults(new, allow_loopback)
    faults += [
        f"the scope {scope} is no SMART system scope" for scope in new.scopes if not scopes.parse(scope)
    ]
    if not new.scopes:
        faults.append(f"at least one scope is needed, for example {scopes.ALL_SCOPES[0]}")
    faults += _push_faults(new)
    faults += _fetch_faults(new)
    faults += _ae_faults(new.application_entities)
    return faults


def _name_faults(name: str) -> list[str]:
    if 0 < len(name) <= _MAX_NAME and name.isprintable():
        return []
    return [f"the name must be 1 to {_MAX_NAME} printable characters"]


def _key_faults(new: Registration, allow_loopback: bool) -> list[str]:
    if new.jwks is not None and new.jwks_url:
        return ["either a JWKS or a JWKS URL is registered, not both"]
    if new.jwks is not None:
        keys, faults = read_jwks(new.jwks)
        kids = [key.kid for key in keys]
        if not keys and not faults:
            faults = ["it holds no key"]
        if len(set(kids)) < len(kids):
            faults.append("two keys have the same kid")
        return [f"in the JWKS, {fault}" for fault in faults]
    if new.jwks_url:
        return _url_faults("JWKS URL", new.jwks_url, allow_loopback)
    return []


def _push_faults(new: Registration) -> list[str]:
    """The senders take plain http to this machine, which nothing leaves by it, and https to any other."""
    faults = _url_faults("FHIR endpoint", new.fhir_endpoint, True) if new.fhir_endpoint else []
    faults += _token_faults("FHIR", new.fhir_token_url, new.fhir_client_id, new.fhir_scopes)
    if new.fhir_token_url and not new.fhir_endpoint:
        faults.append("a token URL needs the FHIR endpoint that its tokens are for")
    for url in new.notify_endpoints:
        faults += _url_faults("endpoint for notifications", url, True)
    return faults


def _fetch_faults(new: Registration) -> list[str]:
    """As for the FHIR endpoint; the address is a base to which paths are added."""
    faults = []
    for endpoint in new.dicomweb_endpoints:
        faults += _url_faults("DICOMweb endpoint", endpoint.url, True)
        if "?" in endpoint.url:
            faults.append("the DICOMweb endpoint must be a base URL without a query")
        if endpoint.location_uid and not is_uid(endpoint.location_uid):
            faults.append(f"the location {endpoint.location_uid[:80]} of a DICOMweb endpoint is no UID")
    faults += _token_faults("DICOMweb", new.dicomweb_token_url, new.dicomweb_client_id, new.dicomweb_scopes)
    if (new.dicomweb_token_url or new.dicomweb_login) and not new.dicomweb_endpoints:
        faults.append("a token URL or a login for DICOMweb needs the DICOMweb endpoint that it is for")
    if new.dicomweb_token_url and new.dicomweb_login:
        faults.append("either a token URL or a login is registered for DICOMweb, not both")
    if new.dicomweb_login and not _LOGIN.fullmatch(new.dicomweb_login):
        faults.append("the login for DICOMweb must be NAME:PASSWORD in printable characters, 500 at most")
    return faults


def _token_faults(what: str, token_url: str, client_id: str, wanted: tuple[str, ...]) -> list[str]:
    faults = _url_faults("token URL", token_url, True) if token_url else []
    if bool(token_url) != bool(client_id):
        faults.append("the token URL and the client id are registered together or not at all")
    if client_id and not _CLIENT_ID.fullmatch(client_id):
        faults.append("the client id must be 1 to 255 printable ASCII characters without spaces")
    if wanted and not token_url:
        faults.append(f"scopes for the {what} endpoint need the token URL that they are asked from")
    if not all(map(_SCOPE_TOKEN.fullmatch, wanted)):
        faults.append(f"a scope for the {what} endpoint must be one word of printable ASCII characters")
    return faults


def _url_faults(what: str, url: str, allow_loopback: bool) -> list[str]:
    fault = url_fault(url, allow_loopback=allow_loopback)
    if not fault and len(url) > _MAX_URL:
        fault = "it is too long"
    return [f"the {what} cannot be used: {fault}"] if fault else []


def _ae_faults(entities: tuple[ApplicationEntity, ...]) -> list[str]:
    """PS3.5 6.2, VR AE: 1 to 16 characters of the default repertoire without backslash and control characters."""
    faults = []
    for ae in entities:
        if not _AE_TITLE.fullmatch(ae.ae_title) or not _AE_TITLE.fullmatch(ae.called_ae_title or ae.ae_title):
            faults.append("an AE title must be 1 to 16 printable ASCII characters without backslash")
        if bool(ae.host) != bool(ae.port) or not 0 <= ae.port <= 65535 or not _is_one_word(ae.host):
            faults.append("an AE that the gateway calls needs a host and a port of 1 to 65535")
        if ae.tls and not ae.host:
            faults.append("TLS is for an AE that the gateway calls: it needs a host and a port")
        faults += [
            f"{text} is no IP address and no network in CIDR"
            for text in ae.addresses
            if not _is_network(text)
        ]
        if not _CERTIFICATE.fullmatch(ae.certificate):
            faults.append(
                "a certificate is told by sha256: and 64 hex digits, or by its subject such as CN=pacs,O=Clinic"
            )
    titles = [ae.ae_title for ae in entities]
    if len(set(titles)) < len(titles):
        faults.append("an AE title stands twice")
    return faults


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _is_one_word(text: str) -> bool:
    return text.isprintable() and " " not in text
