"""Walkers that several test modules use: the paper's, towers, violent ones, and strategies for arbitrary ones."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sodarace_gym.walkers.random_walker import random_design
from sodarace_gym.walkers.walker import MAX_HEIGHT, MAX_WIDTH, Muscle, WalkerDesign, build_design

GOLDEN = Path(__file__).resolve().parent / "golden"
"""Committed data; ``python -m tests.sodarace_gym.regenerate_golden`` writes it."""

RawMuscle = tuple[int, int, bool, float, float]


def square() -> WalkerDesign:
    """The paper's square seed: four corners 10 apart, a centre, plain sides and one plain spoke, three active spokes."""
    joints = [(0.0, 0.0), (0.0, 10.0), (10.0, 10.0), (10.0, 0.0), (5.0, 5.0)]
    muscles = [(k, (k + 1) % 4, True, 0.0, 0.0) for k in range(4)]
    muscles += [(0, 4, True, 0.0, 0.0), (1, 4, False, 5.0, 0.0), (2, 4, False, 10.0, 2.0), (3, 4, False, 3.0, 4.0)]
    return build_design(joints, muscles)[0]


def wheel() -> WalkerDesign:
    """The paper's wheel: 9 joints, 24 muscles; a stiff rim of radius 1.5 driven from a hub far up and to the side.

    The rim is plain and braced; the spokes' phases grow around it, so that they push it round.
    """
    count = 8
    angles = [math.tau * k / count for k in range(count)]
    joints = [(1.5 * math.cos(angle), 1.5 * math.sin(angle)) for angle in angles] + [(8.0, 9.0)]
    muscles = [(k, (k + step) % count, True, 0.0, 0.0) for step in (1, 2) for k in range(count)]
    muscles += [(k, count, False, 3.0, angles[k]) for k in range(count)]
    return build_design(joints, muscles)[0]


def runner_parts() -> tuple[list[tuple[float, float]], list[RawMuscle]]:
    """The paper's runner before repairs: 40 joints, 418 muscles, 39 of them on one joint.

    A grid of 5 columns and 8 rows, 2 apart. Joints two or more columns apart are joined by active muscles that swing the
    more the farther apart they are; one upper corner is joined to every other joint; plain muscles between the nearest
    joints bring the number to 418.
    """
    grid = [(column, row) for column in range(5) for row in range(8)]
    joints = [(2.0 * column, 2.0 * row) for column, row in grid]
    corner = grid.index((0, 7))
    pairs = list(itertools.combinations(range(len(grid)), 2))
    muscles: dict[tuple[int, int], RawMuscle] = {}
    for a, b in pairs:
        columns = grid[b][0] - grid[a][0]
        if columns >= 2:
            muscles[a, b] = (a, b, False, float(columns), 0.5 * grid[a][1])
        elif corner in (a, b):
            muscles[a, b] = (a, b, True, 0.0, 0.0)
    for a, b in sorted(pairs, key=lambda pair: math.dist(joints[pair[0]], joints[pair[1]])):
        if len(muscles) < 418:
            muscles.setdefault((a, b), (a, b, True, 0.0, 0.0))
    return joints, [muscles[pair] for pair in sorted(muscles)]


def runner() -> WalkerDesign:
    """The paper's runner; see ``runner_parts``."""
    return build_design(*runner_parts())[0]


def tower(height: float, width: float, levels: int, lean: float = 0.0) -> WalkerDesign:
    """A braced passive tower.

    Args:
        height: Its height, walker units.
        width: Distance between its two legs, walker units.
        levels: Number of cross beams, at least 2.
        lean: How far each level is shifted against the one below, walker units.
    """
    joints = [
        (side * width + lean * level, height * level / (levels - 1)) for level in range(levels) for side in (0, 1)
    ]
    links = [(2 * level, 2 * level + 1) for level in range(levels)]
    links += [
        (a, b)
        for level in range(levels - 1)
        for a in (2 * level, 2 * level + 1)
        for b in (2 * level + 2, 2 * level + 3)
    ]
    return build_design(joints, [(a, b, True, 0.0, 0.0) for a, b in links])[0]


