"""The operator's commands. Every option is also ``GATEWAY_…`` in the environment; an option that is given wins."""

import sys

import click

from gateway.cli import cases, partners, project, running, told, users
from gateway.errors import GatewayError


def main() -> None:
    """The console script: an expected error is one line and no stack."""
    try:
        cli.main(prog_name="gateway", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except GatewayError as error:
        from gateway.processes import logs

        click.echo(f"gateway: {logs.reason(error)}", err=True)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The gateway between referring hospitals and the children's hospital that gives second opinions."""


for _command in (
    *(running.serve, running.web, running.dimse, running.worker, running.migrate, running.search_again),
    *(running.check, project.demo, project.write_conformance),
    *(partners.partner, users.user, cases.case, told.commitment, told.subscription),
):
    cli.add_command(_command)
