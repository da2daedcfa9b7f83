"""Does a model write the right walker for a terrain it never saw? Every rung of stage 3, and what each has to beat.

Usage: ``python -m benchmarks.zero_shot --evolution runs/flat ... --out runs/zero_shot [--seeds 3] [--write]``. Stopped at any
moment, the same command goes on.

The elites of the given runs evolve on terrains of the train split; a language model learns from all of it, a cross table says
which walker suits which of 320 train terrains, and 24 of its walkers get siblings. Each seed then climbs from there: a
supervised start, the rank policy gradient, TRL's PPO; and from the supervised start also a rank gradient in which known
walkers earn little. Judged are fresh samples on terrains of the test split: seen families, harder than any that was learnt,
families that were never seen. What they have to beat takes walkers from the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.edited import TRIES, Editor
from benchmarks.policy_judging import (
    JUDGES,
    ROBUSTNESS,
    SAMPLES,
    TEMPERATURES,
    VALIDATION_TERRAINS,
    Row,
    judged_policy,
    row_of,
)
from benchmarks.tables import RESULTS, markdown_table, publish
from elm_rl.corpus.corpus import CorpusConfig, run_corpus
from elm_rl.corpus.cross_table import CrossTable, CrossTableConfig, run_cross_table
from elm_rl.corpus.drawn_terrains import HELD_OUT_FAMILIES, DrawnTerrains
from elm_rl.corpus.score_store import ScoreStore
from elm_rl.corpus.walker_regressor import WalkerRegressor
from elm_rl.evolution import EvolveConfig, run_evolve
from elm_rl.inventor.policy_watch import draw_texts
from elm_rl.inventor.ppo import FinetuneConfig, run_finetune
from elm_rl.inventor.rank_gradient import RankGradientConfig, run_rank_gradient
from elm_rl.inventor.siblings import SiblingsConfig, run_siblings
from elm_rl.inventor.supervised import SupervisedConfig, run_supervised
from elm_rl.judging.comparison import known_of
from elm_rl.judging.selection_baselines import best_single, greedy_portfolio, nearest_terrain, regressor_choice
from elm_rl.judging.terrain_scores import Known, Rest, paired_difference
from elm_rl.models.pretraining import PretrainConfig, run_pretrain
from elm_rl.runs.run_directory import SUMMARY_FILE
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.distribution import TerrainDistribution
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.terrains.texts import terrain_from_text

NOVELTY = 0.8
SIBLINGS = 400
TARGET_TEMPERATURE = 10.0
TEST_SEED = 7
TEST_TERRAINS = {"seen": 40, "harder": 20, "unseen": 40}


class Sizes(NamedTuple):
    """How much of everything."""

    terrains: int
    """Train terrains of the cross table."""
    evolved: int
    """Train terrains that the elites evolve on."""
    iterations: int
    """Iterations of that evolution, of 256 children."""
    walkers: int
    """Walkers of the table."""
    portfolio: int
    """Walkers of it that get siblings."""
    children: int
    """Children of each that are tried for that."""
    pretraining_steps: int
    supervised_steps: int
    labelled: int
    """Further terrains that only the regression labelled."""
    updates: int
    """Of the rank policy gradient, and of PPO."""


FULL = Sizes(320, 16, 200, 400, 24, 1536, 6000, 3000, 8000, 20)
SMALL = Sizes(12, 2, 1, 20, 2, 64, 20, 20, 4, 2)
"""To see that everything works."""


def test_terrains() -> dict[str, list[str]]:
    """The terrains that everything is judged on, by group; of families and difficulties that tell the groups apart."""
    seen = DrawnTerrains().families
    groups = {
        "seen": TerrainDistribution(seen, (0.0, DrawnTerrains().most_difficult), "test"),
        "harder": TerrainDistribution(seen, (0.9, 1.0), "test"),
        "unseen": TerrainDistribution(HELD_OUT_FAMILIES, (0.0, DrawnTerrains().most_difficult), "test"),
    }
    return {
        name: draw_texts(drawn, TEST_TERRAINS[name], np.random.default_rng([TEST_SEED, number]))
        for number, (name, drawn) in enumerate(groups.items())
    }


def prepare(out: Path, evolution: Sequence[Path], sizes: Sizes, n_jobs: int) -> tuple[CrossTable, Known]:
    """Everything that the seeds share: evolution on train terrains, the language model, the cross table, siblings."""
    evolved = out / "evolution"
    if not (evolved / SUMMARY_FILE).exists():
        run_evolve(
            EvolveConfig(
                out=evolved, seeds=(), start_from=evolution[0], terrains=(), random_terrains=sizes.evolved, maps="terrain",
                operators=("gp,tries=4",), iterations=sizes.iterations, n_jobs=n_jobs, checkpoint_every=10,
                resume=evolved.exists(),
            )
        )  # fmt: skip
    runs = (*evolution, evolved)
    if not (out / "corpus" / "corpus.json").exists():
        run_corpus(CorpusConfig(evolution=runs, out=out / "corpus"))
    run_pretrain(
        PretrainConfig(
            corpus=out / "corpus", out=out / "language_model", batch_size=8, learning_rate=4e-3,
            max_steps=sizes.pretraining_steps,
        )
    )  # fmt: skip
    table = run_cross_table(
        CrossTableConfig(
            evolution=runs, out=out / "cross_table", walkers=sizes.walkers, draws=sizes.terrains, robustness=ROBUSTNESS,
            n_jobs=n_jobs,
        )
    )  # fmt: skip
    run_siblings(
        SiblingsConfig(
            cross_table=out / "cross_table", out=out / "siblings", portfolio=sizes.portfolio, count=SIBLINGS,
            children=sizes.children, n_jobs=n_jobs,
        )
    )  # fmt: skip
    return table, known_of(out / "corpus", table, out / "siblings")


def climb(out: Path, shared: Path, sizes: Sizes, seed: int, n_jobs: int) -> dict[str, Path]:
    """The rungs of one seed, each started from the one before; their folders by name."""
    rungs = {name: out / f"seed_{seed}" / name for name in ("supervised", "rank_gradient", "ppo", "novelty")}
    run_supervised(
        SupervisedConfig(
            cross_table=shared / "cross_table", language_model=shared / "language_model", out=rungs["supervised"],
            siblings=shared / "siblings", smoothed=True, per_terrain=8, temperature=TARGET_TEMPERATURE,
            labelled=sizes.labelled, max_steps=sizes.supervised_steps, optimizer="muon", seed=seed,
        )
    )  # fmt: skip
    steps: dict[str, Any] = {"updates": sizes.updates, "robustness": ROBUSTNESS, "seed": seed, "n_jobs": n_jobs}
    run_rank_gradient(RankGradientConfig(start=rungs["supervised"], out=rungs["rank_gradient"], **steps))
    run_finetune(FinetuneConfig(start=rungs["rank_gradient"], out=rungs["ppo"], **steps))
    shown = (shared / "cross_table", shared / "corpus", shared / "siblings")
    run_rank_gradient(
        RankGradientConfig(start=rungs["supervised"], out=rungs["novelty"], known=shown, novelty=NOVELTY, **steps)
    )
    return rungs


def choices(table: CrossTable, terrains: Sequence[Terrain]) -> dict[str, list[list[int]]]:
    """For each way of taking walkers from the table, those of each terrain, best first."""
    known = list(table.terrains.values())
    regressor = WalkerRegressor(known, table.least)
    count = len(terrains)
    return {
        "best single walker": [best_single(table.least, SAMPLES)] * count,
        "nearest train terrain": nearest_terrain(known, table.least, terrains, SAMPLES),
        "regressor": regressor_choice(regressor, terrains, SAMPLES),
        "greedy portfolio": [greedy_portfolio(table.least, SAMPLES)] * count,
    }


def oracle(out: Path, table: CrossTable, texts: Sequence[str], evaluator: Evaluator) -> NDArray[np.float64]:
    """Least distances of all walkers on the test terrains, (terrains, walkers): what only an oracle knows."""
    store = ScoreStore(out / "oracle", ROBUSTNESS)
    programs = [walker.program for walker in table.walkers]
    store.fill(programs, texts, evaluator, label="oracle")
    return np.array([[store.least(program, text) for program in programs] for text in texts])


def page(rows: Mapping[str, list[Row]], groups: Mapping[str, list[str]], sizes: Sizes) -> str:
    """Tables and remarks; several rows of one generator are its seeds."""
    places, begin = {}, 0
    for name, texts in groups.items():
        places[name] = slice(begin, begin + len(texts))
        begin += len(texts)
    places["all"] = slice(0, begin)
    single, regressor = (
        np.mean([row.one for row in rows[name]], axis=0) for name in ("best single walker", "regressor")
    )
    table, paired, novel = [], [], []
    for name, seeds in rows.items():
        one = np.mean([row.one for row in seeds], axis=0)
        best = np.mean([row.best for row in seeds], axis=0)
        means = [f"{one[place].mean():.1f}" for place in places.values()]
        table.append([name, *means, f"{best.mean():.1f}", " / ".join(f"{row.one.mean():.1f}" for row in seeds)])
        for base, rival in (("best single walker", single), ("regressor", regressor)):
            if name != base:
                cells = [_difference(one[place], rival[place]) for place in places.values()]
                paired.append([name, base, *cells])
        swapped = np.array([row.swapped for row in seeds])
        worth = [
            f"{100 * (swapped[:, place] > 0).mean():.0f}% ({swapped[:, place].mean():+.1f})"
            for place in places.values()
        ]
        scores = [score for row in seeds for score in row.scores]
        share = [100 * float(np.mean([getattr(s, f) for s in scores])) for f in ("valid", "copies", "near_copies")]
        new = Rest.of(scores)
        rest = [f"{new.mean:.1f}", f"{100 * new.valid:.1f}"] if new.samples else ["", ""]
        novel.append([name, *worth, *(f"{x:.0f}" for x in share), f"{new.samples:,}", *rest])
    header = list(places)
    return "\n\n".join(
        [
            f"{sizes.terrains} train terrains (families {', '.join(DrawnTerrains().families)}; difficulty up to "
            f"{DrawnTerrains().most_difficult}), {sizes.walkers} walkers, {begin} test terrains: "
            + ", ".join(f"{len(texts)} {name}" for name, texts in groups.items())
            + f" (harder: difficulty 0.9 to 1; unseen: {', '.join(HELD_OUT_FAMILIES)}). Figures are mean least distances of a "
            f"walker and {JUDGES} perturbed copies, in walker units, of one walker a terrain: of a model the mean of {SAMPLES} "
            f"samples, at temperature 1 or at that of {TEMPERATURES} that did best on {VALIDATION_TERRAINS} terrains of the "
            f"validation split, of a choice its first. Best of {SAMPLES} beside it.",
            markdown_table(["one walker a terrain", *header, f"best of {SAMPLES}", "all, by seed"], table),
            "Paired by terrain: mean difference and 95% interval over the terrains.",
            markdown_table(["generator", "less", *header], paired),
            "Swap test: on how many terrains the samples asked for it, or the first choice, do better there than those for "
            "another one, and by how much (of each seed by itself); a tie is not better. Then "
            "shares of all samples, and number, mean and validity of those that are neither copies of known walkers nor of "
            "known programs with other numbers. Edited: each sample at the "
            f"chosen temperature has become one of {TRIES} children by genetic programming, whose body (which joints are tied "
            "by which kind of muscle) no known walker has, and of which a regression that learnt on train terrains expects "
            "most; nothing was rolled out to choose it.",
            markdown_table(
                [
                    "generator",
                    *header,
                    "valid %",
                    "copies %",
                    "near copies %",
                    "the rest, samples",
                    "mean of the rest",
                    "valid % of the rest",
                ],
                novel,
            ),
        ]
    )


def _difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> str:
    mean, low, high = paired_difference(first.tolist(), second.tolist())
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def draw(rows: Mapping[str, list[Row]], path: Path) -> None:
    """One walker a terrain and best of 8, as bars with the seeds as points."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8.5, 4.5), layout="constrained")
    for place, seeds in enumerate(rows.values()):
        for offset, values, colour in (
            (-0.2, [row.one.mean() for row in seeds], "C0"),
            (0.2, [row.best.mean() for row in seeds], "C1"),
        ):
            axis.barh(place + offset, np.mean(values), 0.38, color=colour, alpha=0.75)
            axis.plot(values, [place + offset] * len(values), "k.", markersize=4)
    axis.set_yticks(range(len(rows)), list(rows))
    axis.invert_yaxis()
    axis.set_xlabel(
        f"mean least distance on unseen terrains, walker units\n(blue: one walker, orange: best of {SAMPLES})"
    )
    axis.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Runs, prints and, if asked, writes the tables and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--evolution", type=Path, nargs="+", required=True, help="runs on Flat; the first one's elites evolve on"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of everything, which is gone on with")
    parser.add_argument("--seeds", type=int, default=3, help="how often stage 3 is trained from the same table")
    parser.add_argument("--small", action="store_true", help="next to nothing of everything, to see that it works")
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads that evaluate")
    parser.add_argument("--write", action="store_true", help="write the result to benchmarks/results")
    given = parser.parse_args()
    sizes = SMALL if given.small else FULL
    groups = test_terrains()
    texts = [text for group in groups.values() for text in group]
    terrains = [terrain_from_text(text) for text in texts]
    table, known = prepare(given.out, given.evolution, sizes, given.n_jobs)
    rows: dict[str, list[Row]] = {}
    with Evaluator(n_jobs=given.n_jobs) as evaluator:
        for name, chosen in choices(table, terrains).items():
            programs = {
                text: [table.walkers[number].program for number in best]
                for text, best in zip(texts, chosen, strict=True)
            }
            rows[name] = [row_of(programs, evaluator, known, sampled=False)]
        best = np.argsort(-oracle(given.out, table, texts, evaluator), axis=1)[:, :SAMPLES].tolist()
        programs = {text: [table.walkers[n].program for n in row] for text, row in zip(texts, best, strict=True)}
        rows["robust oracle"] = [row_of(programs, evaluator, known, sampled=False)]
        editor = Editor.of(given.out, known, evaluator)
        for seed in range(given.seeds):
            for name, folder in climb(given.out, given.out, sizes, seed, given.n_jobs).items():
                edits = editor if name == "ppo" else None
                for label, row in judged_policy(name, folder, texts, evaluator, known, seed, edits).items():
                    rows.setdefault(label, []).append(row)
    body = page(rows, groups, sizes)
    if given.write:
        draw(rows, RESULTS / "zero_shot.png")
        body += "\n\n![One walker a terrain, and the best of 8](zero_shot.png)"
    publish("zero_shot", "Does a model write the right walker for a terrain it never saw?", body, given.write)


if __name__ == "__main__":
    main()
