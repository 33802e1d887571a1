"""A phantom of a small child's abdomen on CT: ellipsoids with the attenuation of organs, in Hounsfield units."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

SIZE, SPACING_MM, SLICE_MM = 256, 0.92, 5.0
TOP_MM = 60.0
"""z of the first slice; the slices go towards the feet."""
AIR_HU = -1000.0


def abdomen(slices: int) -> Floats:
    """HU by slice, row and column, in the portal venous phase, with the noise of a low-dose examination."""
    space = _Space(slices)
    volume = np.full((slices, SIZE, SIZE), AIR_HU, dtype=np.float32)
    for paint in (_body_wall, _bowel, _organs, _liver, _tumour, _vessels, _bones, _lung_bases):
        paint(space, volume)
    _table(space, volume)
    noise = np.random.default_rng(20261015).normal(0, 26, volume.shape)
    return _blurred(volume) + np.where(volume > AIR_HU / 2, 1.0, 0.4) * _blurred(noise)


@dataclass(frozen=True)
class _Space:
    """The volume in patient coordinates (mm): x to the patient's left, y to the back, z to the head."""

    slices: int
    x: Floats = field(init=False, repr=False)
    y: Floats = field(init=False, repr=False)
    z: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        plane = (np.arange(SIZE) + 0.5 - SIZE / 2) * SPACING_MM
        depth = TOP_MM - SLICE_MM * np.arange(self.slices)
        object.__setattr__(self, "x", plane[None, None, :])
        object.__setattr__(self, "y", plane[None, :, None])
        object.__setattr__(self, "z", depth[:, None, None])

    def ellipsoid(
        self, centre: tuple[float, float, float], radii: tuple[float, float, float], tilt: float = 0.0
    ) -> Floats:
        """Squared distance in radii, so that 1 is the surface; ``tilt`` turns it in the axial plane (degrees)."""
        dx, dy = self.x - centre[0], self.y - centre[1]
        cos, sin = float(np.cos(np.radians(tilt))), float(np.sin(np.radians(tilt)))
        u, v = dx * cos + dy * sin, dy * cos - dx * sin
        w = (self.z - centre[2]) / radii[2]
        return (u / radii[0]) ** 2 + (v / radii[1]) ** 2 + w**2

    def tube(self, x: float, y: float, radius: float, lean: float = 0.0) -> Floats:
        """A vessel along z; ``lean`` is how many mm it moves to the left for each mm towards the head."""
        return ((self.x - x - lean * self.z) / radius) ** 2 + ((self.y - y) / radius) ** 2 + 0 * self.z


