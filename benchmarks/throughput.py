"""How many evaluations a second: plain pymunk loop, compiled loop, one and two threads, and where the time goes.

Usage: ``python -m benchmarks.throughput [--repeats N] [--write]``. Takes about ten minutes. Every figure is the median over
the repeats; ratios compare the same walkers in the same process, turn by turn, so that a drifting machine speed cancels.
Numbers in brackets are quartiles over the turns.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.tables import markdown_table, publish
from elm_rl.map_elites import EvolveConfig, make_operators, run_evolution
from elm_rl.run_directory import read_jsonl
from elm_rl.seeds import SEED_NAMES, load_seed
from sodarace_gym import physics, stepping
from sodarace_gym.errors import ProgramError
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.program import compile_program
from sodarace_gym.random_walker import random_design
from sodarace_gym.terrain import Terrain, make_terrain
from sodarace_gym.walker import WalkerDesign

STREAM = 4
"""Last iterations of the evolution that are measured as they come."""


def _seconds(function: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _ratio(above: ArrayLike, below: ArrayLike) -> str:
    """Median and quartiles of a ratio, turn by turn."""
    low, median, high = np.percentile(np.divide(above, below), [25, 50, 75])
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"


def _split(programs: Sequence[str], terrain_name: str, repeats: int) -> dict[str, float]:
    """Mean milliseconds of each part of an evaluation; building is a roll-out of no steps.

    Every part runs over all programs in a row, as it does in a batch: between two roll-outs the sandbox's process would
    have gone to sleep.
    """
    designs = [compile_program(program)[0] for program in programs]
    terrain = make_terrain(terrain_name)
    still = physics.CONSTANTS._replace(settling_steps=0)
    worlds = [physics.world_arrays(design, terrain, physics.DURATION) for design in designs]
    settling = [world._replace(drive=world.drive[:0]) for world in worlds]

    def build_compiled() -> None:
        for design, world in zip(designs, settling, strict=True):
            physics.world_arrays(design, terrain, physics.DURATION)
            stepping.roll_out_compiled(world, still)

    def build_plain() -> None:
        for design, world in zip(designs, settling, strict=True):
            physics.world_arrays(design, terrain, physics.DURATION)
            stepping.roll_out_plain(world, still)

    def settle_compiled() -> None:
        for world in settling:
            stepping.roll_out_compiled(world, physics.CONSTANTS)

    def settle_plain() -> None:
        for world in settling:
            stepping.roll_out_plain(world, physics.CONSTANTS)

    parts: dict[str, Callable[[], object]] = {
        "sandbox": lambda: [compile_program(program) for program in programs],
        "building, plain": build_plain,
        "building": build_compiled,
        "settled, plain": settle_plain,
        "settled": settle_compiled,
        "whole, plain": lambda: [physics.roll_out(design, terrain, plain=True) for design in designs],
        "whole": lambda: [physics.roll_out(design, terrain) for design in designs],
    }
    for part in parts.values():
        part()  # warm caches and compiled code
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            times[name].append(_seconds(part, 1))
    milliseconds = {name: 1e3 * statistics.median(values) / len(programs) for name, values in times.items()}
    for kind in ("", ", plain"):
        milliseconds[f"stepping{kind}"] = milliseconds[f"whole{kind}"] - milliseconds[f"building{kind}"]
        milliseconds[f"walking{kind}"] = milliseconds[f"whole{kind}"] - milliseconds[f"settled{kind}"]
    settled = [physics.roll_out(design, terrain).settling_time for design in designs]
    milliseconds["steps"] = physics.STEP_RATE * (statistics.mean(settled) + physics.DURATION)
    return milliseconds


def _split_row(label: str, programs: Sequence[str], terrain_name: str, repeats: int) -> list[object]:
    ms = _split(programs, terrain_name, repeats)
    parts = [ms[part] for part in ("sandbox", "building, plain", "stepping, plain", "building", "stepping")]
    total = ms["sandbox"] + ms["whole"]
    return [
        f"{label}, {terrain_name}",
        f"{ms['steps']:.0f}",
        *(f"{part:.2f}" for part in parts),
        f"{ms['stepping, plain'] / ms['stepping']:.1f}",
        f"{ms['walking, plain'] / ms['walking']:.1f}",
        f"{ms['whole, plain'] / total:.1f}",
        f"{100 * ms['sandbox'] / total:.0f}",
        f"{1e3 / total:.0f}",
    ]


def _split_rows(evolved: Sequence[str], repeats: int) -> list[list[object]]:
    rows = []
    for terrain_name in ("Flat", "Bumpy"):
        rows += [_split_row(name, [load_seed(name)] * 10, terrain_name, repeats) for name in SEED_NAMES]
        rows.append(_split_row(f"evolution run ({len(evolved)})", evolved, terrain_name, max(3, repeats // 3)))
    return rows


class _Listening(Evaluator):
    """An evaluator that keeps every batch of programs it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    def evaluate(self, programs: Sequence[str], terrain: Terrain | str | Sequence[Terrain | str]) -> list[Evaluation]:
        self.batches.append(list(programs))
        return super().evaluate(programs, terrain)


