"""``gateway serve`` and its parts, the database, and the pre-flight of files."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.cli.common import DATA_DIR, configure, services
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.config import Config

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, dir_okay=False)
_READABLE = click.Path(path_type=Path, dir_okay=False, exists=True, readable=True)
_LISTEN = (
    click.option(
        "--dev", is_flag=True, default=None, help="For development: loopback only, anybody may do anything."
    ),
    DATA_DIR,
    click.option("--host", help="Address to listen on.  [default: 127.0.0.1]"),
    click.option("--http-port", type=int, help="[default: 8080]"),
    click.option("--dicom-port", type=int, help="Without TLS; 0 for none.  [default: 11112]"),
    click.option("--dicom-tls-port", type=int, help="With TLS; 0 for none.  [default: 0]"),
    click.option("--dicom-tls-certificate", type=_FILE, help="The gateway's certificate (PEM)."),
    click.option("--dicom-tls-key", type=_FILE, help="Its key, where that is another file."),
    click.option("--dicom-tls-ca", type=_FILE, help="Issuers of peers' certificates (PEM)."),
    click.option(
        "--dicom-tls-client-certificate",
        type=click.Choice(["none", "optional", "required"]),
        help="Whether peers that connect must show one.  [default: none]",
    ),
    click.option("--ae-title", help="This gateway's application entity.  [default: SECONDOPINION]"),
)


def _listen_options(command: Command) -> Command:
    for option in reversed(_LISTEN):
        command = option(command)
    return command


@click.command()
@_listen_options
def serve(**options: Any) -> None:
    """Run the whole gateway: web, DICOM and worker under one supervisor."""
    from gateway.processes import supervisor

    config = configure(options)
    if config.dev:
        click.echo(
            "WARNING: --dev lets everybody on this machine in as partner demo, with every role.", err=True
        )
    supervisor.serve(config, lambda: click.echo(_addresses(config)))


@click.command()
@_listen_options
def web(**options: Any) -> None:
    """Run the HTTP part alone."""
    from gateway.processes import data_folder, parts, web_server

    config = configure(options)
    data_folder.make(config.data_dir)
    try:
        listener = web_server.listen(config.host, config.http_port)
    except OSError as error:
        raise GatewayError(
            f"Cannot listen on {config.host}, port {config.http_port}: {error.strerror}."
        ) from error
    parts.web(config, listener)


@click.command()
@_listen_options
def dimse(**options: Any) -> None:
    """Run the DICOM part alone, in one process."""
    from gateway.processes import data_folder, parts

    config = configure(options)
    with data_folder.held(config.data_dir, parts.DIMSE):
        parts.dimse(config)


@click.command()
@DATA_DIR
def worker(**options: Any) -> None:
    """Run the worker part alone; one for each machine."""
    from gateway.processes import data_folder, parts

    config = configure(options)
    with data_folder.held(config.data_dir, parts.WORKER):
        parts.worker(config)


@click.command()
@DATA_DIR
def migrate(**options: Any) -> None:
    """Create or update the database's tables; `gateway serve` does so too."""
    from gateway.processes import data_folder, prepare

    config = configure(options)
    data_folder.make(config.data_dir)
    prepare.migrate(config)
    click.echo("The database is up to date.")


@click.command("search-again")
@DATA_DIR
def search_again(data_dir: Path | None) -> None:
    """Make anew what FHIR resources are found by, after the table of search parameters has changed."""
    from gateway.store import search_index

    with services(data_dir).database.transaction() as session:
        search_index.begin_again(session)
    click.echo("The next searches begin it.")


@click.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_READABLE)
@click.option("--partner", "partner_id", metavar="ID", help="Beside what this partner has sent so far.")
@DATA_DIR
def check(files: tuple[Path, ...], partner_id: str | None, data_dir: Path | None) -> None:
    """What would be answered to FHIR files, and what the checks would find; nothing of them is kept.

    Without --partner no gateway is needed, and nothing is known of what came before. Ends with 1 when a file would be
    refused or has an error.
    """
    from gateway.processes import check_files

    if partner_id is None:
        place = check_files.by_itself(configure({}))
    else:
        place = check_files.as_partner(services(data_dir), partner_id)
    has_error = False
    with place as (connected, sender):
        for file in files:
            issues = check_files.check_file(connected, sender, file)
            has_error = has_error or any(issue["severity"] in ("error", "fatal") for issue in issues)
            click.echo("\n".join([f"{file}", *map(_issue_line, issues)]))
    sys.exit(int(has_error))


def _issue_line(issue: dict[str, Any]) -> str:
    where = "".join(f"{place}: " for place in issue.get("expression", ()))
    return f"  {issue['severity']}  {where}{issue['diagnostics']}"


def _addresses(config: "Config") -> str:
    base = config.base_url
    ports = {"DICOM": config.dicom_port, "DICOM over TLS": config.dicom_tls_port}
    dicom = "  ".join(
        f"{name} {config.ae_title}@{config.host}:{port}" for name, port in ports.items() if port
    )
    return f"Ready. Pages {base}/  FHIR {config.fhir_base}  DICOMweb {base}/dicom-web  {dicom}"
