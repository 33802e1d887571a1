"""What the commands share: where the data are, and the configuration."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.services import Services

DATA_DIR = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of database, files and keys."
)


class WrongConfiguration(click.ClickException):
    """An option or a GATEWAY_… variable that cannot be."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"gateway: {self.message}", err=True)


def configure(options: dict[str, Any]) -> "Config":
    """The configuration of the environment and of the options that were given, and this process set up by it."""
    from pydantic import ValidationError

    from gateway.config import Config
    from gateway.processes import data_folder, logs

    try:
        config = Config(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        raise WrongConfiguration("; ".join(_fault(fault) for fault in error.errors())) from None
    logs.configure(config.log_level)
    os.umask(data_folder.OWN_UMASK)
    return config


def _fault(fault: Any) -> str:
    """Without the value: it may be a secret."""
    name = ".".join(str(part) for part in fault["loc"])
    said = fault["msg"].removeprefix("Value error, ")
    return f"GATEWAY_{name.upper()}: {said}" if name else said


def services(data_dir: Path | None) -> "Services":
    """For a command that works on what is there, and makes no database by a mistaken folder."""
    from gateway.services import build_services

    built = build_services(configure({"data_dir": data_dir}))
    if not built.database.has_tables():
        raise GatewayError(
            f"There are no tables in {built.database.place}: "
            "run `gateway migrate` first, or name another folder with --data-dir."
        )
    return built
