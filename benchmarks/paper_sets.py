"""The paper's terrain sets: do fresh samples of a conditional model reach the best of many samples of an unconditional one?

Usage: ``python -m benchmarks.paper_sets --out runs/paper_sets [--seeds 5] [--more-seeds 3] [--write]``. Stopped at any moment,
the same command goes on.

For each seed: evolution on Flat, then on the terrains of a set; a corpus and a language model of both; a cross table, and
siblings of the best on each terrain; a supervised start; and from that start each policy gradient for as many programs: ranks,
TRL's PPO, GRPO and RLOO. For fewer seeds also a corpus with the paper's other threshold, and the image in place of the codes.
What policies have to beat is a language model of Flat's history alone, which is the paper's stage 2, and that of both
histories.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import RESULTS, format_interval, markdown_table, publish
from elm_rl.corpus.corpus import TRAIN, CorpusConfig, load_corpus, run_corpus
from elm_rl.corpus.cross_table import CrossTableConfig, load_cross_table, run_cross_table
from elm_rl.evolution import EvolveConfig, run_evolve
from elm_rl.inventor.group import GroupConfig, run_group
from elm_rl.inventor.ppo import FinetuneConfig, run_finetune
from elm_rl.inventor.rank_gradient import RankGradientConfig, run_rank_gradient
from elm_rl.inventor.siblings import SiblingsConfig, run_siblings
from elm_rl.inventor.supervised import SupervisedConfig, run_supervised
from elm_rl.judging.comparison import known_of, sample_blind, sample_conditioned
from elm_rl.judging.terrain_matrix import diagonal_support
from elm_rl.judging.terrain_scores import Rest, TerrainScore, score_programs
from elm_rl.models.language_model import load_language_model, load_policy
from elm_rl.models.pretraining import PretrainConfig, run_pretrain
from elm_rl.runs.run_directory import SUMMARY_FILE, read_json, write_json
from sodarace_gym.evaluation import Evaluator

SETS = {"tunnel": ("LeftWall", "RightWall", "Tunnel"), "bumpy": ("LeftWall", "RightWall", "Bumpy")}
"""The two sets of Lehman et al. 2022."""
ROBUSTNESS = 2
SAMPLES = 64
"""Fresh samples of a policy for each terrain."""
MANY = 1024
"""Samples of what knows no terrain, of which the best counts."""
LONGEST = 256
KINDS = 4
"""Walkers of each terrain that get siblings."""
SIBLINGS = 400
BEST_SIBLINGS = 32
"""Of each walker that the supervised start learns; more were learnt less well."""
TARGET_TEMPERATURE = 5.0
LEAST_DESIGNS = 0.3
"""Share of different walkers below which a policy counts as collapsed: somewhat above the 16 of 64 that are asked for."""
FACTOR = 1.5
"""By which the own terrain's samples are to beat all others'."""


class Sizes(NamedTuple):
    """How much of everything."""

    iterations: int
    """Of evolution on Flat, of 256 children."""
    terrain_iterations: int
    walkers: int
    children: int
    """Tried for siblings of each of the best walkers."""
    pretraining_steps: int
    supervised_steps: int
    updates: int


FULL = Sizes(200, 90, 1200, 2048, 3000, 2000, 30)
SMALL = Sizes(2, 1, 12, 32, 8, 8, 1)
"""To see that everything works."""


class Variant(NamedTuple):
    """What is compared beside the policy gradients."""

    name: str
    threshold: float = 50.0
    encoder: str = "codes"


VARIANTS = (Variant("codes"), Variant("threshold-80", threshold=80.0), Variant("image", encoder="image"))


def evolve(out: Path, seed: int, sizes: Sizes, n_jobs: int, **settings: Any) -> None:
    """A run of evolution by genetic programming, unless it is finished."""
    if not (out / SUMMARY_FILE).exists():
        run_evolve(
            EvolveConfig(
                out=out,
                operators=("gp,tries=4",),
                seed=seed,
                n_jobs=n_jobs,
                checkpoint_every=10,
                resume=out.exists(),
                **settings,
            )
        )


def stage_2(out: Path, runs: Sequence[Path], seed: int, sizes: Sizes, threshold: float = 50.0) -> None:
    """A corpus of some runs and a language model of it, in a folder each."""
    if not (out / "corpus" / "corpus.json").exists():
        run_corpus(CorpusConfig(evolution=tuple(runs), out=out / "corpus", threshold_percent=threshold, seed=seed))
    run_pretrain(
        PretrainConfig(
            corpus=out / "corpus", out=out / "language_model", batch_size=8, learning_rate=4e-3,
            max_steps=sizes.pretraining_steps, seed=seed,
        )
    )  # fmt: skip


def flat(out: Path, seed: int, sizes: Sizes, n_jobs: int) -> Path:
    """What both sets share: evolution on Flat, and its stage 2; returns the folder of the latter."""
    evolve(out / "flat", seed, sizes, n_jobs, iterations=sizes.iterations)
    stage_2(out / "flat_stage_2", (out / "flat",), seed, sizes)
    return out / "flat_stage_2"


def prepare(out: Path, terrains: Sequence[str], variant: Variant, seed: int, sizes: Sizes, n_jobs: int) -> Path:
    """Everything up to the supervised start of a variant; returns its folder."""
    flat(out.parent, seed, sizes, n_jobs)
    evolve(
        out / "evolution", seed, sizes, n_jobs, seeds=(), start_from=out.parent / "flat", terrains=tuple(terrains),
        maps="terrain", iterations=sizes.terrain_iterations,
    )  # fmt: skip
    runs = (out.parent / "flat", out / "evolution")
    folder = out / variant.name
    stage_2(folder, runs, seed, sizes, variant.threshold)
    run_cross_table(
        CrossTableConfig(
            evolution=runs, out=out / "cross_table", walkers=sizes.walkers, probes=len(terrains), terrains=tuple(terrains),
            draws=0, robustness=ROBUSTNESS, n_jobs=n_jobs,
        )
    )  # fmt: skip
    run_siblings(
        SiblingsConfig(
            cross_table=out / "cross_table", out=out / "siblings", portfolio=KINDS * len(terrains), count=SIBLINGS,
            children=sizes.children, terrains=1, seed=seed, n_jobs=n_jobs,
        )
    )  # fmt: skip
    encoder: Any = variant.encoder
    run_supervised(
        SupervisedConfig(
            cross_table=out / "cross_table", language_model=folder / "language_model", siblings=out / "siblings",
            siblings_each=BEST_SIBLINGS, out=folder / "supervised", terrain_encoder=encoder, per_terrain=SIBLINGS,
            temperature=TARGET_TEMPERATURE, max_steps=sizes.supervised_steps, optimizer="muon", seed=seed,
        )
    )  # fmt: skip
    return folder


def train(folder: Path, only: Sequence[str], name: str, sizes: Sizes, seed: int, n_jobs: int) -> Path:
    """A policy gradient from the supervised start, on these terrains only where some are named; returns its folder."""
    out = folder / name
    shared: dict[str, Any] = {
        "start": folder / "supervised", "out": out, "updates": sizes.updates, "samples": SAMPLES // 4, "patience": 0,
        "only": tuple(only), "least_designs": LEAST_DESIGNS, "robustness": ROBUSTNESS, "seed": seed, "n_jobs": n_jobs,
    }  # fmt: skip
    runs: dict[str, Callable[[], Any]] = {
        "rank_gradient": lambda: run_rank_gradient(RankGradientConfig(**shared)),
        "ppo": lambda: run_finetune(FinetuneConfig(**shared)),
        "grpo": lambda: run_group(GroupConfig(algorithm="grpo", mini_batches=1, **shared)),
        "rloo": lambda: run_group(GroupConfig(algorithm="rloo", mini_batches=1, **shared)),
    }
    runs[name]()
    return out


FLAT, BOTH = "stage 2 of Flat", "stage 2"
GRADIENTS = ("rank_gradient", "ppo", "grpo", "rloo")


class Judged(NamedTuple):
    """A generator on the terrains of a set.

    Attributes:
        scores: Figures of its samples by terrain.
        best_of: The best of `MANY` by terrain for what knows no terrain; of 8 for a policy, mean over groups of 8.
        support: In how many resamplings the matrix is diagonal by `FACTOR`, %; NaN for what knows no terrain.
        seconds: Time its training took; 0 where there was none.
        stopped: Why the training ended.
    """

    scores: list[dict[str, float]]
    best_of: list[float]
    support: float
    seconds: float
    stopped: str


def judge_blind(programs: Sequence[str], terrains: Sequence[str], evaluator: Evaluator, known: Any) -> Judged:
    """Programs that know no terrain, on each."""
    found = [evaluator.evaluate(list(programs), terrain, robustness=ROBUSTNESS) for terrain in terrains]
    scores = [score_programs(programs, each, known) for each in found]
    return Judged([_plain(each) for each in scores], [each.best for each in scores], float("nan"), 0.0, "")


def judge_policy(folder: Path, terrains: Sequence[str], evaluator: Evaluator, known: Any, seed: int) -> Judged:
    """Fresh samples of a policy, each on all terrains."""
    policy, tokenizer = load_policy(folder, None)
    written = sample_conditioned(policy, tokenizer, terrains, SAMPLES, LONGEST, seed=10_000 + seed)
    rows, scores, best_of = [], [], []
    for number, asked in enumerate(terrains):
        found = [evaluator.evaluate(written[asked], terrain, robustness=ROBUSTNESS) for terrain in terrains]
        distances = np.array([[each.score for each in column] for column in found])
        scores.append(_plain(score_programs(written[asked], found[number], known)))
        best_of.append(float(distances[number].reshape(-1, 8).max(axis=1).mean()))
        # The own terrain counts less by the factor: what is still diagonal then is so by at least that much.
        distances[number] /= FACTOR
        rows.append(distances)
    seconds, stopped = 0.0, ""
    for path in folder.glob("*.json"):
        if path.name in ("rank_gradient.json", "finetuning.json", "group.json"):
            figures = read_json(path)["figures"]
            seconds = sum(figures["seconds"].values())
            stopped = figures["stopped"]
    return Judged(scores, best_of, diagonal_support(rows), seconds, stopped)


def _plain(score: TerrainScore) -> dict[str, float]:
    return {name: float(value) for name, value in asdict(score).items()}


def judged(path: Path, judge: Callable[[], Judged]) -> Judged:
    """What was judged before, or is now."""
    if not path.exists():
        write_json(path, judge()._asdict())
    return Judged(**read_json(path))


def measure(
    out: Path, terrains: Sequence[str], variants: Sequence[Variant], seed: int, sizes: Sizes, n_jobs: int
) -> dict[str, Judged]:
    """All generators of a set and a seed by name."""
    found: dict[str, Judged] = {}
    for variant in variants:
        folder = prepare(out, terrains, variant, seed, sizes, n_jobs)
        known = known_of(folder / "corpus", load_cross_table(out / "cross_table"), out / "siblings")
        main = variant == VARIANTS[0]
        many = MANY if sizes == FULL else SAMPLES
        with Evaluator(n_jobs=n_jobs) as evaluator:

            def corpus(folder: Path = folder, many: int = many, known: Any = known) -> Judged:
                programs = list(load_corpus(folder / "corpus")[TRAIN]["program"])
                drawn = np.random.default_rng([seed, 7]).choice(len(programs), size=many, replace=len(programs) < many)
                return judge_blind([programs[i] for i in drawn], terrains, evaluator, known)

            def stage2(folder: Path = folder, many: int = many, known: Any = known) -> Judged:
                model, tokenizer = load_language_model(folder / "language_model")
                programs = sample_blind(model, tokenizer, terrains[:1], many, LONGEST, 10_000 + seed)[terrains[0]]
                return judge_blind(programs, terrains, evaluator, known)

            if main:
                found[FLAT] = judged(out / "flat.judged.json", lambda: stage2(out.parent / "flat_stage_2"))
            suffix = "" if main else f", {variant.name}"
            found[f"corpus{suffix}"] = judged(folder / "corpus.judged.json", corpus)
            found[f"{BOTH}{suffix}"] = judged(folder / "stage2.judged.json", stage2)
            policies = {"supervised": folder / "supervised"}
            for name in GRADIENTS if main else GRADIENTS[:1]:
                policies[name] = train(
                    folder, () if variant.encoder == "codes" else terrains, name, sizes, seed, n_jobs
                )
            for name, place in policies.items():
                found[f"{name}{suffix}"] = judged(
                    place / "judged.json",
                    lambda place=place, known=known: judge_policy(place, terrains, evaluator, known, seed),  # type: ignore[misc]
                )
    return found


def rows_of(
    found: Mapping[str, list[Judged]], terrains: Sequence[str]
) -> tuple[list[list[object]], list[list[object]]]:
    """The two tables of a set: distances, and everything else."""
    distances: list[list[object]] = []
    others: list[list[object]] = []
    rivals = [np.array([each.best_of for each in found[rival]]) for rival in (FLAT, BOTH)]
    for name, seeds in found.items():
        means: NDArray[np.float64] = np.array([[score["mean"] for score in each.scores] for each in seeds])
        cells: list[object] = [format_interval(means[:, column]) for column in range(len(terrains))]
        best = [format_interval([each.best_of[column] for each in seeds]) for column in range(len(terrains))]
        blind = all(np.isnan(each.support) for each in seeds)
        reached = [int((means >= each[: len(seeds)]).all(axis=1).sum()) for each in rivals]
        distances.append([name, *cells, *best, *("" if blind else f"{each} of {len(seeds)}" for each in reached)])
        if not blind:

            def share(key: str, factor: float = 100.0, seeds: Sequence[Judged] = seeds) -> str:
                return format_interval([factor * np.nanmean([s[key] for s in each.scores]) for each in seeds], 0)

            rest = [Rest.of(TerrainScore(**score) for score in each.scores).mean for each in seeds]  # type: ignore[arg-type]
            fewest = min(int(min(score["designs"] for score in each.scores)) for each in seeds)
            sure = sum(each.support >= 95.0 for each in seeds)
            seconds = [each.seconds for each in seeds]
            spent = format_interval(seconds, 0) if any(seconds) else "–"
            ends = ", ".join(sorted({each.stopped for each in seeds if each.stopped not in ("", "updates")}))
            others.append(
                [
                    name, share("valid"), share("copies"), share("near_copies"), format_interval(rest, 0),
                    share("plain", 1.0), f"{fewest}", f"{sure} of {len(seeds)}", spent, ends or "–",
                ]
            )  # fmt: skip
    return distances, others


def page(found: Mapping[str, Mapping[str, list[Judged]]], sizes: Sizes) -> str:
    """Tables and remarks."""
    text = [
        f"Evolution: {sizes.iterations * 256:,} children on Flat, {sizes.terrain_iterations * 256:,} on the three terrains "
        "together, by GP with four tries a child. Distances are the least of a walker and "
        f"{ROBUSTNESS} perturbed copies, walker units, what is no walker counting 0; {SAMPLES} fresh samples a terrain at "
        f"temperature 1; intervals over the seeds. Best: of {MANY:,} for corpus and stage 2, of 8 for policies. Reached: in "
        f"how many seeds the *mean* is at least the best of {MANY:,} samples of the paper's stage 2, which learnt Flat's "
        "history, on every terrain; then of that which learnt both histories. The gradients start from the supervised policy "
        f"and take at most {sizes.updates} updates, each of as many programs."
    ]
    for name, by_generator in found.items():
        terrains = SETS[name]
        distances, others = rows_of(by_generator, terrains)
        header = [
            "generator",
            *(f"mean, {each}" for each in terrains),
            *(f"best, {each}" for each in terrains),
            "reached",
            "reached, both histories",
        ]
        text += [f"## {', '.join(terrains)}", markdown_table(header, distances)]
        header = [
            "policy", "valid %", "copies %", "near copies %", "mean of the rest", "mean as simulated",
            f"fewest walkers of {SAMPLES}", f"diagonal by {FACTOR}", "seconds of its gradient", "ended early",
        ]  # fmt: skip
        text.append(markdown_table(header, others))
    return "\n\n".join(text)


def draw(found: Mapping[str, Mapping[str, list[Judged]]], path: Path) -> None:
    """Mean of the samples on each terrain, against the best of many of stage 2 (dashed)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(6.0 * len(found), 4.2), layout="constrained", squeeze=False)
    for axis, (name, by_generator) in zip(axes[0], found.items(), strict=True):
        shown = [each for each in by_generator if each in ("supervised", *GRADIENTS)]
        for column in range(len(SETS[name])):
            for place, generator in enumerate(shown):
                values = [each.scores[column]["mean"] for each in by_generator[generator]]
                at = column + (place - len(shown) / 2) * 0.15
                axis.bar(at, np.mean(values), 0.14, color=f"C{place}", label=generator if column == 0 else None)
                axis.plot([at] * len(values), values, "k.", markersize=3)
            best = np.mean([each.best_of[column] for each in by_generator[FLAT]])
            label = f"best of {MANY:,} of stage 2" if column == 0 else None
            axis.plot([column - 0.45, column + 0.35], [best, best], "k--", linewidth=1.2, label=label)
        axis.set_xticks(range(len(SETS[name])), SETS[name])
        axis.set_ylabel("mean least distance, walker units")
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Runs, prints and, if asked, writes the tables and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of everything, which is gone on with")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the main comparison")
    parser.add_argument("--more-seeds", type=int, default=3, help="seeds of the other threshold and of the image")
    parser.add_argument(
        "--first-seed", type=int, default=501, help="the first of the seeds; 500 has chosen the settings"
    )
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS), help="the paper's sets")
    parser.add_argument("--small", action="store_true", help="next to nothing of everything, to see that it works")
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads that evaluate")
    parser.add_argument("--write", action="store_true", help="write the result to benchmarks/results")
    given = parser.parse_args()
    sizes = SMALL if given.small else FULL
    found: dict[str, dict[str, list[Judged]]] = {name: {} for name in given.sets}
    for number in range(given.seeds):
        for name in given.sets:
            seed = given.first_seed + number
            variants = VARIANTS if number < given.more_seeds else VARIANTS[:1]
            out = given.out / f"seed_{seed}" / name
            for generator, result in measure(out, SETS[name], variants, seed, sizes, given.n_jobs).items():
                found[name].setdefault(generator, []).append(result)
    body = page(found, sizes)
    if given.write:
        draw(found, RESULTS / "paper_sets.png")
        body += "\n\n![Mean of the samples on each terrain](paper_sets.png)"
    publish("paper_sets", "The paper's terrain sets: how good are fresh samples?", body, given.write)


if __name__ == "__main__":
    main()
