"""Where the time of a whole evaluation goes, from the text of a program to its distance, and what a new process takes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import markdown_table
from benchmarks.timing import processor_seconds, ratio, seconds, time_within
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.physics import batch
from sodarace_gym.physics.constants import DURATION
from sodarace_gym.physics.world import WorldArrays, world_arrays
from sodarace_gym.programs.program import compile_program
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign

Times = Mapping[str, NDArray[np.float64]]
"""Milliseconds a program, turn by turn."""

PARTS = ("sandbox", "world arrays", "packing", "stepping")
"""Running the program, the repairs included; turning walker and terrain into arrays; putting these end to end and taking the
outcomes apart; the compiled engine. The sandbox by the clock on the wall, as it works in another process; the rest in processor
time."""
HOST, ONE, TWO = "host's side of the sandbox", "one thread", "two threads"


def measure(programs: Mapping[str, Sequence[str]], terrain_name: str, repeats: int) -> dict[str, Times]:
    """Milliseconds a program of each group: by part, and as a whole where a group's programs differ.

    The evaluators remember nothing.
    """
    terrain = make_terrain(terrain_name)
    turns: dict[str, list[dict[str, float]]] = {label: [] for label in programs}
    with Evaluator(n_jobs=1, cache_size=0) as one, Evaluator(n_jobs=2, cache_size=0) as two:
        for turn in range(repeats + 1):
            for label, texts in programs.items():
                taken = _parts(texts, terrain)
                if len(set(texts)) == len(texts):  # what is alike in a batch is evaluated once
                    taken[ONE] = seconds(partial(one.evaluate, texts, terrain))
                    taken[TWO] = seconds(partial(two.evaluate, texts, terrain))
                if turn > 0:  # the first one starts the workers
                    turns[label].append({name: 1e3 * value / len(texts) for name, value in taken.items()})
    return {label: {name: np.array([turn[name] for turn in each]) for name in each[0]} for label, each in turns.items()}


def _parts(texts: Sequence[str], terrain: Terrain) -> dict[str, float]:
    """Seconds that each part takes for all programs; each part goes through all of them before the next begins."""
    designs: list[WalkerDesign] = []
    worlds: list[WorldArrays] = []
    host: list[float] = []

    def run() -> None:
        designs.extend(compile_program(text)[0] for text in texts)

    def turn_into_arrays() -> None:
        worlds.extend(world_arrays(design, terrain, DURATION) for design in designs)

    taken = {"sandbox": seconds(lambda: host.append(processor_seconds(run)))}
    taken[HOST] = host[0]
    taken["world arrays"] = processor_seconds(turn_into_arrays)
    with time_within(batch, "roll_out_many") as stepping:
        rolling = processor_seconds(partial(batch.roll_out_worlds, worlds))
    return taken | {"stepping": sum(stepping), "packing": rolling - sum(stepping)}


def table(times: Mapping[str, Times]) -> str:
    """A row for each group: milliseconds and share of each part, the sum, and evaluations a second."""
    rows: list[list[object]] = []
    for label, ms in times.items():
        total = sum(ms[part] for part in PARTS)
        shares = [f"{np.median(ms[part]):.3f} ({np.median(100.0 * ms[part] / total):.0f}%)" for part in PARTS]
        whole = ["-"] * 4
        if ONE in ms:
            rates = [f"{np.median(1e3 / ms[way]):.0f}" for way in (ONE, TWO)]
            whole = [f"{np.median(ms[ONE]):.2f}", *rates, ratio(ms[ONE], ms[TWO])]
        rows.append([label, *shares, f"{np.median(ms[HOST]):.3f}", f"{np.median(total):.2f}", *whole])
    header = [
        "ms an evaluation",
        *PARTS,
        HOST,
        "sum of the four",
        f"whole, {ONE}",
        f"evaluations/s, {ONE}",
        TWO,
        "two / one",
    ]
    return markdown_table(header, rows)


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
IMPORT, FIRST = "import sodarace_gym, in addition", "the first evaluation"


def start(repeats: int) -> dict[str, float]:
    """Seconds that a new process takes to its first evaluation: compiling, and with the machine code cached on disk."""
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
    names = ("import gymnasium", IMPORT, "make and reset", FIRST)
    return dict(zip(names, medians, strict=True)) | {"the very first after installing, which compiles": times[0][-1]}


def start_table(times: Mapping[str, float]) -> str:
    """A row for each part."""
    return markdown_table(["a new process", "seconds"], [[name, f"{value:.2f}"] for name, value in times.items()])
