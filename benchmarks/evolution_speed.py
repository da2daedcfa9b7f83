"""How fast is an evolution by GP as it comes: parents drawn, mutated, run, simulated, archived, logged, saved?

Usage: ``python -m benchmarks.evolution_speed [--against CHECKOUT] [--turns N] [--write]`` times this checkout, in turns with
another one if asked, each in processes of their own on two cores. Some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evolution_run import WARM_ITERATIONS
from benchmarks.tables import markdown_table, publish
from benchmarks.timing import ratio
from elm_rl.evolution.seeds import SEED_NAMES

HERE = Path(__file__).resolve().parents[1]
RUN = Path(__file__).with_name("evolution_run.py")
CORES = 2
BATCH = 256


def environment(checkout: Path) -> dict[str, str]:
    """Where a process finds the packages of a checkout, and not those that are installed."""
    return os.environ | {"PYTHONPATH": str(checkout)}


def timed_run(checkout: Path, iterations: int, seeds: Sequence[str], batch: int = BATCH) -> dict[str, Any]:
    """One evolution by the code of a checkout, see `benchmarks.evolution_run`."""
    done = subprocess.run(
        [sys.executable, "-P", str(RUN), str(iterations), str(batch), str(CORES), *seeds],
        capture_output=True,
        text=True,
        cwd=checkout,
        env=environment(checkout),
    )
    if done.returncode:
        raise RuntimeError(f"The evolution in '{checkout}' failed: {done.stderr.strip()[-2000:]}")
    run: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    rate = run["evaluations"] / run["seconds"]
    print(f"{checkout}: {rate:.0f} evaluations/s", file=sys.stderr, flush=True)
    return run


def rates(runs: Sequence[Mapping[str, Any]]) -> list[float]:
    """Evaluations a second of each run."""
    return [run["evaluations"] / run["seconds"] for run in runs]


def compare(against: Path | None, iterations: int, turns: int, seeds: Sequence[str]) -> str:
    """Times the checkouts in turns; returns the tables."""
    checkouts = {"this checkout": HERE} | ({"the other": against} if against else {})
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    for _ in range(turns):
        for name, checkout in checkouts.items():
            runs[name].append(timed_run(checkout, iterations, seeds))
    here = rates(runs["this checkout"])
    rows = [
        [
            name,
            f"{np.median(rates(its)):.0f}",
            f"{1e3 * np.median([run['cpu_seconds'] / run['evaluations'] for run in its]):.2f}",
            ratio(here, rates(its)),
            f"{its[0]['found']['niches']} / {its[0]['found']['qd_score']:.0f}",
        ]
        for name, its in runs.items()
    ]
    header = ["", "evaluations/s", "CPU ms an evaluation", "this checkout / it", "niches / QD score found"]
    text = [
        f"Flat, from {', '.join(seeds)}, batches of {BATCH}, seed 0, {CORES} cores. After {WARM_ITERATIONS} iterations the "
        f"next {iterations} are timed from the call to the summary. Medians of {turns} turns, quartiles in brackets; "
        "every run is a process of its own.",
        markdown_table(header, rows),
    ]
    if against:
        text.append(
            f"The other: {described(against)}. The same niches and QD score mean the same run; where a seed program differs "
            "between the two, the runs differ, and so does the work that they are."
        )
    for name, its in runs.items():
        text.append(f"## Where the time goes: {name}\n\n{parts_table(its)}\n\n{cpu_table(its)}")
    text.append(
        "The loop is one thread; while it waits for children, programs and walkers, other threads and processes work. Its "
        "parts are by the clock, the second table of each counts the CPU time of all. GP in the loop's own thread counts there."
    )
    return "\n\n".join(text)


def parts_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Milliseconds an evaluation of each part of the loop, medians over the runs."""
    ms = {
        part: float(np.median([1e3 * run["parts"].get(part, 0.0) / run["evaluations"] for run in runs]))
        for part in runs[0]["parts"]
    }
    total = sum(ms.values())
    ordered = sorted(ms.items(), key=lambda item: -item[1])
    rows = [[part, f"{value:.3f}", f"{100 * value / total:.0f}"] for part, value in ordered]
    return markdown_table(["the loop's thread", "ms an evaluation", "%"], [*rows, ["all", f"{total:.3f}", "100"]])


def cpu_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """CPU milliseconds an evaluation by who spends them, medians over the runs."""
    ms = {
        kind: float(np.median([1e3 * run["cpu"][kind] / run["evaluations"] for run in runs])) for kind in runs[0]["cpu"]
    }
    total = sum(ms.values())
    ordered = sorted(ms.items(), key=lambda item: -item[1])
    rows = [[kind, f"{value:.2f}", f"{100 * value / total:.0f}"] for kind, value in ordered]
    return markdown_table(
        ["all threads and processes", "CPU ms an evaluation", "%"], [*rows, ["all", f"{total:.2f}", "100"]]
    )


def described(checkout: Path) -> str:
    """The commit of a checkout, if git knows it."""
    asked = ["git", "-C", str(checkout), "log", "-1", "--format=%h %ad: %s", "--date=short"]
    done = subprocess.run(asked, capture_output=True, text=True)
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "a checkout without history"


def main() -> None:
    """Measures, prints and optionally writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of the project, timed in turns with this one")
    parser.add_argument("--iterations", type=int, default=16, help=f"iterations of {BATCH} to time (default 16)")
    parser.add_argument("--turns", type=int, default=5, help="runs of each checkout (default 5)")
    parser.add_argument("--seeds", nargs="+", default=SEED_NAMES, help="seed programs to begin with (default: all)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/evolution_speed.md")
    options = parser.parse_args()
    against = options.against.resolve() if options.against else None
    body = compare(against, options.iterations, options.turns, options.seeds)
    publish("evolution_speed", "How fast is an evolution by GP as it comes?", body, options.write)


if __name__ == "__main__":
    main()
