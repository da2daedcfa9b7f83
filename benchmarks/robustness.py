"""How repeatable are elites, and what does an objective that asks for it cost in QD score?

Usage: ``python -m benchmarks.robustness --out runs/robustness [--evaluations N] [--runs N] [--write]``. Takes about 40 minutes
on two quiet cores with the defaults; stopped at any moment, the same command goes on. Equal times are times of this machine, so
nothing else should run on it.

GP evolves walkers on Flat, once for each seed and objective: the distance as it is, and the least distance of the walker and
k copies whose joints are off by thousandths of a unit. The elites are then judged by other copies. All objectives do the same
number of evaluations; what each had reached in the time that the plain one took is read from its log.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convergence import SMALL
from benchmarks.robust_maps import FINE_RATES, Elites, Judge, Progress, kept, progress_of, read_log, scores, within
from benchmarks.tables import RESULTS, format_interval, markdown_table, publish
from elm_rl.evolution import EvolveConfig, run_evolve
from sodarace_gym.physics.constants import STEP_RATE
from sodarace_gym.physics.robustness import PERTURBATION
from sodarace_gym.terrains.making import make_terrain

TERRAIN = "Flat"
BATCH = 256
SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the evaluations, and of the plain run's time, at which maps are judged."""
AT_EVALUATIONS, AT_TIME = "equal evaluations", "equal time"
ALL = "all"


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Attributes:
        done: How far it had come at each share, by what was held equal.
        maps: `scores` of the map at each share, by what was held equal.
        kept: `kept` of the elites of its last map, by archive and for ``ALL`` of them.
        distances: Mean distance of those elites, by archive.
    """

    done: dict[str, list[Progress]]
    maps: dict[str, list[dict[str, float]]]
    kept: dict[str, dict[str, np.ndarray]]
    distances: dict[str, float]


def label(robustness: int) -> str:
    """What a table calls an objective."""
    return "distance" if robustness == 0 else f"least of 1 + {robustness}"


def evolve(out: Path, robustness: int, iterations: int, seed: int, n_jobs: int) -> None:
    """Evolves with an objective, or goes on doing so."""
    run_evolve(
        EvolveConfig(
            out=out,
            terrains=(TERRAIN,),
            operators=("gp",),
            robustness=robustness,
            iterations=iterations,
            batch_size=BATCH,
            seed=seed,
            n_jobs=n_jobs,
            resume=out.exists(),
        )
    )


def examine(run: Path, iterations: int, plain_seconds: float, copies: int) -> Outcome:
    """Judges the maps of a run that has done so many iterations, or more."""
    progress, records = progress_of(run)[: iterations + 1], read_log(run)
    judge = Judge(run, make_terrain(TERRAIN), copies)
    last = Elites(records, iterations)
    judge.judge(list(last.by_niche.values()), finer=True)
    done = {
        AT_EVALUATIONS: [progress[max(1, round(share * iterations))] for share in SHARES],
        AT_TIME: [within(progress, share * plain_seconds) for share in SHARES],
    }
    maps = {
        equal: [scores(judge.judge(Elites(records, entry.iteration).best_of_archives())) for entry in entries]
        for equal, entries in done.items()
    }
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for (archive, _), record in last.by_niche.items():
        groups.setdefault(archive, []).append(record)
        groups.setdefault(ALL, []).append(record)
    verdicts = {name: judge.judge(group, finer=True) for name, group in groups.items()}
    return Outcome(
        done,
        maps,
        {name: kept(of_group, SMALL) for name, of_group in verdicts.items()},
        {
            name: float(np.mean([v.plain for v in found if v.plain > SMALL] or [0.0]))
            for name, found in verdicts.items()
        },
    )


# --- tables -----------------------------------------------------------------------------------------------------------


def repeatability_rows(name: str, outcomes: Sequence[Outcome], group: str) -> Iterator[list[object]]:
    """A row for each thing that was changed: how much of their distance the elites of a group keep, over the seeds."""
    for change in outcomes[0].kept[ALL]:
        shares = [outcome.kept[group][change] for outcome in outcomes if len(outcome.kept[group][change])]
        if not shares:
            yield [name, change, "-", "-", "-", "-"]
            continue
        yield [
            name,
            change,
            format_interval([outcome.distances[group] for outcome in outcomes]),
            format_interval([100.0 * float(np.mean(values >= 0.5)) for values in shares], 0),
            format_interval([100.0 * float(np.mean(values >= 0.8)) for values in shares], 0),
            format_interval([100.0 * float(np.median(values)) for values in shares], 0),
        ]


def map_rows(found: Mapping[int, Sequence[Outcome]], equal: str) -> list[list[object]]:
    """A row an objective: its final map by three judges, over the seeds."""
    rows: list[list[object]] = []
    for robustness, outcomes in found.items():
        done = [outcome.done[equal][-1] for outcome in outcomes]
        maps = [outcome.maps[equal][-1] for outcome in outcomes]
        rows.append([
            label(robustness),
            f"{np.mean([entry.evaluations for entry in done]):,.0f}",
            f"{np.mean([entry.seconds for entry in done]):.0f}",
            *(format_interval([figures[key] for figures in maps], 0) for key in ("niches", "plain", "mean", "least")),
            *(format_interval([figures[key] for figures in maps]) for key in ("best plain", "best mean")),
        ])  # fmt: skip
    return rows


def ratios(found: Mapping[int, Sequence[Outcome]], robustness: int, equal: str, judge: str) -> list[float]:
    """QD score of an objective's final map over that of the plain one, seed by seed."""
    pairs = zip(found[robustness], found[0], strict=True)
    return [own.maps[equal][-1][judge] / max(plain.maps[equal][-1][judge], 1e-9) for own, plain in pairs]


