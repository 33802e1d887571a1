"""Commands for who tries or develops the gateway."""

import sys
from pathlib import Path

import click

from gateway.cli.common import WrongConfiguration


@click.command()
@click.option("--keep", is_flag=True, envvar="KEEP", help="Leave the gateway running afterwards.")
def demo(keep: bool) -> None:
    """Play a whole case over the wire against a gateway of its own."""
    from gateway import demo as play

    sys.exit(play.main(keep))


@click.command("write-conformance")
@click.option("--project", type=click.Path(path_type=Path), default=".", help="The project's folder.")
def write_conformance(project: Path) -> None:
    """Write the parts of conformance/ that are read off the code."""
    from gateway import conformance

    try:
        changed = conformance.write(project)
    except FileNotFoundError as error:
        raise WrongConfiguration(str(error)) from None
    for file in changed:
        click.echo(f"Written: {file}")
