"""The options by which an operator describes a partner, and the fields of a Registration that they give."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from gateway.store.partners import ApplicationEntity

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--jwks", type=click.File("rb"), help="File with the public keys of its client assertions."),
    click.option("--jwks-url", help="Where it publishes them."),
    click.option("--scope", "scopes", multiple=True, help="SMART system scope; several."),
    click.option("--assigning-authority", help="Issuer of its identifiers that name none."),
    click.option("--ae", "entities", multiple=True, metavar="TITLE[@HOST:PORT]", help="DICOM peer; several."),
    click.option("--fhir-endpoint", help="FHIR base URL that reports are pushed to."),
    click.option("--fhir-token-url", help="Token endpoint for that (SMART Backend Services)."),
    click.option("--fhir-client-id", help="The gateway's client id there; its keys are at /oauth/jwks."),
    click.option("--fhir-scope", "fhir_scopes", multiple=True, help="Scope asked there; several."),
)


def partner_options(command: Command) -> Command:
    """Every field but the name; None, or nothing of what may be several, where it is not given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given_fields(
    jwks: Any, scopes: tuple[str, ...], entities: tuple[str, ...], fhir_scopes: tuple[str, ...], **texts: Any
) -> dict[str, Any]:
    """What was given, by field of Registration; an empty scope stands for none."""
    fields = {name: text for name, text in texts.items() if text is not None}
    if jwks is not None:
        fields["jwks"] = _json_object(jwks)
    if scopes:
        fields["scopes"] = tuple(filter(None, scopes))
    if fhir_scopes:
        fields["fhir_scopes"] = tuple(filter(None, fhir_scopes))
    if entities:
        fields["application_entities"] = tuple(map(_application_entity, entities))
    return fields


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
    if not at:
        return ApplicationEntity(title)
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise click.BadParameter(f"{text} is not TITLE@HOST:PORT", param_hint="--ae")
    return ApplicationEntity(title, host.strip("[]"), int(port))