def evolution(iterations: int, count: int) -> tuple[list[str], list[list[str]]]:
    """A short evolution by GP on Flat.

    Args:
        iterations: Iterations of 128 children.
        count: Programs to take of those it admitted.

    Returns:
        Programs that it admitted, evenly spread over its time; all programs it evaluated in its last iterations, one list an
        iteration, those that fail and those it had seen before among them.
    """
    with tempfile.TemporaryDirectory() as folder, _Listening() as evaluator:
        config = EvolveConfig(out=Path(folder) / "run", iterations=iterations, batch_size=128, progress=False)
        run_evolution(config, make_operators(config.operators), evaluator)
        admitted = [record["program"] for record in read_jsonl(Path(folder) / "run" / "admitted.jsonl")]
    spread = np.linspace(0, len(admitted) - 1, min(count, len(admitted))).astype(int)
    return [admitted[i] for i in spread], evaluator.batches


def _walkers(programs: Sequence[str]) -> list[WalkerDesign]:
    """What those of the programs build that build anything."""
    walkers = []
    for program in programs:
        with contextlib.suppress(ProgramError):
            walkers.append(compile_program(program)[0])
    return walkers


def _stream_row(batches: Sequence[Sequence[str]], repeats: int) -> list[object]:
    """All that an evolution asks for, through an evaluator, against plain building and stepping of every walker.

    The two take turns batch by batch, as the machine's speed changes within a minute.
    """
    terrain = make_terrain("Flat")
    before, asked = batches[:-STREAM], batches[-STREAM:]
    walkers = [_walkers(batch) for batch in asked]
    programs = list(itertools.chain.from_iterable(asked))
    fresh = len(set(programs) - set(itertools.chain.from_iterable(before)))

    def walk_plainly(designs: Sequence[WalkerDesign]) -> None:
        for design in designs:
            physics.roll_out(design, terrain, plain=True)

    plain, compiled = np.zeros(repeats), np.zeros(repeats)
    for turn in range(repeats):
        with Evaluator(n_jobs=1) as evaluator:
            for batch in before:
                evaluator.evaluate(batch, terrain)
            for batch, designs in zip(asked, walkers, strict=True):
                compiled[turn] += _seconds(partial(evaluator.evaluate, batch, terrain), 1)
                plain[turn] += _seconds(partial(walk_plainly, designs), 1)
    return [
        len(programs), fresh, sum(map(len, walkers)), f"{1e3 * np.median(plain) / len(programs):.2f}",
        f"{1e3 * np.median(compiled) / len(programs):.2f}", _ratio(plain, compiled),
    ]  # fmt: skip


_START = """
import time
begun = time.perf_counter(); import gymnasium
first = time.perf_counter(); import sodarace_gym
second = time.perf_counter()
env = gymnasium.make("Sodarace-Flat-v0"); env.reset(seed=0)
third = time.perf_counter()
env.step(env.action_space.sample())
print(first - begun, second - first, third - second, time.perf_counter() - third)
"""


def _start_rows(repeats: int) -> list[list[object]]:
    """Seconds that a new process takes to its first evaluation, with the compiled loop cached on disk."""
    times = []
    for _ in range(repeats + 1):
        output = subprocess.run([sys.executable, "-c", _START], capture_output=True, text=True, check=True).stdout
        times.append([float(word) for word in output.split()])
    medians = [statistics.median(column) for column in zip(*times[1:], strict=True)]  # the first one may compile
    names = ("import gymnasium", "import sodarace_gym, in addition", "make and reset", "the first evaluation")
    return [[name, f"{value:.2f}"] for name, value in zip(names, medians, strict=True)]


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
    return [[name, f"{statistics.median(values):.0f}", _ratio(values, base)] for name, values in rates.items()]


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
        _rates(designs, options.repeats),
    )
    admitted, batches = evolution(iterations=25, count=150)
    split = markdown_table(
        ["milliseconds per evaluation", "steps", "sandbox", "building, plain", "stepping, plain", "building", "stepping",
         "stepping: plain / compiled", "walking alone: plain / compiled",
         "whole: plain without sandbox / compiled with sandbox", "sandbox, %", "evaluations/s"],
        _split_rows(admitted, options.repeats),
    )  # fmt: skip
    stream = markdown_table(
        ["programs", "new to the evaluator", "build a walker", "plain building and stepping, ms a program",
         "whole evaluation, ms a program", "plain / whole"],
        [_stream_row(batches, max(3, options.repeats // 3))],
    )  # fmt: skip
    start = markdown_table(["a new process", "seconds"], _start_rows(5))
    muscles = np.median([len(design.muscles) for design in designs])
    body = (
        f"Random walkers (seed 0, {options.walkers} of them, median {muscles:.0f} muscles) on Flat, {physics.DURATION:g} s of "
        f"walking after settling; medians of {options.repeats} turns, here and below with quartiles in brackets:\n\n{rates}\n\n"
        "Where the time goes, one thread. Stepping is settling and walking; while settling the plain loop only steps, while "
        "walking it also sets the length of every active muscle. The evolution run: "
        f"programs that a short evolution on Flat admitted, evenly spread.\n\n{split}\n\n"
        f"An evolution as it comes: all that the last {STREAM} of its 25 iterations asked for, duplicates and failures too, by "
        "one evaluator with one thread, against plain building and stepping of every walker (no sandbox, no memory):"
        f"\n\n{stream}\n\nStart-up:\n\n{start}"
    )
    publish("throughput", "How many evaluations a second?", body, options.write)


if __name__ == "__main__":
    main()
