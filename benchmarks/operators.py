"""Which mutation operators fill the map best at equal evaluations?

Usage: ``python -m benchmarks.operators --out runs/operators [--evaluations 20000] [--runs 3] [--mixes NAME ...] [--write]``.
Stopped at any moment, the same command goes on.

Every mix of operators evolves the four seeds on Flat for the same number of evaluations, once for each seed. A mix is any of
`MIXES` by name, or operators as ``elm-rl evolve --operators`` takes them, joined by ``+``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.tables import RESULTS, format_interval, markdown_table, publish
from elm_rl.evolution import EvolveConfig, run_evolve
from elm_rl.evolution.settings import DEFAULT_OPERATORS
from elm_rl.runs.run_directory import read_json, read_jsonl

BATCH = 256


class Mix(NamedTuple):
    """Operators that share a run, and how often the run trains one of its own, which the bandit then asks too."""

    operators: tuple[str, ...]
    rounds: int = 0


MIXES: dict[str, Mix] = {
    "gp-blind": Mix(("gp-blind",)),
    "gp": Mix(("gp",)),
    "gp-tries": Mix(("gp,tries=4",)),
    "builtin": Mix(("builtin",)),
    "default": Mix(DEFAULT_OPERATORS),
    "bandit": Mix(("gp,tries=4", "builtin")),
    **{f"rounds-{rounds}": Mix(("gp,tries=4", "builtin"), rounds) for rounds in (1, 2, 3)},
}
"""The mixes compared, by name; default is what ``elm-rl evolve`` uses without flags, bandit is also zero rounds."""
ALL = "all four"
COUNTS = ("applied", "valid", "new", "admitted")


def mix_of(name: str) -> Mix:
    """A mix by its name in `MIXES`, or by its operators joined by ``+``."""
    return MIXES.get(name) or Mix(tuple(name.split("+")))


def evolve(
    out: Path,
    mix: Mix,
    evaluations: int,
    seed: int,
    n_jobs: int,
    batch_size: int = BATCH,
    round_steps: int = EvolveConfig.round_steps,
) -> None:
    """Runs a mix until so many programs are evaluated, or goes on doing so; a finished run is left as it is."""
    if (out / "summary.json").exists() and read_json(out / "summary.json")["evaluations"] >= evaluations:
        made = read_json(out / "config.json")
        if made["batch_size"] != batch_size or (mix.rounds and made["round_steps"] != round_steps):
            raise SystemExit(f"'{out}' holds a run with another batch size or other steps a round; give another --out.")
        return
    # Children that are no program are not evaluated: some more iterations than it takes if all are.
    iterations = evaluations * (105 if mix.rounds else 200) // (100 * batch_size) + 1
    run_evolve(
        EvolveConfig(
            out=out,
            operators=mix.operators,
            rounds=mix.rounds,
            round_share=0.0,
            round_steps=round_steps,
            iterations=iterations,
            batch_size=batch_size,
            max_evaluations=evaluations,
            seed=seed,
            n_jobs=n_jobs,
            resume=out.exists(),
        )
    )


class Outcome(NamedTuple):
    """What a run had come to once so many programs were evaluated.

    Attributes:
        curve: Evaluations, niches, QD score and best fitness after each iteration, shape (iterations, 4).
        maps: QD score of each seed's map at the end, and of all together.
        counts: Children proposed, applied, valid, new and admitted, by operator.
        seconds: How long it took, training included.
    """

    curve: np.ndarray
    maps: dict[str, float]
    counts: dict[str, dict[str, int]]
    seconds: float


def outcome(run: Path, evaluations: int) -> Outcome:
    """Reads a run up to the iteration in which so many programs were evaluated."""
    curve, maps, counts, seconds = [], dict[str, float](), dict[str, dict[str, int]](), 0.0
    for line in read_jsonl(run / "metrics.jsonl"):
        curve.append([line["evaluations"], line["niches"], line["qd_score"], line["best"]])
        maps = {name: found["qd_score"] for name, found in line["archives"].items()}
        seconds += line.get("timing", {}).get("seconds", 0.0)
        for name, found in line.get("operators", {}).items():
            mine = counts.setdefault(name, dict.fromkeys(("proposed", *COUNTS), 0))
            for count in mine:
                mine[count] += found[count]
        if line["evaluations"] >= evaluations:
            break
    for training in sorted(run.glob("rounds/*/training.json")):
        seconds += read_json(training)["figures"]["seconds"]
    return Outcome(np.array(curve), {**maps, ALL: sum(maps.values())}, counts, seconds)


def map_rows(found: Mapping[str, Sequence[Outcome]]) -> list[list[object]]:
    """A row a mix: what its maps had come to, over the seeds."""
    rows: list[list[object]] = []
    for name, outcomes in found.items():
        last = np.array([each.curve[-1] for each in outcomes])
        seconds = [each.seconds for each in outcomes]
        row: list[object] = [
            name,
            *(format_interval(last[:, column], digits) for column, digits in ((2, 0), (1, 0), (3, 1))),
        ]
        rows.append([*row, format_interval(seconds, 0)])
    return rows


def seed_rows(found: Mapping[str, Sequence[Outcome]], base: str | None) -> list[list[object]]:
    """A row a mix: the QD score of each seed's map; with a base, of all four over that of the base with the same seed."""
    rows: list[list[object]] = []
    for name, outcomes in found.items():
        row: list[object] = [name, *(format_interval([each.maps[m] for each in outcomes], 0) for m in outcomes[0].maps)]
        if base is not None:
            row.append(
                format_interval([a.maps[ALL] / b.maps[ALL] for a, b in zip(outcomes, found[base], strict=True)], 2)
            )
        rows.append(row)
    return rows


