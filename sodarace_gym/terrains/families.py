"""The terrain families beyond the paper's five: each a small seeded generator that asks for another body or gait.

All lengths are walker units. Every family is hard on both sides of the start, and the two sides are drawn independently. The
values of the parameters at difficulty 0 and 1 were chosen so that the mean distance of a fixed panel of walkers falls from
step to step of difficulty: ``benchmarks/difficulty.py`` measures it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sodarace_gym.terrains.family import Points, Stretch, TerrainFamily, graded, join
from sodarace_gym.terrains.paper import TERRAIN_NAMES


def _rolling(rng: np.random.Generator, length: float, height: float, wavelength: float) -> Points:
    """Crests and hollows in turn, joined by half waves of a cosine, five straight pieces each."""
    points, x, y, crest = [(0.0, 0.0)], 0.0, 0.0, True
    while x < length:
        run = float(rng.uniform(0.35, 0.65)) * wavelength
        share = float(rng.uniform(0.6, 1.0))
        goal = share * height if crest else (1.0 - share) * height
        for k in range(1, 6):
            points.append((x + run * k / 5, y + (goal - y) * 0.5 * (1.0 - math.cos(math.pi * k / 5))))
        x, y, crest = x + run, goal, not crest
    return points


@dataclass(frozen=True)
class Hills(TerrainFamily):
    """Smooth rolling hills: for walkers that keep their footing uphill and do not fall over downhill."""

    height: float = graded(1.0, 12.0, "units", "greatest height of a crest over the start")
    wavelength: float = graded(32.0, 26.0, "units", "mean distance from crest to crest", least=2.0)

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        return Stretch(_rolling(rng, length, self.height, self.wavelength))


@dataclass(frozen=True)
class UpSlope(TerrainFamily):
    """Ground that rises to both sides, now a little more and now less steeply: for climbers with grip."""

    angle: float = graded(3.0, 33.0, "degrees", "mean slope", most=45.0)

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        points, x, y = [(0.0, 0.0)], 0.0, 0.0
        while x < length:
            run = float(rng.uniform(6.0, 12.0))
            x, y = x + run, y + run * math.tan(math.radians(self.angle * float(rng.uniform(0.75, 1.25))))
            points.append((x, y))
        return Stretch(points)


@dataclass(frozen=True)
class DownSlope(TerrainFamily):
    """Ground that falls away to both sides, crossed by ridges that stop what only slides: for those that roll or leap."""

    angle: float = graded(8.0, 6.0, "degrees", "slope of the ground between the ridges", most=45.0)
    ridge: float = graded(0.5, 5.0, "units", "greatest height of a ridge")

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        grade = math.tan(math.radians(self.angle))
        points, x = [(0.0, 0.0)], 0.0
        while x < length:
            x += float(rng.uniform(4.0, 8.0))
            points.append((x, -grade * x))
            height = self.ridge * float(rng.uniform(0.6, 1.0))
            points.append((x + 3.0, -grade * (x + 3.0) + height))
            x += 6.0
            points.append((x, -grade * x))
        return Stretch(points)


@dataclass(frozen=True)
class Stairs(TerrainFamily):
    """Flights of stairs up and down in turn: for legs that find the next tread."""

    riser: float = graded(0.2, 2.4, "units", "height of a step")
    tread: float = graded(7.0, 5.0, "units", "mean depth of a step", least=2.0)

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        points, x, y, up = [(0.0, 0.0)], 0.0, 0.0, True
        while x < length:
            for _ in range(int(rng.integers(4, 8))):
                x += self.tread * float(rng.uniform(0.8, 1.2))
                points.append((x, y))
                y += self.riser if up else -self.riser
                points.append((x, y))
            up = not up
        return Stretch([*points, (x + self.tread, y)])


@dataclass(frozen=True)
class Ledges(TerrainFamily):
    """Level ground that steps up again and again, each time by another height: for walkers that haul themselves up."""

    rise: float = graded(0.3, 5.0, "units", "greatest height of a ledge")
    spacing: float = graded(16.0, 12.0, "units", "mean distance between ledges", least=2.0)

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        points, x, y = [(0.0, 0.0)], 0.0, 0.0
        while x < length:
            x += self.spacing * float(rng.uniform(0.7, 1.3))
            points.append((x, y))
            y += self.rise * float(rng.uniform(0.6, 1.0))
            points.append((x, y))
        return Stretch([*points, (x + self.spacing, y)])


@dataclass(frozen=True)
class Hurdles(TerrainFamily):
    """Blocks with upright faces to get over: for walkers that lift their feet, or are too large to notice."""

    height: float = graded(0.2, 4.5, "units", "greatest height of a hurdle")
    spacing: float = graded(14.0, 8.0, "units", "mean distance between hurdles", least=2.0)

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        points, x = [(0.0, 0.0)], 0.0
        while x < length:
            x += self.spacing * float(rng.uniform(0.7, 1.3))
            height, thickness = self.height * float(rng.uniform(0.6, 1.0)), float(rng.uniform(1.6, 2.4))
            points += [(x, 0.0), (x, height), (x + thickness, height), (x + thickness, 0.0)]
            x += thickness
        return Stretch([*points, (x + self.spacing, 0.0)])


@dataclass(frozen=True)
class Gaps(TerrainFamily):
    """Deep trenches with upright faces: for walkers that reach across them, and against small ones."""

    width: float = graded(0.5, 10.0, "units", "greatest width of a trench", least=0.1)
    spacing: float = graded(14.0, 5.0, "units", "mean length of the ground between trenches", least=2.0)
    depth: float = graded(10.0, 10.0, "units", "depth of a trench")

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        points, x = [(0.0, 0.0)], 0.0
        while x < length:
            x += self.spacing * float(rng.uniform(0.7, 1.3))
            width = self.width * float(rng.uniform(0.6, 1.0))
            points += [(x, 0.0), (x, -self.depth), (x + width, -self.depth), (x + width, 0.0)]
            x += width
        return Stretch([*points, (x + self.spacing, 0.0)])


@dataclass(frozen=True)
class Pits(TerrainFamily):
    """Wide basins with a level bottom and sloping sides: in is easy, out is a climb."""

    depth: float = graded(0.5, 9.0, "units", "greatest depth of a pit")
    side: float = graded(8.0, 5.5, "units", "width of a pit's sloping side", least=0.1)
    bottom: float = graded(12.0, 6.0, "units", "mean width of a pit's level bottom", least=0.1)

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        points, x = [(0.0, 0.0)], 0.0
        while x < length:
            x += float(rng.uniform(3.0, 8.0))
            depth, bottom = self.depth * float(rng.uniform(0.7, 1.0)), self.bottom * float(rng.uniform(0.7, 1.3))
            points += [(x, 0.0), (x + self.side, -depth), (x + self.side + bottom, -depth)]
            x += 2.0 * self.side + bottom
            points.append((x, 0.0))
        return Stretch([*points, (x + 3.0, 0.0)])


@dataclass(frozen=True)
class Rough(TerrainFamily):
    """Noise of four scales, from stones to hillsides: for walkers that cope with anything a little."""

    height: float = graded(
        0.5, 9.0, "units", "greatest height of the largest scale; half as long means 0.62 times as high"
    )
    wavelength: float = graded(48.0, 40.0, "units", "length of the largest scale", least=2.0)

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        finest = self.wavelength / 16.0
        xs = np.arange(math.ceil(length / finest) + 1) * finest
        ys = np.zeros_like(xs)
        for octave in range(4):
            spacing = 0.5 * self.wavelength / 2**octave
            values = rng.uniform(-1.0, 1.0, size=math.ceil(xs[-1] / spacing) + 2)
            values[0] = 0.0
            knots = np.arange(len(values)) * spacing
            ys += self.height * 0.62**octave * np.interp(xs, knots, values)
        return Stretch(list(zip(xs.tolist(), ys.tolist(), strict=True)))


@dataclass(frozen=True)
class Stalactites(TerrainFamily):
    """A low roof with teeth that hang from it: for walkers that stay low or yield."""

    clearance: float = graded(10.0, 1.6, "units", "least height of a tooth's tip over the ground", least=1.0)
    roof: float = graded(14.0, 8.0, "units", "height of the roof between the teeth", least=1.0)
    spacing: float = graded(22.0, 14.0, "units", "mean distance between teeth", least=2.0)

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        roof, x = max(self.roof, self.clearance), 0.0
        ceiling: Points = [(0.0, roof)]
        while x < length:
            x += self.spacing * float(rng.uniform(0.75, 1.25))
            tip = self.clearance + (roof - self.clearance) * float(rng.uniform(0.0, 0.3))
            # Half as wide as high at the least: a sharper tip would be blunted by the thickness of the ground.
            half = 0.25 * self.spacing
            ceiling += [(x - half, roof), (x, tip), (x + half, roof)]
        end = x + self.spacing
        return Stretch([(0.0, 0.0), (end, 0.0)], [*ceiling, (end, roof)])


@dataclass(frozen=True)
class Cave(TerrainFamily):
    """A tunnel of varying height over level ground: for walkers that fit through its narrows."""

    narrow: float = graded(9.0, 1.6, "units", "least height of the tunnel", least=1.0)
    wide: float = graded(18.0, 6.0, "units", "greatest height of the tunnel", least=1.0)

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        low, high = min(self.narrow, self.wide), max(self.narrow, self.wide)
        ceiling, x, narrows = [(0.0, high)], 0.0, True
        while x < length:
            x += float(rng.uniform(5.0, 11.0))
            share = float(rng.uniform(0.0, 0.35))
            ceiling.append((x, low + (high - low) * (share if narrows else 1.0 - share)))
            narrows = not narrows
        return Stretch([(0.0, 0.0), (x, 0.0)], ceiling)


@dataclass(frozen=True)
class Burrow(TerrainFamily):
    """A winding passage whose ground and roof rise and fall together: for supple walkers that are low."""

    clearance: float = graded(12.0, 2.6, "units", "height of the passage", least=1.0)
    height: float = graded(1.0, 7.0, "units", "greatest height of a crest over the start")
    wavelength: float = graded(28.0, 22.0, "units", "mean distance from crest to crest", least=2.0)

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        floor = _rolling(rng, length, self.height, self.wavelength)
        return Stretch(floor, [(x, y + self.clearance) for x, y in floor])


SECTION_FAMILIES = (Hills, UpSlope, DownSlope, Stairs, Ledges, Hurdles, Gaps, Pits, Rough, Stalactites, Cave, Burrow)
"""What the sections of Mixed are drawn from."""


@dataclass(frozen=True)
class Mixed(TerrainFamily):
    """Sections of other families one after the other, no two alike in a row: for walkers that have no weak spot."""

    section_difficulty: float = graded(0.0, 1.0, "difficulty", "difficulty of the sections", most=1.0)
    section_length: float = graded(18.0, 18.0, "units", "least length of a section", least=5.0)

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws one side; see the base class."""
        sections: list[Stretch] = []
        travelled, last = 0.0, -1
        while travelled < length:
            last = (last + int(rng.integers(1, len(SECTION_FAMILIES)))) % len(SECTION_FAMILIES)
            section = SECTION_FAMILIES[last].at(self.section_difficulty).stretch(rng, self.section_length)
            sections.append(section)
            travelled += section.floor[-1][0]
        return join(sections)


FAMILIES: dict[str, type[TerrainFamily]] = {family.name: family for family in (*SECTION_FAMILIES, Mixed)}
"""The families beyond the paper's five, by name."""
ALL_TERRAIN_NAMES = (*TERRAIN_NAMES, *FAMILIES)
"""The paper's five terrains and these families: every name that ``make_terrain`` knows."""
