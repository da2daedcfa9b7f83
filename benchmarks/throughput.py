"""How many evaluations a second: plain pymunk loop, compiled loop, one and two threads, and where the time goes.

Usage: ``python -m benchmarks.throughput [--repeats N] [--write]``. Takes a quarter of an hour. Every figure is the median over
the repeats; ratios compare the same walkers in the same process, turn by turn, so that a drifting machine speed cancels.
Numbers in brackets are quartiles over the turns. From one run to the next, ratios of a virtual machine differ by up to 10%.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation_parts import (
    PARTS,
    RATIOS,
    few_turns,
    part_rows,
    parts_of_walkers,
    ratio_of,
    sandbox_share,
    seconds_of,
)
from benchmarks.tables import markdown_table, publish
from elm_rl.evolution.map_elites import EvolveConfig, make_operators, run_evolution
from elm_rl.runs.run_directory import read_jsonl
from sodarace_gym.errors import ProgramError
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.physics import constants, rollout
from sodarace_gym.programs.program import compile_program
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.random_walker import random_design
from sodarace_gym.walkers.walker import WalkerDesign

STREAM = 4
"""Last iterations of the evolution that are measured as they come."""


class _Listening(Evaluator):
    """An evaluator that keeps every batch of programs it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    def evaluate(self, programs: Iterable[str], terrain: Any) -> list[Evaluation]:
        self.batches.append(list(programs))
        return super().evaluate(self.batches[-1], terrain)


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


def _stream(batches: Sequence[Sequence[str]], repeats: int) -> dict[str, Any]:
    """All that an evolution asks for, through evaluators that remember and that do not, against plain building and stepping.

    The ways take turns batch by batch, as the machine's speed changes within a minute.
    """
    terrain = make_terrain("Flat")
    before, asked = batches[:-STREAM], batches[-STREAM:]
    walkers = [_walkers(batch) for batch in asked]
    programs = list(itertools.chain.from_iterable(asked))
    known = {design for batch in before for design in _walkers(batch)}

    def walk_plainly(designs: Sequence[WalkerDesign]) -> None:
        for design in designs:
            rollout.roll_out(design, terrain, plain=True)

    plain, remembering, forgetting = np.zeros(repeats), np.zeros(repeats), np.zeros(repeats)
    for turn in range(repeats):
        with Evaluator(n_jobs=1) as evaluator, Evaluator(n_jobs=1, cache_size=0) as forgetful:
            for batch in before:
                evaluator.evaluate(batch, terrain)
            for batch, designs in zip(asked, walkers, strict=True):
                remembering[turn] += seconds_of(partial(evaluator.evaluate, batch, terrain))
                plain[turn] += seconds_of(partial(walk_plainly, designs))
                forgetting[turn] += seconds_of(partial(forgetful.evaluate, batch, terrain))
    return {
        "programs": len(programs),
        "walkers": sum(map(len, walkers)),
        "new walkers": len(set(itertools.chain.from_iterable(walkers)) - known),
        "seconds": {"plain": plain, "remembering": remembering, "forgetting": forgetting},
    }


def _stream_table(stream: Mapping[str, Any]) -> str:
    seconds, programs = stream["seconds"], stream["programs"]
    rows: list[list[object]] = [
        [label, rollouts, f"{1e3 * np.median(seconds[way]) / programs:.2f}", ratio_of(seconds["plain"], seconds[way])]
        for label, way, rollouts in (
            ("plain building and stepping of every walker, no sandbox", "plain", stream["walkers"]),
            ("whole, an evaluator that remembers what it met", "remembering", stream["new walkers"]),
            ("whole, one that remembers nothing", "forgetting", f"{stream['walkers']}, less twins in a batch"),
        )
    ]
    return markdown_table(["", "roll-outs", "ms a program", "plain / this"], rows)


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


def _start(repeats: int) -> dict[str, float]:
    """Seconds that a new process takes to its first evaluation: compiling, and with the compiled loop cached on disk."""
    times = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(repeats + 1):
            output = subprocess.run(
                [sys.executable, "-c", _START],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"NUMBA_CACHE_DIR": cache},
            ).stdout
            times.append([float(word) for word in output.split()])
    medians = [statistics.median(column) for column in zip(*times[1:], strict=True)]
    names = ("import gymnasium", "import sodarace_gym, in addition", "make and reset", "the first evaluation")
    return dict(zip(names, medians, strict=True)) | {"the very first after installing, which compiles": times[0][-1]}


