"""The operator's commands. Every option is also ``GATEWAY_…`` in the environment; an option that is given wins."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.errors import GatewayError
from gateway.partner_options import ae_options, given_ae_fields, given_fields, partner_options

if TYPE_CHECKING:
    from gateway.case.fetching import Fetch
    from gateway.case.model import Case, CaseFinding
    from gateway.config import Config
    from gateway.services import Services


class WrongConfiguration(click.ClickException):
    """An option or a GATEWAY_… variable that cannot be."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"gateway: {self.message}", err=True)


Command = TypeVar("Command", bound=Callable[..., Any])

_DATA_DIR = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of database, files and keys."
)
_FILE = click.Path(path_type=Path, dir_okay=False)
_READABLE = click.Path(path_type=Path, dir_okay=False, exists=True, readable=True)
_LISTEN = (
    click.option(
        "--dev", is_flag=True, default=None, help="For development: loopback only, anybody may do anything."
    ),
    _DATA_DIR,
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


@cli.command()
@_listen_options
def serve(**options: Any) -> None:
    """Run the whole gateway: web, DICOM and worker under one supervisor."""
    from gateway.processes import supervisor

    config = _configure(options)
    if config.dev:
        click.echo(
            "WARNING: --dev lets everybody on this machine in as partner demo, with every role.", err=True
        )
    supervisor.serve(config, lambda: click.echo(_addresses(config)))


@cli.command()
@_listen_options
def web(**options: Any) -> None:
    """Run the HTTP part alone."""
    from gateway.processes import data_folder, parts, web_server

    config = _configure(options)
    data_folder.make(config.data_dir)
    try:
        listener = web_server.listen(config.host, config.http_port)
    except OSError as error:
        raise GatewayError(
            f"Cannot listen on {config.host}, port {config.http_port}: {error.strerror}."
        ) from error
    parts.web(config, listener)


@cli.command()
@_listen_options
def dimse(**options: Any) -> None:
    """Run the DICOM part alone, in one process."""
    from gateway.processes import data_folder, parts

    config = _configure(options)
    with data_folder.held(config.data_dir, parts.DIMSE):
        parts.dimse(config)


@cli.command()
@_DATA_DIR
def worker(**options: Any) -> None:
    """Run the worker part alone; one for each machine."""
    from gateway.processes import data_folder, parts

    config = _configure(options)
    with data_folder.held(config.data_dir, parts.WORKER):
        parts.worker(config)


@cli.command()
@_DATA_DIR
def migrate(**options: Any) -> None:
    """Create or update the database's tables; `gateway serve` does so too."""
    from gateway.processes import data_folder, prepare

    config = _configure(options)
    data_folder.make(config.data_dir)
    prepare.migrate(config)
    click.echo("The database is up to date.")


@cli.command("search-again")
@_DATA_DIR
def search_again(data_dir: Path | None) -> None:
    """Make anew what FHIR resources are found by, after the table of search parameters has changed."""
    from gateway.store import search_index

    with _services(data_dir).database.transaction() as session:
        search_index.begin_again(session)
    click.echo("The next searches begin it.")


@cli.command()
@click.option("--keep", is_flag=True, envvar="KEEP", help="Leave the gateway running afterwards.")
def demo(keep: bool) -> None:
    """Play a whole case over the wire against a gateway of its own."""
    from gateway import demo as play

    sys.exit(play.main(keep))


@cli.command("write-conformance")
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


@cli.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_READABLE)
@click.option("--partner", "partner_id", metavar="ID", help="Beside what this partner has sent so far.")
@_DATA_DIR
def check(files: tuple[Path, ...], partner_id: str | None, data_dir: Path | None) -> None:
    """What would be answered to FHIR files, and what the checks would find; nothing of them is kept.

    Without --partner no gateway is needed, and nothing is known of what came before. Ends with 1 when a file would be
    refused or has an error.
    """
    from gateway.processes import check_files

    if partner_id is None:
        place = check_files.by_itself(_configure({}))
    else:
        place = check_files.as_partner(_services(data_dir), partner_id)
    has_error = False
    with place as (services, sender):
        for file in files:
            issues = check_files.check_file(services, sender, file)
            has_error = has_error or any(issue["severity"] in ("error", "fatal") for issue in issues)
            click.echo("\n".join([f"{file}", *map(_issue_line, issues)]))
    sys.exit(int(has_error))


@cli.group()
def partner() -> None:
    """Referring hospitals and their systems."""


