"""Plays the steps, says which one failed, and leaves nothing running."""

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from gateway.demo.folders import alone_in, passing_folder
from gateway.demo.hospital import Hospital
from gateway.demo.page_picture import NAME as PICTURE
from gateway.demo.receiver import ReportReceiver
from gateway.demo.running import RunningGateway
from gateway.demo.staff import StaffMember
from gateway.demo.stage import Stage, example
from gateway.demo.steps import STEPS
from gateway.demo.timeline import StepFailed, Timeline

_DCMTK = ("echoscu", "storescu")
_WRITTEN = ("diagnostic-report.json", "report.pdf", "report.html", "case.json", PICTURE)


def main(keep: bool) -> int:
    """0 when every step was verified; ``keep`` leaves the gateway running until Ctrl-C."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # nohup has it ignored
            signal.signal(ending, _end)
    timeline = Timeline()
    try:
        _require_dcmtk()
        with _stage(timeline) as stage:
            with alone_in(stage.output):
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


def _end(received: int, _frame: FrameType | None) -> None:
    """SIGTERM, or the terminal's end, unwinds, so that the gateway is stopped too."""
    sys.exit(128 + received)


def _require_dcmtk() -> None:
    missing = [program for program in _DCMTK if shutil.which(program) is None]
    if missing:
        raise StepFailed(
            f"{' and '.join(missing)} of dcmtk, which play the PACS, are not on the PATH: "
            "make setup installs them, or apt-get install dcmtk"
        )


@contextmanager
def _stage(timeline: Timeline) -> Iterator[Stage]:
    """Everything that the demo needs, in a folder that is gone afterwards."""
    output = Path.cwd() / "demo-output"
    output.mkdir(exist_ok=True)
    with (
        passing_folder() as folder,
        RunningGateway(folder) as gateway,
        ReportReceiver(f"{gateway.url}/oauth/jwks") as receiver,
    ):
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
    for name in _WRITTEN:
        (stage.output / name).unlink(missing_ok=True)
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
