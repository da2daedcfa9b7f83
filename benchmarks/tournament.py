"""How fit should parents be? Uniform draws from the elites against tournaments, at equal evaluations.

Usage: ``python -m benchmarks.tournament --out runs/tournament [--evaluations 40000] [--draws 1 12/0.5] [--runs 3] [--write]``.
Stopped at any moment, the same command goes on.

GP evolves the four seeds on Flat. A parent is the fittest of so many elites of its archive, drawn uniformly: one is the paper's
uniform draw. ``12/0.5`` draws half of the parents uniformly and takes the fittest of 12 for the others. Whoever breeds from the
fittest may breed luck, so the final elites are also judged by the least distance of copies whose joints are off by thousandths
of a unit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.operators import Outcome, outcome
from benchmarks.tables import RESULTS, format_interval, markdown_table, publish
from elm_rl.corpus.walker_choice import read_elites
from elm_rl.evolution import EvolveConfig, run_evolve
from elm_rl.runs.run_directory import read_json, write_json
from sodarace_gym.evaluation import Evaluator

BATCH = 256
UNIFORM = "1"
COPIES = 3
MARKS = (0.25, 0.5, 1.0)
"""Shares of the evaluations at which maps are compared."""


class Found(NamedTuple):
    """What a run had come to.

    Attributes:
        outcomes: At each of the `MARKS`.
        robust: QD score of the best over the four maps if each elite counts with the least distance of its copies.
    """

    outcomes: list[Outcome]
    robust: float


def evolve(out: Path, draw: str, evaluations: int, seed: int, n_jobs: int) -> Found:
    """Runs GP with parents drawn so, or goes on doing so, and judges its elites."""
    size, _, uniform = draw.partition("/")
    if not (out / "summary.json").exists() or read_json(out / "summary.json")["evaluations"] < evaluations:
        run_evolve(
            EvolveConfig(
                out=out,
                operators=("gp",),
                tournament=int(size),
                uniform=float(uniform or 0),
                iterations=2 * evaluations // BATCH + 1,
                batch_size=BATCH,
                max_evaluations=evaluations,
                checkpoint_every=10,
                seed=seed,
                n_jobs=n_jobs,
                resume=out.exists(),
            )
        )
    judged = out / "robust_qd.json"
    done = read_json(out / "summary.json")["evaluations"]
    if not judged.exists() or read_json(judged).get("evaluations") != done:
        write_json(judged, {"copies": COPIES, "evaluations": done, "robust_qd": robust_qd(out, n_jobs)})
    robust = float(read_json(judged)["robust_qd"])
    return Found([outcome(out, round(share * evaluations)) for share in MARKS], robust)


def robust_qd(run: Path, n_jobs: int) -> float:
    """QD score over all maps of a run's elites, each counting with the least distance of its perturbed copies."""
    elites = read_elites([run])
    with Evaluator(n_jobs=n_jobs) as evaluator:
        found = evaluator.evaluate([each.program for each in elites], "Flat", robustness=COPIES)
    best: dict[int, float] = {}
    for elite, evaluation in zip(elites, found, strict=True):
        least = min(evaluation.copy_distances or (0.0,))
        best[elite.niche] = max(best.get(elite.niche, 0.0), least)
    return sum(best.values())


def rows(found: Mapping[str, Sequence[Found]]) -> list[list[object]]:
    """A row a way of drawing."""
    table: list[list[object]] = []
    for draw, runs in found.items():
        curves = [np.array([each.curve[-1] for each in run.outcomes]) for run in runs]  # (marks, 4)
        qd = [format_interval([curve[mark, 2] for curve in curves], 0) for mark in range(len(MARKS))]
        niches, best = (format_interval([curve[-1, column] for curve in curves], 0) for column in (1, 3))
        ratio = (
            format_interval(
                [
                    run.outcomes[-1].curve[-1, 2] / base.outcomes[-1].curve[-1, 2]
                    for run, base in zip(runs, found[UNIFORM], strict=True)
                ],
                2,
            )
            if UNIFORM in found
            else "-"
        )
        table.append([draw, *qd, ratio, format_interval([run.robust for run in runs], 0), niches, best])
    return table


def picture(found: Mapping[str, Sequence[Found]], path: Path) -> None:
    """QD score and niches over evaluations, means over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    last = min(run.outcomes[-1].curve[-1, 0] for runs in found.values() for run in runs)
    grid = np.linspace(0.0, last, 200)
    for axis, column, label in zip(axes, (2, 1), ("QD score", "niches of 1,728"), strict=True):
        for draw, runs in found.items():
            curves = [np.interp(grid, run.outcomes[-1].curve[:, 0], run.outcomes[-1].curve[:, column]) for run in runs]
            axis.plot(grid, np.mean(curves, axis=0), label="uniform" if draw == UNIFORM else f"fittest of {draw}")
        axis.set_xlabel("evaluations")
        axis.set_ylabel(f"{label} (best over the four maps)")
        axis.set_xlim(0, last)
        axis.set_ylim(0)
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Runs, prints and, if asked, writes the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs, which are resumed")
    parser.add_argument("--evaluations", type=int, default=40_000, help="programs evaluated in each run")
    draws = ["1", "3", "6", "12", "6/0.5", "12/0.5"]
    parser.add_argument("--draws", nargs="+", default=draws, help="of how many the fittest, / share drawn uniformly")
    parser.add_argument("--runs", type=int, default=3, help="seeds")
    parser.add_argument("--first-seed", type=int, default=100, help="the first of the seeds")
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads that evaluate")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/tournament.md")
    given = parser.parse_args()
    found: dict[str, list[Found]] = {draw: [] for draw in given.draws}
    for seed in range(given.first_seed, given.first_seed + given.runs):
        for draw in given.draws:
            print(f"==> fittest of {draw}, seed {seed}", file=sys.stderr, flush=True)
            found[draw].append(
                evolve(given.out / f"{draw.replace('/', '_')}-{seed}", draw, given.evaluations, seed, given.n_jobs)
            )
    header = [
        "fittest of",
        *(f"QD score at {round(share * given.evaluations / 1000)}k" for share in MARKS),
        "over uniform",
        f"robust QD score (least of {COPIES} copies)",
        "niches of 1,728",
        "best",
    ]
    body = (
        f"GP on Flat, {given.evaluations:,} evaluations a run, {BATCH} children an iteration, the four seeds with a map each, "
        f"seeds {given.first_seed} to {given.first_seed + given.runs - 1}. Means over the seeds with 95% bootstrap "
        f"intervals, of the best over the four maps.\n\n{markdown_table(header, rows(found))}"
    )
    if given.write:
        picture(found, RESULTS / "tournament.png")
        body += "\n\n![QD score and niches over evaluations](tournament.png)"
    publish("tournament", "How fit should parents be?", body, given.write)


if __name__ == "__main__":
    main()
