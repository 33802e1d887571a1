"""A phantom of a liver mass on ultrasound: speckle in the sector of a curved transducer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]

HEIGHT, WIDTH, CM_PER_PIXEL = 480, 640, 0.03


@dataclass(frozen=True)
class View:
    """One position of the transducer; ``seed`` makes its speckle and moves the mass a little."""

    label: str
    seed: int
    shift: float = 0.0

    @property
    def is_doppler(self) -> bool:
        return self.seed == 2


def annotated(view: View) -> Pixels:
    """RGB with what the machine writes: the view, the depth in cm, calipers across the mass, the colour bar."""
    image = Image.fromarray(_doppler(_sector(view)) if view.is_doppler else _sector(view))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(14)
    draw.text((12, 10), "ABD  C5-1  13 cm  MI 0.9", fill=(170, 170, 170), font=font)
    draw.text((12, HEIGHT - 26), view.label, fill=(230, 230, 120), font=font)
    for cm in range(1, 14):
        y = 40 + cm / CM_PER_PIXEL
        draw.line((WIDTH - 14, y, WIDTH - (4 if cm % 5 else 0), y), fill=(170, 170, 170))
    if view.seed == 0:
        _calipers(draw, font, view.shift)
    return np.asarray(image)


def _calipers(draw: ImageDraw.ImageDraw, font: Any, shift: float) -> None:
    ends = ((_MASS[0] - _MASS_RADII[0], _MASS[1] + shift), (_MASS[0] + _MASS_RADII[0], _MASS[1] + shift))
    for x, y in ends:
        draw.line((x - 6, y, x + 6, y), fill=(255, 255, 0))
        draw.line((x, y - 6, x, y + 6), fill=(255, 255, 0))
    length = 2 * _MASS_RADII[0] * CM_PER_PIXEL
    draw.text((WIDTH - 150, HEIGHT - 26), f"+ Dist {length:.2f} cm", fill=(255, 255, 0), font=font)


_MASS, _MASS_RADII = (330, 250), (125, 104)
_APEX, _NEAR, _FAR, _HALF_ANGLE = (320, -110), 160, 585, 38.0


def _sector(view: View) -> Pixels:
    """Speckle shaped by what the beam meets, in the sector of a curved transducer; grey in RGB."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    depth = np.hypot(x - _APEX[0], y - _APEX[1])
    angle = np.degrees(np.arctan2(x - _APEX[0], y - _APEX[1]))
    echo = _echogenicity(x, y - view.shift, view) * np.exp(-((depth - 330) ** 2) / 180000.0)
    echo = np.where(_shadow(angle, depth, view), echo * 0.3, echo)
    grey = 82 * _softened(echo) * _speckle(view, depth, angle) ** 0.8
    inside = (depth > _NEAR) & (depth < _FAR) & (np.abs(angle) < _HALF_ANGLE)
    grey = np.where(inside, np.where(depth < _NEAR + 10, 200, grey), 0)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _speckle(view: View, depth: Floats, angle: Floats) -> Floats:
    """Rayleigh speckle made on a grid of depth and angle, so that it widens with depth as in a real beam."""
    grid: Floats = np.random.default_rng(100 + view.seed).rayleigh(1.0, (440, 230))
    for axis in (0, 1, 1):
        grid = (np.roll(grid, 1, axis) + 2 * grid + np.roll(grid, -1, axis)) / 4
    rows = np.clip(depth - _NEAR + view.shift, 0, 439).astype(int)
    columns = np.clip((angle + 45) * 2.5, 0, 229).astype(int)
    found: Floats = grid[rows, columns]
    return found


def _echogenicity(x: Floats, y: Floats, view: View) -> Floats:
    """1 is liver. The mass is brighter and uneven, with a dark rim, a necrotic centre and calcifications."""
    echo = np.ones_like(x)
    lean = 30.0 * view.seed
    dx, dy = (x - _MASS[0] + lean) / _MASS_RADII[0], (y - _MASS[1]) / _MASS_RADII[1]
    mass = (dx**2 + dy**2) * (1 + 0.09 * np.sin(5 * np.arctan2(dy, dx) + view.seed))
    uneven = np.random.default_rng(50 + view.seed).normal(1.0, 0.5, (12, 16))
    lobules = np.asarray(Image.fromarray(uneven).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    echo = np.where(mass < 1.12, 0.55, echo)
    echo = np.where(mass < 1, 1.5 * np.clip(lobules, 0.6, 1.35), echo)
    echo = np.where(((x - 310 + lean) / 42) ** 2 + ((y - 262) / 30) ** 2 < 1, 0.3, echo)
    for cx, cy in _calcifications(view):
        echo = np.where((x - cx) ** 2 + (y - cy) ** 2 < 16, 3.4, echo)
    for cx, cy, rx, ry in ((128, 250, 40, 8), (505, 190, 46, 7), (190, 400, 60, 9), (520, 330, 26, 11)):
        vessel = ((x - cx) / rx) ** 2 + ((y - cy + 0.2 * (x - cx)) / ry) ** 2
        echo = np.where(vessel < 1.35, 1.5, echo)
        echo = np.where(vessel < 1, 0.08, echo)
    return np.where(np.abs(y - 440 + 0.0012 * (x - 320) ** 2) < 3, 2.4, echo)  # the diaphragm


def _softened(echo: Floats) -> Floats:
    """Organs have no sharp edge for a beam some millimetres wide."""
    for axis in (0, 1, 0, 1, 1):
        echo = (np.roll(echo, 2, axis) + 2 * echo + np.roll(echo, -2, axis)) / 4
    return echo


def _calcifications(view: View) -> list[tuple[float, float]]:
    rng = np.random.default_rng(20 + view.seed)
    return [(float(x), float(y)) for x, y in rng.normal((360 - 30 * view.seed, 235), (34, 24), (6, 2))]


def _shadow(angle: Floats, depth: Floats, view: View) -> NDArray[np.bool_]:
    """No sound passes the coarse calcifications: behind them it is dark."""
    dark = np.zeros(depth.shape, dtype=bool)
    for x, y in _calcifications(view)[:3]:
        there = np.degrees(np.arctan2(x - _APEX[0], y + view.shift - _APEX[1]))
        dark |= (np.abs(angle - there) < 0.9) & (depth > np.hypot(x - _APEX[0], y - _APEX[1]) + 6)
    return dark


def _doppler(grey: Pixels) -> Pixels:
    """Colour over the vessel in the box: flow towards the transducer is red."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    coloured = grey.copy()
    flow = ((x - 505) / 46) ** 2 + ((y - 190 + 0.2 * (x - 505)) / 7) ** 2
    speed = np.clip(255 * (1.25 - flow), 0, 255).astype(np.uint8)
    inside = flow < 1
    coloured[inside] = np.stack([speed, speed // 3, np.zeros_like(speed)], axis=-1)[inside]
    image = Image.fromarray(coloured)
    ImageDraw.Draw(image).polygon([(440, 140), (570, 140), (570, 240), (440, 240)], outline=(120, 200, 120))
    return np.asarray(image)
