"""How fast are walkers rolled out, what does the rest of an evaluation take, and were the goals reached?

Usage: ``python -m benchmarks.throughput [--repeats N] [--walkers N] [--write]``. Takes a quarter of an hour. Every figure is
the median over the repeats; ratios compare the same walkers in the same process, turn by turn, so that a drifting machine speed
cancels. Numbers in brackets are quartiles over the turns. From one run to the next, ratios of a virtual machine differ by up to
10%.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks import engine_speed, evaluation_parts
from benchmarks.engine_speed import ALONE, BATCH, CHIPMUNK, PLAIN
from benchmarks.tables import markdown_table, publish
from benchmarks.timing import few, quartiles
from elm_rl.evolution.map_elites import EvolveConfig, make_operators, run_evolution
from elm_rl.evolution.seeds import load_seed
from elm_rl.runs.run_directory import read_jsonl
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.physics.constants import DURATION
from sodarace_gym.programs.program import compile_program
from sodarace_gym.walkers.library import load_walker
from sodarace_gym.walkers.random_walker import random_design
from sodarace_gym.walkers.walker import WalkerDesign

SEED = 0
"""Of the random walkers and of the evolution."""
ITERATIONS = 25
"""Of the evolution, 128 programs each."""
RANDOM, EVOLVED = "random walkers", "evolved walkers"
ALIKE = 16
"""Times that a single walker is rolled out, side by side."""

_GOALS: dict[str, tuple[str, float]] = {
    "square": (BATCH, 10.0), "radial": (BATCH, 10.0), "cppn_fixed": (BATCH, 10.0),
    RANDOM: (BATCH, 8.0), EVOLVED: (BATCH, 8.0),
}  # fmt: skip
_ALONE_GOAL, _BUMPY_GOAL, _PREPARING_GOAL = 2.5, 1.15, 1.0


def evolved(count: int) -> list[str]:
    """Programs that a short evolution by GP on Flat admitted, evenly spread over its time."""
    with tempfile.TemporaryDirectory() as folder, Evaluator() as evaluator:
        out = Path(folder) / "run"
        config = EvolveConfig(
            out=out, operators=("gp",), iterations=ITERATIONS, batch_size=128, seed=SEED, progress=False
        )
        run_evolution(config, make_operators(config.operators), evaluator)
        admitted = [record["program"] for record in read_jsonl(out / "admitted.jsonl")]
    spread = np.linspace(0, len(admitted) - 1, min(count, len(admitted))).astype(int)
    return [admitted[index] for index in spread]


def goals(
    times: Mapping[tuple[str, str], engine_speed.Times], prepared: engine_speed.Times, preparations: tuple[int, int]
) -> str:
    """What the engine was to reach, and whether it did, by these figures."""
    found: list[tuple[str, str, object, bool]] = []

    def add(what: str, goal: float, values: object, least: bool) -> None:
        median = float(np.median(np.asarray(values)))
        reached = median >= goal if least else median <= goal
        found.append((what, f"at {'least' if least else 'most'} {goal:g}", quartiles(np.asarray(values)), reached))

    for (label, terrain), ms in times.items():
        if label in _GOALS:
            way, goal = _GOALS[label]
            add(f"{label} on {terrain}, {way}: loop / engine", goal, ms[CHIPMUNK] / ms[way], True)
    for (label, terrain), ms in times.items():
        add(f"{label} on {terrain}, alone: loop / engine", _ALONE_GOAL, ms[CHIPMUNK] / ms[ALONE], True)
    for label in dict.fromkeys(label for label, _ in times):
        ratio = times[label, "Bumpy"][BATCH] / times[label, "Flat"][BATCH]
        add(f"{label}, {BATCH}: Bumpy / Flat", _BUMPY_GOAL, ratio, False)
    slowest = max(prepared, key=lambda name: float(np.median(prepared[name])))
    add(f"preparing a terrain, ms; the slowest family, {slowest}", _PREPARING_GOAL, prepared[slowest], False)
    made, there = preparations
    found.append(("times that each terrain of a run is prepared", "at most 1", f"{made / there:g}", made <= there))
    rows = [[what, goal, value, "yes" if reached else "**no**"] for what, goal, value, reached in found]
    return markdown_table(["goal", "", "measured", "reached"], rows)


def main() -> None:
    """Measures, prints and optionally writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="repetitions of every measurement (default 15)")
    parser.add_argument("--walkers", type=int, default=200, help="random and evolved walkers (default 200)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/throughput.md")
    options = parser.parse_args()
    rng = np.random.default_rng(SEED)
    programs = {name: [load_seed(name)] * ALIKE for name in ("square", "radial", "cppn_fixed")}
    programs["runner"] = [load_walker("runner")] * ALIKE
    programs[RANDOM] = [random_design(rng).to_program() for _ in range(options.walkers)]
    programs[EVOLVED] = evolved(options.walkers)
    designs = {label: [compile_program(text)[0] for text in texts] for label, texts in programs.items()}
    times = engine_speed.measure(designs, options.repeats)
    prepared = engine_speed.prepare_terrains(options.repeats)
    table = goals(times, prepared, engine_speed.preparations(designs[RANDOM][:20]))
    parts = evaluation_parts.measure(programs, "Flat", few(options.repeats))
    start = evaluation_parts.start(5)
    body = (
        f"Medians of {options.repeats} turns ({few(options.repeats)} for {PLAIN} and for whole evaluations, five for the "
        "start-up), with quartiles in brackets.\n\n"
        f"## What was to be reached\n\n{table}\n\n"
        f"## Roll-outs alone\n\n{_explained(designs)}\n\n{engine_speed.table(times)}\n\n"
        "## Whole evaluations\n\nPrograms on Flat, each part over all programs of a row before the next; evaluators that "
        "remember nothing. Sandbox and wholes by the clock on the wall, all else in processor time. Evaluators run programs "
        "and walkers side by side where there are cores; wholes only for programs that differ, as an evaluator runs equal ones "
        f"once.\n\n{evaluation_parts.table(parts)}\n\n"
        f"## Preparing terrains\n\n{engine_speed.terrain_table(prepared)}\n\n"
        f"## Start-up\n\n{evaluation_parts.start_table(start)}"
    )
    publish("throughput", "How many evaluations a second?", body, options.write)


def _explained(designs: Mapping[str, list[WalkerDesign]]) -> str:
    sizes = {label: np.median([len(design.muscles) for design in each]) for label, each in designs.items()}
    return (
        f"Processor time of one thread for settling and {DURATION:g} s of walking, worlds prepared before. All ways gave the "
        f"same bits for every walker, which is checked before the clock starts. {CHIPMUNK}: the compiled loop that calls "
        "Chipmunk's functions, which rolled walkers out before the engine. Alone: one walker a call. Random walkers: "
        f"{len(designs[RANDOM])} (seed {SEED}). Evolved: {len(designs[EVOLVED])} that an evolution by GP on Flat (seed {SEED}, "
        f"{ITERATIONS} iterations of 128) admitted, evenly spread over its time. The others: {ALIKE} times the same. Median "
        f"muscles: {', '.join(f'{label} {size:.0f}' for label, size in sizes.items())}."
    )


if __name__ == "__main__":
    main()
