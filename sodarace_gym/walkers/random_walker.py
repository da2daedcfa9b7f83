"""Random valid walkers: what the action space samples, and the simplest baseline."""

from __future__ import annotations

import math

import numpy as np

from sodarace_gym.errors import ProgramError
from sodarace_gym.walkers.walker import MAX_AMPLITUDE_RATIO, WalkerDesign, build_design

JOINTS = (3, 16)
"""Least and greatest number of joints of a random walker."""
SIZE = (3.0, 16.0)
"""Least and greatest side of the box its joints are drawn from, walker units."""
MIN_SPACING = 0.8
"""Joints drawn nearer than this to another are drawn again, walker units."""


def random_design(rng: np.random.Generator) -> WalkerDesign:
    """Draws a walker: joints scattered in a box, near ones joined, some of the muscles active.

    Args:
        rng: Source of randomness; the same state gives the same walker.

    Returns:
        A design within all limits.
    """
    while True:
        width, height = rng.uniform(*SIZE, size=2)
        joints: list[tuple[float, float]] = []
        for _ in range(int(rng.integers(JOINTS[0], JOINTS[1] + 1))):
            x, y = round(float(rng.uniform(0.0, width)), 2), round(float(rng.uniform(0.0, height)), 2)
            if all(math.dist((x, y), joint) >= MIN_SPACING for joint in joints):
                joints.append((x, y))
        active_share = rng.uniform(0.2, 1.0)
        muscles: list[tuple[int, int, bool, float, float]] = []
        for b in range(1, len(joints)):
            # Joining each joint to its nearest predecessors keeps the body in one piece and mostly rigid.
            nearest = sorted(range(b), key=lambda a: math.dist(joints[a], joints[b]))
            for a in nearest[: int(rng.integers(2, 4))]:
                if rng.random() < active_share:
                    amplitude = rng.uniform(0.05, MAX_AMPLITUDE_RATIO) * math.dist(joints[a], joints[b])
                    amplitude = math.floor(float(amplitude) * 100.0) / 100.0
                    muscles.append((a, b, False, amplitude, round(float(rng.uniform(0.0, math.tau)), 2)))
                else:
                    muscles.append((a, b, True, 0.0, 0.0))
        try:
            return build_design(joints, muscles)[0]
        except ProgramError:
            continue  # a single joint was left: draw again
