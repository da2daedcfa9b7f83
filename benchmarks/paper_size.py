"""A run of the paper's size: how do niches and QD score go on, and what does it take in time, memory and disk?

Usage: ``python -m benchmarks.paper_size --out runs/paper_size [--evaluations 1024000] [--operators gp builtin] [--shares 4 1]
[--seed 0] [--write]``. Stopped at any moment, the same command goes on. Linux only (it reads ``/proc``).

It follows one ``elm-rl evolve`` on Flat from the four seeds, with ``--shares`` where the bandit is not to choose.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.tables import RESULTS, markdown_table, publish
from elm_rl.evolution.settings import DEFAULT_OPERATORS
from elm_rl.runs.run_directory import read_jsonl

PAPER_EVALUATIONS = 1_024_000
"""Programs that each run of the paper evaluated (Lehman et al. 2022): 2,000 iterations of 512."""
BATCH = 256
LINES = 12
"""Lines of the table."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """The state of a run at one moment."""

    seconds: float
    """Since its start, over all parts of a run that was stopped."""
    evaluations: int
    process: float
    """Resident memory of the loop's process, MB."""
    all_processes: float
    """With those that it has started, MB."""
    disk: float
    """Size of its folder, MB."""


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


def read_samples(file: Path) -> list[Sample]:
    """The samples that were taken so far."""
    return [Sample(**line) for line in read_jsonl(file)] if file.exists() else []


def follow(flags: Sequence[str], run: Path, file: Path, every: float = 5.0) -> list[Sample]:
    """Runs or resumes ``elm-rl evolve`` and looks at it every five seconds.

    Args:
        flags: What the run is told.
        run: Its folder.
        file: Where samples are kept.
        every: Seconds between two looks.

    Returns:
        All samples, those of stopped parts included.

    Raises:
        RuntimeError: The run failed.
    """
    samples = read_samples(file)
    before = samples[-1].seconds if samples else 0.0
    command = [sys.executable, "-m", "elm_rl.cli", "evolve", "--out", str(run), *flags, "--no-progress"]
    start = time.perf_counter()
    with (
        open(file, "a") as kept,
        subprocess.Popen(command + ["--resume"] * run.exists(), stdout=subprocess.DEVNULL) as process,
    ):
        while process.poll() is None:
            time.sleep(every)
            done = evaluations_of(run)
            if not done or process.poll() is not None or (samples and done <= samples[-1].evaluations):
                continue
            here = megabytes(process.pid)
            samples.append(
                Sample(
                    seconds=before + time.perf_counter() - start,
                    evaluations=done,
                    process=here,
                    all_processes=here + sum(map(megabytes, descendants(process.pid))),
                    disk=sum(part.stat().st_size for part in run.rglob("*.*") if part.exists()) / 2**20,
                )
            )
            kept.write(json.dumps(dataclasses.asdict(samples[-1])) + "\n")
            kept.flush()
    if process.returncode:
        raise RuntimeError(f"The run ended with {process.returncode}.")
    return samples


def growth(samples: Sequence[Sample], field: str) -> float:
    """What a quantity grows by, an evaluation, over the second half of a run (least squares)."""
    done = np.array([sample.evaluations for sample in samples], dtype=np.float64)
    late = done > done[-1] / 2
    values = np.array([getattr(sample, field) for sample in samples])
    return float(np.polyfit(done[late], values[late], 1)[0])


def curve(run: Path) -> np.ndarray:
    """Evaluations, niches, QD score and best distance after each iteration, (iterations, 4)."""
    lines = [line for line in read_jsonl(run / "metrics.jsonl") if "niches" in line]
    return np.array([[line["evaluations"], line["niches"], line["qd_score"], line["best"]] for line in lines])