def operator_rows(found: Mapping[str, Sequence[Outcome]]) -> list[list[object]]:
    """A row an operator of a mix: how its children fared, over the seeds."""
    rows: list[list[object]] = []
    for name, outcomes in found.items():
        for operator in dict.fromkeys(key for each in outcomes for key in each.counts):
            having = [each.counts for each in outcomes if operator in each.counts]
            mine = [counts[operator] for counts in having]
            everything = [sum(each["proposed"] for each in counts.values()) for counts in having]
            share = [100.0 * c["proposed"] / total for c, total in zip(mine, everything, strict=True)]
            percents = [[100.0 * c[count] / max(1, c["proposed"]) for c in mine] for count in COUNTS]
            rows.append([name, operator, format_interval(share, 0), *(format_interval(values) for values in percents)])
    return rows


def ratio_rows(found: Mapping[str, Sequence[Outcome]], bases: Sequence[str]) -> list[list[object]]:
    """A row a mix: its QD score over that of others with the same seed, and in how many seeds it is higher."""
    rows = []
    for name, outcomes in found.items():
        row: list[object] = [name]
        for base in bases:
            ratios = [a.curve[-1, 2] / b.curve[-1, 2] for a, b in zip(outcomes, found[base], strict=True)]
            row += [format_interval(ratios, 2), f"{sum(ratio > 1.0 for ratio in ratios)} of {len(ratios)}"]
        rows.append(row)
    return rows


def draw(found: Mapping[str, Sequence[Outcome]], path: Path) -> None:
    """QD score over evaluations: the mean of the seeds, and their range."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    last = min(each.curve[-1, 0] for outcomes in found.values() for each in outcomes)
    grid = np.linspace(0.0, last, 200)
    for name, outcomes in found.items():
        curves = np.array([np.interp(grid, each.curve[:, 0], each.curve[:, 2]) for each in outcomes])
        (line,) = axis.plot(grid, curves.mean(axis=0), label=name)
        axis.fill_between(grid, curves.min(axis=0), curves.max(axis=0), color=line.get_color(), alpha=0.2, linewidth=0)
    axis.set_xlabel("evaluations")
    axis.set_ylabel("QD score (best over the four maps)")
    axis.set_xlim(0, last)
    axis.set_ylim(0)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def page(
    found: Mapping[str, Sequence[Outcome]], evaluations: int, seeds: Sequence[int], batch_size: int = BATCH
) -> str:
    """Tables and remarks."""
    bases = [name for name in ("gp", "gp-blind") if name in found]
    text = (
        f"{evaluations:,} evaluations a run on Flat, {batch_size} children an iteration, the four seeds with a map each, "
        f"seeds {seeds[0]} to {seeds[-1]}. Figures are means over the seeds with 95% bootstrap intervals. QD score, niches and "
        "best are those of the best over the four maps; seconds include the training of rounds.\n\n"
        + markdown_table(["mix", "QD score", "niches of 1,728", "best", "seconds"], map_rows(found))
        + "\n\nChildren of each operator, in percent of those it was asked for; asked: its share of all children.\n\n"
        + markdown_table(["mix", "operator", "asked, %", *(f"{count}, %" for count in COUNTS)], operator_rows(found))
    )
    if bases:
        header = ["mix", *(part for base in bases for part in (f"QD over {base}", "seeds in which it is higher"))]
        text += f"\n\n{markdown_table(header, ratio_rows(found, bases))}"
    base = bases[0] if bases else None
    names = list(next(iter(found.values()))[0].maps)
    text += "\n\nThe seed programs side by side: the QD score of each one's own map."
    header = ["mix", *names, *([f"{ALL} over {base}"] if base else [])]
    return f"{text}\n\n{markdown_table(header, seed_rows(found, base))}"


def main() -> None:
    """Runs, prints and, if asked, writes the tables and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs, which are resumed")
    parser.add_argument("--evaluations", type=int, default=20_000, help="programs evaluated in each run")
    parser.add_argument("--runs", type=int, default=3, help="seeds")
    parser.add_argument("--first-seed", type=int, default=100, help="the first of the seeds")
    parser.add_argument("--batch-size", type=int, default=BATCH, help="children an iteration; few for a slow model")
    parser.add_argument("--mixes", nargs="+", default=list(MIXES), help="names, or operators joined by +")
    parser.add_argument(
        "--round-steps", type=int, default=EvolveConfig.round_steps, help="training steps of each round"
    )
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads that evaluate")
    parser.add_argument("--name", default=None, help="file name of the result; by default with the evaluations")
    parser.add_argument("--write", action="store_true", help="write the result to benchmarks/results")
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.runs)
    found: dict[str, list[Outcome]] = {name: [] for name in given.mixes}
    for seed in seeds:  # all mixes of one seed first: whoever stops here has whole seeds
        for name in given.mixes:
            run = given.out / f"{name.replace('/', '_')}-{given.evaluations}-{seed}"
            print(f"==> {name}, seed {seed}", file=sys.stderr, flush=True)
            evolve(run, mix_of(name), given.evaluations, seed, given.n_jobs, given.batch_size, given.round_steps)
            found[name].append(outcome(run, given.evaluations))
    file = given.name or f"operators_{given.evaluations // 1000}k"
    body = page(found, given.evaluations, seeds, given.batch_size)
    if given.write:
        draw(found, RESULTS / f"{file}.png")
        body += f"\n\n![QD score over evaluations]({file}.png)"
    publish(file, "Which mutation operators fill the map best at equal evaluations?", body, given.write)


if __name__ == "__main__":
    main()