def ratio_rows(found: Mapping[int, Sequence[Outcome]]) -> list[list[object]]:
    """A row an objective: QD scores over those of the plain objective, over the seeds."""
    return [
        [
            label(robustness),
            *(
                format_interval(ratios(found, robustness, equal, judge), 2)
                for equal in (AT_EVALUATIONS, AT_TIME)
                for judge in ("plain", "mean", "least")
            ),
        ]
        for robustness in found
        if robustness
    ]


def reading(found: Mapping[int, Sequence[Outcome]]) -> str:
    """Which objective leaves the best map by the copies, and what it gives up."""
    lines = []
    for equal in (AT_EVALUATIONS, AT_TIME):
        for judge, words in (("mean", "the mean of the judge's copies"), ("least", "their least")):
            totals = {k: float(np.mean([o.maps[equal][-1][judge] for o in outcomes])) for k, outcomes in found.items()}
            best = max(totals, key=lambda k: totals[k])
            if best == 0:
                lines.append(f"- At {equal}, by {words}, no robust objective beats the distance as it is.")
                continue
            gains = ratios(found, best, equal, judge)
            cost = 100.0 * (float(np.mean(ratios(found, best, equal, "plain"))) - 1.0)
            lines.append(
                f"- At {equal}, by {words}, '{label(best)}' has the highest QD score, {float(np.mean(gains)):.2f} times that "
                f"of the distance as it is, and more in {sum(g > 1.0 for g in gains)} of {len(gains)} seeds; its QD score in "
                f"plain distance is {cost:+.0f}%."
            )
    return "\n".join(lines)


def page(found: Mapping[int, Sequence[Outcome]], iterations: int, copies: int) -> str:
    """Tables and remarks."""
    seeds = len(found[0])
    header = ["", "what was changed", "mean distance", "keep half, %", "keep 80%, %", "median kept, %"]
    archives = [name for name in found[0][0].kept if name != ALL]
    by_archive = [row for name in [*archives, ALL] for row in repeatability_rows(name, found[0], name)]
    by_objective = [row for k, outcomes in found.items() for row in repeatability_rows(label(k), outcomes, ALL)]
    maps = ["objective", "evaluations", "seconds", "niches", "QD: plain", "QD: mean of copies", "QD: least of copies",
            "best: plain", "best: mean of copies"]  # fmt: skip
    judges = [f"{equal}: {judge}" for equal in (AT_EVALUATIONS, AT_TIME) for judge in ("plain", "mean", "least")]
    rates = " and ".join(f"{rate} Hz" for rate in FINE_RATES)
    return (
        f"GP on {TERRAIN}, {iterations * BATCH:,} children a run in batches of {BATCH}, seeds 0 to {seeds - 1}, a map for each "
        "of the four seed programs. Figures are means over the seeds with 95% bootstrap intervals.\n\n"
        "## Are elites repeatable?\n\n"
        f"The elites of the plain objective's last maps that get further than {SMALL:g} units, by map. Joints moved: {copies} "
        f"copies of each, every joint shifted by {PERTURBATION:g} units (standard deviation) along x and y. Steps: {STEP_RATE} "
        f"Hz in use, {rates} tried. What fails keeps nothing.\n\n"
        f"{markdown_table(header, by_archive)}\n\nThe elites of all maps by the objective that bred them:\n\n"
        f"{markdown_table(header, by_objective)}\n\n"
        "## What does a robust objective cost?\n\n"
        "One map a run: of the four elites of a niche the one that the run's own objective prefers. QD score: the sum of "
        f"distances over the niches, by three judges: the walker as it is, the mean of {copies} copies that no run has seen, "
        "and the least of them. The least gets harder the more copies there are; the mean does not.\n\n"
        f"At equal evaluations:\n\n{markdown_table(maps, map_rows(found, AT_EVALUATIONS))}\n\n"
        f"In the time that the plain objective took:\n\n{markdown_table(maps, map_rows(found, AT_TIME))}\n\n"
        "QD scores over those of the plain objective, seed by seed:\n\n"
        f"{markdown_table(['objective', *judges], ratio_rows(found))}\n\n{reading(found)}"
    )