def _goals(
    splits: Mapping[str, Mapping[str, NDArray[np.float64]]],
    stream: Mapping[str, Any],
    rates: Mapping[str, list[float]],
    start: Mapping[str, float],
) -> str:
    """What the project set out to reach, and whether it did, by these figures."""

    def ratio(label: str, kind: str) -> float:
        above, below = RATIOS[kind]
        return float(np.median(splits[label][above] / splits[label][below]))

    seconds = stream["seconds"]
    flat, bumpy = (np.median(splits[f"evolution run, {terrain}"]["evaluation"]) for terrain in ("Flat", "Bumpy"))
    shares = [sandbox_share(splits[f"evolution run, {terrain}"]) for terrain in ("Flat", "Bumpy")]
    alone, walking = "stepping alone", "of that, walking alone"
    goals: list[tuple[str, float, float, bool]] = [
        ("stepping alone, square on Flat, times as fast as plain", ratio("square, Flat", alone), 4.0, True),
        ("the same, walking without settling", ratio("square, Flat", walking), 4.0, True),
        ("stepping alone, radial on Flat", ratio("radial, Flat", alone), 4.0, True),
        ("the same, walking without settling", ratio("radial, Flat", walking), 4.0, True),
        ("stepping alone, cppn_fixed on Flat", ratio("cppn_fixed, Flat", alone), 3.3, True),
        (
            "whole evaluations of an evolution, by an evaluator that remembers, against plain building and stepping",
            float(np.median(seconds["plain"] / seconds["remembering"])),
            3.0,
            True,
        ),
        (
            "the same, by one that remembers nothing",
            float(np.median(seconds["plain"] / seconds["forgetting"])),
            3.0,
            True,
        ),
        ("an evaluation of the evolution run on Bumpy, times one on Flat", float(bumpy / flat), 1.3, False),
        ("two threads against one", float(np.median(np.divide(rates[TWO_THREADS], rates[ONE_THREAD]))), 1.8, True),
        ("share of the sandbox in the evolution run, worse of two terrains, %", max(shares), 20.0, False),
        ("import of sodarace_gym on top of gymnasium, s", start["import sodarace_gym, in addition"], 0.5, False),
    ]
    rows: list[list[object]] = [
        [
            name,
            f"at {'least' if least else 'most'} {goal:g}",
            f"{value:.2f}",
            "yes" if (value >= goal if least else value <= goal) else "**no**",
        ]
        for name, value, goal, least in goals
    ]
    return markdown_table(["goal", "", "measured", "reached"], rows)


ONE_THREAD, TWO_THREADS = "compiled loop, 1 thread", "compiled loop, 2 threads"


def _rates(designs: list[WalkerDesign], repeats: int) -> dict[str, list[float]]:
    """Evaluations per second of whole batches of different walkers; the evaluator remembers nothing."""
    terrain = make_terrain("Flat")
    programs = [design.to_program() for design in designs]

    def plain() -> None:
        for program in programs:
            rollout.roll_out(compile_program(program)[0], terrain, plain=True)

    rates: dict[str, list[float]] = {"plain pymunk loop, 1 thread": []}
    with Evaluator(n_jobs=1, cache_size=0) as one, Evaluator(n_jobs=2, cache_size=0) as two:
        ways: dict[str, Callable[[], object]] = {
            "plain pymunk loop, 1 thread": plain,
            ONE_THREAD: lambda: one.evaluate(programs, terrain),
            TWO_THREADS: lambda: two.evaluate(programs, terrain),
        }
        for way in ways.values():
            way()
        for _ in range(repeats):
            for name, way in ways.items():
                rates.setdefault(name, []).append(len(programs) / seconds_of(way))
    return rates


def main() -> None:
    """Measures, prints and optionally writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="repetitions of every measurement (default 15)")
    parser.add_argument("--walkers", type=int, default=200, help="random walkers in a batch (default 200)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/throughput.md")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    designs = [random_design(rng) for _ in range(options.walkers)]
    rates = _rates(designs, options.repeats)
    rate_rows = [
        [name, f"{np.median(values):.0f}", ratio_of(values, rates[ONE_THREAD])] for name, values in rates.items()
    ]
    admitted, batches = evolution(iterations=25, count=150)
    splits = parts_of_walkers(admitted, options.repeats)
    ratio_rows = [[label, *(ratio_of(ms[a], ms[b]) for a, b in RATIOS.values())] for label, ms in splits.items()]
    stream = _stream(batches, few_turns(options.repeats))
    start = _start(5)
    muscles = np.median([len(design.muscles) for design in designs])
    few = f"{few_turns(options.repeats)} turns"
    tables = {
        "goals": _goals(splits, stream, rates, start),
        "rates": markdown_table(
            ["whole evaluation (sandbox, building, stepping)", "evaluations/s", "against compiled, 1 thread"], rate_rows
        ),
        "parts": markdown_table(
            ["milliseconds per evaluation", "steps", *PARTS, "sandbox, %", "evaluations/s"], part_rows(splits)
        ),
        "ratios": markdown_table(["plain / compiled", *RATIOS], ratio_rows),
        "start": markdown_table(
            ["a new process", "seconds"], [[name, f"{value:.2f}"] for name, value in start.items()]
        ),
    }
    body = (
        f"Medians of {options.repeats} turns, with quartiles in brackets ({few} for the evolution, five for the start-up). "
        "OpenELM's Box2D loop was not measured here.\n\n"
        f"## What was to be reached\n\n{tables['goals']}\n\n"
        f"## Whole evaluations\n\nRandom walkers (seed 0, {options.walkers} of them, median {muscles:.0f} muscles) on Flat, "
        f"{constants.DURATION:g} s of walking after settling:\n\n{tables['rates']}\n\n"
        "## Where the time goes\n\nOne thread. Stepping is settling and walking; while settling the plain loop only steps, "
        f"while walking it also sets the length of every active muscle. The evolution run: {len(admitted)} programs that a "
        f"short evolution by GP on Flat (seed 0) admitted, evenly spread.\n\n{tables['parts']}\n\n"
        "The whole evaluation includes the sandbox, the plain one it is compared with (building and stepping) does not:\n\n"
        f"{tables['ratios']}\n\n"
        f"## An evolution as it comes\n\nAll {stream['programs']} programs that the last {STREAM} of its 25 iterations asked "
        f"for, {stream['walkers']} of which build a walker, by evaluators with one thread:\n\n{_stream_table(stream)}\n\n"
        f"## Start-up\n\n{tables['start']}"
    )
    publish("throughput", "How many evaluations a second?", body, options.write)


if __name__ == "__main__":
    main()
