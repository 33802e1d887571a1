"""How figures are taken and written down: medians of five, and ratios of runs that followed one another."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median

RUNS = 5
MIB = 1024 * 1024

Row = tuple[str, str, str]
"""What the figure is, what is wanted, what was measured."""
Alone = Callable[[], Iterator[Row]]
"""Measures the gateway."""


@dataclass
class Comparison:
    """Seconds of the gateway and of its peer, in pairs: whatever else the machine did, it did it to both."""

    pairs: list[tuple[float, float]] = field(default_factory=list)

    def add(self, gateway: float, peer: float) -> None:
        self.pairs.append((gateway, peer))

    def cells(self) -> tuple[str, str, str]:
        gateway, peer = zip(*self.pairs, strict=True)
        ratio = median(ours / theirs for ours, theirs in self.pairs)
        return seconds(gateway), seconds(peer), f"{ratio:.2f} x"


@dataclass(frozen=True)
class Compared:
    """A figure of the gateway beside that of Orthanc. ``must`` and ``aim`` are ratios of the one to the other."""

    figure: str
    must: str
    aim: str
    measure: Callable[[], Comparison]


def seconds(taken: Iterable[float]) -> str:
    middle = median(taken)
    return f"{middle:.2f} s" if middle >= 0.1 else f"{middle * 1000:.1f} ms"
