"""Where the time of an evaluation goes: sandbox, building, settling and walking, by the compiled and by the plain loop."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from sodarace_gym.physics import constants, rollout, stepping
from sodarace_gym.programs.program import compile_program
from sodarace_gym.terrains.making import make_terrain


def seconds_of(function: Callable[[], object]) -> float:
    """What one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratio_of(above: ArrayLike, below: ArrayLike) -> str:
    """Median and quartiles of a ratio, turn by turn."""
    low, median, high = np.percentile(np.divide(above, below), [25, 50, 75])
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"


def _split(programs: Sequence[str], terrain_name: str, repeats: int) -> dict[str, NDArray[np.float64]]:
    """Mean milliseconds of each part of an evaluation, turn by turn; building is a roll-out of no steps.

    Every part runs over all programs in a row, as it does in a batch: between two roll-outs the sandbox's process would
    have gone to sleep.
    """
    designs = [compile_program(program)[0] for program in programs]
    terrain = make_terrain(terrain_name)
    still = rollout.CONSTANTS._replace(settling_steps=0)
    worlds = [rollout.world_arrays(design, terrain, constants.DURATION) for design in designs]
    settling = [world._replace(drive=world.drive[:0]) for world in worlds]

    def build_compiled() -> None:
        for design, world in zip(designs, settling, strict=True):
            rollout.world_arrays(design, terrain, constants.DURATION)
            stepping.roll_out_compiled(world, still)

    def build_plain() -> None:
        for design, world in zip(designs, settling, strict=True):
            rollout.world_arrays(design, terrain, constants.DURATION)
            stepping.roll_out_plain(world, still)

    def settle_compiled() -> None:
        for world in settling:
            stepping.roll_out_compiled(world, rollout.CONSTANTS)

    def settle_plain() -> None:
        for world in settling:
            stepping.roll_out_plain(world, rollout.CONSTANTS)

    parts: dict[str, Callable[[], object]] = {
        "sandbox": lambda: [compile_program(program) for program in programs],
        "building, plain": build_plain,
        "building": build_compiled,
        "settled, plain": settle_plain,
        "settled": settle_compiled,
        "whole, plain": lambda: [rollout.roll_out(design, terrain, plain=True) for design in designs],
        "whole": lambda: [rollout.roll_out(design, terrain) for design in designs],
    }
    for part in parts.values():
        part()  # warm caches and compiled code
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            times[name].append(seconds_of(part))
    milliseconds = {name: 1e3 * np.array(values) / len(programs) for name, values in times.items()}
    for kind in ("", ", plain"):
        milliseconds[f"stepping{kind}"] = milliseconds[f"whole{kind}"] - milliseconds[f"building{kind}"]
        milliseconds[f"walking{kind}"] = milliseconds[f"whole{kind}"] - milliseconds[f"settled{kind}"]
    milliseconds["evaluation"] = milliseconds["sandbox"] + milliseconds["whole"]
    settled = [rollout.roll_out(design, terrain).settling_time for design in designs]
    milliseconds["steps"] = np.array([constants.STEP_RATE * (statistics.mean(settled) + constants.DURATION)])
    return milliseconds


PARTS = ("sandbox", "building, plain", "stepping, plain", "building", "stepping")
RATIOS = {
    "stepping alone": ("stepping, plain", "stepping"),
    "of that, walking alone": ("walking, plain", "walking"),
    "whole evaluation": ("whole, plain", "evaluation"),
}
"""What the compiled loop is compared in: what the plain one takes, and what it takes."""


def parts_of_walkers(evolved: Sequence[str], repeats: int) -> dict[str, dict[str, NDArray[np.float64]]]:
    """The parts of an evaluation of each seed and of an evolution's walkers, on Flat and on Bumpy."""
    found = {}
    for terrain in ("Flat", "Bumpy"):
        for name in SEED_NAMES:
            found[f"{name}, {terrain}"] = _split([load_seed(name)] * 10, terrain, repeats)
        found[f"evolution run, {terrain}"] = _split(evolved, terrain, few_turns(repeats))
    return found


def few_turns(repeats: int) -> int:
    """Turns of what takes long."""
    return max(3, repeats // 3)


def part_rows(splits: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> list[list[object]]:
    """A row of the table for each kind of walker: steps, milliseconds, the sandbox's share, evaluations a second."""
    rows: list[list[object]] = []
    for label, ms in splits.items():
        total = np.median(ms["evaluation"])
        parts = (f"{np.median(ms[part]):.2f}" for part in PARTS)
        rows.append([label, f"{ms['steps'][0]:.0f}", *parts, f"{sandbox_share(ms):.0f}", f"{1e3 / total:.0f}"])
    return rows


def sandbox_share(ms: Mapping[str, NDArray[np.float64]]) -> float:
    """Percentage of an evaluation that its program takes."""
    return float(np.median(100.0 * ms["sandbox"] / ms["evaluation"]))