def _blurred(values: Floats) -> Floats:
    """A kernel of 1 2 1 along rows and columns: the partial volume of the in-plane resolution."""
    for axis in (-1, -2):
        values = (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
    return values


def _fill(volume: Floats, distance: Floats, hounsfield: float, limit: float = 1.0) -> None:
    volume[np.broadcast_to(distance, volume.shape) < limit] = hounsfield


def _body_wall(space: _Space, volume: Floats) -> None:
    wall = (space.x / 99) ** 2 + (space.y / 74) ** 2 + 0 * space.z
    for limit, hounsfield in ((1.0, 15), (0.97, -95), (0.86, 58), (0.76, -38)):
        _fill(volume, wall, hounsfield, limit)
    for side in (-1, 1):
        _fill(volume, space.tube(side * 25, 54, 15), 62)
        _fill(volume, space.tube(side * 19, 34, 9), 60)


def _bowel(space: _Space, volume: Floats) -> None:
    loops = np.random.default_rng(7)
    for _ in range(54):
        centre = (loops.uniform(-56, 62), loops.uniform(-48, 6), loops.uniform(-62, 2))
        radii = (loops.uniform(9, 15), loops.uniform(8, 12), loops.uniform(9, 16))
        loop = space.ellipsoid(centre, radii, loops.uniform(-60, 60))
        _fill(volume, loop, 82)
        _fill(volume, loop, 24, 0.62)
        gas = np.broadcast_to((loop < 0.55) & (space.y < centre[1] - 2), volume.shape)
        if loops.random() < 0.3:
            volume[gas] = -880


def _organs(space: _Space, volume: Floats) -> None:
    stomach = space.ellipsoid((44, -30, 24), (32, 24, 32), -15)
    _fill(volume, stomach, 74)
    _fill(volume, stomach, 14, 0.86)
    volume[np.broadcast_to((stomach < 0.84) & (space.y < -40), volume.shape)] = -930
    _fill(volume, space.ellipsoid((66, 20, 26), (20, 34, 36), 22), 128)
    _fill(volume, space.ellipsoid((14, -2, -4), (32, 8, 10), -18), 98)
    for x, z in ((46, -24), (-45, -34)):
        _fill(volume, space.ellipsoid((x, 34, z), (25, 22, 42)), -78)
        kidney = space.ellipsoid((x, 34, z), (20, 17, 36), 18 if x > 0 else -18)
        _fill(volume, kidney, 186)
        _fill(volume, kidney, 138, 0.5)
        _fill(volume, space.ellipsoid((x * 0.84, 33, z), (9, 7, 14)), -30)


def _liver(space: _Space, volume: Floats) -> None:
    for centre, radii, tilt in (((-36, -2, 28), (51, 55, 62), 8.0), ((14, -32, 36), (42, 24, 30), -12.0)):
        _fill(volume, space.ellipsoid(centre, radii, tilt), 114)
    gallbladder = space.ellipsoid((-20, -42, -12), (11, 9, 16), 20)
    _fill(volume, gallbladder, 60)
    _fill(volume, gallbladder, 8, 0.8)


def _tumour(space: _Space, volume: Floats) -> None:
    """A lobulated mass of 80 x 70 x 75 mm in the right lobe: enhancing septa, necrosis, coarse calcifications."""
    lobes = (((-44, 0, 4), (37, 32, 35)), ((-58, 14, 14), (22, 21, 23)), ((-36, -14, -8), (25, 21, 22)))
    mass = np.minimum.reduce([space.ellipsoid(centre, radii) for centre, radii in lobes])
    _fill(volume, mass, 98, 1.12)
    _fill(volume, mass, 66)
    texture = _blurred(_blurred(np.random.default_rng(3).normal(0, 90, volume.shape)))
    volume += np.where(np.broadcast_to(mass < 1, volume.shape), texture, 0)
    _fill(volume, space.ellipsoid((-50, 4, 6), (17, 12, 15), 30), 26)
    _fill(volume, space.ellipsoid((-34, -10, -6), (8, 10, 9), -20), 34)
    rng = np.random.default_rng(11)
    for _ in range(14):
        centre = tuple(np.array((-46.0, 2.0, 4.0)) + rng.normal(0, 10, 3))
        _fill(volume, space.ellipsoid(centre, tuple(rng.uniform(1.2, 3.4, 3)), rng.uniform(0, 90)), 330)


def _vessels(space: _Space, volume: Floats) -> None:
    _fill(volume, space.tube(6, 20, 6.2), 178)
    _fill(volume, space.ellipsoid((-15, 17, 0), (8, 6, 900)), 158)
    _fill(volume, space.ellipsoid((-8, -6, 14), (7, 7, 30), 0), 172)
    for centre, radii, tilt in (
        ((-12, -22, 22), (26, 4, 5), 38.0),
        ((10, -22, 24), (22, 4, 4), -28.0),
        ((-30, -34, 20), (16, 3.5, 4), 20.0),
        ((-34, 8, 50), (22, 4, 6), -12.0),
        ((-20, -6, 54), (5, 22, 6), 14.0),
        ((-2, -8, 54), (4, 20, 6), -30.0),
    ):
        _fill(volume, space.ellipsoid(centre, radii, tilt), 166)


def _bones(space: _Space, volume: Floats) -> None:
    disc = np.broadcast_to(np.mod(space.z + 3, 20) < 5, volume.shape)
    body = np.broadcast_to(space.ellipsoid((0, 34, 0), (15, 12, 900)), volume.shape)
    volume[body < 1] = 410
    volume[body < 0.78] = 235
    volume[(body < 1) & disc] = 92
    for x, y, radii, tilt in (
        (0, 51, (10, 9), 0),
        (0, 63, (3, 8), 0),
        (16, 47, (9, 3), 15),
        (-16, 47, (9, 3), -15),
    ):
        _fill(volume, space.ellipsoid((x, y, 0), (*radii, 900), tilt), 380)
    _fill(volume, space.tube(0, 50, 6.6), 34)
    for rib in _ribs():
        distance = space.ellipsoid(*rib)
        _fill(volume, distance, 420)
        _fill(volume, distance, 240, 0.4)


def _ribs() -> Iterator[tuple[tuple[float, float, float], tuple[float, float, float], float]]:
    """Ribs run downwards and forwards: each is a chain of short pieces along the inside of the body wall."""
    for side in (-1, 1):
        for level in range(7):
            for step in range(12):
                angle = np.radians(62 - 11 * step)
                z = 84 - 24 * level - 4.6 * step
                if z > -34 + 14 * (step > 6):
                    place = (side * 88 * float(np.cos(angle)), 65 * float(np.sin(angle)), z)
                    yield place, (7.5, 3.2, 4.5), side * (90 - float(np.degrees(angle)))


def _lung_bases(space: _Space, volume: Floats) -> None:
    """The recesses of both lungs and the heart's lower surface, inside the wall and beside the spine."""
    inside = np.broadcast_to((space.x / 99) ** 2 + (space.y / 74) ** 2 < 0.75, volume.shape)
    soft = inside & (volume < 150) & (np.abs(space.x) > 18)
    for side in (-1, 1):
        lung = np.broadcast_to(space.ellipsoid((side * 54, 30, 86), (36, 38, 46), side * 25), volume.shape)
        volume[(lung < 1) & soft] = -830
    heart = np.broadcast_to(space.ellipsoid((32, -16, 82), (40, 30, 34), 20), volume.shape)
    volume[(heart < 1) & inside] = 148


def _table(space: _Space, volume: Floats) -> None:
    distance = np.abs(space.y - 84 - space.x**2 / 900) + 0 * space.z
    volume[(np.broadcast_to(distance, volume.shape) < 2) & (volume < -900)] = -520