def hoop(count: int, radius: float) -> WalkerDesign:
    """A passive wheel of so many joints: it rolls, and comes to rest late."""
    angles = [math.tau * k / count for k in range(count)]
    joints = [(round(radius * math.cos(angle), 6), round(radius * math.sin(angle), 6)) for angle in angles]
    links = [(k, (k + step) % count) for step in (1, 2, count // 3) for k in range(count)]
    return build_design(joints, [(a, b, True, 0.0, 0.0) for a, b in links])[0]


def passive(design: WalkerDesign) -> WalkerDesign:
    """The same body with all muscles plain."""
    return WalkerDesign(design.joints, tuple(Muscle(m.a, m.b) for m in design.muscles))


def violent(design: WalkerDesign, factor: float) -> WalkerDesign:
    """The same body with muscles that swing ``factor`` times as far: far beyond what a program may ask for."""
    return WalkerDesign(design.joints, tuple(m._replace(amplitude=factor * m.amplitude) for m in design.muscles))


def random_designs(seed: int, count: int) -> list[WalkerDesign]:
    """The first ``count`` walkers that a generator with this seed draws."""
    rng = np.random.default_rng(seed)
    return [random_design(rng) for _ in range(count)]


def dense_design(rng: np.random.Generator) -> WalkerDesign:
    """Few joints near one another, nearly all of them joined: many springs at each joint."""
    count = int(rng.integers(4, 15))
    places = rng.uniform(0.0, rng.uniform(2.0, 8.0), (count, 2)).round(2)
    places[1] = places[0] + (1.0, 0.5)  # far enough apart, so that something is left when near joints are merged
    pairs = [pair for pair in itertools.combinations(range(count), 2) if pair == (0, 1) or rng.random() < 0.9]
    return build_design([(float(x), float(y)) for x, y in places], [_drawn_muscle(rng, *pair) for pair in pairs])[0]


def loose_design(rng: np.random.Generator) -> WalkerDesign:
    """A chain or a tree, whose limbs nothing holds in place."""
    count, branching = int(rng.integers(2, 13)), rng.random() < 0.5
    places = np.cumsum(rng.uniform((-1.5, -1.0), (2.0, 1.4), (count, 2)), axis=0).round(2)
    places[1] = places[0] + (1.0, 0.5)  # far enough apart, so that something is left when near joints are merged
    joints = [(float(x), float(y)) for x, y in places]
    parents = [int(rng.integers(k)) if branching else k - 1 for k in range(1, count)]
    return build_design(joints, [_drawn_muscle(rng, parent, k + 1) for k, parent in enumerate(parents)])[0]


def _drawn_muscle(rng: np.random.Generator, a: int, b: int) -> RawMuscle:
    amplitude, phase = round(float(rng.uniform(0.05, 1.0)), 2), round(float(rng.uniform(0.0, math.tau)), 2)
    return (a, b, True, 0.0, 0.0) if rng.random() < 0.5 else (a, b, False, amplitude, phase)


def evolved_walkers() -> list[WalkerDesign]:
    """Walkers from the archives of an evolution by GP on Flat, from all four seeds: rounded, and good ones among them.

    Each is a line: joints as x y x y ..., then muscles as "a b" if plain and "a b amplitude phase" if active.
    """
    return [_design_from_line(line) for line in (GOLDEN / "evolved_walkers.txt").read_text().splitlines()]


def _design_from_line(line: str) -> WalkerDesign:
    places, links = line.split("|")
    numbers = [float(number) for number in places.split()]
    muscles = []
    for link in links.split(","):
        a, b, *swing = link.split()
        muscles.append(Muscle(int(a), int(b), not swing, *(float(number) for number in swing)))
    return WalkerDesign(tuple(zip(numbers[::2], numbers[1::2], strict=True)), tuple(muscles))


def design_to_json(design: WalkerDesign) -> dict[str, Any]:
    """A design in JSON's types; floats survive exactly."""
    return {"joints": design.joints, "muscles": [list(muscle) for muscle in design.muscles]}


def design_from_json(value: dict[str, Any]) -> WalkerDesign:
    """The design that ``design_to_json`` wrote."""
    return WalkerDesign(
        tuple((x, y) for x, y in value["joints"]), tuple(Muscle(*muscle) for muscle in value["muscles"])
    )


def fast_walkers() -> list[WalkerDesign]:
    """The winners of a search for the fastest walkers on each terrain, as committed."""
    return [design_from_json(value) for value in json.loads((GOLDEN / "fast_walkers.json").read_text())]


def degrees(muscles: tuple[Muscle, ...]) -> Counter[int]:
    """Number of muscles at each joint."""
    return Counter(joint for muscle in muscles for joint in (muscle.a, muscle.b))


# Coordinates are either anything in the admitted range or from a lattice finer than the merging distance, so that near
# duplicates, exact duplicates and vertical or horizontal rows all come up.
_LATTICE = st.integers(0, 60).map(lambda k: k * 0.04)


@st.composite
def raw_walkers(draw: st.DrawFn) -> tuple[list[tuple[float, float]], list[RawMuscle]]:
    """Joints and muscles as a careless program may add them: no hard limit broken except, at times, no muscle left."""
    x = st.floats(-MAX_WIDTH / 2, MAX_WIDTH / 2) | _LATTICE
    y = st.floats(0.0, MAX_HEIGHT) | _LATTICE
    joints = draw(st.lists(st.tuples(x, y), min_size=2, max_size=14))
    index = st.integers(0, len(joints) - 1)
    amplitude = st.floats(-5.0, 5.0) | st.floats(allow_nan=False, allow_infinity=False)
    phase = st.floats(-7.0, 7.0) | st.floats(allow_nan=False, allow_infinity=False)
    muscle = st.tuples(index, index, st.booleans(), amplitude, phase)
    return joints, draw(st.lists(muscle, min_size=1, max_size=40))