def draw(path: Path, found: Mapping[int, Sequence[Outcome]]) -> None:
    """QD scores by two judges, over evaluations and over time; bands from the lowest to the highest seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 7.0), layout="constrained")
    for row, (judge, words) in zip(
        figure.subplots(2, 2, sharey="row"), (("plain", "plain distance"), ("mean", "mean of the copies")), strict=True
    ):
        for axis, equal in zip(row, (AT_EVALUATIONS, AT_TIME), strict=True):
            for robustness, outcomes in found.items():
                done = [[p.evaluations if equal == AT_EVALUATIONS else 0 for p in o.done[equal]] for o in outcomes]
                xs = np.mean(done, axis=0) / 1000.0 if equal == AT_EVALUATIONS else 100.0 * np.array(SHARES)
                ys = np.array([[figures[judge] for figures in o.maps[equal]] for o in outcomes])
                (line,) = axis.plot(xs, ys.mean(axis=0), marker="o", markersize=4, label=label(robustness))
                axis.fill_between(xs, ys.min(axis=0), ys.max(axis=0), color=line.get_color(), alpha=0.15, linewidth=0)
            axis.set_xlabel("thousand evaluations" if equal == AT_EVALUATIONS else "time, % of the plain run's")
            axis.set_title(f"at {equal}, judged by {words}", fontsize=10)
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
            axis.set_ylim(bottom=0.0)
        row[0].set_ylabel("QD score")
        row[0].legend(fontsize=9, title="objective")
    figure.savefig(path, dpi=120)


def measure(
    out: Path, robustnesses: Sequence[int], iterations: int, runs: int, copies: int, n_jobs: int = -1
) -> dict[int, list[Outcome]]:
    """All runs, evolved and judged; those that are there already are not made again."""
    for seed in range(runs):
        for robustness in robustnesses:
            print(f"seed {seed}, objective: {label(robustness)}", file=sys.stderr, flush=True)
            evolve(out / f"seed{seed}_robustness{robustness}", robustness, iterations, seed, n_jobs)
    found: dict[int, list[Outcome]] = {robustness: [] for robustness in robustnesses}
    for seed in range(runs):
        plain = progress_of(out / f"seed{seed}_robustness0")[iterations].seconds
        for robustness in robustnesses:
            print(f"judging seed {seed}, objective: {label(robustness)}", file=sys.stderr, flush=True)
            run = out / f"seed{seed}_robustness{robustness}"
            found[robustness].append(examine(run, iterations, plain, copies))
    return found


def main() -> None:
    """Measures, prints and optionally writes the tables and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--evaluations", type=int, default=50_000, help="children a run (default 50,000)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each objective, with seeds 0, 1, ... (default 3)")
    parser.add_argument(
        "--robustness", type=int, nargs="+", default=[1, 3, 5], help="copies of the robust objectives (default 1 3 5)"
    )
    parser.add_argument("--copies", type=int, default=10, help="copies by which the judge judges (default 10)")
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads that evaluate; -1 for one a core (default)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/robustness.md and .png")
    options = parser.parse_args()
    if min(options.evaluations, options.runs, options.copies, *options.robustness) < 1:
        parser.error("expected at least 1 of everything; the plain objective is always among the runs")
    iterations = max(len(SHARES), round(options.evaluations / BATCH))
    objectives = [0, *sorted(set(options.robustness))]
    found = measure(options.out, objectives, iterations, options.runs, options.copies, options.n_jobs)
    body = page(found, iterations, options.copies)
    draw((RESULTS if options.write else options.out) / "robustness.png", found)
    if options.write:
        body = "![QD score by objective](robustness.png)\n\n" + body
    publish("robustness", "How repeatable are elites, and what does asking for it cost?", body, options.write)


if __name__ == "__main__":
    main()
