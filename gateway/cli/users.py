"""``gateway user``: staff who sign in to the pages."""

import sys
from pathlib import Path

import click

from gateway.cli.common import DATA_DIR, services


@click.group()
def user() -> None:
    """Staff who sign in to the pages."""


@user.command("add")
@click.argument("login")
@click.option("--name", required=True, help="As it stands in a signed opinion.")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(["intake", "specialist"]))
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, not from a prompt."
)
@DATA_DIR
def user_add(
    login: str, name: str, roles: tuple[str, ...], password_stdin: bool, data_dir: Path | None
) -> None:
    """Add a member of staff."""
    from gateway.auth import accounts

    password = sys.stdin.readline().rstrip("\n") if password_stdin else _prompted_password()
    accounts.add_user(services(data_dir), login, name, password, roles)
    click.echo(f"User {login} is added.")


def _prompted_password() -> str:
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
