"""Does the time step matter? Walkers at the usual step, at half of it and at a quarter, beside what chaos alone does to them.

Usage: ``python -m benchmarks.convergence [--walkers N] [--write]``. Takes about half a minute. A walker counts as chaotic if
moving its joints by a millionth of a unit changes its distance by more than 5%: no time step, however short, will tell how
far such a walker gets. For all others the distance should hardly depend on the step.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import markdown_table, publish
from benchmarks.terrains import Breeder
from sodarace_gym import physics, stepping
from sodarace_gym.random_walker import random_design
from sodarace_gym.stepping import WorldArrays, WorldConstants
from sodarace_gym.terrain import Terrain, make_terrain
from sodarace_gym.walker import WalkerDesign

VARIANTS = {
    "as it is": (1, physics.SOLVER_ITERATIONS),
    "half the step": (2, physics.SOLVER_ITERATIONS),
    "a quarter": (4, physics.SOLVER_ITERATIONS),
    "twice the iterations": (1, 2 * physics.SOLVER_ITERATIONS),
}
"""By what the time step is divided, and the solver's iterations."""
PERTURBATION = 1e-6
"""How far joints are moved to find out who is chaotic, walker units."""
COPIES = 3
"""Perturbed copies of every walker."""
CHAOTIC = 0.05
"""Relative change of the distance from which on a walker counts as chaotic."""
SMALL = 2.0
"""Walkers that get less far are left out: relative changes of next to nothing say nothing. Walker units."""


def constants(refinement: int, iterations: int) -> WorldConstants:
    """The constants in use, with a time step that is ``refinement`` times shorter and other solver iterations."""
    rate = physics.STEP_RATE * refinement
    return physics.CONSTANTS._replace(
        iterations=iterations,
        time_step=1.0 / rate,
        settling_steps=physics.CONSTANTS.settling_steps * refinement,
        calm_checks=physics.CONSTANTS.calm_checks * refinement,
        settling_gravity=physics.GRAVITY * physics.SETTLING_DAMPING ** (1.0 / rate),
    )


def arrays(design: WalkerDesign, terrain: Terrain, refinement: int, shift: NDArray[np.float64] | None) -> WorldArrays:
    """The world of a walker with a drive for the shorter step, its joints moved by ``shift``, shape (joints, 2)."""
    world = physics.world_arrays(design, terrain, physics.DURATION)
    rate = physics.STEP_RATE * refinement
    time = np.arange(1, round(physics.DURATION * rate) + 1) / rate
    drive = np.stack([np.sin(physics.DRIVE_RATE * time), np.cos(physics.DRIVE_RATE * time)], axis=1)
    return world._replace(drive=drive, joints=world.joints if shift is None else world.joints + shift)


def distance(
    design: WalkerDesign,
    terrain: Terrain,
    variant: str = "as it is",
    shift: NDArray[np.float64] | None = None,
    max_speed: float = physics.MAX_SPEED,
) -> float:
    """How far a walker gets, walker units; NaN if the roll-out failed."""
    refinement, iterations = VARIANTS[variant]
    values = constants(refinement, iterations)._replace(max_speed=max_speed)
    motion = stepping.roll_out(arrays(design, terrain, refinement, shift), values, 0)
    return abs(motion.end - motion.start) if motion.status == stepping.COMPLETED and motion.settled else math.nan


def measure(designs: Sequence[WalkerDesign], terrain: Terrain, seed: int) -> dict[str, NDArray[np.float64]]:
    """Distances of all walkers: shape (variants, walkers) and, perturbed, (copies, walkers)."""
    rng = np.random.default_rng(seed)
    shifts = [
        [PERTURBATION * rng.uniform(-1.0, 1.0, size=(len(design.joints), 2)) for _ in range(COPIES)]
        for design in designs
    ]
    jobs: list[Callable[[], float]] = []
    for variant in VARIANTS:
        jobs += [lambda d=design, v=variant: distance(d, terrain, v) for design in designs]  # type: ignore[misc]
    for copy in range(COPIES):
        jobs += [
            lambda d=design, s=shift[copy]: distance(d, terrain, shift=s)  # type: ignore[misc]
            for design, shift in zip(designs, shifts, strict=True)
        ]
    with ThreadPoolExecutor() as threads:
        values = np.array(list(threads.map(lambda job: job(), jobs))).reshape(-1, len(designs))
    return {"variants": values[: len(VARIANTS)], "perturbed": values[len(VARIANTS) :]}


def rows(label: str, found: Mapping[str, NDArray[np.float64]]) -> list[list[object]]:
    """Table rows of one group of walkers: how the distance changes with the step, steady and chaotic walkers apart."""
    base = found["variants"][0]
    usable = np.isfinite(found["variants"]).all(axis=0) & np.isfinite(found["perturbed"]).all(axis=0) & (base > SMALL)
    with np.errstate(invalid="ignore"):
        chaos = np.abs(found["perturbed"] / np.where(base > 0.0, base, 1.0) - 1.0).max(axis=0)
    lines: list[list[object]] = []
    for kind, chosen in (("steady", usable & (chaos <= CHAOTIC)), ("chaotic", usable & (chaos > CHAOTIC))):
        count = int(chosen.sum())
        line: list[object] = [f"{label}, {kind}", count]
        if count == 0:
            lines.append([*line, *["-"] * (2 * len(VARIANTS) - 1)])
            continue
        line.append(f"{base[chosen].mean():.1f}")
        for changed in found["variants"][1:]:
            change = np.abs(changed[chosen] / base[chosen] - 1.0)
            quartiles = " / ".join(f"{100.0 * q:.1f}" for q in np.percentile(change, (25, 50, 75)))
            line += [f"{changed[chosen].mean():.1f}", quartiles]
        lines.append(line)
    return lines


def main() -> None:
    """Measures, prints and optionally writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--walkers", type=int, default=300, help="random walkers (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="seed of walkers, breeding and perturbations (default 0)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/convergence.md")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    flat = make_terrain("Flat")
    bred: list[WalkerDesign] = []
    for seed in range(options.seed, options.seed + 5):
        bred += Breeder(20, seed).breed(flat, lambda rollout, design: True)
    groups = {"random": [random_design(rng) for _ in range(options.walkers)], "bred": bred}
    table = []
    for label, designs in groups.items():
        for name in ("Flat", "Bumpy"):
            table += rows(f"{label}, {name}", measure(designs, make_terrain(name), options.seed))
    step = 1000.0 / physics.STEP_RATE
    header = ["walkers", "number", "mean distance"]
    for variant in list(VARIANTS)[1:]:
        header += [variant, "change"]
    body = (
        f"{options.walkers} random walkers and the {len(bred)} best of five small evolution strategies (20 generations, seeds "
        f"{options.seed} to {options.seed + 4}); those that get further than {SMALL:g} units and fail in no run. The step in "
        f"use is {step:.1f} ms, the solver's iterations are {physics.SOLVER_ITERATIONS}. Chaotic: {COPIES} copies with joints "
        f"moved by up to {PERTURBATION:g} units differ by more than {100 * CHAOTIC:g}%. Changes are relative to the distance "
        "as it is: quartiles (25% / median / 75%), in %.\n\n" + markdown_table(header, table)
    )
    publish("convergence", "Does the time step matter?", body, options.write)


if __name__ == "__main__":
    main()
