"""Plays the steps, says which one failed, and leaves nothing running."""

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from gateway.demo.hospital import Hospital
from gateway.demo.page_picture import NAME as PICTURE
from gateway.demo.receiver import ReportReceiver
from gateway.demo.running import RunningGateway
from gateway.demo.staff import StaffMember
from gateway.demo.stage import Stage, example
from gateway.demo.steps import STEPS
from gateway.demo.timeline import StepFailed, Timeline

_WRITTEN = ("diagnostic-report.json", "report.pdf", "report.html", "case.json", PICTURE)


def main(keep: bool) -> int:
    """0 when every step was verified; ``keep`` leaves the gateway running until Ctrl-C."""
    signal.signal(signal.SIGTERM, _end)
    timeline = Timeline()
    try:
        with _stage(timeline) as stage:
            if not _play(stage):
                return 1
            click.echo(f"\nEvery step was verified, in {timeline.seconds:.0f} s.")
            if keep:
                _keep(stage)
    except StepFailed as reason:
        timeline.failed("the demo cannot be played", str(reason))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _end(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM unwinds, so that the gateway is stopped too."""
    sys.exit(143)


@contextmanager
def _stage(timeline: Timeline) -> Iterator[Stage]:
    """Everything that the demo needs, in a folder that is gone afterwards."""
    output = Path.cwd() / "demo-output"
    output.mkdir(exist_ok=True)
    for name in _WRITTEN:
        (output / name).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as name:
        folder = Path(name)
        with RunningGateway(folder) as gateway, ReportReceiver(f"{gateway.url}/oauth/jwks") as receiver:
            yield Stage(
                timeline=timeline,
                gateway=gateway,
                hospital=Hospital(gateway, folder),
                receiver=receiver,
                folder=folder,
                output=output,
                intake=StaffMember(gateway, "ines", "Ines Intake", "intake"),
                specialist=StaffMember(gateway, "sam", "Dr Sam Specialist", "specialist"),
                referral=example("referral-transaction.json"),
                supplement=example("supplement.json"),
            )


def _play(stage: Stage) -> bool:
    click.echo(
        "A second opinion from referral to report, over the wire. "
        "The child, the hospitals and the images are made up.\n"
    )
    for step in STEPS:
        try:
            step(stage)
        except Exception as error:  # noqa: BLE001 (edge of the process: whatever goes wrong is the step's failure)
            reason = str(error) if isinstance(error, StepFailed) else f"{type(error).__name__}: {error}"
            stage.timeline.failed(step.__name__.replace("_", " "), reason)
            click.echo(f"\nThe end of the gateway's log:\n{stage.gateway.log_tail()}")
            return False
    return True


def _keep(stage: Stage) -> None:
    click.echo(f"\nThe gateway runs on until Ctrl-C. Pages: {stage.gateway.url}/cases/{stage.case_id}")
    for member in (stage.intake, stage.specialist):
        click.echo(f"  {member.role:<11} login {member.login:<5} password {member.password}")
    with suppress(KeyboardInterrupt):
        stage.gateway.wait_until_it_ends()
