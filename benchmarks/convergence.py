"""Does the time step matter? Walkers at the usual step, at half of it and at a quarter, beside what chaos alone does to them.

Usage: ``python -m benchmarks.convergence [--walkers N] [--write]``. Takes about a minute. A walker counts as chaotic if
moving its joints by a millionth of a unit changes its distance by more than 5%: no time step, however short, will tell how
far such a walker gets. For all others the distance should hardly depend on the step.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import markdown_table, publish
from benchmarks.terrains import Breeder
from sodarace_gym.physics import constants
from sodarace_gym.physics.batch import roll_out_worlds
from sodarace_gym.physics.constants import CONSTANTS, WorldConstants
from sodarace_gym.physics.engine.stepping import COMPLETED
from sodarace_gym.physics.world import WorldArrays, world_arrays
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.random_walker import random_design
from sodarace_gym.walkers.walker import WalkerDesign

VARIANTS = {
    "as it is": (1, constants.SOLVER_ITERATIONS),
    "half the step": (2, constants.SOLVER_ITERATIONS),
    "a quarter": (4, constants.SOLVER_ITERATIONS),
    "twice the iterations": (1, 2 * constants.SOLVER_ITERATIONS),
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
LARGE = (0.10, 0.25, 0.50)
"""Relative changes at half the step whose frequency is counted."""


def refined(refinement: int, iterations: int) -> WorldConstants:
    """The constants in use, with a time step that is ``refinement`` times shorter and other solver iterations."""
    rate = constants.STEP_RATE * refinement
    return CONSTANTS._replace(
        iterations=iterations,
        time_step=1.0 / rate,
        settling_steps=CONSTANTS.settling_steps * refinement,
        calm_checks=CONSTANTS.calm_checks * refinement,
        settling_gravity=constants.GRAVITY * constants.SETTLING_DAMPING ** (1.0 / rate),
    )


def arrays(design: WalkerDesign, terrain: Terrain, refinement: int, shift: NDArray[np.float64] | None) -> WorldArrays:
    """The world of a walker with a drive for the shorter step, its joints moved by ``shift``, shape (joints, 2)."""
    world = world_arrays(design, terrain, constants.DURATION)
    rate = constants.STEP_RATE * refinement
    time = np.arange(1, round(constants.DURATION * rate) + 1) / rate
    drive = np.stack([np.sin(constants.DRIVE_RATE * time), np.cos(constants.DRIVE_RATE * time)], axis=1)
    return world._replace(drive=drive, joints=world.joints if shift is None else world.joints + shift)


def distance(
    design: WalkerDesign,
    terrain: Terrain,
    variant: str = "as it is",
    shift: NDArray[np.float64] | None = None,
    max_speed: float = constants.MAX_SPEED,
) -> float:
    """How far a walker gets, walker units; NaN if the roll-out failed."""
    refinement, iterations = VARIANTS[variant]
    values = refined(refinement, iterations)._replace(max_speed=max_speed)
    return distances([arrays(design, terrain, refinement, shift)], values)[0]


def distances(worlds: Sequence[WorldArrays], values: WorldConstants) -> list[float]:
    """How far walkers get, walker units; NaN where the roll-out failed."""
    return [
        abs(motion.end - motion.start) if motion.status == COMPLETED and motion.settled else math.nan
        for motion in roll_out_worlds(worlds, values).motions
    ]


def measure(designs: Sequence[WalkerDesign], terrain: Terrain, seed: int) -> dict[str, NDArray[np.float64]]:
    """Distances of all walkers: shape (variants, walkers) and, perturbed, (copies, walkers)."""
    rng = np.random.default_rng(seed)
    shifts = [
        [PERTURBATION * rng.uniform(-1.0, 1.0, size=(len(design.joints), 2)) for _ in range(COPIES)]
        for design in designs
    ]
    variants = [
        distances([arrays(design, terrain, refinement, None) for design in designs], refined(refinement, iterations))
        for refinement, iterations in VARIANTS.values()
    ]
    perturbed = [
        distances(
            [arrays(design, terrain, 1, shift[copy]) for design, shift in zip(designs, shifts, strict=True)], CONSTANTS
        )
        for copy in range(COPIES)
    ]
    return {"variants": np.array(variants), "perturbed": np.array(perturbed)}


def split(found: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Distances of the steady walkers and of the chaotic ones, shape (variants, walkers); see `SMALL` for who is left out."""
    base = found["variants"][0]
    usable = np.isfinite(found["variants"]).all(axis=0) & np.isfinite(found["perturbed"]).all(axis=0) & (base > SMALL)
    with np.errstate(invalid="ignore"):
        chaos = np.abs(found["perturbed"] / np.where(base > 0.0, base, 1.0) - 1.0).max(axis=0)
    kinds = {"steady": usable & (chaos <= CHAOTIC), "chaotic": usable & (chaos > CHAOTIC)}
    return {kind: found["variants"][:, chosen] for kind, chosen in kinds.items()}


