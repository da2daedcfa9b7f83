"""Walkers for niches of the default map: what the limits leave room for, and how to build one that lies in a given niche."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elm_rl.evolution.archives import ArchiveSpec
from sodarace_gym.errors import ProgramError
from sodarace_gym.walkers.walker import (
    MAX_AMPLITUDE_RATIO,
    MAX_JOINTS,
    MAX_MUSCLES,
    MAX_MUSCLES_PER_JOINT,
    WalkerDesign,
    build_design,
)

SPEC = ArchiveSpec()
LOW, HIGH = (np.array(ends) for ends in zip(*SPEC.ranges, strict=True))
STEP = (HIGH - LOW) / np.array(SPEC.bins)
_ARCHIVE: Any = SPEC.make()

Niche = tuple[int, int, int]
RawMuscle = tuple[int, int, bool, float, float]


def every_niche() -> Iterator[Niche]:
    """All niches in order."""
    height, width, mass = SPEC.bins
    yield from itertools.product(range(height), range(width), range(mass))


def niche_of(design: WalkerDesign) -> Niche:
    """The niche of a walker: its bins of height, width and mass."""
    index = int(_ARCHIVE.index_of_single((design.height, design.width, design.mass)))
    height, width, mass = np.unravel_index(index, SPEC.bins)
    return int(height), int(width), int(mass)


def least_mass(height: float, width: float) -> float:
    """No walker of this height and width has less mass: two joints, and muscles that lead from edge to edge of its box.

    The muscles of a connected walker go at least the width across and at least the height up, so that by the triangle
    inequality they are at least as long in all as the box's diagonal.
    """
    return 2.0 + 0.5 * math.hypot(height, width)


def most_mass(height: float, width: float) -> float:
    """No walker of this height and width has more mass: all joints, and all muscles as long as the box's diagonal."""
    return MAX_JOINTS + 0.5 * MAX_MUSCLES * math.hypot(height, width)


def fewest_joints(niche: Niche) -> int:
    """No walker of a niche has fewer joints: with each pair joined by a muscle as long as the niche's largest diagonal."""
    lowest = LOW[2] + niche[2] * STEP[2]
    diagonal = math.hypot(*((LOW + (np.array(niche) + 1) * STEP)[:2]))
    for joints in range(2, MAX_JOINTS + 1):
        if joints + 0.5 * diagonal * min(MAX_MUSCLES, joints * (joints - 1) // 2) >= lowest:
            return joints
    return MAX_JOINTS + 1


def excluded(niche: Niche) -> bool:
    """Whether the limits on joints, muscles and size leave a niche without any walker."""
    low, high = LOW + np.array(niche) * STEP, LOW + (np.array(niche) + 1) * STEP
    heaviest = math.inf if niche[2] == SPEC.bins[2] - 1 else high[2]
    return least_mass(*low[:2]) >= heaviest or most_mass(*high[:2]) < low[2]


def scattered(size: NDArray[np.float64], joints: int, spread: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Joints in a box, two of them in opposite corners, so that the box is filled; shape (joints, 2).

    Args:
        size: Width and height of the box.
        joints: How many, 2 or more.
        spread: How far they are from the diagonal between the two corners: 0 for on it, 1 for anywhere.
        rng: Source of randomness.
    """
    along = rng.uniform(size=(joints, 1))
    points = (1.0 - spread) * along + spread * rng.uniform(size=(joints, 2))
    points[0], points[1] = (0.0, 0.0), (1.0, 1.0)
    return points * size


def joined(
    points: NDArray[np.float64], mass: float, rng: np.random.Generator, first: str = ""
) -> list[RawMuscle] | None:
    """Muscles that give joints a mass: what holds them together, and as many others as the mass and the limits have room for.

    Args:
        points: The joints, shape (joints, 2), walker units.
        mass: What is not to be passed, joint masses.
        rng: Source of randomness.
        first: Which of the others come first: "short", "long" or "any" ones; drawn where left out.

    Returns:
        The muscles; None if the walker is too heavy with those alone that hold it together.
    """
    gaps = np.hypot(*(points[:, None] - points[None]).T)
    # The shortest tree that joins all (Prim's): what a walker cannot do without.
    pairs: list[tuple[int, int]] = []
    nearest, distance = np.zeros(len(points), np.int64), gaps[0].copy()
    distance[0] = math.inf
    for _ in range(len(points) - 1):
        joint = int(np.argmin(distance))
        pairs.append((int(nearest[joint]), joint))
        closer = (gaps[joint] < distance) & np.isfinite(distance)
        nearest[closer], distance[closer] = joint, gaps[joint][closer]
        distance[joint] = math.inf
    wanted = 2.0 * (mass - len(points)) - sum(gaps[pair] for pair in pairs)
    if wanted < 0.0:
        return None
    degrees = Counter(itertools.chain.from_iterable(pairs))
    taken = {frozenset(pair) for pair in pairs}
    others = [pair for pair in itertools.combinations(range(len(points)), 2) if frozenset(pair) not in taken]
    first = first or str(rng.choice(["short", "long", "any"]))
    lengths = np.array([gaps[pair] for pair in others])
    order = rng.permutation(len(others)) if first == "any" else np.argsort(lengths if first == "short" else -lengths)
    for index in order.tolist():
        a, b = others[index]
        if gaps[a, b] <= wanted and max(degrees[a], degrees[b]) < MAX_MUSCLES_PER_JOINT and len(pairs) < MAX_MUSCLES:
            pairs.append((a, b))
            degrees.update((a, b))
            wanted -= gaps[a, b]
    active = rng.uniform(0.0, 0.6)
    return [
        (a, b, False, float(MAX_AMPLITUDE_RATIO * rng.uniform() * gaps[a, b]), float(rng.uniform(0.0, math.tau)))
        if rng.uniform() < active
        else (a, b, True, 0.0, 0.0)
        for a, b in pairs
    ]


def built_for(niche: Niche, rng: np.random.Generator) -> WalkerDesign | None:
    """One try to build a walker that lies in a niche; None if it comes out elsewhere."""
    low = LOW + np.array(niche) * STEP
    height, width, mass = low + STEP * rng.uniform(0.05, 0.95, size=3)
    fewest = fewest_joints(niche)
    joints = int(rng.integers(fewest, min(MAX_JOINTS, max(fewest + 2, int(mass / 2))) + 1))
    points = scattered(np.array([width, height]), joints, float(rng.choice([0.0, 0.3, 1.0])), rng)
    muscles = joined(points, mass, rng)
    return made(points, muscles, niche) if muscles else None


def made(points: NDArray[np.float64], muscles: Sequence[RawMuscle], niche: Niche) -> WalkerDesign | None:
    """The walker, if there is one and it lies in the niche."""
    try:
        design, _ = build_design([(x, y) for x, y in points.tolist()], muscles)
    except ProgramError:
        return None
    return design if niche_of(design) == niche else None


def changed(design: WalkerDesign, niche: Niche, rng: np.random.Generator) -> WalkerDesign | None:
    """A step of hill climbing: a walker stretched to a niche's box, with muscles dropped or added until the mass fits."""
    points = np.array(design.joints)
    points -= points.min(axis=0)
    low = LOW + np.array(niche) * STEP
    height, width, mass = low + STEP * rng.uniform(0.05, 0.95, size=3)
    points *= np.array([width, height]) / np.maximum(points.max(axis=0), 1e-9)
    muscles = joined(points + rng.normal(0.0, 0.01, points.shape), mass, rng)
    return made(points, muscles, niche) if muscles else None
