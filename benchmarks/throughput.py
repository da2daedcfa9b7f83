"""How many evaluations a second: plain pymunk loop, compiled loop, one and two threads, and where the time goes.

Usage: ``python -m benchmarks.throughput [--repeats N] [--write]``. Takes about two minutes. Every figure is the median over
the repeats; ratios compare the same walkers in the same process, turn by turn, so that a drifting machine speed cancels.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.tables import markdown_table, publish
from elm_rl.seeds import SEED_NAMES, load_seed
from sodarace_gym import physics, stepping
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.program import compile_program
from sodarace_gym.random_walker import random_design
from sodarace_gym.terrain import make_terrain
from sodarace_gym.walker import WalkerDesign


def _seconds(function: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _split(program: str, terrain_name: str, repeats: int) -> dict[str, float]:
    """Milliseconds of each part of one evaluation; building is a roll-out of no steps."""
    design = compile_program(program)[0]
    terrain = make_terrain(terrain_name)
    still = physics.CONSTANTS._replace(settling_steps=0)
    arrays = physics.world_arrays(design, terrain, physics.DURATION)
    empty = arrays._replace(drive=arrays.drive[:0])

    def build_compiled() -> None:
        physics.world_arrays(design, terrain, physics.DURATION)
        stepping.roll_out_compiled(empty, still)

    def build_plain() -> None:
        physics.world_arrays(design, terrain, physics.DURATION)
        stepping.roll_out_plain(empty, still)

    parts: dict[str, Callable[[], object]] = {
        "sandbox": lambda: compile_program(program),
        "building, plain": build_plain,
        "building": build_compiled,
        "whole, plain": lambda: physics.roll_out(design, terrain, plain=True),
        "whole": lambda: physics.roll_out(design, terrain),
    }
    for part in parts.values():
        part()  # warm caches and compiled code
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            times[name].append(_seconds(part, 1))
    milliseconds = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    milliseconds["stepping, plain"] = milliseconds["whole, plain"] - milliseconds["building, plain"]
    milliseconds["stepping"] = milliseconds["whole"] - milliseconds["building"]
    milliseconds["steps"] = physics.STEP_RATE * (physics.roll_out(design, terrain).settling_time + physics.DURATION)
    return milliseconds


def _split_rows(terrain_name: str, repeats: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for name in SEED_NAMES:
        ms = _split(load_seed(name), terrain_name, repeats)
        parts = [ms[part] for part in ("sandbox", "building, plain", "stepping, plain", "building", "stepping")]
        row: list[object] = [f"{name}, {terrain_name}", f"{ms['steps']:.0f}", *(f"{part:.2f}" for part in parts)]
        row.append(f"{ms['stepping, plain'] / ms['stepping']:.1f}")
        row.append(f"{ms['whole, plain'] / (ms['whole'] + ms['sandbox']):.1f}")
        rows.append(row)
    return rows


def _rates(designs: list[WalkerDesign], repeats: int) -> list[list[object]]:
    """Evaluations per second of whole batches of different walkers; the evaluator remembers nothing."""
    terrain = make_terrain("Flat")
    programs = [design.to_program() for design in designs]

    def plain() -> None:
        for program in programs:
            physics.roll_out(compile_program(program)[0], terrain, plain=True)

    rates: dict[str, list[float]] = {"plain pymunk loop, 1 thread": []}
    with Evaluator(n_jobs=1, cache_size=0) as one, Evaluator(n_jobs=2, cache_size=0) as two:
        ways: dict[str, Callable[[], object]] = {
            "plain pymunk loop, 1 thread": plain,
            "compiled loop, 1 thread": lambda: one.evaluate(programs, terrain),
            "compiled loop, 2 threads": lambda: two.evaluate(programs, terrain),
        }
        for way in ways.values():
            way()
        for _ in range(repeats):
            for name, way in ways.items():
                rates.setdefault(name, []).append(len(programs) / _seconds(way, 1))
    base = rates["compiled loop, 1 thread"]
    return [
        [
            name,
            f"{statistics.median(values):.0f}",
            f"{statistics.median(v / b for v, b in zip(values, base, strict=True)):.2f}",
        ]
        for name, values in rates.items()
    ]


def main() -> None:
    """Measures, prints and optionally writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="repetitions of every measurement (default 15)")
    parser.add_argument("--walkers", type=int, default=200, help="random walkers in a batch (default 200)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/throughput.md")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    designs = [random_design(rng) for _ in range(options.walkers)]
    rates = markdown_table(
        ["whole evaluation (sandbox, building, stepping)", "evaluations/s", "against compiled, 1 thread"],
        _rates(designs, max(3, options.repeats // 5)),
    )
    split = markdown_table(
        ["milliseconds per evaluation", "steps", "sandbox", "building, plain", "stepping, plain", "building", "stepping",
         "stepping: plain / compiled", "whole: plain without sandbox / compiled with sandbox"],
        _split_rows("Flat", options.repeats) + _split_rows("Bumpy", options.repeats),
    )  # fmt: skip
    muscles = np.median([len(design.muscles) for design in designs])
    body = (
        f"Random walkers (seed 0, {options.walkers} of them, median {muscles:.0f} muscles) on Flat, {physics.DURATION:g} s of "
        f"walking after settling:\n\n{rates}\n\nWhere the time goes, one thread:\n\n{split}"
    )
    publish("throughput", "How many evaluations a second?", body, options.write)


if __name__ == "__main__":
    main()