@partner.command("add")
@click.argument("partner_id", metavar="ID")
@click.option("--name", required=True, help="The hospital's name, as staff read it.")
@partner_options
@_DATA_DIR
def partner_add(partner_id: str, data_dir: Path | None, **given: Any) -> None:
    """Register a partner. Without --scope it may do everything (system/*.cruds) with what is its own."""
    from gateway.auth import accounts
    from gateway.store.partners import Registration

    added = accounts.add_partner(_services(data_dir), Registration(partner_id, **given_fields(**given)))
    click.echo(f"Partner {added.id} is registered.")


@partner.command("change")
@click.argument("partner_id", metavar="ID")
@click.option("--name", help="The hospital's name, as staff read it.")
@partner_options
@click.option("--remove-ae", "removed", multiple=True, metavar="TITLE", help="DICOM peer to forget; several.")
@_DATA_DIR
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
    changed = accounts.change_partner(_services(data_dir), partner_id, fields, removed, aes)
    click.echo(f"Partner {changed.id} is changed.")


@partner.command("set-ae")
@click.argument("partner_id", metavar="ID")
@click.argument("ae_title", metavar="TITLE")
@ae_options
@_DATA_DIR
def partner_set_ae(partner_id: str, ae_title: str, data_dir: Path | None, **given: Any) -> None:
    """Add a DICOM peer to a partner, or change what is given of it; the rest stays, and "" takes a value away.

    An application entity is let in by its title, and where they are registered by the address it calls from, the title
    it calls the gateway by, and its certificate. `change --remove-ae` forgets it.
    """
    from gateway.auth import accounts

    accounts.change_partner(_services(data_dir), partner_id, {}, aes={ae_title: given_ae_fields(**given)})
    click.echo(f"AE {ae_title.strip()} of partner {partner_id} is registered.")


@partner.command("disable")
@click.argument("partner_id", metavar="ID")
@_DATA_DIR
def partner_disable(partner_id: str, data_dir: Path | None) -> None:
    """Let a partner in no more, and send it nothing; what it sent stays."""
    from gateway.auth import accounts

    accounts.disable_partner(_services(data_dir), partner_id)
    click.echo(f"Partner {partner_id} is disabled.")


@partner.command("enable")
@click.argument("partner_id", metavar="ID")
@_DATA_DIR
def partner_enable(partner_id: str, data_dir: Path | None) -> None:
    """Let a disabled partner in again."""
    from gateway.auth import accounts

    accounts.enable_partner(_services(data_dir), partner_id)
    click.echo(f"Partner {partner_id} is enabled.")


@partner.command("list")
@_DATA_DIR
def partner_list(data_dir: Path | None) -> None:
    """One line a partner: id, name, AE titles, and whether it is disabled."""
    from gateway.store import partners

    with _services(data_dir).database.reading() as session:
        for found in partners.every(session):
            titles = ", ".join(ae.ae_title for ae in found.application_entities)
            click.echo("\t".join([found.id, found.name, titles, *(["disabled"] if found.disabled else [])]))


@partner.command("show")
@click.argument("partner_id", metavar="ID")
@_DATA_DIR
def partner_show(partner_id: str, data_dir: Path | None) -> None:
    """All that is known of a partner, as JSON."""
    from dataclasses import asdict

    from gateway.store import partners

    with _services(data_dir).database.reading() as session:
        found = partners.get(session, partner_id)
    login = "(registered)" if found.dicomweb_login else ""
    click.echo(json.dumps(asdict(found) | {"dicomweb_login": login}, indent=2, ensure_ascii=False))


@cli.group()
def commitment() -> None:
    """Storage commitments that hospitals' systems have asked for."""


@commitment.command("list")
@_DATA_DIR
def commitment_list(data_dir: Path | None) -> None:
    """One line each, the newest first: id, state, partner, AE, number of instances, attempts, last error."""
    from gateway.store import commitments

    with _services(data_dir).database.reading() as session:
        for row in commitments.newest(session):
            counts = (str(len(row.references)), str(row.attempts))
            click.echo("\t".join([row.id, row.state, row.partner_id, row.ae_title, *counts, row.last_error]))


@commitment.command("retry")
@click.argument("commitment_id", metavar="ID")
@_DATA_DIR
def commitment_retry(commitment_id: str, data_dir: Path | None) -> None:
    """Report again what could not be delivered."""
    from gateway.workflow import commit_storage

    commit_storage.retry(_services(data_dir), commitment_id)
    click.echo(f"Storage commitment {commitment_id} is reported again.")


