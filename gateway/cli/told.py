"""``gateway commitment`` and ``gateway subscription``: what hospitals' systems have asked to be told."""

from pathlib import Path

import click

from gateway.cli.common import DATA_DIR, services


@click.group()
def commitment() -> None:
    """Storage commitments that hospitals' systems have asked for."""


@commitment.command("list")
@DATA_DIR
def commitment_list(data_dir: Path | None) -> None:
    """One line each, the newest first: id, state, partner, AE, number of instances, attempts, last error."""
    from gateway.store import commitments

    with services(data_dir).database.reading() as session:
        for row in commitments.newest(session):
            counts = (str(len(row.references)), str(row.attempts))
            click.echo("\t".join([row.id, row.state, row.partner_id, row.ae_title, *counts, row.last_error]))


@commitment.command("retry")
@click.argument("commitment_id", metavar="ID")
@DATA_DIR
def commitment_retry(commitment_id: str, data_dir: Path | None) -> None:
    """Report again what could not be delivered."""
    from gateway.workflow import commit_storage

    commit_storage.retry(services(data_dir), commitment_id)
    click.echo(f"Storage commitment {commitment_id} is reported again.")


@click.group()
def subscription() -> None:
    """Hospitals' subscriptions to what becomes of their cases."""


@subscription.command("list")
@DATA_DIR
def subscription_list(data_dir: Path | None) -> None:
    """One line each, the newest first: id, status, partner, topic, events, how many are sent, last error."""
    from gateway.clock import utc_now
    from gateway.store import subscriptions

    with services(data_dir).database.reading() as session:
        for row in subscriptions.newest(session):
            status = "deleted" if row.deleted_at else subscriptions.status_at(row, utc_now())
            counts = (str(row.events), str(row.sent))
            click.echo("\t".join([row.id, status, row.partner_id, row.topic, *counts, row.last_error]))
