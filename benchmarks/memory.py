"""Does memory grow? Resident memory of one process over many evaluations of ever new programs and terrains.

Usage: ``python -m benchmarks.memory [--evaluations N] [--write]``. Takes about ten minutes (Linux only: it reads ``/proc``).
Every batch holds new random walkers, programs that fail in different ways and copies of both, on the paper's terrains and on
Bumpy ones never seen before, so that every cache fills up and overflows.
"""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import RESULTS, markdown_table, publish
from sodarace_gym.evaluation.evaluator import CACHE_SIZE, Evaluator
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.random_walker import random_design

BATCH = 250
BAD_PROGRAMS = (
    "def make_walker(:  # {}",
    "def make_walker():\n    return {}\n",
    "def make_walker():\n    return [1] * 10**{}\n",
    "def make_walker():\n    raise ValueError({})\n",
)
"""One in ten programs is one of these, with a number that makes its text new."""


def _megabytes(pid: int) -> float:
    """Resident memory of a process; 0.0 if it has just ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _children() -> list[int]:
    """The sandbox's interpreters."""
    threads = Path("/proc/self/task").iterdir()
    return [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]


def _batches(count: int, rng: np.random.Generator) -> Iterator[tuple[list[str], list[Terrain]]]:
    for number in range(count):
        programs = [random_design(rng).to_program() for _ in range(BATCH * 8 // 10)]
        programs += [BAD_PROGRAMS[k % len(BAD_PROGRAMS)].format(number * BATCH + k) for k in range(BATCH // 10)]
        programs += [programs[int(k)] for k in rng.integers(len(programs), size=BATCH - len(programs))]
        grounds = [*map(make_terrain, TERRAIN_NAMES), *(make_terrain("Bumpy", 3 * number + k) for k in range(3))]
        yield programs, [grounds[int(k)] for k in rng.integers(len(grounds), size=BATCH)]


def _draw(path: Path, evaluations: NDArray[np.float64], here: NDArray[np.float64], all_: NDArray[np.float64]) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 3.5), layout="constrained")
    axes.plot(evaluations / 1000.0, all_, label="with the sandbox's interpreters")
    axes.plot(evaluations / 1000.0, here, label="the process that evaluates")
    axes.set(xlabel="thousand evaluations", ylabel="resident memory, MB", ylim=(0.0, 1.15 * float(all_.max())))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measures, prints and optionally writes the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=100_000, help="evaluations in all (default 100,000)")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds a walker walks (default 2)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/memory.md and memory.png")
    options = parser.parse_args()
    count = max(8, options.evaluations // BATCH)
    points: list[tuple[float, float, float]] = []
    with Evaluator(duration=options.duration) as evaluator:
        for number, (programs, terrains) in enumerate(_batches(count, np.random.default_rng(0)), start=1):
            evaluator.evaluate(programs, terrains)
            if number % max(1, count // 200) == 0:
                gc.collect()
                here = _megabytes(os.getpid())
                points.append((float(number * BATCH), here, here + sum(map(_megabytes, _children()))))
                print(
                    f"{number * BATCH} evaluations: {points[-1][1]:.1f} MB, {points[-1][2]:.1f} MB in all", flush=True
                )
    evaluations, here_mb, all_mb = np.array(points).T
    shown = np.unique(np.linspace(0, len(points) - 1, 11).round().astype(int))
    table = markdown_table(
        ["evaluations", "the process, MB", "with the sandbox's interpreters, MB"],
        [[f"{points[k][0]:.0f}", f"{points[k][1]:.1f}", f"{points[k][2]:.1f}"] for k in shown],
    )
    # The first half fills the caches; growth after that would be a leak.
    late = evaluations > evaluations[-1] / 2
    slopes = [float(np.polyfit(evaluations[late] / 1e6, series[late], 1)[0]) for series in (here_mb, all_mb)]
    body = (
        f"{int(evaluations[-1])} evaluations, {options.duration:g} s of walking each, in batches of {BATCH}: 80% new random "
        f"walkers (seed 0), 10% programs that fail, 10% copies, on the paper's terrains and three new Bumpy ones a batch. The "
        f"Evaluator remembers {CACHE_SIZE} roll-outs, so memory may rise until as many are done.\n\n{table}\n\n"
        f"Over the second half the process changed by {slopes[0]:+.1f} MB per million evaluations, with the interpreters by "
        f"{slopes[1]:+.1f} (least squares)."
    )
    if options.write:
        body += "\n\n![Memory over evaluations](memory.png)"
        RESULTS.mkdir(exist_ok=True)
        _draw(RESULTS / "memory.png", evaluations, here_mb, all_mb)
    publish("memory", "Does memory grow?", body, options.write)


if __name__ == "__main__":
    main()