@cli.group()
def subscription() -> None:
    """Hospitals' subscriptions to what becomes of their cases."""


@subscription.command("list")
@_DATA_DIR
def subscription_list(data_dir: Path | None) -> None:
    """One line each, the newest first: id, status, partner, topic, events, how many are sent, last error."""
    from gateway.clock import utc_now
    from gateway.store import subscriptions

    with _services(data_dir).database.reading() as session:
        for row in subscriptions.newest(session):
            status = "deleted" if row.deleted_at else subscriptions.status_at(row, utc_now())
            counts = (str(row.events), str(row.sent))
            click.echo("\t".join([row.id, status, row.partner_id, row.topic, *counts, row.last_error]))


@cli.group()
def user() -> None:
    """Staff who sign in to the pages."""


@user.command("add")
@click.argument("login")
@click.option("--name", required=True, help="As it stands in a signed opinion.")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(["intake", "specialist"]))
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, not from a prompt."
)
@_DATA_DIR
def user_add(
    login: str, name: str, roles: tuple[str, ...], password_stdin: bool, data_dir: Path | None
) -> None:
    """Add a member of staff."""
    from gateway.auth import accounts

    password = sys.stdin.readline().rstrip("\n") if password_stdin else _prompted_password()
    accounts.add_user(_services(data_dir), login, name, password, roles)
    click.echo(f"User {login} is added.")


@cli.group()
def case() -> None:
    """Second-opinion cases."""


@case.command("list")
@_DATA_DIR
def case_list(data_dir: Path | None) -> None:
    """One line a case: number, status, partner and last change."""
    from gateway.case.access import SYSTEM_ACTOR
    from gateway.store import cases

    with _services(data_dir).database.reading() as session:
        for row in cases.every(session, SYSTEM_ACTOR):
            click.echo("\t".join([row.id, row.status, row.partner_id, f"{row.updated_at:%Y-%m-%d %H:%MZ}"]))


@case.command("show")
@click.argument("case_id", metavar="CASE")
@click.option("--json", "as_json", is_flag=True, help="The whole case.")
@_DATA_DIR
def case_show(case_id: str, as_json: bool, data_dir: Path | None) -> None:
    """A case and its findings; the look is on the audit trail."""
    from gateway.case.access import Origin, Role, User
    from gateway.workflow import viewing

    operator = User("operator", "operator", frozenset({Role.INTAKE}))
    shown = viewing.view_case(_services(data_dir), operator, case_id, Origin("command"))
    click.echo(_as_json(shown) if as_json else _as_text(shown))


def _configure(options: dict[str, Any]) -> "Config":
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


def _services(data_dir: Path | None) -> "Services":
    """For a command that works on what is there, and makes no database by a mistaken folder."""
    from gateway.services import build_services

    services = build_services(_configure({"data_dir": data_dir}))
    if not services.database.has_tables():
        raise GatewayError(
            f"There are no tables in {services.database.place}: "
            "run `gateway migrate` first, or name another folder with --data-dir."
        )
    return services


def _prompted_password() -> str:
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def _as_json(shown: "Case") -> str:
    from pydantic import TypeAdapter

    from gateway.case.model import Case

    return TypeAdapter(Case).dump_json(shown, indent=2).decode()


def _as_text(shown: "Case") -> str:
    lines = [
        f"{shown.id}  {shown.status}  {shown.partner_name}",
        f"opened {shown.opened_at:%Y-%m-%d %H:%MZ}, changed {shown.updated_at:%Y-%m-%d %H:%MZ}",
        f"{len(shown.studies)} studies, {len(shown.opinions)} opinions",
        *map(_fetch_line, shown.fetches),
        *map(_finding_line, shown.findings),
    ]
    return "\n".join(lines)


def _fetch_line(fetch: "Fetch") -> str:
    """Counts, and what could not be had and why."""
    of = fetch.expected if fetch.expected is not None else "?"
    later = f"next try {fetch.next_try_at:%Y-%m-%d %H:%M:%SZ}" if fetch.next_try_at else ""
    told = "; ".join(filter(None, (fetch.reason, later)))
    return f"fetch {fetch.state:8} {fetch.study_instance_uid} {fetch.here} of {of} {told}".rstrip()


def _finding_line(held: "CaseFinding") -> str:
    found = held.finding
    return f"{held.state:8} {found.severity:8} {': '.join(filter(None, (found.subject, found.text)))}"


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


if __name__ == "__main__":
    main()
