"""How fast is an evolution by GP as it comes: parents drawn, mutated, run, simulated, archived, logged, saved?

Usage: ``python -m benchmarks.evolution_speed [--against CHECKOUT] [--turns N] [--write]`` times this checkout, in turns with
another one if asked, each in processes of their own on two cores. Some minutes.

``python -m benchmarks.evolution_speed --long 200000 [--write]`` follows one ``elm-rl evolve`` of so many evaluations: rate,
memory and disk along the run, and what they come to at 1,024,000. Minutes to an hour; Linux only (it reads ``/proc``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.evolution_run import WARM_ITERATIONS
from benchmarks.tables import markdown_table, publish
from benchmarks.timing import ratio
from elm_rl.evolution.seeds import SEED_NAMES

HERE = Path(__file__).resolve().parents[1]
RUN = Path(__file__).with_name("evolution_run.py")
CORES = 2
BATCH = 256
PAPER_EVALUATIONS = 1_024_000


class Sample(NamedTuple):
    """The state of a long run at one moment: seconds since its start, resident memory in MB, size of its folder in MB."""

    seconds: float
    evaluations: int
    process: float
    all_processes: float
    disk: float


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


def megabytes(pid: int) -> float:
    """Resident memory of a process; 0.0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    try:
        children = [int(p) for file in Path(f"/proc/{pid}/task").glob("*/children") for p in file.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [*children, *(grandchild for child in children for grandchild in descendants(child))]


def evaluations_of(run: Path) -> int:
    """Evaluations that a run has logged so far."""
    try:
        with open(run / "metrics.jsonl", "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 10_000))
            lines = file.read().split(b"\n")[:-1]  # what follows the last newline is not finished
    except FileNotFoundError:
        return 0
    return int(json.loads(lines[-1])["evaluations"]) if lines else 0


def follow(evaluations: int, run: Path, every: float = 2.0) -> list[Sample]:
    """Runs ``elm-rl evolve`` for so many evaluations, and looks at it every two seconds."""
    iterations = math.ceil(evaluations / BATCH)
    flags = ["--out", str(run), "--iterations", str(iterations), "--batch-size", str(BATCH), "--n-jobs", str(CORES)]
    command = [sys.executable, "-m", "elm_rl.cli", "evolve", *flags, "--no-progress"]
    samples: list[Sample] = []
    start, shown = time.perf_counter(), 0
    with subprocess.Popen(command, env=environment(HERE), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            done = evaluations_of(run)
            interpreters = descendants(process.pid)  # none: the run is about to end
            if done and interpreters and (not samples or done > samples[-1].evaluations):
                here = megabytes(process.pid)
                both = here + sum(map(megabytes, interpreters))
                disk = sum(file.stat().st_size for file in run.rglob("*.*") if file.exists()) / 2**20
                samples.append(Sample(time.perf_counter() - start, done, here, both, disk))
                if done >= shown:
                    print(
                        f"{done} evaluations, {samples[-1].seconds:.0f} s, {both:.0f} MB", file=sys.stderr, flush=True
                    )
                    shown += evaluations // 20
            time.sleep(every)
    if process.returncode or len(samples) < 8:
        raise RuntimeError(
            f"The run ended with {process.returncode} after {len(samples)} looks; expected more of both."
        )
    return samples


def growth(samples: Sequence[Sample], field: str) -> float:
    """What a quantity grows by, an evaluation, over the second half of a run (least squares)."""
    done = np.array([sample.evaluations for sample in samples], dtype=np.float64)
    late = done > done[-1] / 2
    values = np.array([getattr(sample, field) for sample in samples])
    return float(np.polyfit(done[late], values[late], 1)[0])


def long_run(evaluations: int) -> str:
    """Follows a long run; returns the tables."""
    with tempfile.TemporaryDirectory() as folder:
        samples = follow(evaluations, Path(folder) / "run")
    last = samples[-1]
    marks = np.linspace(0, last.evaluations, 11)[1:]
    chosen = [samples[0], *(min(samples, key=lambda s: abs(s.evaluations - mark)) for mark in marks)]
    rows = [
        [
            now.evaluations,
            f"{(now.evaluations - then.evaluations) / (now.seconds - then.seconds):.0f}",
            f"{now.process:.0f}",
            f"{now.all_processes:.0f}",
            f"{now.disk:.1f}",
        ]
        for then, now in itertools.pairwise(chosen)
        if now.evaluations > then.evaluations
    ]
    table = markdown_table(
        [
            "evaluations",
            "evaluations/s since the line above",
            "the process, MB",
            "with the sandbox's, MB",
            "folder, MB",
        ],
        rows,
    )
    ahead = PAPER_EVALUATIONS - last.evaluations
    grown = {field: last._asdict()[field] + ahead * growth(samples, field) for field in Sample._fields}
    return (
        f"`elm-rl evolve` on Flat, all seeds, batches of {BATCH}, {CORES} cores: {last.evaluations} evaluations in "
        f"{last.seconds / 60:.1f} minutes, start and compiling included.\n\n{table}\n\n"
        f"Over the second half an evaluation took {1e3 * growth(samples, 'seconds'):.3f} ms, and a million of them would add "
        f"{1e6 * growth(samples, 'process'):.0f} MB to the process and {1e6 * growth(samples, 'all_processes'):.0f} MB in all "
        f"(least squares). At that pace the paper's {PAPER_EVALUATIONS:,} evaluations take "
        f"{grown['seconds'] / 3600:.2f} hours, {grown['all_processes']:.0f} MB of memory and {grown['disk']:.0f} MB of disk."
    )


def main() -> None:
    """Measures, prints and optionally writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of the project, timed in turns with this one")
    parser.add_argument("--iterations", type=int, default=16, help=f"iterations of {BATCH} to time (default 16)")
    parser.add_argument("--turns", type=int, default=5, help="runs of each checkout (default 5)")
    parser.add_argument("--seeds", nargs="+", default=SEED_NAMES, help="seed programs to begin with (default: all)")
    parser.add_argument("--long", type=int, help="instead, follow one run of so many evaluations")
    parser.add_argument(
        "--write", action="store_true", help="write benchmarks/results/evolution_speed.md, or evolution_long.md"
    )
    options = parser.parse_args()
    if options.long:
        body, name = long_run(options.long), "evolution_long"
        publish(name, "A long evolution: is time linear, is memory flat?", body, options.write)
        return
    against = options.against.resolve() if options.against else None
    body = compare(against, options.iterations, options.turns, options.seeds)
    publish("evolution_speed", "How fast is an evolution by GP as it comes?", body, options.write)


if __name__ == "__main__":
    main()