def table(samples: Sequence[Sample], found: np.ndarray) -> str:
    """The run at some moments, spread over it."""
    marks = np.linspace(0, samples[-1].evaluations, LINES + 1)[1:]
    chosen = [samples[0], *(min(samples, key=lambda each: abs(each.evaluations - mark)) for mark in marks)]
    rows: list[list[object]] = []
    for then, now in itertools.pairwise(chosen):
        if now.evaluations > then.evaluations:
            _, niches, qd_score, best = found[np.searchsorted(found[:, 0], now.evaluations)]
            rate = (now.evaluations - then.evaluations) / (now.seconds - then.seconds)
            sizes = [f"{now.process:.0f}", f"{now.all_processes:.0f}", f"{now.disk:.0f}"]
            rows.append(
                [f"{now.evaluations:,}", f"{niches:.0f}", f"{qd_score:,.0f}", f"{best:.0f}", f"{rate:.0f}", *sizes]
            )
    header = ["evaluations", "niches of 1,728", "QD score", "best", "evaluations/s since the line above"]
    return markdown_table([*header, "the process, MB", "with the sandbox's, MB", "folder, MB"], rows)


def draw(found: np.ndarray, path: Path) -> None:
    """Niches and QD score over evaluations."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, column, label in zip(axes, (1, 2), ("niches of 1,728", "QD score"), strict=True):
        axis.plot(found[:, 0] / 1000, found[:, column])
        axis.set_xlabel("evaluations, thousands")
        axis.set_ylabel(f"{label} (best over the four maps)")
        axis.set_ylim(0)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def page(samples: Sequence[Sample], found: np.ndarray, flags: Sequence[str]) -> str:
    """Table and remarks."""
    last = samples[-1]
    return (
        f"`elm-rl evolve {' '.join(flags)}`: {last.evaluations:,} evaluations in {last.seconds / 3600:.2f} hours, start and "
        f"compiling included. QD score, niches and best are those of the best over the four maps.\n\n"
        f"{table(samples, found)}\n\n"
        f"Over the second half an evaluation took {1e3 * growth(samples, 'seconds'):.2f} ms, and a million of them would add "
        f"{1e6 * growth(samples, 'process'):.0f} MB to the process, {1e6 * growth(samples, 'all_processes'):.0f} MB in all and "
        f"{1e6 * growth(samples, 'disk'):.0f} MB of disk (least squares)."
    )


def main() -> None:
    """Runs, prints and, if asked, writes the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, which is resumed")
    parser.add_argument("--evaluations", type=int, default=PAPER_EVALUATIONS, help="programs evaluated")
    parser.add_argument("--operators", nargs="+", default=list(DEFAULT_OPERATORS), help="as elm-rl evolve takes them")
    parser.add_argument("--shares", nargs="+", default=[], help="fixed shares of the operators")
    parser.add_argument("--seed", type=int, default=0, help="seed of the run")
    parser.add_argument("--name", default="paper_size", help="file name of the result")
    parser.add_argument("--write", action="store_true", help="write the result to benchmarks/results")
    given = parser.parse_args()
    flags = ["--operators", *given.operators, *(["--shares", *given.shares] if given.shares else [])]
    flags += ["--max-evaluations", str(given.evaluations), "--batch-size", str(BATCH), "--checkpoint-every", "20"]
    flags += ["--iterations", str(2 * math.ceil(given.evaluations / BATCH)), "--seed", str(given.seed)]
    given.out.mkdir(parents=True, exist_ok=True)
    samples = follow(flags, given.out / "run", given.out / "samples.jsonl")
    if len(samples) < LINES:
        raise SystemExit(f"Expected a run of {LINES} looks or more, got {len(samples)}; ask for more --evaluations.")
    found = curve(given.out / "run")
    body = page(samples, found, flags)
    if given.write:
        draw(found, RESULTS / f"{given.name}.png")
        body += f"\n\n![Niches and QD score over evaluations]({given.name}.png)"
    publish(given.name, "What does a run of the paper's size come to?", body, given.write)


if __name__ == "__main__":
    main()
