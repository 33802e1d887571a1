"""``gateway partner``: referring hospitals and their systems."""

import json
from pathlib import Path
from typing import Any

import click

from gateway.cli.common import DATA_DIR, services
from gateway.cli.partner_options import ae_options, given_ae_fields, given_fields, partner_options


@click.group()
def partner() -> None:
    """Referring hospitals and their systems."""


@partner.command("add")
@click.argument("partner_id", metavar="ID")
@click.option("--name", required=True, help="The hospital's name, as staff read it.")
@partner_options
@DATA_DIR
def partner_add(partner_id: str, data_dir: Path | None, **given: Any) -> None:
    """Register a partner. Without --scope it may do everything (system/*.cruds) with what is its own."""
    from gateway.auth import accounts
    from gateway.store.partners import Registration

    added = accounts.add_partner(services(data_dir), Registration(partner_id, **given_fields(**given)))
    click.echo(f"Partner {added.id} is registered.")


@partner.command("change")
@click.argument("partner_id", metavar="ID")
@click.option("--name", help="The hospital's name, as staff read it.")
@partner_options
@click.option("--remove-ae", "removed", multiple=True, metavar="TITLE", help="DICOM peer to forget; several.")
@DATA_DIR
def partner_change(partner_id: str, removed: tuple[str, ...], data_dir: Path | None, **given: Any) -> None:
    """Change a partner: what is given holds at once, the rest stays.

    Scopes and keys are replaced as a whole; --ae adds a peer, or changes the one of that title. An empty value
    ("") takes a text or the scopes for the FHIR endpoint away.
    """
    from gateway.auth import accounts

    fields = given_fields(**given)
    if not fields and not removed:
        raise click.UsageError("say what is to be changed")
    entities = fields.pop("application_entities", ())
    aes = {ae.ae_title: {"host": ae.host, "port": ae.port} if ae.host else {} for ae in entities}
    changed = accounts.change_partner(services(data_dir), partner_id, fields, removed, aes)
    click.echo(f"Partner {changed.id} is changed.")


@partner.command("set-ae")
@click.argument("partner_id", metavar="ID")
@click.argument("ae_title", metavar="TITLE")
@ae_options
@DATA_DIR
def partner_set_ae(partner_id: str, ae_title: str, data_dir: Path | None, **given: Any) -> None:
    """Add a DICOM peer to a partner, or change what is given of it; the rest stays, and "" takes a value away.

    An application entity is let in by its title, and where they are registered by the address it calls from, the title
    it calls the gateway by, and its certificate. `change --remove-ae` forgets it.
    """
    from gateway.auth import accounts

    accounts.change_partner(services(data_dir), partner_id, {}, aes={ae_title: given_ae_fields(**given)})
    click.echo(f"AE {ae_title.strip()} of partner {partner_id} is registered.")


@partner.command("disable")
@click.argument("partner_id", metavar="ID")
@DATA_DIR
def partner_disable(partner_id: str, data_dir: Path | None) -> None:
    """Let a partner in no more, and send it nothing; what it sent stays."""
    from gateway.auth import accounts

    accounts.disable_partner(services(data_dir), partner_id)
    click.echo(f"Partner {partner_id} is disabled.")


@partner.command("enable")
@click.argument("partner_id", metavar="ID")
@DATA_DIR
def partner_enable(partner_id: str, data_dir: Path | None) -> None:
    """Let a disabled partner in again."""
    from gateway.auth import accounts

    accounts.enable_partner(services(data_dir), partner_id)
    click.echo(f"Partner {partner_id} is enabled.")


@partner.command("list")
@DATA_DIR
def partner_list(data_dir: Path | None) -> None:
    """One line a partner: id, name, AE titles, and whether it is disabled."""
    from gateway.store import partners

    with services(data_dir).database.reading() as session:
        for found in partners.every(session):
            titles = ", ".join(ae.ae_title for ae in found.application_entities)
            click.echo("\t".join([found.id, found.name, titles, *(["disabled"] if found.disabled else [])]))


@partner.command("show")
@click.argument("partner_id", metavar="ID")
@DATA_DIR
def partner_show(partner_id: str, data_dir: Path | None) -> None:
    """All that is known of a partner, as JSON."""
    from dataclasses import asdict

    from gateway.store import partners

    with services(data_dir).database.reading() as session:
        found = partners.get(session, partner_id)
    login = "(registered)" if found.dicomweb_login else ""
    click.echo(json.dumps(asdict(found) | {"dicomweb_login": login}, indent=2, ensure_ascii=False))