def changes(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative changes in every variant but the first, against the first, shape (variants - 1, walkers)."""
    changed: NDArray[np.float64] = np.abs(distances[1:] / distances[0] - 1.0)
    return changed


def large_shares(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of walkers that half the step changes by more than each of `LARGE`, in %."""
    half = changes(distances)[0]
    return np.array([100.0 * np.mean(half > bound) for bound in LARGE])


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's: 1 if both order the walkers alike, 0 if one tells nothing of the other; there are no ties to speak of."""
    matrix: NDArray[np.float64] = np.asarray(np.corrcoef(np.argsort(np.argsort([first, second]))))
    return float(matrix[0, 1])


def row(label: str, distances: NDArray[np.float64]) -> list[object]:
    """The table row of one group of walkers: how the distance changes with the step and with the iterations."""
    count = distances.shape[1]
    if count == 0:
        return [label, 0, *["-"] * (2 * len(VARIANTS) + 1)]
    line: list[object] = [label, count, f"{distances[0].mean():.1f}"]
    for number, (changed, change) in enumerate(zip(distances[1:], changes(distances), strict=True)):
        quartiles = " / ".join(f"{100.0 * q:.1f}" for q in np.percentile(change, (25, 50, 75)))
        line += [f"{changed.mean():.1f}", quartiles]
        if number == 0:
            line.append(" / ".join(f"{share:.0f}" for share in large_shares(distances)))
            line.append(f"{rank_correlation(distances[0], changed):.2f}")
    return line


def reading(steady: Mapping[str, NDArray[np.float64]]) -> str:
    """What the steady walkers' figures say about what can be trusted.

    Args:
        steady: Distances of each group's steady walkers, by the group's name.
    """
    half = np.array([np.percentile(changes(d)[0], (50, 75)) for d in steady.values()])
    # From half to a quarter; a walker that half the step stops altogether has no relative change.
    again = np.array([np.percentile(changes(d[1:, d[1] > 0.0])[0], (50, 75)) for d in steady.values()])
    shares = {name: large_shares(d) for name, d in steady.items()}
    worst = max(shares, key=lambda name: float(shares[name][0]))
    means = {name: f"{100.0 * (d[1].mean() / d[0].mean() - 1.0):+.0f}%" for name, d in steady.items()}
    orders = {name: f"{rank_correlation(d[0], d[1]):.2f}" for name, d in steady.items()}

    def span(values: NDArray[np.float64]) -> str:
        return f"{100.0 * values.min():.0f} to {100.0 * values.max():.0f}%"

    def listed(figures: Mapping[str, str]) -> str:
        return "; ".join(f"{name} {figure}" for name, figure in figures.items())

    return (
        f"Reading, of steady walkers: half the step changes the distance by {span(half[:, 0])} at the median of a group, and "
        f"for every fourth walker by more than {span(half[:, 1])} (upper quartiles). The worst group is {worst}: "
        f"{shares[worst][0]:.0f}% of it change by more than {100 * LARGE[0]:.0f}%, and {shares[worst][-1]:.0f}% by more than "
        f"{100 * LARGE[-1]:.0f}%. Where distances converge, the next halving would change them by much less; it changes them "
        f"by {span(again[:, 0])} at the median, and by {span(again[:, 1])} at the upper quartile. So a distance is a "
        "repeatable measurement in the physics of this one step, and no prediction of what a finer physics would say.\n\n"
        "- To be trusted: differences between the means of many walkers that are large against what half the step does to "
        f"such means ({listed(means)}). The rough order of walkers only where their distances differ much (rank correlations: "
        f"{listed(orders)}).\n"
        "- Not to be trusted: the distance of one walker to better than some tens of percent; which of two good walkers is "
        "the better one, unless they are far apart; a record, which was selected at this step and may owe part of its "
        "distance to it; any single distance of a chaotic walker.\n"
        "- The bred walkers are the best of few strategies, and thus kin: their shares move in blocks."
    )


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
    steady = {}
    for label, designs in groups.items():
        for name in ("Flat", "Bumpy"):
            kinds = split(measure(designs, make_terrain(name), options.seed))
            table += [row(f"{label}, {name}, {kind}", distances) for kind, distances in kinds.items()]
            steady[f"{label}, {name}"] = kinds["steady"]
    step = 1000.0 / constants.STEP_RATE
    bounds = " / ".join(f"{100 * bound:.0f}" for bound in LARGE)
    header = ["walkers", "number", "mean distance"]
    for variant in list(VARIANTS)[1:]:
        header += [variant, "change"]
        if variant == "half the step":
            header += [f"over {bounds}%", "rank correlation"]
    body = (
        f"{options.walkers} random walkers and the {len(bred)} best of five small evolution strategies (20 generations, seeds "
        f"{options.seed} to {options.seed + 4}); those that get further than {SMALL:g} units and fail in no run. The step "
        f"in use is {step:.1f} ms, the solver's iterations are {constants.SOLVER_ITERATIONS}. Chaotic: {COPIES} copies with "
        f"joints moved by up to {PERTURBATION:g} units differ by more than {100 * CHAOTIC:g}%. Changes are relative to the "
        "distance as it is: quartiles (25% / median / 75%), in %. For half the step also: the share of walkers, in %, that "
        f"change by more than {bounds}%, and Spearman's correlation between the walkers' orders by the two distances.\n\n"
        f"{markdown_table(header, table)}\n\n{reading(steady)}"
    )
    publish("convergence", "Does the time step matter?", body, options.write)


if __name__ == "__main__":
    main()
