"""What do towers earn that their own muscles throw over, and would a run-up with moving muscles stop it?

Usage: ``python -m benchmarks.towers [--towers N] [--write]``. Takes some seconds. Braced towers get one to three active muscles
at random; those that still stand when these begin to move are watched for 14 s. A run-up of t seconds means that the 10 s which
count begin t seconds after the muscles do: a tower that falls during the run-up earns nothing by it.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from benchmarks.tables import markdown_table, publish
from sodarace_gym.physics.constants import DURATION, FRAME_RATE
from sodarace_gym.physics.rollout import Rollout, roll_out_many
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.walker import MAX_AMPLITUDE_RATIO, WalkerDesign, build_design

RUN_UPS = (0, 1, 2, 3, 4)
"""Seconds between the first movement and what counts."""
STANDS = 0.8
"""A tower that keeps this share of its height stands."""
FALLEN = 0.5
"""A tower that has lost this share of its height while it counted has fallen."""


def driven_tower(rng: np.random.Generator) -> WalkerDesign:
    """A tower 8 to 24 units high and 1 to 5 wide of 3 to 9 braced levels, a little askew, with 1 to 3 active muscles."""
    height, width, levels = rng.uniform(8.0, 24.0), rng.uniform(1.0, 5.0), int(rng.integers(3, 10))
    lean = rng.uniform(-0.02, 0.02)
    joints = [
        (side * width + lean * level, height * level / (levels - 1)) for level in range(levels) for side in (0, 1)
    ]
    links = [(2 * level, 2 * level + 1) for level in range(levels)]
    links += [
        (low, high)
        for level in range(levels - 1)
        for low in (2 * level, 2 * level + 1)
        for high in (2 * level + 2, 2 * level + 3)
    ]
    active = set(rng.choice(len(links), size=int(rng.integers(1, 4)), replace=False).tolist())
    muscles = []
    for number, (a, b) in enumerate(links):
        if number in active:
            share = rng.uniform(0.05, 0.999 * MAX_AMPLITUDE_RATIO)
            amplitude = float(share * math.dist(joints[a], joints[b]))
            muscles.append((a, b, False, amplitude, float(rng.uniform(0.0, math.tau))))
        else:
            muscles.append((a, b, True, 0.0, 0.0))
    return build_design(joints, muscles)[0]


def rows(standing: list[Rollout]) -> list[list[object]]:
    """One row a run-up: how many fall while it counts, and what those and the others earn."""
    lines: list[list[object]] = []
    for run_up in RUN_UPS:
        begin, end = run_up * FRAME_RATE, round((run_up + DURATION) * FRAME_RATE)
        earned, fell = [], []
        for rollout in standing:
            assert rollout.trajectory is not None
            heights = np.ptp(rollout.trajectory[[begin, end], :, 1], axis=1)
            centres = rollout.trajectory[[begin, end], :, 0].mean(axis=1)
            earned.append(abs(float(centres[1] - centres[0])))
            fell.append(bool(heights[1] < (1.0 - FALLEN) * heights[0]))
        distance, fallen = np.array(earned), np.array(fell)
        lines.append(
            [f"{run_up} s", int(fallen.sum()), f"{distance[fallen].mean():.1f}", f"{distance[fallen].max():.1f}",
             f"{distance[~fallen].mean():.1f}"]
        )  # fmt: skip
    return lines


def main() -> None:
    """Measures, prints and optionally writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--towers", type=int, default=600, help="towers to build (default 600)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the towers (default 0)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/towers.md")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    designs = [driven_tower(rng) for _ in range(options.towers)]
    flat = make_terrain("Flat")
    rollouts = roll_out_many(designs, [flat] * len(designs), DURATION + max(RUN_UPS), record=True)
    standing = [
        rollout
        for design, rollout in zip(designs, rollouts, strict=True)
        if rollout.fault is None
        and rollout.trajectory is not None
        and np.ptp(rollout.trajectory[0, :, 1]) > STANDS * design.height
    ]
    header = ["run-up", "fall while it counts", "their mean distance", "their best", "mean distance of the others"]
    body = (
        f"{options.towers} braced towers with one to three active muscles on Flat, seed {options.seed}; {len(standing)} still "
        f"stand when the muscles begin to move. The project has no run-up.\n\n" + markdown_table(header, rows(standing))
    )
    publish("towers", "What do towers earn that their own muscles throw over?", body, options.write)


if __name__ == "__main__":
    main()
