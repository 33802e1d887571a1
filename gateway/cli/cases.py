"""``gateway case``: second-opinion cases."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.common import DATA_DIR, services

if TYPE_CHECKING:
    from gateway.case.fetching import Fetch
    from gateway.case.model import Case, CaseFinding
    from gateway.services import Services


@click.group()
def case() -> None:
    """Second-opinion cases."""


@case.command("list")
@DATA_DIR
def case_list(data_dir: Path | None) -> None:
    """One line a case: number, status, partner and last change."""
    from gateway.case.access import SYSTEM_ACTOR
    from gateway.store import cases

    with services(data_dir).database.reading() as session:
        for row in cases.every(session, SYSTEM_ACTOR):
            click.echo("\t".join([row.id, row.status, row.partner_id, f"{row.updated_at:%Y-%m-%d %H:%MZ}"]))


@case.command("show")
@click.argument("case_id", metavar="CASE")
@click.option("--json", "as_json", is_flag=True, help="The whole case.")
@DATA_DIR
def case_show(case_id: str, as_json: bool, data_dir: Path | None) -> None:
    """A case and its findings; the look is on the audit trail."""
    from gateway.case.access import Origin, Role, User
    from gateway.workflow import viewing

    operator = User("operator", "operator", frozenset({Role.INTAKE}))
    shown = viewing.view_case(services(data_dir), operator, case_id, Origin("command"))
    click.echo(_as_json(shown) if as_json else _as_text(shown))


@case.command("recheck")
@click.argument("case_ids", metavar="[CASE]...", nargs=-1)
@DATA_DIR
def case_recheck(case_ids: tuple[str, ...], data_dir: Path | None) -> None:
    """Look at cases again, all open ones where none is named, after a rule or a table has changed.

    One line for each finding that opens or closes by it.
    """
    from gateway.case.access import SYSTEM_ACTOR
    from gateway.case.status import OPEN
    from gateway.store import cases

    built = services(data_dir)
    with built.database.reading() as session:
        every = [row.id for row in cases.every(session, SYSTEM_ACTOR) if row.status in OPEN]
        wanted = [cases.row(session, SYSTEM_ACTOR, one).id for one in case_ids] or every
    changes = [_looked_at_again(built, case_id) for case_id in wanted]
    click.echo(f"{len(wanted)} looked at, {sum(changes)} changed.")


def _looked_at_again(built: "Services", case_id: str) -> bool:
    """Whether findings of the case have opened or closed."""
    from gateway.store import findings
    from gateway.workflow import intake

    changed = intake.check_case(built, case_id)
    keys = (*changed.opened, *changed.closed)
    with built.database.reading() as session:
        told = {held.finding.key: held for held in findings.of_case(session, case_id)}
    for key in keys:
        click.echo(f"{case_id}  {_finding_line(told[key])}")
    return bool(keys)


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
