"""The options by which an operator describes a partner, and the fields of a Registration that they give."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from gateway.store.partners import ApplicationEntity, DicomWebEndpoint

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--jwks", type=click.File("rb"), help="File with the public keys of its client assertions."),
    click.option("--jwks-url", help="Where it publishes them."),
    click.option("--scope", "scopes", multiple=True, help="SMART system scope; several."),
    click.option("--assigning-authority", help="Issuer of its identifiers that name none."),
    click.option(
        "--ae",
        "entities",
        multiple=True,
        metavar="TITLE[@HOST:PORT]",
        help="DICOM peer; several. More of one: set-ae.",
    ),
    click.option("--fhir-endpoint", help="FHIR base URL that reports are pushed to."),
    click.option("--fhir-token-url", help="Token endpoint for that (SMART Backend Services)."),
    click.option("--fhir-client-id", help="The gateway's client id there; its keys are at /oauth/jwks."),
    click.option("--fhir-scope", "fhir_scopes", multiple=True, help="Scope asked there; several."),
    click.option(
        "--notify-endpoint",
        "notify_endpoints",
        multiple=True,
        help="URL at whose host it may be notified, also in an inner network; several.",
    ),
    click.option(
        "--dicomweb",
        "dicomweb",
        multiple=True,
        metavar="[LOCATION_UID=]URL",
        help="DICOMweb base URL that images may be fetched from; several.",
    ),
    click.option("--dicomweb-token-url", help="Token endpoint for that (SMART Backend Services)."),
    click.option("--dicomweb-client-id", help="The gateway's client id there; its keys are at /oauth/jwks."),
    click.option("--dicomweb-scope", "dicomweb_scopes", multiple=True, help="Scope asked there; several."),
    click.option(
        "--dicomweb-login",
        type=click.File("r"),
        help="File with NAME:PASSWORD, where it asks for HTTP Basic instead; an empty one takes it away.",
    ),
)


_AE_OPTIONS = (
    click.option(
        "--address", metavar="HOST:PORT", help="Where the gateway calls it; it must call from there too."
    ),
    click.option(
        "--called",
        "called_ae_title",
        metavar="TITLE",
        help="The only title by which it may call the gateway.",
    ),
    click.option(
        "--from",
        "addresses",
        multiple=True,
        metavar="CIDR",
        help="IP address or network it calls from; several.",
    ),
    click.option(
        "--certificate",
        metavar="TEXT|FILE",
        help="Its certificate, without which it is refused: SHA-256 fingerprint, subject, or PEM file.",
    ),
    click.option("--tls/--no-tls", default=None, help="Whether the gateway calls it by TLS."),
)


def partner_options(command: Command) -> Command:
    """Every field but the name; None, or nothing of what may be several, where it is not given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def ae_options(command: Command) -> Command:
    """Every field of an application entity but its title."""
    for option in reversed(_AE_OPTIONS):
        command = option(command)
    return command


def given_ae_fields(
    address: str | None, certificate: str | None, addresses: tuple[str, ...], **rest: Any
) -> dict[str, Any]:
    """What was given, by field of ApplicationEntity; an empty value stands for none."""
    fields = {name: value for name, value in rest.items() if value is not None}
    if address is not None:
        fields["host"], fields["port"] = _host_and_port(address, "--address") if address else ("", 0)
    if certificate is not None:
        fields["certificate"] = _certificate(certificate)
    if addresses:
        fields["addresses"] = tuple(filter(None, addresses))
    return fields


def given_fields(jwks: Any, entities: tuple[str, ...], **given: Any) -> dict[str, Any]:
    """What was given, by field of Registration; an empty scope or address stands for none."""
    fields = {name: value for name, value in given.items() if value is not None}
    for name in ("scopes", "fhir_scopes", "dicomweb_scopes", "notify_endpoints", "dicomweb"):
        if not fields[name]:
            del fields[name]
        else:
            fields[name] = tuple(filter(None, fields[name]))
    if "dicomweb" in fields:
        fields["dicomweb_endpoints"] = tuple(map(_dicomweb_endpoint, fields.pop("dicomweb")))
    if "dicomweb_login" in fields:
        fields["dicomweb_login"] = fields["dicomweb_login"].read().strip()
    if jwks is not None:
        fields["jwks"] = _json_object(jwks)
    if entities:
        fields["application_entities"] = tuple(map(_application_entity, entities))
    return fields


def _dicomweb_endpoint(text: str) -> DicomWebEndpoint:
    from gateway.store.partners import DicomWebEndpoint

    location_uid, equals, url = text.partition("=")
    is_uid = bool(equals) and location_uid.replace(".", "").isdecimal()
    return DicomWebEndpoint(url, location_uid) if is_uid else DicomWebEndpoint(text)


def _json_object(file: Any) -> dict[str, Any]:
    try:
        content = json.load(file)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise click.BadParameter("the file holds no JSON object", param_hint="--jwks")
    return content


def _application_entity(text: str) -> ApplicationEntity:
    from gateway.store.partners import ApplicationEntity

    title, at, address = text.partition("@")
    return ApplicationEntity(title, *(_host_and_port(address, "--ae") if at else ()))


def _host_and_port(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        wanted = "TITLE@HOST:PORT" if option == "--ae" else "HOST:PORT"
        raise click.BadParameter(f"{text} is not {wanted}", param_hint=option)
    return host.strip("[]"), int(port)


def _certificate(text: str) -> str:
    """As it is registered: a fingerprint without its colons, a subject as it stands, a file's fingerprint."""
    from gateway.auth.ae import FINGERPRINT, fingerprint_of

    file = Path(text)
    if text and file.is_file():
        try:
            return fingerprint_of(ssl.PEM_cert_to_DER_cert(file.read_text().strip()))
        except ValueError:
            raise click.BadParameter(
                "the file holds no certificate in PEM", param_hint="--certificate"
            ) from None
    digits = text.lower().removeprefix(FINGERPRINT).replace(":", "")
    return f"{FINGERPRINT}{digits}" if re.fullmatch("[0-9a-f]{64}", digits) else text
