"""What the demo tells as it happens: one line a step, with the seconds since the start."""

import time
from collections.abc import Iterable

import click


class StepFailed(Exception):
    """What was expected and what was found instead."""


def require(truth: object, otherwise: str) -> None:
    if not truth:
        raise StepFailed(otherwise)


class Timeline:
    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def done(self, text: str, details: Iterable[str] = ()) -> None:
        click.echo(f"{self.seconds:6.1f} s  {click.style('✓', fg='green')} {text}")
        for detail in details:
            click.echo(f"{'':10}  {detail}")

    def failed(self, step: str, reason: str) -> None:
        click.echo(f"{self.seconds:6.1f} s  {click.style('✗', fg='red')} {step}: {reason}")
